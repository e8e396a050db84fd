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
from palm_model.prior.rendered import Rendered
from palm_model.prior.sampling import Sampler
from palm_model.prior.volume import Rays


class Relit(NamedTuple):
    """What n rays see."""

    colour: Float[Tensor, "n 3"]
    """Linear light, composited, without background."""
    opacity: Float[Tensor, "n"]


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
    """What rays see of hands in a light, without gradients; arguments as of `relit`."""
    rendered = network.render(rays, poses, skinning=skinning, sampler=sampler)
    colour = relit(
        branch, network, rendered, rays, poses, skinning=skinning, random=random, light=light, samples=samples
    )
    return Relit(colour, rendered.opacity)


@torch.no_grad()
def relit(
    branch: PbrBranch,
    network: PalmNet,
    rendered: Rendered,
    rays: Rays,
    poses: Poses,
    *,
    skinning: Skinning,
    random: torch.Generator,
    light: EnvironmentLight | None = None,
    samples: int | None = None,
) -> Float[Tensor, "n 3"]:
    """Colours of rays that the network rendered, linear, composited, a bounded number at a time.

    In another light than the learned one the hand does not light itself: its radiance field shows it in the learned one.

    Args:
        random: on the rays' device.
        light: in the rig's world, on the rays' device; None: the learned one, of each person.
        samples: directions of each hit, at least; None: as set.
    """
    lighting = _lighting(branch, light, samples)
    count = lighting.shading.rows * lighting.shading.columns
    hands = HandField.of(network, poses, skinning)
    hit = (rendered.opacity > branch.settings.least_opacity).nonzero()[:, 0]
    colour = torch.zeros_like(rendered.colour)
    for part in hit.split(max(network.settings.max_points // count, 1)):
        if len(part):
            colour[part] = branch.lit(hands, rendered, rays, part, lighting=lighting, random=random).to(colour)
    return colour


def _lighting(branch: PbrBranch, light: EnvironmentLight | None, samples: int | None) -> Lighting:
    settings = branch.settings
    shading = settings.view_shading
    if samples is not None:
        rows = max(math.isqrt(samples // 2), 1)
        shading = shading.model_copy(update={"rows": rows, "columns": math.ceil(samples / rows)})
    return Lighting(shading, settings.view_visibility, settings.indirect and light is None, light)
