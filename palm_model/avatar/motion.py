"""Motions: poses in a Parquet table, one row a picture, of anybody's hand; an avatar follows them with its own shape."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from jaxtyping import Float
from torch import Tensor

from palm_data.hand.model import HandModel
from palm_model.avatar.avatar import HandPoses
from palm_model.prior.canonical import canonical_joints
from schemas.errors import BadInputError

_SIZES = {"global_orient": 3, "hand_pose": 45, "transl": 3}
_MAX_ROWS = 100_000


def read_motion(
    path: Path, model: HandModel, betas: Float[Tensor, "1 10"], *, subject_id: str | None = None
) -> HandPoses:
    """The poses of a table with the columns global_orient (3), hand_pose (45) and transl (3), as a release's `hands` has them.

    Angles are radians, hand_pose an offset from the model's mean pose; places are metres, in the avatar's world. Rows
    stay in their order. A column `betas` says whose hand moved: not to be that person, but to put the avatar's wrist,
    which its own shape places elsewhere, where theirs was.

    Args:
        betas: the avatar's own shape.
        subject_id: only the rows of this person, where there is such a column.

    Raises:
        BadInputError: if the file is no such table, or holds several people and none was named.
    """
    table = _table(path)
    if "subject_id" in table.column_names:
        people = sorted(map(str, table["subject_id"].unique().to_pylist()))
        if subject_id is None and len(people) > 1:
            raise BadInputError(
                path, field="subject_id", expected="one person", found=", ".join(people), hint="Name one of them."
            )
        if subject_id is not None:
            table = table.filter(pa.compute.equal(table["subject_id"], subject_id))
    if not 1 <= table.num_rows <= _MAX_ROWS:
        raise BadInputError(path, field="rows", expected=f"1 to {_MAX_ROWS} poses", found=table.num_rows)
    values = {name: _column(path, table, name, size) for name, size in _SIZES.items()}
    if "betas" in table.column_names:
        theirs = canonical_joints(model, _column(path, table, "betas", 10))[:, 0]
        values["transl"] = values["transl"] + theirs - canonical_joints(model, betas.cpu())[:, 0]
    return HandPoses(*(one.to(betas.device) for one in values.values()))


def in_place(motion: HandPoses, wrist: HandPoses) -> HandPoses:
    """Only the fingers move: the wrist is where one pose has it."""
    count = len(motion)
    return HandPoses(wrist.global_orient.expand(count, 3), motion.hand_pose, wrist.transl.expand(count, 3))


def _table(path: Path) -> pa.Table:
    import pyarrow.compute  # noqa: F401 - `pa.compute` is there once it was imported

    wanted = [*_SIZES, "betas", "subject_id"]
    try:
        file = pq.ParquetFile(path)
        there = [name for name in wanted if name in file.schema_arrow.names]
        if file.metadata.num_rows > _MAX_ROWS:
            raise BadInputError(path, field="rows", expected=f"at most {_MAX_ROWS} poses", found=file.metadata.num_rows)
        return file.read(columns=there)
    except (OSError, pa.ArrowException) as error:
        raise BadInputError(path, field="file", expected="a Parquet table of poses", found=error) from None


def _column(path: Path, table: pa.Table, name: str, size: int) -> Float[Tensor, "rows size"]:
    if name not in table.column_names:
        raise BadInputError(
            path,
            field=name,
            expected=f"a column of {size} numbers",
            found=", ".join(table.column_names) or "no columns",
        )
    rows = table[name].to_pylist()
    if any(row is None or len(row) != size or None in row for row in rows):
        raise BadInputError(path, field=name, expected=f"{size} numbers in every row", found="others")
    values = np.asarray(rows, dtype=np.float32).reshape(len(rows), size)
    if not np.isfinite(values).all():
        raise BadInputError(path, field=name, expected="finite numbers", found="others")
    return torch.from_numpy(values)
