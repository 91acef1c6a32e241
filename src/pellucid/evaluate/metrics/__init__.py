"""Metrics: one number about an explanation, each as its paper defines it; ``pl.check`` asks the few that judge."""

from __future__ import annotations

from pellucid.evaluate.metrics.bank import MuFidelity as MuFidelity
from pellucid.evaluate.metrics.measure import Measured as Measured
from pellucid.evaluate.metrics.measure import Measurements as Measurements
from pellucid.evaluate.metrics.measure import Metric as Metric
from pellucid.evaluate.metrics.measure import Untestable as Untestable
