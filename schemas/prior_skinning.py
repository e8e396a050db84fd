"""How points are brought from the world to canonical space."""

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field


class SkinningSettings(BaseModel):
    """The skinning-weight grid and the root search in it; the defaults are the published ones."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    resolution: Annotated[int, Field(ge=2, description="Nodes along a side of the canonical cube.")] = 64
    neighbours: Annotated[
        int, Field(ge=1, description="Surface vertices whose weights are blended at a node, by inverse distance.")
    ] = 5
    smoothing_rounds: Annotated[
        int, Field(ge=0, description="Passes of the kernel (1, 2, 1) / 4 along each axis over the blended weights.")
    ] = 2
    iterations: Annotated[int, Field(ge=1, description="Broyden steps from each start, at most.")] = 10
    converged_m: Annotated[float, Field(gt=0, description="A root is carried this near to its point, metres.")] = 1e-5
    diverged_m: Annotated[
        float, Field(gt=0, description="A start is given up when a step ends farther than this from the point, metres.")
    ] = 0.1
    merged_m: Annotated[float, Field(ge=0, description="Roots nearer to each other than this are one, metres.")] = 1e-4
    reach_m: Annotated[
        float | None,
        Field(
            gt=0,
            description="Starts and roots farther from the person's canonical surface are left out, metres: no density "
            "is there. None: every bone's start, and every root in the cube.",
        ),
    ] = None
    max_roots: Annotated[
        int, Field(ge=1, le=16, description="Roots kept of a point: those nearest to the canonical surface.")
    ] = 16
    stop_at_known_roots: Annotated[
        bool, Field(description="On CPU, a start is left as soon as it comes within merged_m of a root already found.")
    ] = False


FAST_SKINNING = SkinningSettings(reach_m=0.02, max_roots=4, stop_at_known_roots=True)
"""For sampling within about a centimetre of the registered surface: most starts are left out, hardly a root is."""
