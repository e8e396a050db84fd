"""Everything the papers of a version are made from: its own tables, and what its publisher says.

All of it is published in the version anyway, or counts what is. So papers say nothing of people but bands, name nobody
who is not in the version, and are the same for the same contents.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from jaxtyping import Float
from numpy import ndarray
from pydantic import BaseModel

from palm_data.store.files import Files
from palm_data.store.label_tables import LABEL_MODELS
from palm_data.store.plan import ReleasePlan
from schemas.capture import AgeBand, CaptureIndex, HeightBand, Sex, SkinTone
from schemas.ids import SubjectId
from schemas.publisher import Origin
from schemas.release import (
    MONO_MODELS,
    CameraRow,
    CaptureRow,
    FileRow,
    GestureRow,
    ImageRow,
    SplitName,
    SplitRow,
    SubjectRow,
)
from schemas.settings import QualitySettings, ReleaseSettings

NOT_STATED = "Not stated."
SPLIT_NAMES: tuple[SplitName, ...] = ("train", "val", "test")
BANDS: Mapping[str, tuple[str, ...]] = {
    "sex": Sex.__args__,  # type: ignore[attr-defined]
    "age_band": AgeBand.__args__,  # type: ignore[attr-defined]
    "height_band": HeightBand.__args__,  # type: ignore[attr-defined]
    "skin_tone": SkinTone.__args__,  # type: ignore[attr-defined]
}
"""Column of the subjects table → the bands there are, in order."""
BAND_TITLES: Mapping[str, str] = {
    "sex": "Sex", "age_band": "Age, years", "height_band": "Height, cm", "skin_tone": "Skin tone",
}  # fmt: skip
ROW_MODELS: Mapping[str, type[BaseModel]] = {
    "subjects": SubjectRow,
    "gestures": GestureRow,
    "captures": CaptureRow,
    "images": ImageRow,
    "cameras": CameraRow,
    "splits": SplitRow,
    **LABEL_MODELS,
    **MONO_MODELS,
}
_SIMULATED = "SIM"


@dataclass(frozen=True)
class ReleaseFacts:
    """A version before its papers are written."""

    plan: ReleasePlan
    publisher: ReleaseSettings
    quality: QualitySettings
    tables: Mapping[str, pa.Table]
    files: tuple[FileRow, ...]
    """All files but the papers, sorted by path."""
    counts: Mapping[str, int]
    parent: Files | None
    """The parent version's files."""
    origin: Origin | None
    """Real or synthetic; None if neither the publisher nor the rig says so."""

    @property
    def version(self) -> str:
        """The version's number."""
        return self.plan.version

    @property
    def title(self) -> str:
        """What the data set is called."""
        return self.publisher.title

    @property
    def labelled(self) -> bool:
        """Whether the version has keypoints, hands and quality."""
        return "hands" in self.tables

    @property
    def bytes(self) -> int:
        """Size of the data, without the papers."""
        return sum(row.bytes for row in self.files)

    @property
    def subject_ids(self) -> list[SubjectId]:
        """The released subjects, in order."""
        return self.tables["subjects"]["subject_id"].to_pylist()

    @property
    def image_size(self) -> tuple[int, int]:
        """Width and height of most images, px."""
        cameras = self.tables["cameras"]
        sizes = Counter(zip(cameras["width"].to_pylist(), cameras["height"].to_pylist(), strict=True))
        return max(sizes, key=lambda size: (sizes[size], size))

    @property
    def views(self) -> int:
        """Colour cameras that most subjects have."""
        found = Counter(Counter(self.tables["cameras"]["subject_id"].to_pylist()).values())
        return max(found, key=lambda views: (found[views], views))

    def band_counts(self, column: str, *, split: SplitName | None = None) -> dict[str, int]:
        """How many people are in each band; bands without anybody included."""
        table = self.tables["subjects"]
        if split is not None:
            inside = self.split_subjects(split)
            table = table.filter(pc.is_in(table["subject_id"], pa.array(inside, type=pa.string())))
        found = Counter(table[column].to_pylist())
        return {band: found[band] for band in BANDS[column]}

    def split_subjects(self, split: SplitName) -> list[SubjectId]:
        """Who is in a split."""
        splits = self.tables["splits"]
        return splits.filter(pc.equal(splits["split"], split))["subject_id"].to_pylist()

    def numbers(self, table: str, column: str) -> Float[ndarray, " known"]:
        """A column's values, without nulls."""
        return np.asarray(self.tables[table][column].drop_null().to_numpy(), dtype=np.float64)

    def gesture_subjects(self) -> dict[str, int]:
        """Gesture → how many people show it, sorted by name."""
        captures = self.tables["captures"]
        pairs = set(zip(captures["gesture"].to_pylist(), captures["subject_id"].to_pylist(), strict=True))
        found = Counter(gesture for gesture, _ in pairs)
        return {name: found[name] for name in sorted(found)}

    def left_out_reasons(self) -> dict[str, int]:
        """Stage or check → how many people it keeps out; nobody is named."""
        found = Counter(
            reason.split(":")[0].rsplit("/", 1)[-1] for one in self.plan.left_out for reason in one.reasons[:1]
        )
        return {name: found[name] for name in sorted(found)}


def origin_of(indexes: Iterable[CaptureIndex]) -> Origin | None:
    """Synthetic if all sessions are of a simulated rig; None if the rigs do not say."""
    serials = [index.session.rig_serial for index in indexes]
    return "synthetic" if serials and all(_SIMULATED in one.upper().split("-") for one in serials) else None


def stated(text: str | None) -> str:
    """The publisher's text, or that there is none."""
    return text.strip() if text and text.strip() else NOT_STATED


def share(count: int, whole: int) -> str:
    """A count's share of a whole, in whole percent."""
    return f"{100 * count / whole:.0f} %" if whole else "–"


def plural(count: int, noun: str) -> str:
    """`1 capture`, `12,345 captures`."""
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


def size_text(size: int) -> str:
    """Bytes as a person says them."""
    for unit, limit in (("TB", 1e12), ("GB", 1e9), ("MB", 1e6)):
        if size >= limit:
            return f"{size / limit:.3g} {unit}"
    return f"{size / 1e3:.0f} kB"


def read_tables(content: Mapping[str, bytes]) -> dict[str, pa.Table]:
    """The tables that were just written, by name."""
    return {name: pq.ParquetFile(pa.BufferReader(one)).read(use_threads=False) for name, one in content.items()}


def quantiles(values: Sequence[float] | ndarray) -> tuple[float, float, float]:
    """Mean, median and 95th percentile."""
    return float(np.mean(values)), float(np.median(values)), float(np.percentile(values, 95))
