"""Train the demo's networks and print their held-out scores: ``python scripts/train_demo.py [names]``."""

import sys

import torch

from pellucid.demo import NAMES
from pellucid.demo.train import train

if __name__ == "__main__":
    torch.set_num_threads(1)
    for name in sys.argv[1:] or NAMES:
        header = train(name)
        others = "".join(f", {kind} {score:.4f}" for kind, score in header["scores"].items())
        print(f"{name}: held-out {header['measure']} {header['score']:.4f}{others}")
