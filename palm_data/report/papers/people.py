"""The page's sections on people: who they are by bands, which split they are in, and how that compares."""

from palm_data.report.papers.changelog import change_lines
from palm_data.report.papers.charts import Bar, bar_chart, table
from palm_data.report.papers.facts import (
    BAND_TITLES,
    BANDS,
    NOT_STATED,
    SPLIT_NAMES,
    ReleaseFacts,
    plural,
    share,
    stated,
)
from palm_data.report.papers.markup import Child, tag
from palm_data.report.papers.published import SHARES, SOURCE, TABLE_1

_ORIGIN = {"real": "yes", "synthetic": "no", None: "not stated"}


def people_section(facts: ReleaseFacts) -> list[Child]:
    """Sex, age, height and skin tone, each beside the paper's shares."""
    whole = facts.counts["subjects"]
    charts = [
        bar_chart(
            title, f"chart-{column}",
            [Bar(band, count, SHARES[column].get(band)) for band, count in facts.band_counts(column).items()],
            whole=whole, reference="Paper",
        )
        for column, title in BAND_TITLES.items()
    ]  # fmt: skip
    return [
        tag("p", "People are known by number and by bands only. A tick marks the share among the 263 people of the PALM paper, where "
            "it gives one (section 3.1, Figure 3)."),
        tag("div", charts, class_="charts"),
    ]  # fmt: skip


def comparison_section(facts: ReleaseFacts) -> list[Child]:
    """The row of the paper's Table 1 for this version, above the published ones."""
    counts = facts.counts
    width, height = facts.image_size
    annotation = "semi-auto + scan" if facts.labelled else "scan"
    ours = [
        f"This release, {facts.version}", "0" if facts.origin == "synthetic" else f"{counts['subjects']:,}", f"{counts['captures']:,}", f"{width}×{height}",
        _ORIGIN[facts.origin], annotation,
    ]  # fmt: skip
    rows = [ours, *([*row] for row in TABLE_1)]
    more = [
        f"{plural(counts['images'], 'image')} in {facts.views} colour views",
        f"{counts['hands']:,} hand model fits" if facts.labelled else "no hand model fits",
    ]
    return [
        table(["Data set", "Real subjects", "Scans", "Image size", "Real RGB", "Annotation"], rows, highlight=0),
        tag("p", f"Other rows: {SOURCE}, as printed there. This release besides: {'; '.join(more)}."
            + (f" Its {counts['subjects']:,} people are simulated, so that none of them is a real subject." if facts.origin == "synthetic" else ""),
            class_="note"),
    ]  # fmt: skip


def split_section(facts: ReleaseFacts) -> list[Child]:
    """People and bands of each split."""
    captures = facts.tables["captures"]["subject_id"].to_pylist()
    sizes, inside = {}, {}
    for name in SPLIT_NAMES:
        people = set(facts.split_subjects(name))
        sizes[name], inside[name] = len(people), sum(one in people for one in captures)
    rows: list[list[Child]] = [
        ["Subjects", *(f"{sizes[name]:,}" for name in SPLIT_NAMES)],
        ["Captures", *(f"{inside[name]:,}" for name in SPLIT_NAMES)],
    ]
    for column, title in BAND_TITLES.items():
        by_split = {name: facts.band_counts(column, split=name) for name in SPLIT_NAMES}
        rows += [
            [f"{title}: {band}", *(_cell(by_split[name][band], sizes[name]) for name in SPLIT_NAMES)]
            for band in BANDS[column]
        ]
    return [
        tag("p", "Splits are by subject: nobody is in two of them, and nobody ever moves from one to another in a later version."),
        table(["", *SPLIT_NAMES], rows),
    ]  # fmt: skip


def end_section(facts: ReleaseFacts) -> list[Child]:
    """Who and what is left out, what changed, and under which terms all this is."""
    publisher, counts = facts.publisher, facts.counts
    reasons = [[name, str(count)] for name, count in facts.left_out_reasons().items()]
    left_out: list[Child] = [
        tag("p", f"{plural(counts['subjects_left_out'], 'subject')} and {plural(counts['captures_quarantined'], 'capture')} of "
            "released subjects are not in this version. The reasons are in ", tag("a", "left_out.json", href="left_out.json"), "."),
        table(["First reason", "Subjects"], reasons) if reasons else None,
    ]  # fmt: skip
    changes = [_with_code(line) for line in change_lines(facts)]
    said = {
        "Authors": ", ".join(publisher.authors) or NOT_STATED,
        "Contact": stated(publisher.contact),
        "Home page": stated(publisher.url),
        "Collection": stated(publisher.collection),
        "Consent": stated(publisher.consent),
        "Meant for": stated(publisher.uses),
        "Not to be used for": stated(publisher.out_of_scope),
        "Known bias": stated(publisher.known_bias),
    }
    return [
        tag("h3", "Left out"), left_out,
        tag("h3", f"Changed since {facts.plan.parent}" if facts.plan.parent else "Changes"),
        tag("ul", [tag("li", line) for line in changes]) if changes else tag("p", "The first version: it has no parent."),
        tag("h3", "What the publisher says"),
        tag("dl", [tag("div", tag("dt", name), tag("dd", text)) for name, text in said.items()], class_="said"),
        tag("h3", "How to cite"), tag("pre", stated(publisher.citation), tabindex=0),
        tag("h3", "More"),
        tag("ul", [tag("li", tag("a", name, href=f"../{name}"), f": {what}") for name, what in (
            ("README.md", "how to read the data"), ("DATASHEET.md", "how and why it was made"), ("LICENSE", "the terms"),
            ("CHANGELOG.md", "what changed"), ("croissant.json", "the tables, for machines"))]),
    ]  # fmt: skip


def _with_code(line: str) -> list[Child]:
    """A line of Markdown whose only marks are backticks."""
    return [tag("code", part) if place % 2 else part for place, part in enumerate(line.split("`"))]


def _cell(count: int, whole: int) -> str:
    return f"{count:,} ({share(count, whole)})" if whole else "–"
