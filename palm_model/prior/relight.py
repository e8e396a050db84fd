"""Pictures of hands by the physically based branch: in the light that was learned, or in any other."""

import math
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from palm_model.prior.hand_field import HandField
from palm_model.prior.light import EnvironmentLight
from palm_model.prior.network import PalmNet
from palm_model.prior.parts import Skinning
from palm_model.prior.pbr_branch import Lighting, PbrBranch
from palm_model.prior.poses import Poses
from palm_model.prior.sampling import Sampler
from palm_model.prior.volume import Rays


class Relit(NamedTuple):
    """What n rays see."""

    colour: Float[Tensor, "n 3"]
    """Linear light, composited, without background."""
    opacity: Float[Tensor, "n"]


@torch.no_grad()
def render_relit(
    branch: PbrBranch,
    network: PalmNet,
    rays: Rays,
    poses: Poses,
    *,
    skinning: Skinning,
    sampler: Sampler,
    random: torch.Generator,
    light: EnvironmentLight | None = None,
    samples: int | None = None,
) -> Relit:
    """What rays see of hands in a light, without gradients, a bounded number of rays at a time.

    In another light than the learned one the hand does not light itself: its radiance field shows it in the learned one.

    Args:
        random: on the rays' device.
        light: in the rig's world, on the rays' device; None: the learned one, of each person.
        samples: directions of each hit, at least; None: as set.
    """
    lighting = _lighting(branch, light, samples)
    count = lighting.shading.rows * lighting.shading.columns
    step = max(network.settings.max_points // max(sampler.samples, count), 1)
    hands = HandField.of(network, poses, skinning)
    parts = []
    for begin in range(0, max(len(rays), 1), step):
        own = rays.part(begin, begin + step)
        rendered = network.render(own, poses, skinning=skinning, sampler=sampler)
        hit = (rendered.opacity > branch.settings.least_opacity).nonzero()[:, 0]
        values = branch.lit(hands, rendered, own, hit, lighting=lighting, random=random)
        colour = torch.zeros_like(rendered.colour).index_put((hit,), values.to(rendered.colour))
        parts.append(Relit(colour, rendered.opacity))
    return Relit(*(torch.cat(part) for part in zip(*parts, strict=True)))


def _lighting(branch: PbrBranch, light: EnvironmentLight | None, samples: int | None) -> Lighting:
    settings = branch.settings
    shading = settings.view_shading
    if samples is not None:
        rows = max(math.isqrt(samples // 2), 1)
        shading = shading.model_copy(update={"rows": rows, "columns": math.ceil(samples / rows)})
    return Lighting(shading, settings.view_visibility, settings.indirect and light is None, light)
