"""Benchmarks: time over the floor and over the peers, side by side in one process: ``python -m benchmarks``."""
