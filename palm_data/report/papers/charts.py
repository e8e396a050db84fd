"""Charts as inline SVG that takes the page's colours: each has a name for those who do not see it, and its numbers in a table."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy import ndarray

from palm_data.report.papers.facts import quantiles, share
from palm_data.report.papers.markup import Child, Markup, decimal, tag

_WIDTH = 360.0
_ROW = 26.0
_LABEL = 84.0
_NUMBERS = 76.0
_PLOT_HEIGHT = 120.0
_TOP, _BOTTOM = 22.0, 36.0


@dataclass(frozen=True)
class Bar:
    """One band: how many there are, and what share another data set has of it."""

    label: str
    count: int
    reference: float | None = None


@dataclass(frozen=True)
class Mark:
    """A line across a histogram."""

    value: float
    label: str


def bar_chart(name: str, key: str, bars: Sequence[Bar], *, whole: int, reference: str | None = None) -> Markup:
    """Horizontal bars of shares of a whole, with ticks at the reference's shares.

    Args:
        key: unique on the page; becomes part of ids.
    """
    top = max([bar.count / whole if whole else 0.0 for bar in bars] + [bar.reference or 0.0 for bar in bars] + [0.01])
    room = _WIDTH - _LABEL - _NUMBERS
    drawn: list[Child] = []
    for position, bar in enumerate(bars):
        y = position * _ROW
        part = bar.count / whole if whole else 0.0
        drawn += [
            tag("text", bar.label, x=_LABEL - 10, y=y + 17, class_="label", text_anchor="end"),
            tag("rect", x=_LABEL, y=y + 5, width=room, height=_ROW - 10, rx=3.0, class_="track"),
            tag("rect", x=_LABEL, y=y + 5, width=room * part / top, height=_ROW - 10, rx=3.0, class_="bar"),
            tag("text", f"{bar.count:,}", x=_WIDTH - 44, y=y + 17, class_="count", text_anchor="end"),
            tag("text", share(bar.count, whole), x=_WIDTH, y=y + 17, class_="label", text_anchor="end"),
        ]
        if bar.reference is not None:
            x = _LABEL + room * bar.reference / top
            drawn.append(tag("line", x1=x, x2=x, y1=y + 2, y2=y + _ROW - 2, class_="reference"))
    said = "; ".join(f"{bar.label}: {bar.count} ({share(bar.count, whole)})" for bar in bars)
    described = _svg(key, name, said, drawn, height=len(bars) * _ROW)
    columns = ["Band", "People", "Share", *([reference] if reference else [])]
    rows = [
        [bar.label, f"{bar.count:,}", share(bar.count, whole), *([_percent(bar.reference)] if reference else [])]
        for bar in bars
    ]
    return tag("figure", tag("h3", name), described, numbers_table(columns, rows), class_="chart")


def histogram(name: str, key: str, values: ndarray, unit: str, note: str, *, marks: Sequence[Mark] = ()) -> Markup:
    """How often each value occurs, over the range that holds nearly all of them; says mean, median and 95th percentile."""
    if not len(values):
        return tag("figure", tag("h3", name), tag("p", "Nothing was measured.", class_="note"), class_="chart")
    low, high = _range(values, unit, [mark.value for mark in marks])
    edges = np.linspace(low, high, 25)
    counts, _ = np.histogram(np.clip(values, low, high), edges)
    mean, median, late = quantiles(values)
    step, top = _WIDTH / len(counts), max(int(counts.max()), 1)
    base = _TOP + _PLOT_HEIGHT
    drawn: list[Child] = [
        tag("rect", x=at * step + 1, y=base - _PLOT_HEIGHT * int(n) / top, width=step - 2, height=_PLOT_HEIGHT * int(n) / top,
            rx=1.5, class_="bar")
        for at, n in enumerate(counts) if n
    ]  # fmt: skip
    drawn.append(tag("line", x1=0.0, x2=_WIDTH, y1=base + 0.5, y2=base + 0.5, class_="axis"))
    for at, anchor in ((0.0, "start"), (0.5, "middle"), (1.0, "end")):
        text = f"{low + at * (high - low):.3g}" + (f" {unit}" if at == 1.0 else "")
        drawn.append(tag("text", text, x=at * _WIDTH, y=base + 17, class_="label", text_anchor=anchor))
    for mark in marks:
        drawn += _mark(mark, low, high, base)
    said = f"{len(values)} values; mean {mean:.3g}, median {median:.3g}, 95th percentile {late:.3g} {unit}".strip()
    columns, rows = (
        ["From", "To", "Count"],
        [[f"{a:.3g}", f"{b:.3g}", str(int(n))] for a, b, n in zip(edges, edges[1:], counts, strict=False)],
    )
    return tag(
        "figure",
        tag("h3", name),
        _svg(key, name, said, drawn, height=base + _BOTTOM - 12),
        tag("figcaption", _statistics(len(values), mean, median, late, unit), " ", note),
        numbers_table(columns, rows),
        class_="chart",
    )


def numbers_table(columns: Sequence[str], rows: Sequence[Sequence[Child]], *, summary: str = "Numbers") -> Markup:
    """A table that opens on demand."""
    return tag("details", tag("summary", summary), table(columns, rows))


def table(columns: Sequence[str], rows: Sequence[Sequence[Child]], *, highlight: int | None = None) -> Markup:
    """A table whose first column names its rows; wide ones scroll on their own."""
    kinds = ["n" if at and all(_numeric(row[at]) for row in rows) else None for at in range(len(columns))]
    head = tag("tr", [tag("th", column, scope="col", class_=kind) for column, kind in zip(columns, kinds, strict=True)])
    body = [
        tag("tr", tag("th", row[0], scope="row"), [tag("td", cell, class_=kind) for cell, kind in zip(row[1:], kinds[1:], strict=True)],
            class_="ours" if at == highlight else None)
        for at, row in enumerate(rows)
    ]  # fmt: skip
    return tag("div", tag("table", tag("thead", head), tag("tbody", body)), class_="scroll", tabindex=0, role="region",
               aria_label="Table")  # fmt: skip


def _svg(key: str, name: str, said: str, drawn: Sequence[Child], *, height: float) -> Markup:
    return tag(
        "svg", tag("title", name, id=f"{key}-name"), tag("desc", said, id=f"{key}-said"), drawn,
        viewBox=f"0 0 {decimal(_WIDTH)} {decimal(height)}", role="img", aria_labelledby=f"{key}-name {key}-said",
    )  # fmt: skip


def _mark(mark: Mark, low: float, high: float, base: float) -> list[Child]:
    x = _WIDTH * (mark.value - low) / (high - low)
    anchor = "end" if x > _WIDTH * 0.6 else "start"
    return [
        tag("line", x1=x, x2=x, y1=_TOP - 6, y2=base, class_="reference"),
        tag("text", mark.label, x=x + (-5 if anchor == "end" else 5), y=_TOP - 8, class_="mark", text_anchor=anchor),
    ]


def _range(values: ndarray, unit: str, marks: Sequence[float]) -> tuple[float, float]:
    """Where to draw: shares up to 1, errors from 0; a few far ones are counted in the last bar."""
    if not unit:
        low = min(float(np.percentile(values, 0.5)), *marks, 0.9) if marks else min(float(values.min()), 0.9)
        return np.floor(low * 20) / 20 - 0.0, 1.0
    high = max(float(np.percentile(values, 99.5)) * 1.08, *marks, 1e-3) if marks else max(float(values.max()), 1e-3)
    return 0.0, high * 1.02


def _statistics(count: int, mean: float, median: float, late: float, unit: str) -> Markup:
    space = f" {unit}" if unit else ""
    return tag(
        "span", tag("b", f"{mean:.3g}{space}"), f" mean · {median:.3g} median · {late:.3g} 95th percentile · n\u00a0=\u00a0{count:,}.",
        class_="statistics",
    )  # fmt: skip


def _numeric(cell: Child) -> bool:
    return isinstance(cell, str) and (cell in ("", "–", "N/A") or cell[0].isdigit())


def _percent(part: float | None) -> str:
    return "–" if part is None else f"{100 * part:.0f} %"
