"""Asset checks: what a person must see before trusting a release.

Belongs here: reading verdicts that `palm_data` reached, subject by subject, into one check per asset with the failing
keys in its metadata. Does not belong here: the verdicts. None of these blocks in Dagster's sense, since that would stop
the whole batch: a subject with a failed blocking finding is left out by the release itself, and shows here. Somebody who withdrew
consent is left out by design, which is nothing to look into.
"""

from collections.abc import Callable, Collection, Iterable, Mapping
from typing import TYPE_CHECKING

import dagster as dg

from pipelines.assets.calibration import calibration
from pipelines.assets.hands import hand_maps, hand_pose, hand_shape, quality
from pipelines.assets.labels import detector, keypoints_2d, keypoints_3d
from pipelines.assets.maps import scan_maps
from pipelines.assets.prior import prior
from pipelines.assets.raw import capture_index, raw_session
from pipelines.assets.release import release, subject_labels, subject_shard
from pipelines.outcomes import SET_ASIDE
from pipelines.partitions import subjects
from pipelines.resources import Places

if TYPE_CHECKING:
    from palm_data.quality.gate import GateFinding

_DETECTED_SHARE = 0.8
"""Share of labelled joints of people held out that a detector should place within a twentieth of the crop. Some labels
are wrong, and joints that nobody sees are guessed by people too."""


def _verdict(
    failing: Mapping[str, str], looked_at: int, *, severity: dg.AssetCheckSeverity = dg.AssetCheckSeverity.ERROR
) -> dg.AssetCheckResult:
    """Red if anything fails, with a table of what and why."""
    rows = [dg.TableRecord({"key": key, "reason": reason}) for key, reason in sorted(failing.items())]
    columns = [dg.TableColumn("key"), dg.TableColumn("reason")]
    table = dg.MetadataValue.table(rows, dg.TableSchema(columns))
    return dg.AssetCheckResult(
        passed=not failing,
        severity=severity,
        metadata={"looked_at": looked_at, "failing": len(failing), "keys": table}
        if failing
        else {"looked_at": looked_at},
    )


def none_set_aside(asset: dg.AssetsDefinition) -> dg.AssetChecksDefinition:
    """A check that no subject's latest materialization of the asset was set aside."""

    @dg.asset_check(
        asset=asset,
        name="none_set_aside",
        description="No subject's input was at fault. The subjects listed are not made, for the reason given; the rest is.",
    )
    def check(context: dg.AssetCheckExecutionContext) -> dg.AssetCheckResult:
        known = context.instance.get_dynamic_partitions(str(subjects.name))
        return _verdict(set_aside(context.instance, asset.key, known), len(known))

    return check


def set_aside(instance: dg.DagsterInstance, asset_key: dg.AssetKey, keys: Iterable[str]) -> dict[str, str]:
    """The partitions whose latest materialization was set aside, with the reason."""
    found = {}
    for key in keys:
        records = instance.fetch_materializations(
            dg.AssetRecordsFilter(asset_key=asset_key, asset_partitions=[key]), limit=1
        ).records
        event = records[0].asset_materialization if records else None
        if event is not None and SET_ASIDE in event.metadata:
            found[key] = str(event.metadata[SET_ASIDE].value)
    return found


@dg.asset_check(
    asset=calibration,
    description="Every camera agrees with its images: the projected scans lie on the silhouettes. The cameras listed do not.",
)
def cameras_agree(places: Places) -> dg.AssetCheckResult:
    """Read every calibration's verdict, camera by camera."""
    from palm_data.calibration.verification import load_verification

    workspace = places.workspace()
    failing = {}
    looked_at = 0
    for calibration_id in workspace.keys("calibration"):
        found = load_verification(workspace, calibration_id)
        looked_at += len(found.cameras)
        for camera in found.cameras:
            if camera.status == "flagged":
                failing[f"{calibration_id}/{camera.camera_id}"] = camera.reason
    return _verdict(failing, looked_at)


def _gate(
    places: Places, matters: Callable[["GateFinding"], bool], severity: dg.AssetCheckSeverity
) -> dg.AssetCheckResult:
    """Those of the gate's findings that matter, for all subjects."""
    from palm_data.quality.gate import subject_gate

    settings, workspace = places.settings(), places.workspace()
    ids = workspace.keys("capture_index")
    failing = {}
    for subject_id in ids:
        found = [
            f"{finding.name}: expected {finding.expected}, found {finding.found}. {finding.detail}".strip()
            for finding in subject_gate(workspace, subject_id, settings)
            if matters(finding) and not finding.passed and finding.name != "consent"
        ]
        if found:
            failing[subject_id] = "; ".join(found)
    return _verdict(failing, len(ids), severity=severity)


