"""What a unit can see is where its gradient can be other than zero."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import pellucid as pl
from pellucid.errors import LayerError, ShapeError, TargetError
from pellucid.features.receptive import boxes_of, support_of
from pellucid.features.units import places


class Branches(nn.Module):
    """Residual sums of unequal reach, strides by slicing, padding and concatenation by function."""

    def __init__(self) -> None:
        super().__init__()
        self.a = nn.Conv2d(1, 2, 3, padding=1)
        self.b = nn.Conv2d(2, 2, 5, padding=2, dilation=1, groups=2)
        self.c = nn.Conv2d(4, 3, 1)

    def forward(self, x: Tensor) -> Tensor:
        y = torch.tanh(self.a(x))
        y = y + F.pad(self.b(y)[:, :, 1:, 1:], (0, 1, 0, 1))
        y = torch.cat([y, F.avg_pool2d(y, 3, 1, 1)], 1)[:, :, ::2, ::2]
        y += 0.5
        return self.c(y)


class Written(nn.Module):
    """Numbers written into a tensor, and two axes exchanged."""

    def __init__(self) -> None:
        super().__init__()
        self.a = nn.Conv2d(1, 1, (3, 1), padding=(1, 0))

    def forward(self, x: Tensor) -> Tensor:
        y = torch.zeros_like(x)
        y[:, :, 2:] = x[:, :, :-2]
        return self.a(y.transpose(2, 3))


def conv(*parts: nn.Module) -> nn.Module:
    return nn.Sequential(*parts)


NETS = {
    "strides": (conv(nn.Conv1d(1, 2, 3, stride=2), nn.Tanh(), nn.Conv1d(2, 2, 4, stride=3, padding=2)), (1, 40)),
    "dilation": (conv(nn.Conv2d(1, 2, 3, dilation=2, padding=2), nn.Conv2d(2, 2, 3, dilation=3)), (1, 16, 14)),
    "same": (conv(nn.Conv1d(1, 2, 4, padding="same"), nn.Conv1d(2, 1, 6, padding="same", dilation=2)), (1, 30)),
    "wide padding": (conv(nn.Conv1d(1, 2, 3, padding=4), nn.Conv1d(2, 2, 3)), (1, 12)),
    "average pools": (conv(nn.Conv2d(1, 2, 3), nn.AvgPool2d(3, 2, 1), nn.AdaptiveAvgPool2d(3)), (1, 15, 17)),
    "ceiling": (conv(nn.Conv1d(1, 2, 2), nn.AvgPool1d(3, 2, ceil_mode=True)), (1, 15)),
    "volumes": (conv(nn.Conv3d(1, 2, 3, padding=1, stride=(1, 2, 1)), nn.Conv3d(2, 1, (1, 3, 3))), (1, 6, 9, 7)),
    "transposed": (conv(nn.Conv1d(1, 2, 3, 2), nn.ConvTranspose1d(2, 1, 3, 2, 1, output_padding=1)), (1, 21)),
    "transposed maps": (conv(nn.Conv2d(1, 2, 3, 2), nn.ConvTranspose2d(2, 1, 2, 3, dilation=2)), (1, 9, 11)),
    "branches": (Branches(), (1, 13, 12)),
    "written": (Written(), (1, 7, 9)),
    "upsampling": (conv(nn.Conv2d(1, 1, 3), nn.Upsample(scale_factor=2), nn.Conv2d(1, 1, 2)), (1, 8, 8)),
    "normalized": (conv(nn.Conv1d(1, 2, 3), nn.BatchNorm1d(2), nn.SiLU(), nn.Dropout(), nn.Conv1d(2, 1, 2)), (1, 12)),
}


@pytest.mark.filterwarnings("ignore:Using padding")
@pytest.mark.parametrize("name", NETS)
def test_what_is_seen_is_where_the_gradient_is_not_zero_at_every_position(name: str) -> None:
    net, shape = NETS[name]
    torch.manual_seed(0)
    for each in net.parameters():
        nn.init.uniform_(each, 0.5, 1.5)
    whole = nn.Sequential(net.double().eval())
    model = pl.Model(whole)
    x = torch.rand(1, *shape, dtype=torch.float64)
    leaves = model.read(x)
    place = places(model, leaves, "0")[0]
    boxes, reach = boxes_of(model, leaves, place)
    assert not reach.unknown
    x.requires_grad_()
    maps = whole(x)[0].sum(0)
    for at in np.ndindex(*maps.shape):
        slope = torch.autograd.grad(maps[at], x, retain_graph=True, allow_unused=True)[0]
        assert boxes.at(at) == support_of(slope[0, 0].abs().numpy()), at


def test_max_pools_see_all_of_their_windows() -> None:
    net = nn.Sequential(nn.Conv1d(1, 2, 3), nn.MaxPool1d(2), nn.Conv1d(2, 2, 3), nn.MaxPool1d(3, 2, 1))
    field = pl.receptive_field(net, "3", torch.rand(64, 1, 80))
    # sizes by hand: 3, then + 1·1 = 4, + 2·2 = 8, + 2·2 = 12; steps 1, 2, 2, 4
    assert (field.size, field.stride) == ((12,), (4.0,))
    assert field.support == field.box()


def test_size_stride_and_start_of_resnet_layers_by_the_recursion_over_layers() -> None:
    layers = [(7, 2, 3), (3, 2, 1), (3, 1, 1), (3, 1, 1), (3, 2, 1), (3, 1, 1)]
    net = nn.Sequential(*[nn.Conv2d(1, 1, k, s, p) for k, s, p in layers])
    size, jump, start = 1, 1, 0
    for i, (k, s, p) in enumerate(layers):
        size, start, jump = size + (k - 1) * jump, start - p * jump, jump * s
        field = pl.receptive_field(net, str(i), torch.rand(2, 1, 24, 24))
        assert field.size == (size, size)
        assert field.stride == (float(jump),) * 2
        assert field.start == (float(start),) * 2


def test_the_whole_input_is_seen_after_global_pooling_and_in_attention() -> None:
    net = nn.Sequential(nn.Conv1d(1, 4, 3), nn.AdaptiveAvgPool1d(1), nn.Flatten(), nn.Linear(4, 2))
    assert pl.receptive_field(net, "3", torch.rand(2, 1, 9)).size == (None,)
    field = pl.receptive_field(pl.load("demo:sentences"), "blocks.0", ["a good film", "a very bad one"])
    assert field.size == (None,)
    assert not field.unknown


def test_an_operation_nobody_knows_sees_everything_and_is_named() -> None:
    class Odd(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return torch.fft.ifft(torch.fft.fft(x)).real.contiguous()

    net = nn.Sequential(nn.Conv1d(1, 1, 3), Odd(), nn.Conv1d(1, 1, 3))
    field = pl.receptive_field(net, "2", torch.rand(2, 1, 12))
    assert field.box() == ((0, 12),)
    assert "everything" in field.words()


def test_the_effective_field_of_stacked_equal_filters_grows_by_the_root() -> None:
    """Luo et al. 2016: n layers of equal weights look at an area that grows like the root of n."""
    sides = []
    for n in (4, 16):
        net = nn.Sequential(*[nn.Conv2d(1, 1, 3, padding=1, bias=False) for _ in range(n)])
        for part in net:
            nn.init.constant_(part.weight, 1 / 9)
        sides.append(pl.receptive_field(net, str(n - 1), torch.rand(1, 1, 65, 65)).effective)
    assert sides[1] / sides[0] == pytest.approx(2, rel=0.15)


def test_bad_questions_are_refused() -> None:
    net = nn.Sequential(nn.Conv1d(1, 2, 3), nn.ReLU(), nn.Flatten(), nn.Linear(12, 2))
    x = torch.rand(2, 1, 8)
    with pytest.raises(LayerError):
        pl.receptive_field(net, "9", x)
    with pytest.raises(TargetError, match="a position"):
        pl.receptive_field(net, "0", x, position=99)
    with pytest.raises(TargetError, match="a unit"):
        pl.receptive_field(net, "0", x, channel=2)
    with pytest.raises(ShapeError):
        pl.receptive_field(nn.Sequential(nn.Linear(3, 2)), "0", torch.rand(2, 3))


def test_figures_are_drawn() -> None:
    net = nn.Sequential(nn.Conv1d(1, 2, 3), nn.ReLU())
    field = pl.receptive_field(net, "1", torch.rand(2, 1, 9))
    assert field._repr_html_()
    assert field.figure().text()
    assert pl.receptive_field(nn.Sequential(nn.Conv3d(1, 1, 3)), "0", torch.rand(1, 1, 5, 5, 5)).figure().html()
