// What scripts add: maps mixed with their pictures, only their strongest parts, a closer look, one method at a time, and
// a button that copies. Without them the page says the same. The address keeps the state: #map=70&top=10&only=2&zoom=3.

const ZERO = 120; // the index of zero in a signed map; colors are given at every fifth index
const FIFTH = 5;
const GROUNDS = ["light", "dark"];

// The cover of a map's colors, nothing where the map is weaker than `least`.
function cover(source, signed, least) {
  const nodes = source.querySelector("feFuncA").getAttribute("tableValues").split(" ").map(Number);
  return Array.from({ length: 256 }, (_, index) => {
    const size = signed ? Math.abs(index - ZERO) : index;
    if (size === 0 || size < least) return 0;
    const left = Math.floor(index / FIFTH);
    const right = Math.min(left + 1, nodes.length - 1);
    return (nodes[left] + (nodes[right] - nodes[left]) * (index / FIFTH - left)).toFixed(3);
  });
}

// Shows the strongest `top` percent of a map through filters of its own.
function keep(image, number, top) {
  const signed = image.classList.contains("pl-signed");
  for (const ground of GROUNDS) {
    image.style.removeProperty(`--${ground}`);
    if (top >= 100) continue;
    const source = document.getElementById(`pl-${signed ? "signed" : "unsigned"}-${ground}`);
    const id = `pl-cut-${number}-${ground}`;
    document.getElementById(id)?.remove();
    const filter = source.cloneNode(true);
    filter.id = id;
    const table = filter.querySelector("feFuncA");
    table.setAttribute("type", "discrete");
    table.setAttribute("tableValues", cover(source, signed, Number(image.dataset.cuts.split(" ")[top])).join(" "));
    source.after(filter);
    image.style.setProperty(`--${ground}`, `url(#${id})`);
  }
}

class Methods extends HTMLElement {
  connectedCallback() {
    this.controls = this.querySelector(".controls");
    this.controls.hidden = false;
    this.maps = [...this.querySelectorAll(".pl-map")].map((map) => ({ map, size: map.getAttribute("viewBox").split(" ").map(Number) }));
    this.center = this.strongest();
    this.controls.addEventListener("input", () => this.change());
    this.maps.forEach(({ map }) => this.follow(map));
    addEventListener("hashchange", () => this.restore());
    this.restore();
  }

  // A closer look begins where the first map is strongest.
  strongest() {
    const mark = this.querySelector(".pl-mark");
    const size = mark?.closest(".pl-map").getAttribute("viewBox").split(" ").map(Number);
    return size ? [mark.getAttribute("x") / size[2], mark.getAttribute("y") / size[3]] : [0.5, 0.5];
  }

  fields() {
    return [...this.controls.querySelectorAll("input")].filter((field) => field.type !== "radio" || field.checked);
  }

  change() {
    const kept = new URLSearchParams();
    for (const field of this.fields()) {
      if (field.value !== (field.type === "radio" ? "" : field.defaultValue)) kept.set(field.name, field.value);
    }
    const hash = kept.toString();
    history.replaceState(null, "", hash ? `#${hash}` : location.pathname + location.search);
    this.show();
  }

  restore() {
    const kept = new URLSearchParams(location.hash.slice(1));
    for (const field of this.controls.querySelectorAll("input")) {
      if (field.type === "radio") field.checked = field.value === (kept.get("only") ?? "");
      else if (kept.has(field.name)) field.value = kept.get(field.name);
    }
    this.show();
  }

  show() {
    const state = Object.fromEntries(this.fields().map((field) => [field.name, field.value]));
    for (const field of this.controls.querySelectorAll("input[type=range]")) {
      field.nextElementSibling.textContent = field.name === "zoom" ? `× ${Number(field.value)}` : `${field.value} %`;
    }
    this.style.setProperty("--map", Number(state.map ?? 55) / 100);
    this.classList.toggle("plain", state.map === "0");
    const top = Number(state.top ?? 100);
    this.querySelectorAll(".pl-layer").forEach((image, number) => keep(image, number, top));
    this.querySelectorAll(".pl-chip").forEach((chip) => chip.classList.toggle("faint", Number(chip.dataset.place) > top));
    this.querySelectorAll(".method").forEach((one) => (one.hidden = Boolean(state.only) && one.id !== `method-${state.only}`));
    this.classList.toggle("one", Boolean(state.only));
    this.zoom = Number(state.zoom ?? 1);
    this.look();
  }

  // All maps show the same place.
  look() {
    const half = 0.5 / this.zoom;
    this.center = this.center.map((place) => Math.min(1 - half, Math.max(half, place)));
    const [x, y] = this.center;
    for (const { map, size: [, , wide, high] } of this.maps) {
      map.setAttribute("viewBox", [(x - half) * wide, (y - half) * high, wide / this.zoom, high / this.zoom].join(" "));
      map.classList.toggle("zoomed", this.zoom > 1);
      if (this.zoom > 1) map.tabIndex = 0;
      else map.removeAttribute("tabindex");
    }
  }

  // A zoomed map is moved by dragging it or with the arrow keys.
  follow(map) {
    const move = (right, down) => {
      this.center = [this.center[0] + right / this.zoom, this.center[1] + down / this.zoom];
      this.look();
    };
    map.addEventListener("pointerdown", (event) => this.zoom > 1 && map.setPointerCapture(event.pointerId));
    map.addEventListener("pointermove", (event) => {
      if (map.hasPointerCapture(event.pointerId)) move(-event.movementX / map.clientWidth, -event.movementY / map.clientHeight);
    });
    map.addEventListener("keydown", (event) => {
      const step = { ArrowLeft: [-0.1, 0], ArrowRight: [0.1, 0], ArrowUp: [0, -0.1], ArrowDown: [0, 0.1] }[event.key];
      if (!step || this.zoom === 1) return;
      event.preventDefault();
      move(...step);
    });
  }
}

class Copy extends HTMLElement {
  connectedCallback() {
    const button = this.querySelector("button");
    const code = this.querySelector("code");
    button.hidden = false;
    button.addEventListener("click", async () => {
      try {
        await navigator.clipboard.writeText(code.textContent);
        button.textContent = "Copied";
      } catch {
        getSelection().selectAllChildren(code);
        button.textContent = "Selected";
      }
    });
  }
}

customElements.define("pellucid-methods", Methods);
customElements.define("pellucid-copy", Copy);

const closed = () => document.querySelectorAll("details:not([open])");
let opened = [];
addEventListener("beforeprint", () => (opened = [...closed()]).forEach((each) => (each.open = true)));
addEventListener("afterprint", () => opened.forEach((each) => (each.open = false)));
