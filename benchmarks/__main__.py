"""Run the benchmarks and write RESULTS.md: ``python -m benchmarks [words of case names]``."""

from __future__ import annotations

import platform
import sys
import warnings
from pathlib import Path

import torch

from benchmarks import accuracy, evidence, features, gradients, hiding, imports, memory, propagation
from benchmarks.timing import Row, measure

RESULTS = Path(__file__).with_name("RESULTS.md")
HEAD = """# Measured

{machine}. Floor: the rows that the definition of a method needs, run by plain eager torch at the best batch size
(channels-last for convolutional nets, weights frozen), in the same rounds. Ratio: median over interleaved rounds of a
contestant's time over the floor's. Peers get the model as their users write it. Networks have random weights. On a
machine shared with others, differences below a tenth mean nothing.
"""
READING = """## Aims that are missed, and why

- Saliency, IG, SmoothGrad and ExpectedGradients on ResNet-18 lie at the floor (0.97 – 1.03), not at 0.95: the floor is
  channels-last, too, and folding batch-norms gains less than the run-to-run noise on this machine.
- MiniLM and ViT-S lie between 0.8 and 1.1 over several runs, not at 0.65: prepacked linear weights gain 1.1 × here,
  where plain products already reach 200 GFLOP/s; the aim was measured on a CPU on which they gain 1.8 ×.
- PermutationSHAP is at 1.3 – 1.9 on a floor of 12 ms: about 5 ms go into orders, keys and bookkeeping, whatever the
  model costs.
- KernelSHAP's error depends on the game; here it is 0.9 – 1.0 of the best peer's, at an eighth of the time of the
  fastest. RegressionMSR has a third of it.
- RegressionMSR, HSIC and ShapleyInteractions cost 0.7, 0.17 and 0.11 s a row of their own mathematics (fits of trees,
  N² kernels, 465 terms): little beside a model that takes a minute for the predictions, much beside one of 12 ms."""


def machine() -> str:
    """Processor, cores and versions."""
    name = platform.processor() or platform.machine()
    for line in Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").exists() else []:
        if line.startswith("model name"):
            name = line.split(":", 1)[1].strip()
            break
    return f"{name}, {torch.get_num_threads()} threads, torch {torch.__version__}, Python {platform.python_version()}"


def speed(words: list[str]) -> list[str]:
    """The table of ratios."""
    lines = [
        "## Time over the floor",
        "",
        "| case | floor, s | pellucid (low – high) | aim | peers |",
        "|---|---|---|---|---|",
    ]
    groups = (
        gradients.resnet_cases,
        gradients.transformer_cases,
        propagation.lrp_cases,
        propagation.reference_cases,
        propagation.attention_cases,
        features.climb_cases,
        features.cam_cases,
        features.sweep_cases,
        evidence.cases,
        hiding.table_cases,
        hiding.other_cases,
        hiding.picture_cases,
    )
    for case in [case for group in groups for case in group()]:
        if words and not any(word.lower() in case.name.lower() for word in words):
            continue
        row = measure(case)
        print(row, flush=True)
        lines.append(line_of(row))
    return lines


def line_of(row: Row) -> str:
    """One row of the table."""
    peers = ", ".join(f"{name} {ratio:.2f}" for name, ratio in row.peers.items()) or "–"
    aim = "–" if row.aim is None else f"{row.aim:.2f}"
    ours = f"**{row.ours:.2f}** ({row.low:.2f} – {row.high:.2f})"
    return f"| {row.name} | {row.floor_seconds:.3f} | {ours} | {aim} | {peers} |"


def main() -> None:
    """All groups, or the cases whose names hold one of the words."""
    warnings.simplefilter("ignore")
    words = sys.argv[1:]
    parts = [HEAD.format(machine=machine()), "\n".join(speed(words))]
    if not words:
        for table in (accuracy.table, hiding.accuracy_table, evidence.table, memory.table, imports.table):
            parts.append("\n".join(table()))
            print(parts[-1], flush=True)
        RESULTS.write_text("\n\n".join([*parts, READING]) + "\n", encoding="utf-8")
        print(f"wrote {RESULTS}")


if __name__ == "__main__":
    main()
