"""Which coalitions are asked: all, all but one, or a paired sample without replacement."""

from __future__ import annotations

from math import comb

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from pellucid.engines.coalitions import comers, every, one_out, orders, paired, shared_out, subsets


def test_every_coalition_in_counting_order() -> None:
    z = every(4)
    assert z.shape == (16, 4)
    assert [sum(2**i for i, on in enumerate(row) if on) for row in z.tolist()] == list(range(16))
    assert every(1).tolist() == [[False], [True]]


def test_all_but_one() -> None:
    z = one_out(4)(torch.tensor([2, 0]))
    assert z.tolist() == [[True, True, False, True], [False, True, True, True]]


@given(n=st.integers(2, 30), budget=st.integers(4, 300), seed=st.integers(0, 9))
def test_a_paired_design(n: int, budget: int, seed: int) -> None:
    """Distinct coalitions and their complements within the budget; weights add up to the kernel's mass of each size."""
    design = paired(n, budget, seed)
    z = design.coalitions
    assert len(z) <= budget
    assert len(z) >= min(budget - 1, 2**n - 2)
    assert bool((z[0::2] ^ z[1::2]).all())
    assert len(np.unique(z.numpy(), axis=0)) == len(z)
    size = z.sum(1)
    assert bool(((size > 0) & (size < n)).all())
    assert bool((design.weights > 0).all())
    assert bool(((design.open >= 0) & (design.open < 1)).all())
    for s in size.unique().tolist():
        here = (size == s) | (size == n - s)
        total = sum((n - 1) / (t * (n - t)) for t in {s, n - s})
        assert float(design.weights[here].sum()) == pytest.approx(total)
        there = sum(comb(n, t) for t in {s, n - s})
        if int(here.sum()) == there:
            assert float(design.open[here[0::2]].max()) == 0


@given(n=st.integers(4, 20), budget=st.integers(20, 300), share=st.sampled_from([0.125, 0.25, 0.5]))
def test_a_share_of_a_design_asks_nothing_else(n: int, budget: int, share: float) -> None:
    """So a computation that stops early stays within the budget, and one that goes on asks nothing twice."""
    whole, part = paired(n, budget, 0), paired(n, budget, 0).share(share)
    known = {row.numpy().tobytes() for row in whole.coalitions}
    assert all(row.numpy().tobytes() in known for row in part.coalitions)
    assert len(part.strata) == len(whole.strata)
    assert float(part.weights.sum()) == pytest.approx(float(whole.weights.sum()))


def test_a_larger_budget_asks_what_a_smaller_one_asked() -> None:
    small, large = ({row.numpy().tobytes() for row in paired(20, k, 3).coalitions} for k in (200, 800))
    assert len(small - large) <= 2


def test_orders_and_comers() -> None:
    order = orders(5, 300, 0)
    assert torch.equal(order[:7], orders(5, 7, 0))
    z = comers(order)
    assert z.sum(2).unique(dim=0).tolist() == [[1, 2, 3, 4]]
    assert bool(z[torch.arange(300), 0, order[:, 0]].all())


def test_a_design_depends_on_its_seed_only() -> None:
    torch.manual_seed(1)
    one = paired(12, 60, 3)
    torch.manual_seed(2)
    assert torch.equal(one.coalitions, paired(12, 60, 3).coalitions)
    assert not torch.equal(one.coalitions, paired(12, 60, 4).coalitions)


def test_sampled_members_are_uniform() -> None:
    """Each player is in about as many coalitions as each other."""
    z = torch.cat([paired(15, 120, seed).coalitions for seed in range(40)])
    assert float((z.double().mean(0) - 0.5).abs().max()) < 1e-9  # pairs
    first = torch.cat([paired(15, 120, seed).coalitions[0::2] for seed in range(40)])
    small = first[first.sum(1) == 3]
    assert float((small.double().mean(0) - 0.2).abs().max()) < 0.06


@given(pairs=st.integers(0, 100))
def test_sharing_out(pairs: int) -> None:
    mass, there = {1: 3.0, 2: 2.0, 3: 1.0}, {1: 5, 2: 20, 3: 40}
    given_out = shared_out(mass, there, pairs)
    assert sum(given_out.values()) == min(pairs, 65)
    assert all(0 < m <= there[s] for s, m in given_out.items())


def test_subsets_once_of_each_pair() -> None:
    random = torch.Generator().manual_seed(0)
    whole = subsets(6, 3, 10, random, whole=True, once=True)
    assert whole.shape == (10, 6)
    assert bool(whole[:, 0].all())
    some = subsets(8, 4, 20, random, whole=False, once=True)
    both = torch.cat([some, ~some])
    assert len(np.unique(both.numpy(), axis=0)) == 40