def _figures(places: Places, stage: str) -> dict[str, Mapping[str, float | int | str]]:
    """What a stage measured, by key."""
    workspace = places.workspace()
    reports = (workspace.report(workspace.require(stage, key), ran=False) for key in workspace.keys(stage))
    return {report.key: report.figures for report in reports}


@dg.asset_check(
    asset=detector,
    description="The detector agrees with the labels of people it never saw. If it does not, annotate more, or train it longer.",
)
def detector_agrees(places: Places) -> dg.AssetCheckResult:
    """Read the detector's own validation."""
    figures, failing = _figures(places, "detector"), {}
    for key, told in figures.items():
        share = float(told.get("validation_within_5_percent", 1.0))
        if share < _DETECTED_SHARE:
            failing[key] = f"validation_within_5_percent: expected at least {_DETECTED_SHARE}, found {share}"
    return _verdict(failing, len(figures), severity=dg.AssetCheckSeverity.WARN)


@dg.asset_check(
    asset=prior,
    description="Every step of the training was taken, and no view of the release was unreadable. If not, look at its log.",
)
def every_step_taken(places: Places) -> dg.AssetCheckResult:
    """Read what the training counted."""
    figures, failing = _figures(places, "prior"), {}
    for key, told in figures.items():
        found = {name: told[name] for name in ("steps_refused", "views_left_out") if told.get(name)}
        if found:
            failing[key] = ", ".join(f"{name}: expected 0, found {count}" for name, count in found.items())
    return _verdict(failing, len(figures), severity=dg.AssetCheckSeverity.WARN)


def within_limits(
    asset: dg.AssetsDefinition, name: str, findings: Collection[str], description: str
) -> dg.AssetChecksDefinition:
    """A check that the named findings of the gate pass for every subject.

    Args:
        findings: names of `palm_data.quality.gate`.
    """

    @dg.asset_check(asset=asset, name=name, description=description)
    def check(places: Places) -> dg.AssetCheckResult:
        return _gate(places, lambda finding: finding.name in findings, dg.AssetCheckSeverity.WARN)

    return check


@dg.asset_check(
    asset=subject_labels,
    description="Every subject with consent may be released. The subjects listed are left out of the release, for the reason given.",
)
def fit_for_release(places: Places) -> dg.AssetCheckResult:
    """Read the gate's blocking findings of every subject."""
    return _gate(places, lambda finding: finding.blocking, dg.AssetCheckSeverity.ERROR)


@dg.asset_check(
    asset=subject_labels,
    description="Nothing about a subject is out of the ordinary. The subjects listed are released; look at them.",
)
def nothing_unusual(places: Places) -> dg.AssetCheckResult:
    """Read the gate's other findings of every subject."""
    return _gate(places, lambda finding: not finding.blocking, dg.AssetCheckSeverity.WARN)


@dg.asset_check(
    asset=release,
    description="The latest version holds every subject with consent. The subjects listed are not in it, for the reason given.",
)
def nobody_left_out(context: dg.AssetCheckExecutionContext) -> dg.AssetCheckResult:
    """Read what the release recorded when it was published."""
    event = context.instance.get_latest_materialization_event(release.key)
    metadata = event.asset_materialization.metadata if event and event.asset_materialization else {}
    left_out = metadata.get("left_out_subjects")
    failing = {
        key: "; ".join(reasons)
        for key, reasons in dict(left_out.value if left_out else {}).items()
        if not any(reason.startswith("consent:") for reason in reasons)
    }
    subjects_in = metadata.get("subjects")
    return _verdict(failing, len(failing) + int(subjects_in.value if subjects_in else 0))


partitioned: tuple[dg.AssetsDefinition, ...] = (
    raw_session, capture_index, scan_maps, subject_shard,
    keypoints_2d, keypoints_3d, hand_shape, hand_pose, hand_maps, quality, subject_labels,
)  # fmt: skip


def all_checks() -> list[dg.AssetChecksDefinition]:
    """Every check of the project."""
    return [
        *map(none_set_aside, partitioned),
        cameras_agree,
        detector_agrees,
        within_limits(
            keypoints_3d, "joints_found", {"coverage_mean"},
            "Joints are found as often as the paper found them. The subjects listed miss more; look at their detections.",
        ),
        within_limits(
            hand_pose, "hands_fit", {"fit_mm_mean", "model_to_scan_mm_mean", "silhouette_iou_fit_mean"},
            "Hands fit as well as the paper's. The subjects listed fit worse; look at their overlays.",
        ),
        within_limits(
            quality, "captures_usable", {"quality_ok_share"},
            "Most captures of every subject are usable. The subjects listed stay out of a release.",
        ),
        fit_for_release,
        nothing_unusual,
        nobody_left_out,
        every_step_taken,
    ]  # fmt: skip
