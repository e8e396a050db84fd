"""The page's sections with pictures: a closer look, people, gestures, and the worst captures."""

from collections.abc import Sequence

import numpy as np
import pyarrow.compute as pc

from palm_data.hand.model import HandModel
from palm_data.report.papers.arrays import Arrays
from palm_data.report.papers.charts import table
from palm_data.report.papers.facts import ReleaseFacts, plural, share
from palm_data.report.papers.markup import Child, Markup, tag
from palm_data.report.papers.meshes import chosen, exhibits
from palm_data.report.papers.tiles import TILE_PX, Capture, Seen, Tiles, captures_of, scores

MAX_PEOPLE = 60
MAX_GESTURES = 60
MAX_WORST = 12
_VIEWS_OF_WORST = 2
_LARGE_PX = 240


def exhibit_section(
    facts: ReleaseFacts, arrays: Arrays, model: HandModel | None, tiles: Tiles
) -> tuple[list[Child], list[dict[str, object]]]:
    """A scan and its fitted hand to turn by hand, every view of it as pictures; and what the script needs."""
    shown = list(exhibits(facts, arrays, model))
    first = chosen(facts)[0]
    views = [_view(tiles, first, one, _LARGE_PX) for one in tiles.seen(first)]
    best = tiles.best(first)
    normals = None
    if best is not None:
        alt = f"Surface normals of the scan in false colours, {first.gesture}, camera {best.camera_id}"
        normals = _picture(tiles.normals(first, best, side=_LARGE_PX), alt, f"{best.camera_id}, normals", _LARGE_PX)
    names = ", ".join(f"{one.capture.subject_id} {one.capture.gesture}" for one in shown)
    viewer = tag(
        "div",
        tag("canvas", id="view3d", tabindex=0, role="img", aria_label=f"A scan and its fitted hand in three dimensions: {names}"),
        tag("div", id="controls", class_="controls"),
        tag("p", "Drag to turn, wheel or two fingers to come closer, arrow keys work too. Scans are thinned for this page.", class_="note"),
        id="viewer3d", class_="viewer", hidden=True,
    )  # fmt: skip
    still = tag("p", "Where scripts and WebGL may run, a scan and its fitted hand can be turned here. All else is on the page as it is.",
                class_="note", id="still3d")  # fmt: skip
    caption = tag(
        "p",
        f"{first.subject_id}, {first.gesture}: every colour view, cut to the hand, and the scan's normals.",
        class_="note",
    )
    return [viewer, still, caption, tag("div", [*views, normals], class_="tiles large")], [
        one.packed() | {"turn": _turn(facts, tiles, one.capture)} for one in shown
    ]


def _turn(facts: ReleaseFacts, tiles: Tiles, capture: Capture) -> list[float]:
    """How to look at a capture first: as its best camera does. Rows to the right, up, and towards the viewer."""
    best = tiles.best(capture)
    rows = facts.tables["cameras"].filter(pc.field("subject_id") == capture.subject_id).to_pylist()
    poses = [row["world_to_camera"] for row in rows if best is None or row["camera_id"] == best.camera_id]
    right, down, forward = np.reshape(poses[0], (4, 4))[:3, :3]
    return [round(float(value), 6) for value in (*right, *-down, *-forward)]


def people_pictures(facts: ReleaseFacts, tiles: Tiles) -> list[Child]:
    """One picture of each person, or of a spread of them."""
    by_person: dict[str, list[Capture]] = {}
    for capture in captures_of(facts):
        by_person.setdefault(capture.subject_id, []).append(capture)
    simple = _simple_gestures(facts)
    people = _spread(sorted(by_person), MAX_PEOPLE)
    picked = [min(by_person[one], key=lambda capture: (capture.gesture not in simple, capture.frame)) for one in people]
    pictures = [_best(tiles, capture, capture.subject_id) for capture in picked]
    return [
        tag("h3", "A hand of each" if len(people) == len(by_person) else "Some of the hands"),
        tag("div", pictures, class_="tiles"),
        _shown(pictures, len(by_person), "person", "people"),
    ]


