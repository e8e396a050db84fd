"""Figures of a simulated session: the delivered files against what is true of them.

Keys end in their unit. Labels that were made wrong on purpose are counted, and left out of the labels' error.
"""

import json
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from palm_data.camera.tsai import project_tsai
from palm_data.capture.images import read_image
from palm_data.capture.scan import read_scan
from palm_data.capture.tka import read_tka
from palm_data.simulate.casting import SurfaceQuery
from palm_data.simulate.summary import read_captures, read_people
from palm_data.simulate.truth import (
    CamerasTruth,
    CaptureTruth,
    PersonTruth,
    SessionTruth,
    histogram_median,
    read_arrays,
)
from schemas.camera import TsaiCamera
from schemas.errors import BadInputError
from schemas.settings import IngestSettings

_LIMITS = IngestSettings()
_COCO_SHIFT = 0.5


def evaluate_capture(truth: Path, raw: Path) -> dict[str, float | int]:
    """The session's figures, flat.

    Args:
        truth: the truth folder of a simulated session.
        raw: the raw folder of the same session.

    Raises:
        BadInputError: if the folders do not hold a finished session of the same simulation.
    """
    session = _session(truth)
    people, captures = read_people(truth), read_captures(truth)
    cameras = CamerasTruth.model_validate_json((truth / "cameras.json").read_bytes())
    histograms, shares = _foregrounds(truth, raw, captures)
    return {
        "subjects": len(people),
        "captures": len(captures),
        "images": sum(1 for capture in captures for _ in _images(raw, capture)),
        **_oracle_figures(people),
        "foreground_median_srgb": histogram_median(sum(histograms.values(), np.zeros(256, np.int64))),
        **_tone_figures(people, histograms),
        "foreground_share_mean": float(np.mean(shares)),
        **_label_figures(truth, raw, session, cameras.cameras),
        **_scan_figures(truth, raw, captures),
        "calibration_offset_px_mean": _calibration_offset_px(raw, cameras),
        "fused_scans": sum(capture.scan_kind == "fused" for capture in captures),
    }


def _session(truth: Path) -> SessionTruth:
    path = truth / "truth.json"
    try:
        return SessionTruth.model_validate_json(path.read_bytes())
    except (OSError, ValueError) as error:
        raise BadInputError(
            path,
            field="file",
            expected="the figures of a finished simulation",
            found=type(error).__name__,
            hint="Run palm simulate to its end.",
        ) from None


def _images(raw: Path, capture: CaptureTruth) -> Iterator[Path]:
    """The delivered images of a capture, by name."""
    folder = raw / capture.subject_id / capture.gesture
    stem = f"{capture.gesture}.{capture.raw_frame:06d}"
    return iter(sorted(path for path in folder.glob(f"{stem}.??_?.*") if path.is_file()))


def _oracle_figures(people: Sequence[PersonTruth]) -> dict[str, float]:
    distances = [value for person in people for value in person.oracle_model_to_surface_mm_mean.values()]
    return {
        "oracle_model_to_surface_mm_mean": float(np.mean(distances)),
        "oracle_model_to_surface_mm_max": max(distances),
    }


def _foregrounds(
    truth: Path, raw: Path, captures: Sequence[CaptureTruth]
) -> tuple[dict[str, Float[ndarray, "256"]], list[float]]:
    """By person: how often each colour value occurs inside the true masks; and each mask's share of its image."""
    histograms: dict[str, ndarray] = {}
    shares: list[float] = []
    for capture in captures:
        counts = histograms.setdefault(capture.subject_id, np.zeros(256, np.int64))
        for path in _images(raw, capture):
            camera = path.name.split(".")[-2]
            if not camera.endswith("_C"):
                continue
            image = read_image(path, max_pixels=_LIMITS.max_image_pixels)
            mask = truth / capture.subject_id / capture.gesture / f"{camera}.png"
            inside = read_image(mask, max_pixels=_LIMITS.max_image_pixels) > 0
            if inside.shape != image.shape[:2]:
                raise BadInputError(
                    path,
                    field="size",
                    expected=str(inside.shape),
                    found=image.shape,
                    hint="Name truth and raw of one session.",
                )
            counts += np.bincount(image[inside].ravel(), minlength=256)
            shares.append(float(inside.mean()))
    return histograms, shares


