"""DATASHEET.md of a version, in the sections of Gebru et al., "Datasheets for Datasets" (2021).

What the version holds is counted from it. What only people know is the publisher's text, or "Not stated.".
"""

from collections.abc import Iterator

from palm_data.report.papers.card import band_table
from palm_data.report.papers.facts import BAND_TITLES, BANDS, ReleaseFacts, plural, share, size_text, stated

_FEW_SHARE = 0.05


def datasheet(facts: ReleaseFacts) -> str:
    """DATASHEET.md; the same contents and texts give the same bytes."""
    publisher = facts.publisher
    sections = {
        "Motivation": [stated(publisher.motivation), f"Made by: {', '.join(publisher.authors) or stated(None)}"],
        "Composition": list(_composition(facts)),
        "Collection": [*_collection(facts), stated(publisher.collection)],
        "Ethical review": [stated(publisher.ethics_review)],
        "Consent": [*_consent(facts), stated(publisher.consent)],
        "Bands": [
            "People are described by bands, never by exact values, and by number, never by name.",
            band_table(facts),
        ],
        "Known bias": [*_bias(facts), f"What the publisher knows besides: {stated(publisher.known_bias)}"],
        "Preprocessing, cleaning, labelling": list(_processing(facts)),
        "Uses": [
            f"Meant for: {stated(publisher.uses)}",
            f"Not to be used for: {stated(publisher.out_of_scope)}",
            "Whatever the terms allow: do not try to find out who a person is.",
        ],
        "Distribution": [
            stated(publisher.distribution),
            f"Terms: `LICENSE`{f' ({publisher.license_name})' if publisher.license_name else ''}.",
        ],
        "Maintenance": [*_maintenance(facts), stated(publisher.maintenance), f"Contact: {stated(publisher.contact)}"],
    }
    body = "\n\n".join(f"## {name}\n\n" + "\n\n".join(texts) for name, texts in sections.items())
    return f"""# Datasheet of {facts.title} release {facts.version}

In the sections of Gebru et al., *Datasheets for Datasets*, Communications of the ACM 64 (12), 2021. Every number is
counted from this version. "Not stated." means that the publisher has not said.

{body}
"""


def _composition(facts: ReleaseFacts) -> Iterator[str]:
    counts = facts.counts
    width, height = facts.image_size
    yield (
        f"{plural(counts['captures'], 'capture')} of {plural(counts['subjects'], 'person').replace('persons', 'people')}, each a "
        f"right hand held still: a textured scan, and images of up to {facts.views} calibrated colour cameras at {width}×{height} "
        f"({plural(counts['images'], 'image')}). {plural(len(facts.gesture_subjects()), 'gesture')}; {size_text(facts.bytes)}."
    )
    missing = facts.tables["images"].num_rows - counts["images"]
    yield f"Images that the rig did not deliver: {missing}; their pixels are zero, and `present` in the images table is false."
    if facts.labelled:
        ok = counts["captures_ok"]
        yield (
            f"Labels: hands fitted to {counts['hands']} captures ({share(counts['hands'], counts['captures'])}); {ok} captures "
            f"({share(ok, counts['captures'])}) have labels within every limit (`quality_ok`). The others are released too, and "
            "`reasons` in the quality table says what is wrong with them."
        )
    else:
        yield "Labels (keypoints, fitted hands, quality) are not part of this version."
    yield (
        f"Not in this version: {plural(counts['subjects_left_out'], 'subject')} and "
        f"{plural(counts['captures_quarantined'], 'capture')} of released subjects; `report/left_out.json` has the reasons."
    )
    yield "Splits are by subject: nobody is in two of them. The data shows people's hands, which can be enough to recognise someone."


def _collection(facts: ReleaseFacts) -> Iterator[str]:
    calibrations = len(set(facts.tables["captures"]["calibration_id"].to_pylist()))
    kind = {"real": "Real people were captured.", "synthetic": "The captures are simulated: no real person is shown."}
    yield f"{kind.get(facts.origin or '', 'Whether real people were captured: not stated.')} Calibrations of the rig in use: {calibrations}."


def _consent(facts: ReleaseFacts) -> Iterator[str]:
    yield (
        "A subject is in a version only if the subject table said `consent = granted` when it was published. Who withdraws is in "
        "no later version."
    )
    withdrawn = len(facts.plan.withdrawn)
    if withdrawn:
        yield f"Withdrawn since the parent version: {plural(withdrawn, 'subject')}. Delete your copies of their data from earlier versions."


def _bias(facts: ReleaseFacts) -> Iterator[str]:
    whole = facts.counts["subjects"]
    absent, few = [], []
    for column, title in BAND_TITLES.items():
        for band, count in facts.band_counts(column).items():
            name = f"{title}: {band}"
            if count == 0:
                absent.append(name)
            elif count < _FEW_SHARE * whole:
                few.append(f"{name} ({count})")
    yield f"Bands with nobody: {'; '.join(absent) or 'none'}."
    yield f"Bands with less than {_FEW_SHARE:.0%} of the people: {'; '.join(few) or 'none'}."
    most = {
        title: max(facts.band_counts(column).items(), key=lambda item: (item[1], -BANDS[column].index(item[0])))
        for column, title in BAND_TITLES.items()
    }
    yield "Most common: " + "; ".join(f"{title}: {band} ({share(n, whole)})" for title, (band, n) in most.items()) + "."
    rigs = len({index.session.rig_serial for index in facts.plan.included})
    source = f", from {plural(rigs, 'rig')}" if rigs else ""
    yield f"Right hands only{source}. Sex is recorded as female or male; there are no bands below 21 or above 70 years."


def _processing(facts: ReleaseFacts) -> Iterator[str]:
    yield (
        "Raw files were validated; what is damaged was set aside. Images were turned to a common orientation and undistorted; only "
        "pixels and meshes are taken from raw files, so no EXIF, comment or file time is released. Masks, depth and normals "
        "are drawn from the scans."
    )
    if facts.labelled:
        yield (
            "Joints were detected by a network in every view and triangulated from the views that agree; a joint with too few is "
            "missing. The hand model was fitted to joints, scan and silhouettes, its shape once per person."
        )
    yield "Raw files are not part of the version; their digests are in the captures and images tables."


def _maintenance(facts: ReleaseFacts) -> Iterator[str]:
    parent = facts.plan.parent
    yield (
        "A version never changes: a correction is a new version with a higher number, and its CHANGELOG.md says what is other. "
        f"Parent of this one: {parent or 'none'}."
    )
