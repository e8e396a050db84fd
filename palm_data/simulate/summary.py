"""The figures of a finished session, gathered from what each capture and person left in truth."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from palm_data.simulate.annotations import WrongLabel
from palm_data.simulate.chrome_ball import RADIUS_M, REFLECTANCE
from palm_data.simulate.options import SimulateOptions
from palm_data.simulate.truth import CaptureTruth, PersonTruth, SessionTruth, histogram_median


def read_people(truth: Path) -> list[PersonTruth]:
    """Everybody's `person.json`, by id."""
    return [PersonTruth.model_validate_json(path.read_bytes()) for path in sorted(truth.glob("*/person.json"))]


def read_captures(truth: Path) -> list[CaptureTruth]:
    """Every `capture.json`, by subject and gesture."""
    return [CaptureTruth.model_validate_json(path.read_bytes()) for path in sorted(truth.glob("*/*/capture.json"))]


def session_truth(truth: Path, options: SimulateOptions, *, labels: int, wrong: Sequence[WrongLabel]) -> SessionTruth:
    """The figures of the session in a truth folder."""
    people, captures = read_people(truth), read_captures(truth)
    tone_of = {person.subject.subject_id: person.subject.skin_tone for person in people}
    histograms = {tone: np.zeros(256, np.int64) for tone in sorted(set(tone_of.values()))}
    for capture in captures:
        histograms[tone_of[capture.subject_id]] += np.array(capture.foreground_histogram)
    distances = [value for person in people for value in person.oracle_model_to_surface_mm_mean.values()]
    return SessionTruth(
        options=options,
        captures=len(captures),
        oracle_model_to_surface_mm_mean=float(np.mean(distances)),
        oracle_model_to_surface_mm_max=max(distances),
        foreground_median_srgb=histogram_median(sum(histograms.values(), np.zeros(256, np.int64))),
        foreground_median_srgb_by_tone={tone: histogram_median(counts) for tone, counts in histograms.items()},
        labels=labels,
        wrong_labels=tuple(wrong),
        fused_scans=tuple(f"{item.subject_id}/{item.gesture}" for item in captures if item.scan_kind == "fused"),
        chrome_ball_radius_m=RADIUS_M,
        chrome_ball_reflectance=REFLECTANCE,
    )
