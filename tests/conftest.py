"""What every test starts from: one thread, known random numbers, the default settings."""

from __future__ import annotations

import random
from collections.abc import Iterator

import hypothesis
import numpy as np
import pytest
import torch

from pellucid.core.run import CURRENT, Options

hypothesis.settings.register_profile("house", deadline=None, derandomize=True, max_examples=12, database=None)
hypothesis.settings.load_profile("house")
torch.set_num_threads(1)


@pytest.fixture(autouse=True)
def known_start() -> Iterator[None]:
    """The same random numbers for every test, and settings that do not travel from one to the next."""
    torch.manual_seed(0)
    np.random.seed(0)  # noqa: NPY002 - the global state is what a test may look at
    random.seed(0)
    token = CURRENT.set(Options())
    yield
    CURRENT.reset(token)
