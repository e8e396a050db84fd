"""PALM-Net's physically based branch (eq. 7 to 9): what is rendered becomes a surface that a learned light shines on.

Where a ray meets the hand, the normal and the material that were composited along it stand for the surface there, and
the mean depth for the place; light that arrives comes from the environment, past the hand, and from the hand itself,
as its radiance field has it. That a ray has one surface, where eq. 7 scatters along it, differs only where it fades.
"""

from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from palm_model.prior.balanced_light import BalancedGaussians
from palm_model.prior.hand_field import HandField
from palm_model.prior.irradiance import irradiance
from palm_model.prior.light import EnvironmentLight, SphericalGaussians
from palm_model.prior.network import ALL_OPEN, PalmNet, Progress
from palm_model.prior.occupancy import OccupancyGrid
from palm_model.prior.parts import Skinning
from palm_model.prior.poses import Poses
from palm_model.prior.rendered import Rendered
from palm_model.prior.secondary import Secondary, SecondaryMarch
from palm_model.prior.shading import SurfacePoints, outgoing_radiance, uniform_numbers
from palm_model.prior.shadow_mesh import MeshSecondary, PosedMesh, ShadowMesh
from palm_model.prior.volume import Rays
from schemas.errors import SettingsError
from schemas.prior_pbr import ShadingSettings
from schemas.prior_pbr_training import PbrTrainingSettings, Visibility

_FACING = 0.02
"""Least cosine of a normal to its viewer: one that looks away, as at soft outlines, is turned so far towards him."""
_REACH_M = 0.015
_RESOLUTION = 48
"""Of the cells about the registered surface outside of which no secondary ray is marched."""


class PbrShaded(NamedTuple):
    """What n rays see of the shaded hand."""

    colour: Float[Tensor, "n 3"]
    """Linear light, composited, without background."""
    valid: Bool[Tensor, "n"]
    """Rays whose colour is known, those that meet nothing (black) among them; the others were left out."""


class Lighting(NamedTuple):
    """How hits are lit."""

    shading: ShadingSettings
    visibility: Visibility
    indirect: bool
    light: EnvironmentLight | None
    """None: each person's learned light."""


class _Material(NamedTuple):
    albedo: Float[Tensor, "h 3"]
    alpha: Float[Tensor, "h"]
    metallic: Float[Tensor, "h"]


