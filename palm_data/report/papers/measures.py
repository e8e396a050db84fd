"""The page's sections on exactness: errors of the labels, and how well each camera agrees with them."""

from collections import Counter

import numpy as np
import pyarrow as pa
from jaxtyping import Float
from numpy import ndarray

from palm_data.report.papers.charts import Mark, histogram, table
from palm_data.report.papers.facts import ReleaseFacts, plural, quantiles, share
from palm_data.report.papers.markup import Child, tag
from palm_data.report.papers.published import PAPER_FIT_MM
from schemas.hand import JOINT_NAMES


def error_section(facts: ReleaseFacts) -> list[Child]:
    """Histograms of each error, with the limits beyond which a capture's labels are not called good."""
    limits = facts.quality.frame
    captured = histogram(
        "Scan in the images, IoU", "chart-capture-iou", facts.numbers("images", "silhouette_iou"), "",
        "Outline of the projected scan against the segmented image, one value a view.",
    )  # fmt: skip
    if not facts.labelled:
        note = "This version holds captures only: no joints, no fitted hands, and so no errors of theirs."
        return [tag("p", note), tag("div", captured, class_="charts")]
    counts = facts.counts
    charts = [
        histogram("Triangulation", "chart-triangulation", facts.numbers("keypoints_3d", "reprojection_px"), "px",
                  "Triangulated joints against the views used, root mean square, one value a joint."),
        histogram("Fit to the joints", "chart-fit", facts.numbers("hands", "joint_error_mm_mean"), "mm",
                  "Fitted to triangulated joints, mean of a capture. The paper's mean is marked.",
                  marks=[Mark(PAPER_FIT_MM, f"paper {PAPER_FIT_MM}")]),
        histogram("Hand to scan", "chart-model-scan", facts.numbers("hands", "model_to_scan_mm_mean"), "mm",
                  "Fitted surface to the scan, mean of a capture.",
                  marks=[Mark(limits.max_model_to_scan_mm, f"limit {limits.max_model_to_scan_mm:g}")]),
        histogram("Scan to hand", "chart-scan-model", facts.numbers("hands", "scan_to_model_mm_mean"), "mm",
                  "Scan up to the wrist to the fitted surface, mean of a capture.",
                  marks=[Mark(limits.max_scan_to_model_mm, f"limit {limits.max_scan_to_model_mm:g}")]),
        histogram("Hand in the images, IoU", "chart-iou", facts.numbers("hands", "silhouette_iou_mean"), "",
                  "Outline of the fitted hand against the scan's, mean over the views of a capture.",
                  marks=[Mark(limits.min_fit_silhouette_iou, f"limit {limits.min_fit_silhouette_iou:g}")]),
        captured,
    ]  # fmt: skip
    ok = counts["captures_ok"]
    return [
        tag("p", tag("b", f"{ok:,} of {plural(counts['captures'], 'capture')}"), f" ({share(ok, counts['captures'])}) have labels within every limit "
            "(", tag("code", "quality_ok"), f"). Hands were fitted to {counts['hands']:,}. Values far out are counted in the last bar."),
        tag("div", charts, class_="charts"),
        _joint_table(facts),
    ]  # fmt: skip


def camera_section(facts: ReleaseFacts) -> list[Child]:
    """Per camera: how many images, how well the scan meets them, and how well joints do."""
    images = facts.tables["images"]
    cameras = np.asarray(images["camera_id"].to_pylist())
    present = images["present"].to_numpy()
    ious = images["silhouette_iou"].to_numpy()
    errors = reprojection_by_camera(facts) if facts.labelled else {}
    rows: list[list[Child]] = []
    for name in sorted(set(cameras.tolist())):
        here = cameras == name
        known = ious[here & ~np.isnan(ious)]
        row: list[Child] = [name, f"{int(present[here].sum()):,}", f"{int((~present[here]).sum()):,}"]
        row += [f"{np.median(known):.3f}", f"{np.percentile(known, 5):.3f}"] if len(known) else ["–", "–"]
        if facts.labelled:
            found = errors.get(name, np.zeros(0))
            row += [f"{np.median(found):.2f}", f"{np.percentile(found, 95):.2f}"] if len(found) else ["–", "–"]
        rows.append(row)
    columns = ["Camera", "Images", "Missing", "IoU, median", "IoU, 5th percentile"]
    columns += ["Joints, median px", "Joints, 95th percentile px"] if facts.labelled else []
    calibrations = Counter(facts.tables["captures"]["calibration_id"].to_pylist())
    joints = (
        " Joints: where the detector saw them against where the triangulated ones project to." if facts.labelled else ""
    )
    return [
        tag("p", "A camera whose calibration is off shows here before anywhere else: the scan's outline leaves the image's. "
            f"{plural(len(calibrations), 'calibration')} in use. IoU: outline of the projected scan against the segmented image.{joints}"),
        table(columns, rows),
    ]  # fmt: skip


