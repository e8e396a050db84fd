"""README.md of a version: the dataset card, with the front matter that dataset hubs read."""

import json
from collections.abc import Iterator

from palm_data.report.papers.facts import BAND_TITLES, SPLIT_NAMES, ReleaseFacts, plural, share, size_text, stated
from schemas.release import SCHEMA_VERSION
from schemas.tier import in_order

_LABEL_ROWS = """
| `tables/{keypoints_2d,keypoints_3d,hands,quality}.parquet` | the joints detected and triangulated, the fitted hands, the quality of each capture |
| `tables/hand_convention.json` | how the numbers of hands are to be read: side, hand model and its digest, flat_hand_mean |
| `shards/<subject>.zarr` | also `hand_mask/<tier>` (the fitted hand) and `training_mask/<tier>` (the scan near the hand) |"""

_MONO_ROWS = """
| `tables/{mono_images,mono_cameras}.parquet` | the mono cameras' images, and their calibration |
| `shards/<subject>.zarr` | also `mono/<tier>`: the mono cameras' images, grey, undistorted |"""

_LABELS = """\
- Joints: world metres, MANO's order, then the tips from thumb to pinky; a missing joint is null. Hands: MANO's
  parameters as `tables/hand_convention.json` says. A capture without a row in `hands` could not be fitted; its hand and
  training masks are zero, and its row in `quality` says why. `quality_ok` is what to filter on.
"""

_NO_LABELS = """\
- Hand labels (keypoints, fits, quality) are not part of this version.
"""
_SIZES = (
    (1_000, "n<1K"), (10_000, "1K<n<10K"), (100_000, "10K<n<100K"), (1_000_000, "100K<n<1M"), (10_000_000, "1M<n<10M")
)  # fmt: skip


def readme(facts: ReleaseFacts) -> str:
    """README.md; says nothing that changes from one publishing to the next."""
    version, counts, labels = facts.version, facts.counts, facts.labelled
    parts = ".rgb .mask .depth .normal .cameras .scan" + (" .hand .keypoints .quality" if labels else "")
    sizes = ", ".join(f"{name} {len(facts.split_subjects(name))}" for name in SPLIT_NAMES)
    return f"""{_front_matter(facts)}
# {facts.title} release {version}

Multi-view captures of right hands, held still: undistorted colour images, and the mask, metric depth and normals of
a textured scan in every colour view. {plural(counts["subjects"], "subject")} ({sizes}), {plural(counts["captures"], "capture")},
{plural(counts["images"], "image")}; {size_text(facts.bytes)}. Parent version: {facts.plan.parent or "none"}. Schema {SCHEMA_VERSION}.

**Look at it first:** open `report/index.html` in a browser: who is in it, how exact it is, what it looks like, and its worst
captures. It works without a network.

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
| `shards/<subject>.zarr` | one Zarr v3 group a subject: `rgb/<tier>`, `mask/<tier>`, `depth/<tier>`, `normal/<tier>`, `scan/*` |{_LABEL_ROWS if labels else ""}{_MONO_ROWS if "mono_images" in facts.tables else ""}
| `report/index.html` | the figures of this data, on one page |
| `report/left_out.json` | subjects and captures that are not here, with reasons |
| `DATASHEET.md` | how and why the data was made, who is in it, and what it must not be used for |
| `croissant.json` | the tables for machines: MLCommons Croissant 1.0, with digests |
| `CHANGELOG.md` | what changed since the parent version |
| `LICENSE` | the terms under which this data may be used |

## How to read it

- Arrays are (capture, view, y, x[, channel]); `tables/captures.parquet` has each capture's row (`array_index`),
  `tables/images.parquet` each view's (`view_index`).
- Metres and radians; world = rig frame; `world_to_camera` = [R|t], OpenCV axes (x right, y down, z forward). Pixel
  coordinates are integers at pixel corners: the centre of the first pixel is (0.5, 0.5).
- `rgb` uint8 sRGB, undistorted; views whose image is missing are zero (`present` in the images table). `mask` 0 or
  255. `depth` uint16 times the array's `unit_mm`, along z, 0 = none. `normal` int16 / 32767, camera axes,
  0 = none. Scans: world metres, concatenated over captures, with offsets.
- Tiers: {", ".join(in_order(row.tier for row in facts.files if row.tier))}. Cameras and pixels in tables are those of the full one; at
  half size, K and pixel coordinates are half of them. `open_release(..., tier="half")` does that for you.
- Images lie in the rig's common orientation; `turn_deg` is the clockwise turn that was applied.
{_LABELS if labels else _NO_LABELS}
## Who is in it

People are known by number and by bands only. Do not try to find out who a person is.

{band_table(facts)}

## Terms, credit, contact

- Terms: `LICENSE`{f" ({facts.publisher.license_name})" if facts.publisher.license_name else ""}.
- Authors: {", ".join(facts.publisher.authors) or stated(None)}
- Contact: {stated(facts.publisher.contact)}
- Home page: {stated(facts.publisher.url)}

How to cite:

{_quoted(stated(facts.publisher.citation))}
"""


def band_table(facts: ReleaseFacts) -> str:
    """People by band and split, as a Markdown table."""
    rows = ["| Band | " + " | ".join(SPLIT_NAMES) + " | all | share |", "|---|" + "---:|" * (len(SPLIT_NAMES) + 2)]
    whole = facts.counts["subjects"]
    for column, title in BAND_TITLES.items():
        by_split = [facts.band_counts(column, split=name) for name in SPLIT_NAMES]
        for band, count in facts.band_counts(column).items():
            cells = [str(one[band]) for one in by_split]
            rows.append(f"| {title}: {band} | {' | '.join(cells)} | {count} | {share(count, whole)} |")
    return "\n".join(rows)


def _front_matter(facts: ReleaseFacts) -> str:
    """YAML that dataset hubs read. JSON's strings and lists are YAML's, so each value is written as JSON."""
    return "\n".join(["---", *_front_matter_lines(facts), "---", ""])


def _front_matter_lines(facts: ReleaseFacts) -> Iterator[str]:
    publisher = facts.publisher
    fields: dict[str, object] = {
        "pretty_name": f"{facts.title} {facts.version}",
        "language": list(publisher.languages),
        "license": "other",
        "license_name": publisher.license_name or "see-license-file",
        "license_link": "LICENSE",
        "size_categories": [_size_category(facts.counts["captures"])],
        "task_categories": ["keypoint-detection", "image-to-3d", "depth-estimation"],
        "tags": ["hands", "multi-view", "3d", "scans", "mano", *([facts.origin] if facts.origin else [])],
    }
    for name, value in fields.items():
        yield f"{name}: {json.dumps(value, ensure_ascii=False)}"
    yield "configs:"
    for name in sorted(facts.tables):
        yield f"  - config_name: {name}"
        yield f"    data_files: tables/{name}.parquet"
        if name == "captures":
            yield "    default: true"


def _size_category(captures: int) -> str:
    return next((name for limit, name in _SIZES if captures < limit), "n>10M")


def _quoted(text: str) -> str:
    return "\n".join(f"    {line}" for line in text.splitlines())
