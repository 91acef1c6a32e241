"""Proxies: their closed forms against all coalitions, their fits, and estimates that they adjust."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from pellucid.engines.coalitions import every, paired
from pellucid.engines.interactions import SHAPLEY, Index, mobius, terms_up_to
from pellucid.engines.proxy import (
    PROXIES,
    Quadratic,
    adjusted,
    boosted,
    linear,
    log_counts,
    mixed_mass,
    quadratic,
    ridge,
    root_mass,
    stands_for,
)

INDEXES = [SHAPLEY, Index("SII", 2), Index("STII", 2), Index("STII", 3), Index("Möbius", 2)]


def game(n: int, seed: int) -> Tensor:
    """Scores (2ⁿ, 2) of two smooth games."""
    random = torch.Generator().manual_seed(seed)
    slopes, top = (torch.randn(*shape, generator=random, dtype=torch.float64) for shape in ((n, 5), (5, 2)))
    return torch.tanh(every(n).double() @ slopes) @ top


def looked_up(scores: Tensor, z: Tensor) -> Tensor:
    return scores[(z.long() * 2 ** torch.arange(z.shape[1])).sum(1)]


@pytest.mark.parametrize("index", INDEXES, ids=lambda index: f"{index.name} {index.order}")
@given(n=st.integers(2, 6), seed=st.integers(0, 10**4))
def test_boxes_have_the_values_of_their_games(index: Index, n: int, seed: int) -> None:
    """Games [A shown, B hidden] as tables, through their Möbius coefficients; a coalition is a box, too."""
    random = torch.Generator().manual_seed(seed)
    side, terms = torch.randint(0, 3, (7, n), generator=random), terms_up_to(n, 3 if index.order == 3 else 2)
    shown, hidden = side == 1, side == 2
    z = every(n)
    table = (z[:, None] | ~shown[None]).all(2) & ~(z[:, None] & hidden[None]).any(2)
    expected = index.from_mobius(mobius(table.double()), terms[terms.sum(1) <= index.order])
    found = index.of_boxes(terms[terms.sum(1) <= index.order], shown, hidden)
    torch.testing.assert_close(found, expected, rtol=1e-10, atol=1e-10)
    scores = game(n, seed)
    by_rows = index.of_boxes(terms[terms.sum(1) <= index.order], z, ~z) @ scores
    torch.testing.assert_close(by_rows, index.from_mobius(mobius(scores), terms[terms.sum(1) <= index.order]))


@pytest.mark.parametrize("index", INDEXES, ids=lambda index: f"{index.name} {index.order}")
@pytest.mark.parametrize("proxy", PROXIES)
def test_a_proxy_knows_its_own_values(proxy: str, index: Index) -> None:
    n, z = 6, every(6)
    design = paired(n, 50, 0)
    learned = PROXIES[proxy](design.coalitions, looked_up(game(n, 1), design.coalitions))
    terms = terms_up_to(n, index.order)
    expected = index.from_mobius(mobius(learned(z)), terms)
    torch.testing.assert_close(learned.values(index, terms), expected, rtol=1e-5, atol=1e-5)


def test_fits() -> None:
    """A line and a quadratic form are found again, trees come near to anything, zero stays zero."""
    z = every(8)
    z = torch.stack([z[:128], ~z[:128]], 1).flatten(0, 1)
    x = z.double() - 0.5
    straight = 2 + x @ torch.arange(8.0, dtype=torch.float64)[:, None]
    bent = straight + 3 * x[:, :1] * x[:, 3:4] - x[:, 2:3] * x[:, 5:6]
    torch.testing.assert_close(linear(z, straight)(z), straight, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(quadratic(z, bent)(z), bent, rtol=1e-4, atol=1e-4)
    assert abs(float(quadratic(z, bent).pair[0, 3, 0]) - 3) < 1e-3
    step = 5 * (z[:, :1] & z[:, 1:2] & ~z[:, 4:5]).double()
    missed = {name: float((PROXIES[name](z, step)(z) - step).square().mean()) for name in PROXIES}
    assert missed["tree"] < 0.05 * missed["quadratic"] < missed["linear"]
    for name in PROXIES:
        assert float(PROXIES[name](z, torch.zeros(256, 2, dtype=torch.float64))(z).abs().max()) == 0


def test_the_penalty_is_chosen_by_leaving_one_out() -> None:
    """The closed form of the error of leaving one out, against leaving each out in turn."""
    random = torch.Generator().manual_seed(0)
    x = torch.randn(12, 20, generator=random, dtype=torch.float64)
    y = x[:, :1] + torch.randn(12, 1, generator=random, dtype=torch.float64)
    size, basis = torch.linalg.eigh(x @ x.T)
    dual = ridge(basis, size, y)
    from pellucid.engines.proxy import PENALTIES

    def left_out(penalty: float) -> float:
        total = 0.0
        for i in range(12):
            rest = [j for j in range(12) if j != i]
            weights = torch.linalg.solve(x[rest] @ x[rest].T + penalty * torch.eye(11), y[rest])
            total += float((y[i] - x[i] @ x[rest].T @ weights).square().sum())
        return total

    penalties = [float(each * size.mean()) for each in PENALTIES]
    best = min(penalties, key=left_out)
    expected = torch.linalg.solve(x @ x.T + best * torch.eye(12), y)
    torch.testing.assert_close(dual, expected, rtol=1e-6, atol=1e-9)


@given(n=st.integers(5, 14), budget=st.integers(40, 120), folds=st.integers(2, 5))
def test_the_drawn_stand_for_all(n: int, budget: int, folds: int) -> None:
    """In every fold, what was drawn of a size stands for as many coalitions as there are."""
    for stratum in paired(n, min(budget, 2**n - 4), 0, drawn=root_mass).strata:
        total = 2 * stratum.there / log_counts(stratum.pairs).exp()[0]
        for k in range(folds):
            assert float(stands_for(stratum, k, folds).sum()) == pytest.approx(float(total))


@pytest.mark.parametrize("mass", [root_mass, mixed_mass])
@pytest.mark.parametrize("n", [5, 6, 9, 16, 25, 49, 100, 196, 301])
def test_every_size_is_drawn_twice_at_the_least_budget(mass: object, n: int) -> None:
    design = paired(n, min(4 * n, 2**n) - 2, 0, drawn=mass)  # type: ignore[arg-type]
    assert len(design.strata) == n // 2
    assert all(len(each.pairs) >= 4 or len(each.pairs) == 2 * each.there for each in design.strata)


@pytest.mark.parametrize("proxy", ["linear", "quadratic", "tree"])
def test_adjusting_by_a_proxy_is_better_than_nothing_and_complete(proxy: str) -> None:
    n, scores = 10, game(10, 3) + every(10).double() @ torch.linspace(1, 3, 10, dtype=torch.float64)[:, None]
    terms = terms_up_to(n, 1)
    exact = SHAPLEY.from_mobius(mobius(scores), terms)
    nothing = lambda z, y: Quadratic(0 * y[0], torch.zeros(n, 2).double(), torch.zeros(n, n, 2).double())  # noqa: E731
    missed: dict[str, list[float]] = {"with": [], "without": []}
    for seed in range(4):
        design = paired(n, 150, seed, drawn=root_mass)
        for name, learn in (("with", PROXIES[proxy]), ("without", nothing)):
            drawn = looked_up(scores, design.coalitions)
            values, error = adjusted(design, drawn, scores[0], scores[-1], SHAPLEY, terms, learn)
            torch.testing.assert_close(values.sum(0), scores[-1] - scores[0])
            missed[name].append(float((values - exact).square().mean()))
            assert bool(((values - exact).abs() <= 6 * error + 1e-9).all())
    assert np.mean(missed["with"]) < 0.1 * np.mean(missed["without"])


@pytest.mark.parametrize("proxy", ["linear", "quadratic"])
def test_all_coalitions_leave_no_error(proxy: str) -> None:
    n, scores = 6, game(6, 2)
    design = paired(n, 2**n - 2, 0, drawn=root_mass)
    for index in INDEXES[:3]:
        terms = terms_up_to(n, index.order)
        drawn = looked_up(scores, design.coalitions)
        values, error = adjusted(design, drawn, scores[0], scores[-1], index, terms, PROXIES[proxy])
        torch.testing.assert_close(values, index.from_mobius(mobius(scores), terms), rtol=1e-9, atol=1e-9)
        assert float(error.max()) == 0


def test_trees_do_not_hang_on_last_digits() -> None:
    design = paired(9, 100, 0)
    y = looked_up(game(9, 0), design.coalitions)
    terms = terms_up_to(9, 1)
    one, other = (boosted(design.coalitions, each).values(SHAPLEY, terms) for each in (y, y * (1 + 1e-15)))
    torch.testing.assert_close(one, other, rtol=1e-10, atol=1e-10)
