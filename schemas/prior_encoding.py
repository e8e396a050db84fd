"""How places in the canonical cube are encoded for the prior's networks."""

from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

_MOST_VERTICES = 1 << 24
"""A float32 numbers no more cells one by one."""


class EncodingSettings(BaseModel):
    """A multi-resolution hash grid; the defaults are those of the published prior."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    levels: Annotated[int, Field(ge=1, le=32, description="Grids, from coarse to fine.")] = 32
    features: Annotated[Literal[1, 2, 4, 8], Field(description="Numbers kept at each vertex of each grid.")] = 2
    log2_table_size: Annotated[
        int, Field(ge=4, le=24, description="Logarithm of the vertices that a level keeps; finer levels share them.")
    ] = 19
    base_resolution: Annotated[int, Field(ge=2, description="Vertices of the coarsest grid, a side.")] = 16
    growth: Annotated[float, Field(ge=1, le=4, description="Resolution of a level over that of the one before.")] = (
        1.447269237440378
    )
    first_value: Annotated[float, Field(ge=0, description="Features start uniformly between minus and plus this.")] = (
        1e-4
    )

    @property
    def table_size(self) -> int:
        """Vertices that a level keeps at most."""
        return 1 << self.log2_table_size

    @property
    def width(self) -> int:
        """Numbers that a point is encoded as."""
        return self.levels * self.features

    @model_validator(mode="after")
    def _cells_can_be_told_apart(self) -> Self:
        finest = self.base_resolution * self.growth ** (self.levels - 1)
        if finest > _MOST_VERTICES:
            raise ValueError(
                f"expected a finest grid of at most {_MOST_VERTICES} vertices a side, found {finest:.3g}: "
                "take fewer levels or a smaller growth"
            )
        return self
