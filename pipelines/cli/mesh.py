"""`palm mesh`: a captured hand's surface out of a trained prior, for other programs."""

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pipelines.cli.console import say
from schemas.errors import SettingsError
from schemas.settings import load_settings

if TYPE_CHECKING:
    from palm_model.prior.mesh import Mesh


class Space(StrEnum):
    """Where the hand stands."""

    POSED = "posed"
    CANONICAL = "canonical"


def mesh(
    target: Annotated[str, typer.Argument(metavar="RELEASE", help="The folder of a version, or of all versions.")],
    *,
    prior: Annotated[Path, typer.Option(help="A trained prior: its file, or the folder it lies in.")],
    subject: Annotated[str, typer.Option(help="Whose hand.")],
    frame: Annotated[int, typer.Option(help="In which capture.")],
    out: Annotated[
        Path, typer.Option(help=".glb: the hand model's topology with textures; .ply, .obj: marching cubes.")
    ],
    version: Annotated[str | None, typer.Option(help="The highest published one by default.")] = None,
    space: Annotated[Space, typer.Option(help="As captured, z up, or flat.")] = Space.POSED,
    resolution: Annotated[int, typer.Option(min=16, max=1024, help=".ply, .obj: nodes along a side.")] = 256,
    texture: Annotated[int, typer.Option(min=16, max=8192, help=".glb: texels along a side.")] = 1024,
) -> None:
    """Write a hand's surface in metres: .glb with albedo and roughness as textures, .ply or .obj without."""
    if out.suffix not in {".glb", ".ply", ".obj"}:
        raise SettingsError(f"--out: expected a .glb, .ply or .obj file, found {out.name}.")
    import palm_data
    from palm_data.hand.model import load_hand_model
    from palm_data.store.atomic import write_bytes
    from palm_data.view.glb import pbr_glb
    from palm_model.prior.baking import bake
    from palm_model.prior.fitted_hand import fitted_hand
    from palm_model.prior.mesh import canonical_mesh, posed_mesh
    from palm_model.prior.prior import Prior

    trained = Prior.load(prior, load_hand_model(load_settings().hand_model))
    captures = palm_data.open_release(target, version, subjects=[subject], where=f"frame == {frame}")
    hands = trained.hands(captures)
    poses, skinning = hands.select([hands.row(subject, frame)])
    posed = space is Space.POSED
    if out.suffix != ".glb":
        surface = canonical_mesh(trained.network, poses, skinning.grids, resolution=resolution)
        write_bytes(out, _plain(posed_mesh(surface, poses, skinning) if posed else surface, out.suffix[1:]))
        say(f"{out}: {len(surface.vertices)} vertices, {len(surface.faces)} triangles.")
        return
    fitted = fitted_hand(trained.network, poses, trained.model)
    made = bake(trained.network, poses, fitted, size=texture)
    surface = posed_mesh(fitted.mesh, poses, skinning) if posed else fitted.mesh
    write_bytes(
        out,
        pbr_glb(
            surface.vertices,
            surface.normals,
            surface.faces,
            fitted.atlas.uv,
            fitted.atlas.faces,
            base_colour=made.base_colour,
            metallic_roughness=made.metallic_roughness,
            z_up=posed,
        ),
    )
    say(f"{out}: {len(surface.vertices)} vertices, {fitted.missed.mean():.1%} of them placed by their neighbours.")


def _plain(surface: "Mesh", kind: str) -> bytes:
    import trimesh

    made = trimesh.Trimesh(surface.vertices, surface.faces, vertex_normals=surface.normals, process=False)
    written = made.export(file_type=kind, include_normals=True)
    return written.encode() if isinstance(written, str) else bytes(written)
