"""PALM-Net's radiance branch: rays and posed hands in, colour, opacity, normal, depth and material out (eq. 1 to 6).

Samples are placed on the rays, brought to canonical space, and asked there; only real samples are: they are kept in
one long list of s, and a table of rays by samples is made of them for compositing alone.
"""

from functools import partial
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from palm_model.prior.canonical import CanonicalBox
from palm_model.prior.inverse_skinning import Roots
from palm_model.prior.normals import autograd_gradient, carried_normals, tetrahedral_gradient, tetrahedron
from palm_model.prior.parts import (
    Codes,
    Conditioning,
    DensityOf,
    Geometry,
    Materials,
    MaterialValues,
    Radiance,
    Skinning,
)
from palm_model.prior.poses import Poses
from palm_model.prior.rendered import Rendered, joined
from palm_model.prior.sampling import Sampler
from palm_model.prior.skinning import blended_rotation
from palm_model.prior.volume import Rays, Samples, composite, interval_weights
from schemas.errors import SettingsError
from schemas.prior_volume import VolumeSettings


class Progress(NamedTuple):
    """How much of the encodings is open, as training goes; None: all of it."""

    levels: float | None = None
    """Of the radiance and material networks' hash grid."""
    bands: float | None = None
    """Of the reflected direction."""
    geometry_levels: float | None = None
    """Of the geometry network's hash grid."""


ALL_OPEN = Progress()


class _Where(NamedTuple):
    """Samples that have a canonical point."""

    ray: Int[Tensor, "s"]
    column: Int[Tensor, "s"]
    pose: Int[Tensor, "s"]
    canonical: Float[Tensor, "s 3"]


class _Told(NamedTuple):
    """What the networks are told of the hands of a call."""

    poses: Poses
    codes: Codes
    progress: Progress


class _Hands(NamedTuple):
    """The same, and how the hands' canonical points are found."""

    told: _Told
    skinning: Skinning

    @property
    def poses(self) -> Poses:
        return self.told.poses


class Surface(NamedTuple):
    """What the geometry network says of samples."""

    sdf: Float[Tensor, "s"]
    feature: Float[Tensor, "s f"]
    gradient: Float[Tensor, "s 3"]


class _Shading(NamedTuple):
    """What samples show, one row each."""

    unit: Float[Tensor, "s 3"]
    feature: Float[Tensor, "s f"]
    normal: Float[Tensor, "s 3"]
    direction: Float[Tensor, "s 3"]
    pose: Int[Tensor, "s"]


