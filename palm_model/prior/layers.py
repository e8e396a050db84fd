"""The networks' layers: a sphere to start from, and one whose steepness is bounded."""

import math
from typing import cast

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn.utils.parametrizations import weight_norm


def even_directions(count: int) -> Float[Tensor, "count 3"]:
    """Unit vectors spread evenly (Fibonacci's lattice)."""
    row = torch.arange(count, dtype=torch.float64)
    height = 1.0 - (2.0 * row + 1.0) / count
    turn = row * math.pi * (3.0 - math.sqrt(5.0))
    flat = (1.0 - height * height).sqrt()
    return torch.stack([flat * turn.cos(), flat * turn.sin(), height], dim=-1).float()


def linear(inputs: int, outputs: int, generator: torch.Generator | None) -> nn.Linear:
    """A layer with He's weights and no bias at first."""
    layer = nn.Linear(inputs, outputs)
    with torch.no_grad():
        layer.weight.normal_(0.0, math.sqrt(2.0 / inputs), generator=generator)
        layer.bias.zero_()
    return layer


def told_layer(
    layer: nn.Module,
    own: Float[Tensor, "n own"],
    told: Float[Tensor, "p told"],
    row: Int[Tensor, "n"] | None,
) -> Float[Tensor, "n outputs"]:
    """What a layer makes of (own, told[row]): of what few hands are told it is computed once a hand.

    A column for each hand, one at its points, stands for what they are told. No sum is scattered, so that gradients
    too are the same every time.

    Args:
        row: None: a row of `told` for each point.
    """
    if row is None:
        whole: Tensor = layer(torch.cat([own, told], dim=-1))
        return whole
    size, weight, bias = own.shape[1], cast("Tensor", layer.weight), cast("Tensor", layer.bias)
    of_hands = nn.functional.linear(told, weight[:, size:], bias)
    whose = (row[:, None] == torch.arange(len(told), device=row.device)).to(own)
    return nn.functional.linear(torch.cat([own, whose], dim=-1), torch.cat([weight[:, :size], of_hands.T], dim=-1))


def relu_network(inputs: int, width: int, outputs: int, generator: torch.Generator | None) -> nn.Sequential:
    """Two hidden layers of ReLU."""
    first, second = linear(inputs, width, generator), linear(width, width, generator)
    return nn.Sequential(first, nn.ReLU(), second, nn.ReLU(), linear(width, outputs, generator))


def sphere_network(
    inputs: int, width: int, outputs: int, radius: float, generator: torch.Generator | None
) -> nn.Sequential:
    """One hidden layer of softplus, weight-normed, whose first output is |x| − radius of its first three inputs x.

    The mean of max(d·x, 0) over all unit directions d is |x|/4; evenly spread ones in place of the usual random rows
    (Atzmon and Lipman, 2020) make it a sphere already with few of them. No other input has a say at first.
    """
    first, last = nn.Linear(inputs, width), linear(width, outputs, generator)
    with torch.no_grad():
        first.weight.zero_()
        first.weight[:, :3] = even_directions(width)
        first.bias.zero_()
        last.weight[0] = 4.0 / width
        last.bias[0] = -radius
    return nn.Sequential(weight_norm(first), nn.Softplus(beta=100), weight_norm(last))


class LipschitzLinear(nn.Module):
    """A layer that changes by at most its bound times its input's change, in the largest coordinate (Liu et al., 2022)."""

    def __init__(self, inputs: int, outputs: int, generator: torch.Generator | None = None) -> None:
        """Start with a bound twice what the weights need."""
        super().__init__()
        self.linear = linear(inputs, outputs, generator)
        steepest = 2.0 * self.linear.weight.detach().abs().sum(dim=1).max()
        self.raw_bound = nn.Parameter(torch.log(torch.expm1(steepest)))

    @property
    def bound(self) -> Float[Tensor, ""]:
        """The largest sum that a row of weights may have."""
        return nn.functional.softplus(self.raw_bound)

    def forward(self, values: Float[Tensor, "n inputs"]) -> Float[Tensor, "n outputs"]:
        """The layer with rows scaled down to the bound where they exceed it."""
        sums = self.linear.weight.abs().sum(dim=1).clamp_min(1e-12)
        scale = (self.bound / sums).clamp(max=1.0)
        return nn.functional.linear(values, self.linear.weight * scale[:, None], self.linear.bias)


class LipschitzNetwork(nn.Module):
    """Two hidden layers of ReLU, every layer bounded."""

    def __init__(self, inputs: int, width: int, outputs: int, generator: torch.Generator | None = None) -> None:
        super().__init__()
        sizes = ((inputs, width), (width, width), (width, outputs))
        self.layers = nn.ModuleList(LipschitzLinear(*size, generator) for size in sizes)

    def bound(self) -> Float[Tensor, ""]:
        """The network's Lipschitz bound in the largest coordinate: the product of its layers'. A loss keeps it low."""
        return torch.stack([layer.bound for layer in self.layers if isinstance(layer, LipschitzLinear)]).prod()

    def forward(self, values: Float[Tensor, "n inputs"]) -> Float[Tensor, "n outputs"]:
        """Before any last activation."""
        for layer in self.layers[:-1]:
            values = torch.relu(layer(values))
        out: Tensor = self.layers[-1](values)
        return out
