"""HTML and SVG as text: every value that is put in is escaped, so data cannot become markup."""

from collections.abc import Iterable
from html import escape
from typing import TypeAlias

_VOID = frozenset({"img", "meta", "link", "br"})
_CAMEL = frozenset({"viewBox", "preserveAspectRatio"})


class Markup(str):
    """Text that is markup already, and is put in as it stands."""

    __slots__ = ()


Child: TypeAlias = str | int | Iterable["Child"] | None
"""What may stand inside an element: markup, text, numbers, several of these, or nothing."""


def tag(name: str, /, *children: Child, **attributes: str | float | bool | None) -> Markup:
    """An element with escaped text and attributes.

    Args:
        attributes: a last underscore is dropped (`class_`), inner ones become dashes; None and False are left out, True
            stands without a value.
    """
    written = "".join(_attribute(key, value) for key, value in attributes.items())
    if name in _VOID:
        return Markup(f"<{name}{written}>")
    return Markup(f"<{name}{written}>{joined(children)}</{name}>")


def joined(children: Child) -> Markup:
    """Everything in order, text escaped."""
    if children is None:
        return Markup()
    if isinstance(children, Markup):
        return children
    if isinstance(children, str | int):
        return Markup(escape(str(children)))
    return Markup("".join(joined(child) for child in children))


def decimal(value: float) -> str:
    """A coordinate with at most two digits after the point."""
    text = f"{value:.2f}".rstrip("0").rstrip(".")
    return "0" if text == "-0" else text


def _attribute(key: str, value: str | float | bool | None) -> str:
    if value is None or value is False:
        return ""
    name = key if key in _CAMEL else key.rstrip("_").replace("_", "-")
    if value is True:
        return f" {name}"
    return f' {name}="{escape(decimal(value) if isinstance(value, float) else str(value))}"'
