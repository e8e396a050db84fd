"""report/index.html of a version: one page that holds everything it shows, and works without a network."""

import json
from importlib.resources import files

from palm_data.hand.model import HandModel
from palm_data.report.papers.arrays import Arrays
from palm_data.report.papers.facts import ReleaseFacts, plural, size_text
from palm_data.report.papers.gallery import exhibit_section, gesture_section, people_pictures, worst_section
from palm_data.report.papers.markup import Child, Markup, tag
from palm_data.report.papers.measures import camera_section, error_section
from palm_data.report.papers.people import comparison_section, end_section, people_section, split_section
from palm_data.report.papers.tiles import Tiles

_POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src 'unsafe-inline'; base-uri 'none'; form-action 'none'"


def page(facts: ReleaseFacts, arrays: Arrays, model: HandModel | None) -> str:
    """The page; the same contents give the same bytes.

    Args:
        model: the hand model that the version's hands were fitted with, if it is at hand.

    Raises:
        IntegrityError: if a file that is shown is damaged.
    """
    tiles = Tiles(facts, arrays)
    exhibit, data = exhibit_section(facts, arrays, model, tiles)
    pictured = [exhibit, worst_section(facts, tiles), gesture_section(facts, tiles), people_pictures(facts, tiles)]
    closer, worst, gestures, people = pictured
    sections: list[tuple[str, str, Child]] = [
        ("closer", "A closer look", closer),
        ("people", "The people", [people_section(facts), people]),
        ("beside", "Beside published data sets", comparison_section(facts)),
        ("gestures", "Gestures", gestures),
        ("errors", "How exact it is", error_section(facts)),
        ("cameras", "The cameras", camera_section(facts)),
        ("worst", "The worst captures", worst),
        ("splits", "Splits", split_section(facts)),
        ("rest", "What is not here, terms, credit", end_section(facts)),
    ]
    links = tag("nav", tag("ul", [tag("li", tag("a", name, href=f"#{key}")) for key, name, _ in sections]),
                aria_label="Sections")  # fmt: skip
    body = [
        tag("a", "To the content", href="#content", class_="skip"),
        tag("header", _header(facts), links),
        tag("main", [_section(key, name, content) for key, name, content in sections], id="content"),
        tag("footer", tag("p", _footer(facts, tiles))),
        tag("script", Markup(_safe_json(data)), type="application/json", id="exhibits"),
        tag("script", Markup(_asset("viewer.js"))),
    ]
    return "<!doctype html>\n" + tag("html", _head(facts), tag("body", body), lang="en") + "\n"


def _head(facts: ReleaseFacts) -> Markup:
    return tag(
        "head",
        tag("meta", charset="utf-8"),
        tag("meta", http_equiv="Content-Security-Policy", content=_POLICY),
        tag("meta", name="viewport", content="width=device-width, initial-scale=1"),
        tag("meta", name="color-scheme", content="light dark"),
        tag("meta", name="description", content=_summary(facts)),
        tag("link", rel="icon", href="data:,"),
        tag("title", f"{facts.title} {facts.version}"),
        tag("style", Markup(_asset("page.css"))),
    )


def _header(facts: ReleaseFacts) -> list[Child]:
    counts = facts.counts
    width, height = facts.image_size
    figures = [
        (f"{counts['subjects']:,}", "subject" if counts["subjects"] == 1 else "people"),
        (f"{counts['captures']:,}", "captures with scans"),
        (f"{counts['images']:,}", "images"),
        (f"{width}×{height}", "pixels"),
        (f"{facts.views}", "colour views"),
        *([(f"{counts['hands']:,}", "fitted hands")] if facts.labelled else []),
        (size_text(facts.bytes), "of data"),
    ]
    return [
        tag("p", "Release report", class_="kicker"),
        tag("h1", facts.title, " ", tag("span", facts.version, class_="version")),
        tag("p", _summary(facts), class_="lead"),
        _banner(facts),
        tag("dl", [tag("div", tag("dt", what), tag("dd", value)) for value, what in figures], class_="figures"),
    ]


def _banner(facts: ReleaseFacts) -> Markup | None:
    if facts.origin == "synthetic":
        return tag(
            "p",
            tag("b", "Simulated. "),
            "No real person is shown: the rig of these captures is a simulation.",
            class_="banner",
        )
    return None


def _summary(facts: ReleaseFacts) -> str:
    labels = "with joints, fitted hands and a quality score" if facts.labelled else "without labels"
    return (
        f"Right hands held still in {plural(len(facts.gesture_subjects()), 'gesture')}, seen by calibrated cameras and scanned: "
        f"{plural(facts.counts['captures'], 'capture')} of {facts.counts['subjects']:,} "
        f"{'person' if facts.counts['subjects'] == 1 else 'people'}, {labels}."
    )


def _section(key: str, name: str, content: Child) -> Markup:
    return tag("section", tag("h2", name, id=f"{key}-title"), content, id=key, aria_labelledby=f"{key}-title")


def _footer(facts: ReleaseFacts, tiles: Tiles) -> list[Child]:
    left_out = f" Left out for size: {plural(tiles.left_out, 'picture')}." if tiles.left_out else ""
    return [
        f"{facts.title} {facts.version}, parent {facts.plan.parent or 'none'}. This page is a file of the version, under its checksum, "
        "and asks for nothing from anywhere: no font, no script, no count of visitors. Pictures are small copies; the data has "
        f"all of them at full size.{left_out} The version's identity is the merkle root in ",
        tag("code", "manifest.json"), ".",
    ]  # fmt: skip


def _asset(name: str) -> str:
    return (files("palm_data.report.papers") / "assets" / name).read_text(encoding="utf-8").strip()


def _safe_json(data: object) -> str:
    """JSON that cannot end the element it stands in."""
    return json.dumps(data, separators=(",", ":")).replace("<", "\\u003c")
