"""What importing costs, beyond torch."""

from __future__ import annotations

import subprocess
import sys
import time


def seconds(code: str, times: int = 5) -> float:
    """The best of several fresh interpreters."""
    best = float("inf")
    for _ in range(times):
        start = time.perf_counter()
        subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)
        best = min(best, time.perf_counter() - start)
    return best


def table() -> list[str]:
    """Import times as lines of Markdown."""
    torch = seconds("import torch")
    lines = ["## Import", "", "| what | seconds |", "|---|---|", f"| import torch | {torch:.2f} |"]
    for name in ("pellucid", "captum", "shap", "quantus"):
        try:
            over = seconds(f"import torch, {name}") - torch
            lines.append(f"| import {name}, over torch | {over:.2f} |")
        except subprocess.CalledProcessError:
            lines.append(f"| import {name} | not installed |")
    used = seconds("import torch, pellucid as pl; pl.Model, pl.IntegratedGradients, pl.KernelSHAP") - torch
    lines.append(f"| pellucid with Model, IntegratedGradients and KernelSHAP, over torch | {used:.2f} |")
    helped = seconds("import sys; sys.argv = ['pellucid', '--help']\nfrom pellucid.cli import main\nmain()")
    lines.append(f"| pellucid --help, in all | {helped:.2f} |")
    return lines
