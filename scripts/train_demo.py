"""Train the demo's networks and print their held-out scores: ``python scripts/train_demo.py [names]``."""

import sys

import torch

from pellucid.demo import NAMES
from pellucid.demo.train import train

if __name__ == "__main__":
    torch.set_num_threads(1)
    for name in sys.argv[1:] or NAMES:
        measure = "R²" if name == "diabetes" else "accuracy"
        print(f"{name}: held-out {measure} {train(name):.4f}")
