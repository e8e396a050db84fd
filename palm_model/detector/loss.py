"""The training's loss: cross-entropy of heatmaps, bounded so that wrong labels stop pulling."""

import torch
from jaxtyping import Bool, Float
from torch import Tensor


def heatmap_divergence(
    logits: Float[Tensor, "batch joints size size"], target: Float[Tensor, "batch joints size size"]
) -> Float[Tensor, "batch joints"]:
    """Kullback–Leibler divergence of each predicted heatmap from its target, nats."""
    predicted = torch.log_softmax(logits.flatten(2), dim=-1)
    wanted = target.flatten(2)
    return (torch.special.xlogy(wanted, wanted) - wanted * predicted).sum(dim=-1)


def robust_mean(
    divergence: Float[Tensor, "batch joints"], labelled: Bool[Tensor, "batch joints"], scale: float | None
) -> Float[Tensor, ""]:
    """Mean over the labelled joints; Geman and McClure's function bounds each at `scale` (None: unbounded).

    With d = r², ρ(d) = d s / (d + s): a label that the network finds impossible hardly moves the weights any more.
    """
    if scale is not None:
        divergence = divergence * scale / (divergence.clamp(min=0.0) + scale)
    counted = labelled.to(divergence.dtype)
    return (divergence * counted).sum() / counted.sum().clamp(min=1.0)