def reprojection_by_camera(facts: ReleaseFacts) -> dict[str, Float[ndarray, " joints"]]:
    """Camera → distance in px of each detected joint to the triangulated one, as projected; colour cameras only."""
    detected, space = facts.tables["keypoints_2d"], facts.tables["keypoints_3d"]
    points = _points(space)
    found: dict[str, list[ndarray]] = {}
    frames, joints = detected["frame"].to_numpy(), detected["joint"].to_numpy()
    pixels = np.stack([detected["x_px"].to_numpy(), detected["y_px"].to_numpy()], axis=1)
    people, names = _codes(detected["subject_id"]), _codes(detected["camera_id"])
    rows_of = {one: np.flatnonzero(people[1] == code) for one, code in people[0].items()}
    for camera in facts.tables["cameras"].to_pylist():
        subject_id, name = camera["subject_id"], camera["camera_id"]
        theirs, rows = points.get(subject_id), rows_of.get(subject_id)
        if theirs is None or rows is None or name not in names[0]:
            continue
        rows = rows[names[1][rows] == names[0][name]]
        world = theirs[frames[rows], joints[rows]]
        pose = np.reshape(camera["world_to_camera"], (4, 4))
        seen = (world @ pose[:3, :3].T + pose[:3, 3]) @ np.reshape(camera["intrinsics"], (3, 3)).T
        with np.errstate(divide="ignore", invalid="ignore"):
            error = np.linalg.norm(seen[:, :2] / seen[:, 2:] - pixels[rows], axis=1)
        found.setdefault(name, []).append(error[np.isfinite(error) & (seen[:, 2] > 0)])
    return {name: np.concatenate(parts) for name, parts in found.items()}


def _points(space: pa.Table) -> dict[str, Float[ndarray, "frames joints 3"]]:
    """Subject → frame, joint → position; NaN where missing."""
    names, codes = _codes(space["subject_id"])
    frames, joints = space["frame"].to_numpy(), space["joint"].to_numpy()
    places = np.stack([space[axis].to_numpy() for axis in "xyz"], axis=1)
    points = {}
    for name, code in names.items():
        rows = codes == code
        grid = np.full((int(frames[rows].max()) + 1, len(JOINT_NAMES), 3), np.nan)
        grid[frames[rows], joints[rows]] = places[rows]
        points[name] = grid
    return points


def _codes(column: pa.ChunkedArray) -> tuple[dict[str, int], ndarray]:
    """Name → number, and each row's number."""
    encoded = column.combine_chunks().dictionary_encode()
    if isinstance(encoded, pa.ChunkedArray):
        encoded = encoded.combine_chunks()
    return {name: at for at, name in enumerate(encoded.dictionary.to_pylist())}, encoded.indices.to_numpy()


def _joint_table(facts: ReleaseFacts) -> Child:
    """How often each joint was found, and how exactly."""
    space = facts.tables["keypoints_3d"]
    joints, errors = space["joint"].to_numpy(), space["reprojection_px"].to_numpy()
    rows: list[list[Child]] = []
    for joint, name in enumerate(JOINT_NAMES):
        here = errors[joints == joint]
        known = here[~np.isnan(here)]
        mean, median, late = quantiles(known) if len(known) else (np.nan,) * 3
        numbers = [f"{value:.2f}" if np.isfinite(value) else "–" for value in (mean, median, late)]
        rows.append([name, share(len(known), len(here)), *numbers])
    return tag(
        "details",
        tag("summary", "Joint by joint"),
        table(["Joint", "Found", "Mean px", "Median px", "95th percentile px"], rows),
    )
