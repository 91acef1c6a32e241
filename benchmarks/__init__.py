"""Benchmarks: time over the floor and over the peers, measured side by side in one process. ``python -m benchmarks``."""
