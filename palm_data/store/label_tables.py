"""The labels of a release: which tables there are, and how the numbers of hands are to be read.

`tables/hands.parquet` carries its convention in the file's own metadata too, so that it stays with a copied table.
"""

from collections.abc import Mapping

import pyarrow as pa
from pydantic import BaseModel

from schemas.annotation import Keypoint2DRow, Keypoint3DRow
from schemas.hand import HandConvention, HandRow
from schemas.quality import QualityRow

LABEL_MODELS: Mapping[str, type[BaseModel]] = {
    "keypoints_2d": Keypoint2DRow,
    "keypoints_3d": Keypoint3DRow,
    "hands": HandRow,
    "quality": QualityRow,
}
"""Table → row, in the order of making."""
LABEL_ARRAYS = ("hand_mask", "training_mask")
CONVENTION_FILE = "hand_convention.json"
_CONVENTION_KEY = b"hand_convention"


def convention_bytes(convention: HandConvention) -> bytes:
    """The content of `hand_convention.json`: the same convention gives the same bytes."""
    return (convention.model_dump_json(indent=1) + "\n").encode()


def with_convention(hands: pa.Table, convention: HandConvention) -> pa.Table:
    """The table of hands with its convention in the metadata, as JSON under `hand_convention`."""
    known = hands.schema.metadata or {}
    return hands.replace_schema_metadata({**known, _CONVENTION_KEY: convention.model_dump_json().encode()})
