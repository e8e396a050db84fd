"""The texts of a version: what a person reads who finds the folder."""

from collections.abc import Mapping, Sequence

from palm_data.store.plan import ReleasePlan
from schemas.release import SCHEMA_VERSION, SplitName, SplitRow

_LABEL_ROWS = """
| `tables/{keypoints_2d,keypoints_3d,hands,quality}.parquet` | the joints detected and triangulated, the fitted hands, the quality of each capture |
| `tables/hand_convention.json` | how the numbers of hands are to be read: side, hand model and its digest, flat_hand_mean |
| `shards/<subject>.zarr` | also `hand_mask/full` (the fitted hand) and `training_mask/full` (the scan near the hand) |"""

_LABELS = """\
- Joints: world metres, MANO's order, then the tips from thumb to pinky; a missing joint is null. Hands: MANO's
  parameters as `tables/hand_convention.json` says. A capture without a row in `hands` could not be fitted; its hand and
  training masks are zero, and its row in `quality` says why. `quality_ok` is what to filter on.
"""

_NO_LABELS = """\
- Hand labels (keypoints, fits, quality) are not part of this version.
"""


def readme(plan: ReleasePlan, counts: Mapping[str, int], splits: Sequence[SplitRow], *, labels: bool) -> str:
    """README.md of a version; says nothing that changes from one publishing to the next."""
    version, parent = plan.version, plan.parent
    parts = ".rgb .mask .depth .normal .cameras .scan" + (" .hand .keypoints .quality" if labels else "")
    names: tuple[SplitName, ...] = ("train", "val", "test")
    sizes = ", ".join(f"{name} {sum(row.split == name for row in splits)}" for name in names)
    return f"""# PALM release {version}

Multi-view captures of right hands, held still: undistorted colour images, and the mask, metric depth and normals of
a textured scan in every colour view. {counts["subjects"]} subjects ({sizes}), {counts["captures"]} captures,
{counts["images"]} images. Parent version: {parent or "none"}. Schema {SCHEMA_VERSION}.

```python
import palm_data
release = palm_data.open_release("<the folder that holds this one>", version="{version}", split="train")
sample = release[0]                      # {parts}, in metres
view = sample.view("MCU_03")             # reads this view's tiles only
```

Check every byte with `palm verify <this folder>`. Nothing here is ever changed; a correction is a new version.

## What lies where

| Path | Holds |
|---|---|
| `manifest.json` | what this version is: parent, splits, counts, settings, merkle root; written last |
| `files.parquet` | every other file with its size and sha256 |
| `tables/*.parquet` | subjects, gestures, captures, images, cameras, splits; units are in the columns' descriptions |
| `shards/<subject>.zarr` | one Zarr v3 group a subject: `rgb/full`, `mask/full`, `depth/full`, `normal/full`, `scan/*` |{_LABEL_ROWS if labels else ""}
| `report/left_out.json` | subjects and captures that are not here, with reasons |
| `LICENSE` | the terms under which this data may be used |

## How to read it

- Arrays are (capture, view, y, x[, channel]); `tables/captures.parquet` has each capture's row (`array_index`),
  `tables/images.parquet` each view's (`view_index`).
- Metres and radians; world = rig frame; `world_to_camera` = [R|t], OpenCV axes (x right, y down, z forward). Pixel
  coordinates are integers at pixel corners: the centre of the first pixel is (0.5, 0.5).
- `rgb` uint8 sRGB, undistorted; views whose image is missing are zero (`present` in the images table). `mask` 0 or
  255. `depth` uint16 times the array's `unit_mm`, along z, 0 = none. `normal` int16 / 32767, camera axes,
  0 = none. Scans: world metres, concatenated over captures, with offsets.
- Images lie in the rig's common orientation; `turn_deg` is the clockwise turn that was applied.
{_LABELS if labels else _NO_LABELS}"""


def default_terms() -> str:
    """LICENSE of a version whose publisher has not set terms."""
    return """Terms of use of this data

The publisher of this release has not attached terms of use. Until they do, no right to copy, share or publish this
data or anything recognisable derived from it is given beyond what the publisher has agreed with you in writing.

This data shows people's hands. The people shown gave consent to the publisher and may withdraw it. When a version
is published that leaves a person out, delete your copies of that person's data from earlier versions. Do not try to
find out who a person is.

To attach terms, set `release.terms` in palm.toml to a text file and publish a new version.
"""
