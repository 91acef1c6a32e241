"""The core: model, target, probe, run, method, result, figure."""
