"""What a number's field says besides its description: its unit, and the axes that it is in.

They stand in the annotation (`Annotated[float, M, WORLD, Field(description=…)]`), travel into the Arrow schema as the
field's metadata (`unit`, `frame`) and into the JSON schema as keywords of the same names.
"""

from dataclasses import dataclass

from pydantic import GetJsonSchemaHandler
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema


@dataclass(frozen=True)
class Unit:
    """The unit of a number or of each number of a list; `1` for what has none: counts, shares, positions."""

    name: str

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        """The field's JSON schema with the keyword `unit`."""
        return {**handler(schema), "unit": self.name}


@dataclass(frozen=True)
class Frame:
    """The axes that coordinates are in."""

    name: str

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        """The field's JSON schema with the keyword `frame`."""
        return {**handler(schema), "frame": self.name}


ONE = Unit("1")
BYTES = Unit("B")
PX = Unit("px")
M, MM, M2 = Unit("m"), Unit("mm"), Unit("m²")
RAD, DEG = Unit("rad"), Unit("deg")

WORLD = Frame("world: the rig's axes")
FULL_IMAGE = Frame("undistorted image of the full tier, common orientation: x right, y down, integers at pixel corners")
RAW_IMAGE = Frame("distorted image, turned to the common orientation: x right, y down, integers at pixel corners")
