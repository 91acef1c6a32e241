"""Peak resident memory above the model's own, each in a fresh process."""

from __future__ import annotations

import subprocess
import sys

START = """
import resource, sys, threading, time, warnings
warnings.simplefilter("ignore")
import torch, pellucid as pl
from benchmarks.nets import resnet18
net = resnet18()
x = torch.randn({batch}, 3, 224, 224)
with torch.no_grad(): net(x[:1])
def resident():
    with open("/proc/self/statm") as file: return int(file.read().split()[1]) * resource.getpagesize()
base, peak, go = resident(), [0], [True]
def watch():
    while go[0]:
        peak[0] = max(peak[0], resident()); time.sleep(0.005)
thread = threading.Thread(target=watch); thread.start()
{work}
go[0] = False; thread.join()
print((peak[0] - base) / 1e9)
"""

CASES = {
    "Saliency, one picture": (1, "pl.Saliency()(pl.Model(net), x, target=0)", 0.5),
    "IntegratedGradients 50, one picture": (1, "pl.IntegratedGradients(steps=50)(pl.Model(net), x, target=0)", 0.5),
    "SmoothGrad 50, one picture": (1, "pl.SmoothGrad(draws=50)(pl.Model(net), x, target=0)", 0.5),
    "GuidedIG 10, one picture": (1, "pl.GuidedIG(steps=10)(pl.Model(net), x, target=0)", 0.5),
    "RISE, 4,000 masks, one picture": (1, "pl.RISE(budget=4000)(pl.Model(net), x, target=0)", 1.0),
    "captum IntegratedGradients 50, one picture": (
        1,
        "from captum.attr import IntegratedGradients\nIntegratedGradients(net).attribute(x, target=0, n_steps=50)",
        None,
    ),
    'IntegratedGradients 200 × 32 pictures, memory="1 GB"': (
        32,
        'with pl.settings(memory="1 GB"):\n    pl.IntegratedGradients(steps=200)(pl.Model(net), x, target=0)',
        1.3,
    ),
}


def gigabytes(batch: int, work: str) -> float:
    """Peak above the start, in a process of its own."""
    code = START.format(batch=batch, work=work)
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    return float(done.stdout.strip().splitlines()[-1])


def table() -> list[str]:
    """Peak memory as lines of Markdown."""
    lines = ["## Memory, ResNet-18 at 224 × 224", "", "| case | GB above the model | aim |", "|---|---|---|"]
    for name, (batch, work, aim) in CASES.items():
        lines.append(f"| {name} | {gigabytes(batch, work):.2f} | {'–' if aim is None else aim} |")
    return lines