def gesture_section(facts: ReleaseFacts, tiles: Tiles) -> list[Child]:
    """Each gesture with a picture, and how many people show it."""
    people, whole = facts.gesture_subjects(), facts.counts["subjects"]
    score = scores(facts)
    examples: dict[str, Capture] = {}
    for capture in sorted(captures_of(facts), key=lambda one: -score.get((one.subject_id, one.frame), 0.0)):
        examples.setdefault(capture.gesture, capture)
    names = [*people][:MAX_GESTURES]
    pictures = [
        _best(tiles, examples[name], name, f"{people[name]} of {whole} · {share(people[name], whole)}")
        for name in names
    ]
    described = {row["gesture"]: row for row in facts.tables["gestures"].to_pylist()}
    rows: list[list[Child]] = [
        [
            name,
            described[name]["description"],
            "yes" if described[name]["simple"] else "no",
            f"{count:,}",
            share(count, whole),
        ]
        for name, count in people.items()
    ]
    fewest = min(people.values(), default=0)
    return [
        tag(
            "p",
            f"{plural(len(people), 'gesture')}; the rarest is shown by {fewest} of {whole}. The best capture of each:",
        ),
        tag("div", pictures, class_="tiles"),
        _shown(pictures, len(people), "gesture", "gestures"),
        tag(
            "details",
            tag("summary", "All gestures in words"),
            table(["Gesture", "Description", "Simple", "People", "Share"], rows),
        ),
    ]


def worst_section(facts: ReleaseFacts, tiles: Tiles) -> list[Child]:
    """The captures with the lowest scores, as they are, with the reasons."""
    score = scores(facts)
    known = [one for one in captures_of(facts) if (one.subject_id, one.frame) in score]
    worst = sorted(known, key=lambda one: score[one.subject_id, one.frame])[:MAX_WORST]
    reasons = {}
    if facts.labelled:
        for row in facts.tables["quality"].select(["subject_id", "frame", "reasons"]).to_pylist():
            reasons[row["subject_id"], row["frame"]] = row["reasons"]
    cards: list[Child] = []
    for capture in worst:
        key = capture.subject_id, capture.frame
        views = sorted(tiles.seen(capture), key=lambda one: (-one.mask_px, one.view))[:_VIEWS_OF_WORST]
        pictures = [_view(tiles, capture, one, TILE_PX, outlined=True) for one in views]
        why = reasons.get(key) or ("every part within its limit" if facts.labelled else "")
        title = tag("h3", f"{capture.subject_id} · {capture.gesture} · {score[key]:.3f}")
        cards.append(
            tag("article", title, tag("div", pictures, class_="pair"), tag("p", why, class_="note") if why else None)
        )
    what = "quality score" if facts.labelled else "agreement of scan and images"
    lines = (
        " Blue: outline of the scan. Green: outline of the fitted hand."
        if facts.labelled
        else " Blue: outline of the scan."
    )
    return [
        tag("p", f"The {plural(len(worst), 'capture')} with the lowest {what}, worst first. They are released like all others; filter on ",
            tag("code", "quality_ok" if facts.labelled else "silhouette_iou_mean"), f".{lines}"),
        tag("div", cards, class_="worst"),
    ]  # fmt: skip


def _view(tiles: Tiles, capture: Capture, seen: Seen, side: int, *, outlined: bool = False) -> Markup | None:
    alt = f"Hand of {capture.subject_id}, {capture.gesture}, camera {seen.camera_id}" + (
        ", with outlines" if outlined else ""
    )
    return _picture(tiles.photo(capture, seen, outlined=outlined, side=side), alt, seen.camera_id, side)


def _best(tiles: Tiles, capture: Capture, title: str, *notes: str) -> Markup | None:
    seen = tiles.best(capture)
    if seen is None:
        return None
    alt = f"Hand of {capture.subject_id}, {capture.gesture}, camera {seen.camera_id}"
    return _picture(tiles.photo(capture, seen), alt, title, TILE_PX, *notes)


def _picture(url: str | None, alt: str, title: str, side: int, *notes: str) -> Markup | None:
    if url is None:
        return None
    image = tag("img", src=url, alt=alt, width=side, height=side, decoding="async")
    return tag("figure", image, tag("figcaption", tag("b", title), [tag("span", note) for note in notes]))


def _shown(pictures: Sequence[Markup | None], whole: int, one: str, several: str) -> Markup | None:
    """How many pictures there are of how many things, if not of all."""
    count = sum(picture is not None for picture in pictures)
    if count == whole:
        return None
    text = f"{count:,} of {whole:,} {one if whole == 1 else several} pictured, so that the page stays small."
    return tag("p", text, class_="note")


def _spread(names: Sequence[str], count: int) -> list[str]:
    """So many of the names, evenly over their order."""
    if len(names) <= count:
        return list(names)
    return [names[at * len(names) // count] for at in range(count)]


def _simple_gestures(facts: ReleaseFacts) -> set[str]:
    return {row["gesture"] for row in facts.tables["gestures"].to_pylist() if row["simple"]}