class PalmNet(nn.Module):
    """The networks, the codes and the density; skinning and sampler, which learn nothing, beside them."""

    def __init__(
        self,
        geometry: Geometry,
        radiance: Radiance,
        material: Materials | None,
        density: DensityOf,
        conditioning: Conditioning,
        *,
        box: CanonicalBox,
        settings: VolumeSettings,
        light: nn.Module | None = None,
        mixed_precision: bool = False,
    ) -> None:
        """Put the parts together; those that are modules are trained with it.

        Args:
            light: what `PbrBranch` learns beside these networks, and keeps with them.
            mixed_precision: while in training mode, colour and material are worked out in bfloat16.
        """
        super().__init__()
        self.geometry, self.radiance, self.material = geometry, radiance, material
        self.density, self.conditioning = density, conditioning
        self.box, self.settings, self.light = box, settings, light
        self.mixed_precision = mixed_precision
        self.open = ALL_OPEN
        """What is open where a call does not say: of a trained network, what was when its weights were kept."""

    def colour_precision(self, device: torch.device) -> torch.autocast:
        """A context in which layers work in bfloat16, if this is a training that asks for it."""
        return torch.autocast(device.type, torch.bfloat16, enabled=self.mixed_precision and self.training)

    def forward(
        self,
        rays: Rays,
        poses: Poses,
        *,
        skinning: Skinning,
        sampler: Sampler,
        uniform: Float[Tensor, "n numbers"] | None = None,
        progress: Progress | None = None,
        materials: bool = True,
    ) -> Rendered:
        """What all the rays see, with gradients to networks, codes, and bones that ask for them.

        Where samples are is not differentiated, and neither is the turn of normals from canonical space to the world.

        Args:
            skinning: with grids whose rows are those of `poses`.
            uniform: the sampler's numbers; None: samples in the middle.
            progress: None: as `open` says.
            materials: whether the material network, where there is one, is asked.
        """
        hands = _Hands(self._told(poses, progress), skinning)
        samples = sampler(rays, poses, partial(self._density, hands), uniform)
        where = self._canonical(hands, rays, samples.distance, samples.valid)
        surface = self._surface(hands.told, where.canonical, where.pose)
        thick = torch.zeros_like(samples.width).index_put((where.ray, where.column), self.density(surface.sdf))
        weights = interval_weights(thick, samples.width)
        seen = self._seen(weights, where)
        shading = _Shading(
            self.box.to_unit(where.canonical[seen]),
            surface.feature[seen],
            self._normals(hands, where, seen, surface.gradient),
            rays.directions[where.ray[seen]],
            where.pose[seen],
        )
        shown = self._shown(hands.told, shading, self.material if materials else None)
        table = weights.new_zeros((*weights.shape, shown.shape[-1]))
        table = table.index_put((where.ray[seen], where.column[seen]), shown)
        return _rendered(composite(weights, table), weights, samples, where, surface)

    @torch.no_grad()
    def render(
        self,
        rays: Rays,
        poses: Poses,
        *,
        skinning: Skinning,
        sampler: Sampler,
        uniform: Float[Tensor, "n numbers"] | None = None,
        progress: Progress | None = None,
    ) -> Rendered:
        """The same without gradients, so many rays at a time that no more than `max_points` samples are held."""
        step = max(self.settings.max_points // sampler.samples, 1)
        parts = []
        for begin in range(0, max(len(rays), 1), step):
            numbers = None if uniform is None else uniform[begin : begin + step]
            part = self(
                rays.part(begin, begin + step),
                poses,
                skinning=skinning,
                sampler=sampler,
                uniform=numbers,
                progress=progress,
            )
            parts.append(part)
        return joined(parts, step)

    def signed_distance(
        self,
        canonical: Float[Tensor, "s 3"],
        pose: Int[Tensor, "s"],
        poses: Poses,
        *,
        gradient: bool = False,
        progress: Progress | None = None,
    ) -> Surface:
        """What the geometry network says of canonical points of the hands, differentiably.

        Args:
            canonical: metres.
            pose: each point's row in `poses`.
            gradient: whether the SDF's gradient is asked for too; zero otherwise.
        """
        told = self._told(poses, progress)
        if gradient:
            return self._surface(told, canonical, pose)
        sdf, feature = self._sdf(told, canonical, pose)
        return Surface(sdf, feature, torch.zeros_like(canonical))

    def materials(
        self,
        canonical: Float[Tensor, "s 3"],
        pose: Int[Tensor, "s"],
        poses: Poses,
        *,
        progress: Progress | None = None,
    ) -> MaterialValues:
        """What the skin is made of at canonical points (metres) of the hands, differentiably.

        Raises:
            SettingsError: if there is no material network.
        """
        if self.material is None:
            raise SettingsError("prior: expected a material network, found none.")
        told = self._told(poses, progress)
        _, feature = self._sdf(told, canonical, pose)
        codes = told.codes
        grid = self.radiance.grid(self.box.to_unit(canonical), told.progress.levels)
        with self.colour_precision(canonical.device):
            return self.material(grid, feature, codes.pose[pose], codes.appearance[pose])

    def _told(self, poses: Poses, progress: Progress | None) -> _Told:
        return _Told(poses, self.conditioning(poses), self.open if progress is None else progress)

    def _sdf(
        self, told: _Told, points: Float[Tensor, "s 3"], pose: Int[Tensor, "s"]
    ) -> tuple[Float[Tensor, "s"], Float[Tensor, "s f"]]:
        """Signed distance and features at canonical points."""
        codes, unit = told.codes, self.box.to_unit(points)
        out = self.geometry(unit, codes.pose, codes.shape, told.poses.betas, told.progress.geometry_levels, pose)
        return out.sdf, out.feature

    def _canonical(
        self, hands: _Hands, rays: Rays, distance: Float[Tensor, "n k"], valid: Bool[Tensor, "n k"]
    ) -> _Where:
        """The canonical points of samples, of several the one deepest inside; samples without any are left out."""
        ray, column = valid.nonzero(as_tuple=True)
        points = rays.origins[ray] + distance[ray, column][:, None] * rays.directions[ray]
        pose = rays.pose[ray]
        roots = hands.skinning.find(points, pose, hands.poses)
        best = self._deepest(hands, roots, pose)
        some = roots.valid.any(dim=-1).nonzero()[:, 0]
        ray, column, points, pose, best = (one[some] for one in (ray, column, points, pose, best))
        one_root = Roots(*(one[some].gather(1, _index(best, one)) for one in roots))
        if torch.is_grad_enabled() and hands.poses.bones.requires_grad:
            one_root = hands.skinning.attach(one_root, points, pose, hands.poses)
        return _Where(ray, column, pose, one_root.points[:, 0])

    @torch.no_grad()
    def _deepest(self, hands: _Hands, roots: Roots, pose: Int[Tensor, "s"]) -> Int[Tensor, "s"]:
        """Which root has the least signed distance; asked only where there are several."""
        best = roots.valid.to(torch.uint8).argmax(dim=-1)
        several = (roots.valid.sum(dim=-1) > 1).nonzero()[:, 0]
        if len(several):
            row, slot = roots.valid[several].nonzero(as_tuple=True)
            of = several[row]
            sdf, _ = self._sdf(hands.told, roots.points[of, slot], pose[of])
            table = sdf.new_full((len(several), roots.valid.shape[1]), torch.inf).index_put((row, slot), sdf)
            best[several] = table.argmin(dim=-1)
        return best

    @torch.no_grad()
    def _density(
        self, hands: _Hands, rays: Rays, distance: Float[Tensor, "n k"], where: Bool[Tensor, "n k"]
    ) -> Float[Tensor, "n k"]:
        """For the sampler's rounds."""
        at = self._canonical(hands, rays, distance, where)
        sdf, _ = self._sdf(hands.told, at.canonical, at.pose)
        return torch.zeros_like(distance).index_put((at.ray, at.column), self.density(sdf))

    def _surface(self, told: _Told, canonical: Float[Tensor, "s 3"], pose: Int[Tensor, "s"]) -> Surface:
        """Signed distance, features and gradient.

        Of the four evaluations about a point the mean stands for the point itself: off by a sixth of ε² times the
        SDF's Laplacian, far below a micrometre on a finger.
        """
        if self.settings.normals == "autograd":
            return Surface(*autograd_gradient(lambda at: self._sdf(told, at, pose), canonical))
        reach = self.settings.tetrahedron_m
        corners = tetrahedron(canonical, reach)
        sdf, feature = self._sdf(told, corners.flatten(0, 1), pose.repeat(4))
        sdf = sdf.view(4, -1)
        return Surface(sdf.mean(0), feature.unflatten(0, (4, -1)).mean(0), tetrahedral_gradient(sdf, reach))

    def _seen(self, weights: Float[Tensor, "n m"], where: _Where) -> Int[Tensor, "seen"]:
        """Samples that are worth a colour."""
        return (weights[where.ray, where.column].detach() >= self.settings.negligible_weight).nonzero()[:, 0]

    def _normals(
        self, hands: _Hands, where: _Where, seen: Int[Tensor, "seen"], gradient: Float[Tensor, "s 3"]
    ) -> Float[Tensor, "seen 3"]:
        pose = where.pose[seen]
        with torch.no_grad():
            skinned = hands.skinning.skinned(where.canonical[seen], pose, hands.poses)
            turn = skinned.jacobian
            if self.settings.normals_to_world == "blended_rotation":
                turn = blended_rotation(
                    torch.einsum("sb,sbij->sij", skinned.weights, hands.poses.bones[pose][..., :3, :3])
                )
        return carried_normals(gradient[seen], turn)

    def _shown(self, told: _Told, at: _Shading, material: Materials | None) -> Float[Tensor, "s c"]:
        """Colour (3), normal (3) and, with a material network, albedo (3), α and metallic of samples."""
        towards = (at.direction * at.normal).sum(dim=-1, keepdim=True)
        reflected = at.direction - 2.0 * towards * at.normal
        codes, progress = told.codes, told.progress
        grid = self.radiance.grid(at.unit, progress.levels)
        with self.colour_precision(at.unit.device):
            colour = self.radiance(
                grid, at.feature, reflected, at.normal, codes.pose, codes.appearance, progress.bands, at.pose
            )
            shown = [colour, at.normal]
            if material is not None:
                own: MaterialValues = material(grid, at.feature, codes.pose[at.pose], codes.appearance[at.pose])
                shown += [own.albedo, own.alpha[:, None], own.metallic[:, None]]
        return torch.cat(shown, dim=-1)


def _index(best: Int[Tensor, "s"], table: Tensor) -> Tensor:
    """For gathering one column of a table (s, k, …)."""
    return best.view(-1, 1, *([1] * (table.dim() - 2))).expand(-1, 1, *table.shape[2:])


def _rendered(
    composited: Float[Tensor, "n c"],
    weights: Float[Tensor, "n m"],
    samples: Samples,
    where: _Where,
    surface: Surface,
) -> Rendered:
    opacity = weights.sum(dim=-1)
    far = (weights * samples.distance).sum(dim=-1)
    material = composited.shape[-1] > 6
    return Rendered(
        colour=composited[:, :3],
        opacity=opacity,
        normal=composited[:, 3:6],
        depth=far / opacity.clamp(min=1e-6),
        albedo=composited[:, 6:9] if material else None,
        alpha=composited[:, 9] if material else None,
        metallic=composited[:, 10] if material else None,
        weights=weights,
        samples=samples,
        ray=where.ray,
        canonical=where.canonical,
        sdf=surface.sdf,
        sdf_gradient=surface.gradient,
    )
