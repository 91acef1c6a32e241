"""What lies in the weights of every layer: norms, histograms, spectra, zeros, dead units."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from pellucid.core.figure import Curve, Figure, Grid, Sheet
from pellucid.core.run import undisturbed
from pellucid.errors import LayerError, nearest
from pellucid.features.kernels import Kernel, kernels, singular_values
from pellucid.features.saving import save_tensors
from pellucid.features.units import torch_model

Array = NDArray[Any]

DEAD = 1e-2
BINS = 50


@dataclass(frozen=True, kw_only=True, eq=False)
class LayerWeights:
    """One layer's weights: ``histogram`` and ``bias_histogram`` (counts, edges), ``singular`` values, ``unit_norms``.

    A matrix (units, inputs · places) has singular values and a norm for each unit; a vector, such as the scales of a
    batch-norm, has None. ``dead`` (units,) is bool: a norm of at most a hundredth of the layer's largest.
    """

    layer: str
    kind: str
    shape: tuple[int, ...]
    norm: float
    mean: float
    std: float
    zeros: float
    histogram: tuple[Array, Array]
    bias_histogram: tuple[Array, Array] | None
    singular: Array | None
    unit_norms: Array | None
    dead: Array | None

    @property
    def size(self) -> int:
        """How many weights."""
        return int(np.prod(self.shape))

    @property
    def spectral_norm(self) -> float | None:
        """The largest singular value: the most that the layer lengthens anything."""
        return None if self.singular is None else float(self.singular[0])

    @property
    def stable_rank(self) -> float | None:
        r"""How many directions share the weights: :math:`\|W\|_F^2 / \|W\|_2^2`, from 1 to the rank; nan for zeros."""
        if self.singular is None:
            return None
        return float((self.singular**2).sum() / self.singular[0] ** 2) if self.singular[0] > 0 else float("nan")


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class WeightReport(Mapping[str, LayerWeights]):
    """The weights of every layer: ``report["layer"].singular`` and so on; a mapping by layer.

    Example:
        >>> import torch, pellucid as pl
        >>> net = torch.nn.Linear(2, 3)
        >>> _ = net.weight.data.copy_(torch.tensor([[3.0, 0.0], [0.0, 4.0], [0.0, 0.0]]))
        >>> layer = pl.weights(net)["Linear"]
        >>> layer.singular.tolist(), layer.dead.tolist(), layer.zeros, layer.stable_rank
        ([4.0, 3.0], [False, False, True], 0.666, 1.562)
    """

    layers: Mapping[str, LayerWeights]

    def __getitem__(self, layer: str) -> LayerWeights:
        if layer not in self.layers:
            raise LayerError(expected="a layer with weights", got=repr(layer), do=nearest(layer, self.layers))
        return self.layers[layer]

    def __iter__(self) -> Iterator[str]:
        return iter(self.layers)

    def __len__(self) -> int:
        return len(self.layers)

    def figure(self, layer: str | None = None) -> Figure:
        """All layers as a table; or one layer: its histograms, its spectrum, and the norms of its units."""
        return self.table() if layer is None else layer_figure(self[layer])

    def table(self) -> Sheet:
        """A line a layer."""
        header = ("layer", "kind", "shape", "norm", "std", "zeros", "spectral norm", "stable rank", "dead units")
        rows = tuple(
            (name, each.kind, " × ".join(map(str, each.shape)), rounded(each.norm), rounded(each.std),
             f"{100 * each.zeros:.3g} %", rounded(each.spectral_norm), rounded(each.stable_rank),
             None if each.dead is None else int(each.dead.sum()))
            for name, each in self.layers.items()
        )  # fmt: skip
        alt = f"weights of {len(rows)} layers, {self.dead} dead units"
        return Sheet(title="Weights", header=header, rows=rows, caption=self.words(), alt=alt)

    def spectra(self) -> Curve:
        """The singular values of all matrices, each divided by its largest, over their share of the rank."""
        drawn = {name: each.singular for name, each in self.layers.items() if each.singular is not None}
        widest = sorted(drawn, key=lambda name: -drawn[name].size)[:6]
        x = np.linspace(0, 1, 101)
        lines: dict[str, NDArray[np.floating]] = {}
        for name in [each for each in drawn if each in widest]:
            values = drawn[name] / max(float(drawn[name][0]), 1e-300)
            lines[name] = np.interp(x, np.linspace(0, 1, len(values)), values) if len(values) > 1 else x * 0 + values
        return Curve(
            title="Spectra",
            x=100 * x,
            lines=lines,
            x_label="singular values, the largest first (percent of their number)",
            y_label="share of the largest",
            caption="The six layers with the most singular values." if len(drawn) > 6 else "",
            alt=f"singular values of {len(lines)} layers",
        )

    @property
    def dead(self) -> int:
        """How many units are dead, over all layers."""
        return sum(int(each.dead.sum()) for each in self.layers.values() if each.dead is not None)

    def words(self) -> str:
        """All layers together."""
        total = sum(each.size for each in self.layers.values())
        zero = sum(each.zeros * each.size for each in self.layers.values()) / total
        dead = f"{self.dead} dead units" if self.dead != 1 else "1 dead unit"
        return f"{total:,} weights".replace(",", "\u202f") + f", {100 * zero:.3g} % of them zero; {dead}"

    def plot(self, layer: str | None = None) -> Any:
        """Draw with matplotlib."""
        return self.figure(layer).plot()

    def to_frame(self) -> Any:
        """One line a layer, as a pandas frame."""
        import pandas

        names = ("kind", "shape", "norm", "mean", "std", "zeros", "spectral_norm", "stable_rank")
        dead = [None if each.dead is None else int(each.dead.sum()) for each in self.layers.values()]
        lines = [{"layer": name, **{key: getattr(each, key) for key in names}} for name, each in self.layers.items()]
        return pandas.DataFrame(lines).assign(dead=dead)

    def save(self, path: Any) -> None:
        """Write spectra, histograms and norms, and a JSON header, to one safetensors file."""
        arrays: dict[str, Array] = {}
        for name, each in self.layers.items():
            arrays |= {f"{name}/histogram": each.histogram[0], f"{name}/edges": each.histogram[1]}
            if each.singular is not None and each.unit_norms is not None:
                arrays |= {f"{name}/singular": each.singular, f"{name}/unit_norms": each.unit_norms}
        save_tensors(path, arrays, "weights", {"kinds": {name: each.kind for name, each in self.layers.items()}})

    def _repr_html_(self) -> str:
        return Grid(figures=(self.table(), self.spectra()), columns=1).html()

    def __repr__(self) -> str:
        return f"WeightReport: {len(self)} layers, {self.words()}"


def weights(model: Any) -> WeightReport:
    """Look at the weights of every layer: histograms, norms, singular values, zeros, dead units; no data needed.

    A layer's matrix is (units, inputs · places), also for convolutions; an embedding's units are its entries. Weights
    that are shared by several layers are listed once. The singular values of large matrices (both sides over 1024) are
    exact to 10⁻⁸ of the largest.

    Raises: ModelError for a network without weights, NonFiniteError for NaN or infinity, with the layer's name.

    Example:
        >>> import pellucid as pl
        >>> report = pl.weights(pl.load("demo:digits"))
        >>> report["stem.0"].shape, report.dead
        ((24, 1, 3, 3), 0)
    """
    studied = torch_model(model)
    with undisturbed(), studied.session():
        return WeightReport(layers={each.name: looked_at(each) for each in kernels(studied.module)})


def looked_at(kernel: Kernel) -> LayerWeights:
    """The numbers of one weight."""
    values = flat(kernel.weight)
    singular = norms = dead = None
    if kernel.matrix is not None:
        singular = np.asarray(singular_values(kernel.matrix).cpu())
        norms = np.asarray(kernel.matrix.double().norm(dim=1).cpu())
        dead = norms <= DEAD * norms.max()
    return LayerWeights(
        layer=kernel.name,
        kind=kernel.kind,
        shape=tuple(kernel.weight.shape),
        norm=float(np.linalg.norm(values)),
        mean=float(values.mean()),
        std=float(values.std()),
        zeros=float((values == 0).mean()),
        histogram=np.histogram(values, BINS),
        bias_histogram=None if kernel.bias is None else np.histogram(flat(kernel.bias), BINS),
        singular=singular,
        unit_norms=norms,
        dead=dead,
    )


def flat(values: Tensor) -> Array:
    """All numbers of a tensor."""
    return np.asarray(values.detach().double().cpu()).ravel()


def layer_figure(each: LayerWeights) -> Grid:
    """Histograms of weights and biases, singular values, and norms of units in order."""
    title = f"{each.layer} · {each.kind} {' × '.join(map(str, each.shape))}"
    told = f"{each.size} weights, standard deviation {each.std:.3g}, {100 * each.zeros:.3g} % zero"
    figures = [steps(f"{title} · weights", *each.histogram, "weight", told)]
    if each.bias_histogram is not None:
        figures.append(steps(f"{each.layer} · biases", *each.bias_histogram, "bias", f"{each.shape[0]} units"))
    if each.singular is not None:
        told = f"Largest {each.spectral_norm:.3g}, stable rank {each.stable_rank:.3g} of {len(each.singular)}."
        figures.append(ranked(f"{each.layer} · spectrum", each.singular, "singular value", told))
    if each.unit_norms is not None and each.dead is not None:
        dead = np.flatnonzero(each.dead)
        told = f"Dead: {', '.join(map(str, dead[:12]))}{', …' if len(dead) > 12 else ''}." if len(dead) else ""
        figures.append(ranked(f"{each.layer} · units", np.sort(each.unit_norms)[::-1], "norm of a unit", told))
    return Grid(figures=tuple(figures), columns=2)


def steps(title: str, counts: Array, edges: Array, name: str, told: str) -> Curve:
    """A histogram as a line of steps."""
    alt = f"{title}: from {edges[0]:.3g} to {edges[-1]:.3g}, most at {edges[int(counts.argmax())]:.3g}"
    return Curve(
        title=title,
        caption=f"{told}.",
        alt=alt,
        x=np.concatenate([edges[:1], np.repeat(edges, 2)[1:-1], edges[-1:]]),
        lines={"count": np.concatenate([[0.0], np.repeat(counts, 2).astype(float), [0.0]])},
        x_label=name,
        y_label="count",
    )


def ranked(title: str, values: Array, name: str, told: str) -> Curve:
    """Numbers in falling order."""
    alt = f"{title}: {len(values)} values from {values[0]:.3g} to {values[-1]:.3g}"
    x = np.arange(1.0, len(values) + 1)
    return Curve(title=title, caption=told, alt=alt, x=x, lines={name: values}, x_label="rank", y_label=name)


def rounded(value: float | None) -> float | None:
    """Three digits."""
    return None if value is None else float(f"{value:.3g}")
