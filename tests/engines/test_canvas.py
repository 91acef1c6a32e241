"""Canvases: waves, colors and statistics have exact answers; bounds hold; random draws depend on numbers only."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from pellucid.engines.canvas import MACO, Fourier, Ground, Pixels, Prior
from pellucid.engines.spectrum import amplitudes, colors_of, doubled, frequencies, mean_of, mixed, opponent, unmixed
from pellucid.engines.transforms import Moved, Transforms
from pellucid.errors import InputError, OptionError, ShapeError


def ground(*shape: int, rank: int = 2, **rest: object) -> Ground:
    """Numbers in [−1, 2]."""
    low = torch.full([1] * len(shape), -1.0, dtype=torch.float64)
    return Ground(shape, low, low + 3, rank, **rest)


def natural(n: int, *shape: int) -> torch.Tensor:
    """Smooth pictures with correlated channels, inside [−1, 2]."""
    source = torch.Generator().manual_seed(3)
    white = torch.randn(n, *shape, generator=source, dtype=torch.float64)
    waves = torch.fft.rfft2(white, norm="ortho") * frequencies(shape[1:], white) ** -0.8
    smooth = torch.fft.irfft2(waves, s=shape[1:], norm="ortho")
    mixed_up = torch.einsum("cd,ndhw->nchw", torch.tril(torch.ones(shape[0], shape[0]).double()), smooth)
    return 3 * torch.sigmoid(0.3 * mixed_up - 0.5) - 1


SIDES = st.integers(2, 9)


@given(SIDES, SIDES, st.integers(1, 3))
def test_waves_go_back_and_keep_sums_of_squares(high, wide, channels):
    x = torch.randn(channels, high, wide, dtype=torch.float64)
    waves = amplitudes(x, 2)
    assert torch.allclose(torch.fft.irfft2(waves, s=(high, wide), norm="ortho"), x)
    assert torch.allclose((waves.abs() ** 2 * doubled((high, wide), x)).sum(), x.square().sum())


@pytest.mark.parametrize("canvas", [Pixels(), Fourier(), MACO()])
@pytest.mark.parametrize("shape", [(1, 8, 8), (3, 7, 10), (2, 5, 5), (3, 6, 9)])
def test_a_canvas_begins_where_it_is_told(canvas, shape):
    start = 2.8 * torch.rand(2, *shape, dtype=torch.float64) - 0.9
    for where in (ground(*shape, start=start), ground(*shape, start=start, sample=natural(9, *shape))):
        if isinstance(canvas, MACO) and where.sample is not None:
            continue  # its magnitudes are those of the data
        painter = canvas.on(where)
        assert torch.allclose(painter.paint(painter.start(torch.arange(2))), start, atol=1e-8)


@pytest.mark.parametrize("canvas", [Pixels(), Fourier(), MACO()])
def test_a_series_is_painted_too(canvas):
    start = 2.8 * torch.rand(1, 2, 11, dtype=torch.float64) - 0.9
    painter = canvas.on(ground(2, 11, rank=1, start=start))
    assert torch.allclose(painter.paint(painter.start(torch.tensor([0]))), start, atol=1e-8)


@pytest.mark.parametrize("decay", [0.5, 1.0, 2.0])
def test_the_first_picture_has_the_slope_it_claims(decay):
    painter = Fourier(decay=decay, spread=1.0).on(ground(1, 64, 64))
    white = painter.white(painter.start(torch.arange(200))).detach()
    waves = amplitudes(white, 2)
    strength = waves.abs().square().mean((0, 1)).sqrt()[1:32, 1:32].flatten().log().numpy()
    slope = np.polyfit(frequencies((64, 64), waves.real)[1:32, 1:32].flatten().log().numpy(), strength, 1)[0]
    assert slope == pytest.approx(-decay, abs=0.03)
    assert float(white.square().mean()) == pytest.approx(1, abs=0.05)


def test_white_noise_gets_the_covariance_of_the_colors():
    for colors in (opponent(ground(3, 4, 4)), torch.randn(5, 5, dtype=torch.float64)):
        n = len(colors)
        white = torch.randn(1, n, 400, 500, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
        found = torch.cov(mixed(colors, white).flatten(2)[0])
        wanted = colors @ colors.T
        assert torch.allclose(found, wanted, atol=0.03 * float(wanted.abs().max()))
        assert torch.allclose(unmixed(colors, mixed(colors, white[..., :3])), white[..., :3])
    assert float(opponent(ground(3, 4, 4)).square().sum()) == pytest.approx(3)


def test_statistics_of_data_are_painted_back():
    sample = natural(400, 3, 9, 8)
    where = ground(3, 9, 8, sample=sample)
    painter = Fourier(spread=1.0).on(where)
    drawn = where.open(painter.paint(painter.start(torch.arange(400))))
    real = where.open(sample)
    for one, other in ((drawn.mean((0, 2, 3)), real.mean((0, 2, 3))), (drawn.std((0, 2, 3)), real.std((0, 2, 3)))):
        assert torch.allclose(one, other, rtol=0.15, atol=0.1)
    one, other = (torch.corrcoef(each.movedim(1, 0).flatten(1)) for each in (drawn, real))
    assert torch.allclose(one, other, atol=0.1)
    assert torch.allclose(colors_of(where), colors_of(where).T)


def test_places_of_data_count_only_where_they_differ_for_sure():
    moving = (
        torch.randn(300, 1, 6, 6, dtype=torch.float64, generator=torch.Generator().manual_seed(0)).sigmoid() * 3 - 1
    )
    even = mean_of(ground(1, 6, 6, sample=moving))
    assert float(even.std()) < 0.05
    moving[:, :, 0] = -0.9
    assert float(mean_of(ground(1, 6, 6, sample=moving))[0, 0, 0]) < -2


@pytest.mark.parametrize("shape", [(1, 8, 8), (3, 7, 10), (2, 9, 9), (1, 6, 7)])
def test_maco_never_changes_a_magnitude(shape):
    painter = MACO().on(ground(*shape, sample=natural(20, *shape)))
    parameters = painter.start(torch.arange(2))
    assert [each.requires_grad for each in parameters] == [True, False]
    optimizer = torch.optim.Adam(parameters[:1], lr=0.5)
    for _ in range(5):
        white = painter.white(parameters)
        assert torch.allclose(amplitudes(white, 2).abs(), parameters[1], atol=1e-10)
        optimizer.zero_grad()
        (painter.paint(parameters) * torch.randn(shape, dtype=torch.float64)).sum().backward()
        assert float(parameters[0].grad.abs().max()) > 0
        optimizer.step()


@pytest.mark.parametrize("canvas", [Pixels(), Pixels(norm=2.0), Fourier(), MACO()])
def test_a_row_starts_by_its_number_only_and_stays_in_bounds(canvas):
    painter = canvas.on(ground(2, 6, 5))
    many, one = painter.paint(painter.start(torch.arange(4))), painter.paint(painter.start(torch.tensor([2])))
    assert torch.equal(many[2], one[0])
    assert not torch.equal(many[1], many[2])
    assert bool((many >= -1).all()) or isinstance(canvas, Pixels)
    assert bool((many <= 2).all())


def test_a_prior_paints_what_the_model_takes_and_is_left_alone():
    module = torch.nn.Sequential(torch.nn.Linear(3, 8), torch.nn.Dropout(0.5), torch.nn.Unflatten(1, (2, 2, 2)))
    painter = Prior(module=module.double(), code=(3,)).on(ground(2, 2, 2))
    painted = painter.paint(painter.start(torch.arange(2)))
    assert torch.equal(painted, painter.paint(painter.start(torch.arange(2))))
    assert module.training
    assert all(each.grad is None for each in module.parameters())
    with pytest.raises(ShapeError, match="prior that paints"):
        Prior(module=module, code=(3,)).on(ground(2, 2, 3))
    with pytest.raises(InputError, match="begin from a picture"):
        Prior(module=module, code=(3,)).on(ground(2, 2, 2, start=torch.zeros(1, 2, 2, 2)))


def test_options_that_cannot_be_are_refused():
    with pytest.raises(OptionError, match="norm"):
        Pixels(norm=0.0)
    with pytest.raises(ShapeError, match="waves"):
        MACO().on(ground(5, rank=0))
    for wrong in ({"jitter": -1}, {"edge": "wrap"}, {"crop": 0.0}, {"scale": 1.0}, {"noise": math.nan}):
        with pytest.raises(OptionError):
            Transforms(**wrong)


def moved(transforms: Transforms, rank: int = 2) -> Moved:
    return Moved(transforms, rank, torch.ones(()), seed=5)


def test_no_move_changes_nothing():
    x = torch.rand(2, 3, 6, 7)
    assert torch.equal(moved(Transforms())(x, 0, torch.arange(2)), x)


def test_jitter_moves_by_whole_places():
    x = torch.rand(1, 1, 12, 12, dtype=torch.float64)
    for step in range(8):
        y = moved(Transforms(jitter=2))(x, step, torch.tensor([0]))
        shifts = [(a, b) for a in range(-2, 3) for b in range(-2, 3)]
        inner = y[..., 3:9, 3:9]
        assert any(torch.allclose(inner, x[..., 3 + a : 9 + a, 3 + b : 9 + b]) for a, b in shifts)
    steps = [moved(Transforms(jitter=2))(x, step, torch.tensor([0])) for step in range(8)]
    assert any(not torch.equal(steps[0], each) for each in steps)


EVERYTHING = Transforms(jitter=2, rotate=20, scale=0.2, crop=0.6, pad=2, noise=0.1)


@pytest.mark.parametrize(("shape", "rank"), [((3, 9, 12), 2), ((2, 20), 1), ((7,), 0)])
def test_draws_depend_on_seed_step_and_number_only(shape, rank):
    x = torch.rand(1, *shape).expand(4, *shape)
    move = moved(EVERYTHING, rank)
    many, one = move(x, 3, torch.tensor([0, 1, 2, 1])), move(x[:1], 3, torch.tensor([1]))
    assert torch.equal(many[1], one[0])
    assert torch.equal(many[1], many[3])
    assert not torch.equal(many[0], many[1])
    assert not torch.equal(one, move(x[:1], 4, torch.tensor([1])))
    assert not torch.equal(one, Moved(EVERYTHING, rank, torch.ones(()), seed=6)(x[:1], 3, torch.tensor([1])))
    assert many.shape == x.shape


def test_turning_a_quarter_turns_a_square_whatever_its_sides():
    look = moved(Transforms(rotate=1.0)).place(torch.Generator().manual_seed(0), torch.Size((1, 1, 40, 20)))
    across, down = look[:, 0] * torch.tensor([20.0, 40.0]), look[:, 1] * torch.tensor([20.0, 40.0])
    assert float(across @ down) == pytest.approx(0, abs=1e-6)  # right angles stay right angles