class PbrBranch(nn.Module):
    """The learned light, or lights, and the shading by it; material and geometry are the network's."""

    def __init__(
        self,
        settings: PbrTrainingSettings,
        subjects: int,
        mesh: ShadowMesh,
        *,
        generator: torch.Generator | None = None,
    ) -> None:
        """Start from neutral light, the same for everybody.

        Args:
            subjects: rows of the code book.
            mesh: of the registered surface, for shadows by it.
            generator: on the CPU.
        """
        super().__init__()
        self.settings, self._mesh = settings, mesh
        first = SphericalGaussians.start(settings.light, generator or torch.Generator().manual_seed(0))
        count = 1 if settings.shared_environment else subjects
        kind = BalancedGaussians if settings.balanced_light else SphericalGaussians
        self.lights = nn.ModuleList([kind(first.lobes) for _ in range(count)])

    def light_of(self, subject: int) -> SphericalGaussians:
        """The light that a person, by the row in the code book, stands in.

        Raises:
            SettingsError: if there is no such person.
        """
        if self.settings.shared_environment:
            subject = 0
        if not 0 <= subject < len(self.lights):
            raise SettingsError(f"pbr: expected the row of one of {len(self.lights)} people, found {subject}.")
        light = self.lights[subject]
        assert isinstance(light, SphericalGaussians)  # noqa: S101 -- for the type checker
        return light

    def irradiance(self, normals: Float[Tensor, "n 3"], subject: int = 0) -> Float[Tensor, "n 3"]:
        """What the recovered light sends on surfaces by their unit normals, rig's world, linear RGB."""
        return irradiance(self.light_of(subject), normals)

    def shade(
        self,
        network: PalmNet,
        rendered: Rendered,
        rays: Rays,
        poses: Poses,
        *,
        skinning: Skinning,
        random: torch.Generator,
        progress: Progress = ALL_OPEN,
    ) -> PbrShaded:
        """What the rays see by the learned light, with gradients to it, to the material and, as set, to the geometry.

        Args:
            rendered: by the network, of these rays and poses.
            random: on the rays' device.

        Raises:
            SettingsError: if the network has no material.
        """
        hit, valid = self._chosen(rendered.opacity.detach(), random)
        settings = self.settings
        lighting = Lighting(settings.shading, settings.visibility, settings.indirect, None)
        hands = HandField.of(network, poses, skinning, progress)
        values = self.lit(hands, rendered, rays, hit, lighting=lighting, random=random)
        return PbrShaded(torch.zeros_like(rendered.colour).index_put((hit,), values.to(rendered.colour)), valid)

    def lit(
        self,
        hands: HandField,
        rendered: Rendered,
        rays: Rays,
        hit: Int[Tensor, "h"],
        *,
        lighting: Lighting,
        random: torch.Generator,
    ) -> Float[Tensor, "h 3"]:
        """The colours of some of the rays, linear, composited; in single precision, whatever the networks use."""
        with torch.autocast(rays.origins.device.type, enabled=False):
            points, opacity = self._surface(rendered, rays, hit)
            pose = rays.pose[hit]
            posed = self._mesh.posed(hands.poses.vertices) if lighting.visibility == "mesh" else None
            numbers = uniform_numbers(len(hit), lighting.shading, random)
            sent = torch.zeros_like(points.view)
            for light, own in self._groups(hands.poses.subject[pose], lighting.light):
                sent = sent.index_put(
                    (own,),
                    outgoing_radiance(
                        _part(points, own),
                        light,
                        numbers[own],
                        lighting.shading,
                        secondary=self._secondary(hands, pose[own], lighting, posed, random),
                        brdf=self.settings.brdf,
                    ),
                )
            return sent * opacity[:, None]

    def _chosen(
        self, opacity: Float[Tensor, "n"], random: torch.Generator
    ) -> tuple[Int[Tensor, "h"], Bool[Tensor, "n"]]:
        """Rays to shade, and rays that are known by it: drawn evenly from all, so that hits keep their share."""
        hit = opacity > self.settings.least_opacity
        if self.settings.max_hits is None:
            return hit.nonzero()[:, 0], torch.ones_like(hit)
        order = torch.rand(len(hit), generator=random, device=hit.device).argsort()
        valid = torch.zeros_like(hit).index_put((order,), hit[order].cumsum(dim=0) <= self.settings.max_hits)
        return (hit & valid).nonzero()[:, 0], valid

    def _surface(
        self, rendered: Rendered, rays: Rays, hit: Int[Tensor, "h"]
    ) -> tuple[SurfacePoints, Float[Tensor, "h"]]:
        """The surface that each ray meets, and how much of it."""
        if rendered.albedo is None or rendered.alpha is None or rendered.metallic is None:
            raise SettingsError("pbr: expected a network with a material, found one without.")
        opacity, view = rendered.opacity[hit].float(), -rays.directions[hit]
        share = opacity.clamp(min=self.settings.least_opacity)
        material = _Material(
            rendered.albedo[hit].float() / share[:, None],
            rendered.alpha[hit].float() / share,
            rendered.metallic[hit].float() / share,
        )
        normal = nn.functional.normalize(rendered.normal[hit].float(), dim=-1)
        if not self.settings.shape_gradient:
            opacity, normal = opacity.detach(), normal.detach()
        away = _FACING - (normal * view).sum(dim=-1, keepdim=True)
        normal = nn.functional.normalize(normal + away.clamp(min=0.0) * view, dim=-1)
        place = rays.origins[hit] + rendered.depth[hit, None].detach().float() * rays.directions[hit]
        return SurfacePoints(place, view, normal, material), opacity

    def _groups(
        self, subject: Int[Tensor, "h"], given: EnvironmentLight | None
    ) -> list[tuple[EnvironmentLight, Int[Tensor, "own"]]]:
        """Lights and the hits that they shine on."""
        if given is not None or self.settings.shared_environment:
            return [(given or self.light_of(0), torch.arange(len(subject), device=subject.device))]
        people = subject.unique().tolist()
        return [(self.light_of(person), (subject == person).nonzero()[:, 0]) for person in people]

    def _secondary(
        self,
        hands: HandField,
        pose: Int[Tensor, "own"],
        lighting: Lighting,
        posed: PosedMesh | None,
        random: torch.Generator,
    ) -> Secondary | None:
        """What follows the rays of hits that belong to these poses."""
        if lighting.visibility == "none":
            return None
        radiance = (lambda at, towards, owner: hands.radiance(at, towards, pose[owner])) if lighting.indirect else None
        if posed is not None:
            return MeshSecondary(posed, pose, self.settings.mesh, radiance=radiance)
        cells = OccupancyGrid.about(hands.poses.vertices, _REACH_M, _RESOLUTION)
        return SecondaryMarch(
            lambda at, owner: hands.density(at, pose[owner]),
            self.settings.secondary,
            radiance=radiance,
            occupied=lambda at, owner: cells.contains(at[:, None], pose[owner])[:, 0],
            generator=random,
        )


def branch_of(network: PalmNet) -> PbrBranch | None:
    """The physically based branch that a network is trained with, if there is one."""
    return network.light if isinstance(network.light, PbrBranch) else None


def _part(points: SurfacePoints, rows: Int[Tensor, "own"]) -> SurfacePoints:
    given = points.material
    material = _Material(given.albedo[rows], given.alpha[rows], given.metallic[rows])
    return SurfacePoints(points.position[rows], points.view[rows], points.normal[rows], material)
