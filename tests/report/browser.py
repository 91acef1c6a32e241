"""A real Chromium without a window, spoken to through a pipe in the DevTools protocol: no driver, no package."""

from __future__ import annotations

import base64
import json
import os
import select
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, Self

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--disable-dev-shm-usage",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-extensions",
    "--hide-scrollbars",
    "--remote-debugging-pipe",
)
PATIENCE = 120
# The browser reads at 3 and writes at 4.
START = """
import fcntl, os, sys
down, up = (fcntl.fcntl(int(each), fcntl.F_DUPFD, 10) for each in sys.argv[1:3])
os.dup2(down, 3), os.dup2(up, 4)
os.execv(sys.argv[3], sys.argv[3:])
"""


class Browser:
    """One page of a browser. ``messages`` holds what the console and the policy of the page complained about."""

    def __init__(self, home: Path) -> None:
        down, self._in = os.pipe()
        self._out, up = os.pipe()
        command = [str(CHROMIUM), *FLAGS, f"--user-data-dir={home}", "about:blank"]
        self._process = subprocess.Popen(
            [sys.executable, "-c", START, str(down), str(up), *command],
            pass_fds=(down, up),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        os.close(down)
        os.close(up)
        self._rest, self._count, self._session = b"", 0, ""
        self.messages: list[str] = []
        self._loads = 0
        page = next(each for each in self.ask("Target.getTargets")["targetInfos"] if each["type"] == "page")
        self._session = self.ask("Target.attachToTarget", targetId=page["targetId"], flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.ask(f"{domain}.enable")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self._in)
        os.close(self._out)
        self._process.terminate()
        self._process.wait()

    def ask(self, method: str, **params: Any) -> dict[str, Any]:
        """Send a command and wait for its answer."""
        self._count += 1
        sent: dict[str, Any] = {"id": self._count, "method": method, "params": params}
        if self._session:
            sent["sessionId"] = self._session
        os.write(self._in, json.dumps(sent).encode() + b"\0")
        while (got := self._read()).get("id") != self._count:
            self._note(got)
        if "error" in got:
            raise RuntimeError(f"{method}: {got['error']['message']}")
        return got["result"]

    def _read(self) -> dict[str, Any]:
        while b"\0" not in self._rest:
            ready, _, _ = select.select([self._out], [], [], PATIENCE)
            more = os.read(self._out, 1 << 20) if ready else b""
            if not more:
                raise RuntimeError("the browser ended or is silent")
            self._rest += more
        line, self._rest = self._rest.split(b"\0", 1)
        return json.loads(line)

    def _note(self, event: dict[str, Any]) -> None:
        method, params = event.get("method"), event.get("params", {})
        if method == "Log.entryAdded":
            self.messages.append(params["entry"]["text"])
        elif method in ("Runtime.consoleAPICalled", "Runtime.exceptionThrown"):
            self.messages.append(json.dumps(params)[:2000])
        elif method == "Network.requestWillBeSent":
            address = params["request"]["url"]
            self.messages += [] if address.startswith(("file:", "data:", "about:")) else [f"request: {address}"]
        elif method == "Page.loadEventFired":
            self._loads += 1

    def open(self, path: Path, *, width: int = 1280, dark: bool = False, scripts: bool = True, part: str = "") -> None:
        """Open a file at a width, on light or dark ground, with or without scripts."""
        self.messages.clear()
        self.ask("Emulation.setDeviceMetricsOverride", width=width, height=900, deviceScaleFactor=1, mobile=width < 600)
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.ask("Emulation.setEmulatedMedia", features=[scheme])
        self.ask("Emulation.setScriptExecutionDisabled", value=not scripts)
        self.ask("Page.navigate", url="about:blank")
        loads = self._loads
        self.ask("Page.navigate", url=path.resolve().as_uri() + part)
        while self._loads < loads + 2 and not self._ready(path):
            time.sleep(0.02)

    def _ready(self, path: Path) -> bool:
        state = self.evaluate("[document.readyState, location.href]")
        return state[0] == "complete" and state[1].split("#")[0] == path.resolve().as_uri()

    def evaluate(self, expression: str) -> Any:
        """The value of an expression on the page; promises are waited for."""
        got = self.ask("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        if "exceptionDetails" in got:
            raise RuntimeError(json.dumps(got["exceptionDetails"])[:1000])
        return got["result"].get("value")

    def picture(self, *, whole: bool = True) -> bytes:
        """A PNG of the page, or of what a visitor sees first."""
        got = self.ask("Page.captureScreenshot", format="png", captureBeyondViewport=whole, **self._clip(whole))
        return base64.b64decode(got["data"])

    def _clip(self, whole: bool) -> dict[str, Any]:
        if not whole:
            return {}
        size = self.ask("Page.getLayoutMetrics")["cssContentSize"]
        return {"clip": {"x": 0, "y": 0, "width": size["width"], "height": size["height"], "scale": 1}}

    def printed(self) -> bytes:
        """The page as PDF."""
        return base64.b64decode(self.ask("Page.printToPDF", printBackground=False)["data"])
