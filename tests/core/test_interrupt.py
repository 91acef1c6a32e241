"""Ctrl-C in a real process: the explanation stops, the model is as it was, and the next question is answered."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

CHILD = """
import signal
import sys
import torch
import pellucid as pl
from tests.nets import BY_NAME
from tests.traces import differences, marks

torch.set_num_threads(1)
signal.signal(signal.SIGINT, signal.default_int_handler)  # a parent in the background ignores it
case = BY_NAME["cnn"]
net, given = case.net().train(), case.given()
say = lambda text: print(text, flush=True)
endless = (
    pl.SmoothGrad(draws=10**7),
    pl.IntegratedGradients(tolerance=1e-300, budget=2**24),
    pl.GuidedIG(steps=10**7),
    pl.KernelSHAP(features=pl.Elements(), budget=400_000),
)
for copy in (True, False):
    for method in endless:
        model = pl.Model(net, inputs=case.modality(), copy=copy)
        model.read(given)
        before = marks(net, given)
        try:
            with pl.settings(progress=method is endless[0], seed=3):
                say("ready")
                method(model, given)
            say("finished")
        except KeyboardInterrupt:
            left = differences(before, marks(net, given)) + [str(pl.current_settings())] * pl.current_settings().seed
            fresh = pl.Saliency()(net, given).values
            same = torch.equal(pl.Saliency()(model, given).values, fresh)
            say("clean" if same and not left else f"dirty {left}")
say("done")
"""


@pytest.mark.skipif(sys.platform == "win32", reason="signals of another kind")
def test_an_interrupted_explanation_leaves_nothing_behind() -> None:
    env = os.environ | {"PYTHONPATH": f"{ROOT / 'src'}{os.pathsep}{ROOT}", "OMP_NUM_THREADS": "1"}
    child = subprocess.Popen(
        [sys.executable, "-c", CHILD], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, env=env, cwd=ROOT
    )
    told: list[str] = []
    watch = threading.Timer(240, child.kill)  # a swallowed interrupt must not hang the suite
    watch.start()
    try:
        assert child.stdout is not None
        for line in child.stdout:
            word = line.strip()
            if word == "ready":
                time.sleep(0.15)
                child.send_signal(signal.SIGINT)
            elif word in ("clean", "done", "finished") or word.startswith("dirty"):
                told.append(word)
    finally:
        watch.cancel()
        child.kill()
        child.communicate()
    assert told == ["clean"] * 8 + ["done"]