def _tone_figures(people: Sequence[PersonTruth], histograms: dict[str, ndarray]) -> dict[str, float]:
    tones = sorted({person.subject.skin_tone for person in people})
    figures = {}
    for tone in tones:
        ids = [person.subject.subject_id for person in people if person.subject.skin_tone == tone]
        counts = sum((histograms[name] for name in ids if name in histograms), np.zeros(256, np.int64))
        figures[f"foreground_median_srgb_{tone}"] = histogram_median(counts)
    return figures


def _label_figures(
    truth: Path, raw: Path, session: SessionTruth, cameras: Sequence[TsaiCamera]
) -> dict[str, float | int]:
    """How far people's labels of visible joints are from the true ones, in shares of the hand's size."""
    wrong = {item.file_name for item in session.wrong_labels}
    by_name = {camera.raw_name: camera for camera in cameras}
    count, errors = 0, [np.zeros(0)]
    for path in sorted((raw / "annotations").glob("*.json")):
        document = json.loads(path.read_bytes())
        files = {image["id"]: image["file_name"] for image in document["images"]}
        for annotation in document["annotations"]:
            count += 1
            name = files[annotation["image_id"]]
            if name not in wrong:
                errors.append(_label_errors(truth, name, annotation["keypoints"], by_name))
    joined = np.concatenate(errors)
    return {
        "labels": count,
        "wrong_label_share": len(wrong) / count if count else 0.0,
        "label_error_of_hand_size_median": float(np.median(joined)) if len(joined) else 0.0,
    }


def _label_errors(
    truth: Path, file_name: str, keypoints: Sequence[float], cameras: dict[str, TsaiCamera]
) -> Float[ndarray, "visible"]:
    subject, gesture, name = file_name.split("/")
    joints = read_arrays(truth / subject / gesture / "surface.npz")["joints"]
    true = project_tsai(cameras[name.split(".")[-2]], joints)
    marked = np.asarray(keypoints, dtype=np.float64).reshape(-1, 3)
    visible = marked[:, 2] == 2
    error = np.linalg.norm(marked[:, :2] + _COCO_SHIFT - true, axis=1)[visible]
    return error / np.ptp(true, axis=0).max()


def _scan_figures(truth: Path, raw: Path, captures: Sequence[CaptureTruth]) -> dict[str, float]:
    """Distance of the delivered scans from the true surfaces."""
    means, boundaries = [], []
    for capture in captures:
        stem = f"{capture.gesture}.{capture.raw_frame:06d}.{capture.scan_format}"
        scan = read_scan(raw / capture.subject_id / capture.gesture / stem, limits=_LIMITS)
        metres = scan.vertices * (0.001 if capture.scan_unit == "mm" else 1.0)
        surface = read_arrays(truth / capture.subject_id / capture.gesture / "surface.npz")
        means.append(float(np.median(SurfaceQuery(surface["vertices"], surface["faces"]).distance(metres))) * 1000.0)
        boundaries.append(capture.scan_boundary_share)
    return {"scan_to_surface_mm_median": float(np.mean(means)), "scan_boundary_share_mean": float(np.mean(boundaries))}


def _calibration_offset_px(raw: Path, truth: CamerasTruth) -> float:
    """How far the calibration files put the world's origin, and places about it, from where the cameras see them."""
    places = 0.06 * np.array([[0, 0, 0], [1, 0, 0], [-1, 0, 0], [0, 1, 0], [0, -1, 0], [0, 0, 1], [0, 0, -1]])
    folder = raw / "calibrations" / truth.calibration_id
    offsets = [
        project_tsai(read_tka(folder / f"{camera.raw_name}.tka"), places) - project_tsai(camera, places)
        for camera in truth.cameras
    ]
    return float(np.linalg.norm(offsets, axis=2).mean())
