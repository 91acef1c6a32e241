"""Run the benchmarks and write RESULTS.md: ``python -m benchmarks [words of case names]``.

With words, only the cases whose names hold one are measured, and their rows in RESULTS.md written anew.
"""

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
- Statistics of all units cost 2.1 × plain inference on a net whose layers take microseconds: seven passes over what
  every one of 20 layers makes (sum, squares, both ends, what is above zero) cost about as much as making it.
- Ablation-CAM is at 2.0 – 2.3 beside one pass and the heads: a pass for the maps and their slope, and one for the
  record that the heads begin from and against which a replay is checked.
- Pixel flipping, max-sensitivity, AttnLRP and LRP ε on 8 pictures of VGG-11 lie within 3 % of their aims.
- Parameter randomization is at 1.6: it asks one row at a time, where the floor asks eight, and ranks every map.
- Quick evidence asks about as many rows as the methods themselves (446 beside 407 for the four), most of them to repeat
  the methods on two scrambled models and four inputs nearby; time beside rows is lost to small calls.
- The default checks of eight methods share the mask bank, but each method must be repeated: 1,280 rows together, 2,374
  one by one. What can be shared is: six metrics of eight methods ask 256 rows instead of 3,456.
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


def renewed(text: str, rows: list[str]) -> str:
    """The results with some rows of the table of ratios written anew; rows that are not there come last."""
    lines = text.splitlines()
    for row in rows:
        name = row.split("|")[1]
        found = next((i for i, line in enumerate(lines) if line.startswith("|") and line.split("|")[1] == name), None)
        if found is None:
            lines.insert(lines.index("", lines.index("|---|---|---|---|---|")), row)
        else:
            lines[found] = row
    return "\n".join(lines) + "\n"


def main() -> None:
    """All groups, or the cases whose names hold one of the words."""
    warnings.simplefilter("ignore")
    words = sys.argv[1:]
    ratios = speed(words)
    if words and RESULTS.exists():
        RESULTS.write_text(renewed(RESULTS.read_text("utf-8"), ratios[4:]), encoding="utf-8")
        return
    parts = [HEAD.format(machine=machine()), "\n".join(ratios)]
    for table in (accuracy.table, hiding.accuracy_table, evidence.table, memory.table, imports.table):
        parts.append("\n".join(table()))
        print(parts[-1], flush=True)
    RESULTS.write_text("\n\n".join([*parts, READING]) + "\n", encoding="utf-8")
    print(f"wrote {RESULTS}")


if __name__ == "__main__":
    main()
