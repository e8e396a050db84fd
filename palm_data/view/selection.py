"""Which captures a person leafs through: filters, an order, and the one that is shown."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal, get_args

from schemas.errors import StoreError
from schemas.ids import Slug, SubjectId
from schemas.release import SplitName

if TYPE_CHECKING:
    from palm_data.loader.release import Release

SplitChoice = Literal["all", "train", "val", "test"]
QualityChoice = Literal["all", "ok", "not ok"]
OrderChoice = Literal["by subject", "worst first"]
SPLIT_CHOICES: tuple[SplitChoice, ...] = get_args(SplitChoice)
QUALITY_CHOICES: tuple[QualityChoice, ...] = get_args(QualityChoice)
ORDER_CHOICES: tuple[OrderChoice, ...] = get_args(OrderChoice)


@dataclass(frozen=True)
class Entry:
    """One capture, as the pickers name it."""

    subject_id: SubjectId
    frame: int
    gesture: Slug
    split: SplitName
    score: float | None
    """None in a version without labels."""
    quality_ok: bool | None

    @property
    def label(self) -> str:
        """Its name among the captures of its subject."""
        return f"{self.frame} · {self.gesture}"


def entries(release: "Release") -> tuple[Entry, ...]:
    """The captures of a release, in their order."""
    here = set(zip(release.captures["subject_id"].to_pylist(), release.captures["frame"].to_pylist(), strict=True))
    rows = [row for row in release.tables.wide.to_pylist() if (row["subject_id"], row["frame"]) in here]
    return tuple(
        Entry(
            subject_id=row["subject_id"], frame=row["frame"], gesture=row["gesture"], split=row["split"],
            score=row.get("score"), quality_ok=row.get("quality_ok"),
        )
        for row in rows
    )  # fmt: skip


@dataclass(frozen=True)
class Selection:
    """What is looked at, and what next and previous lead to. Every change gives a new one."""

    captures: tuple[Entry, ...]
    """All of them."""
    split: SplitChoice = "all"
    quality: QualityChoice = "all"
    order: OrderChoice = "by subject"
    current: Entry | None = None
    """None if no capture passes the filters."""

    @property
    def labelled(self) -> bool:
        """Whether there are scores to filter and order by."""
        return any(one.score is not None for one in self.captures)

    @property
    def chosen(self) -> tuple[Entry, ...]:
        """Those that pass the filters, in the order."""
        wanted = {"all": (True, False, None), "ok": (True,), "not ok": (False,)}[self.quality]
        kept = [one for one in self.captures if self.split in ("all", one.split) and one.quality_ok in wanted]
        if self.order == "worst first":
            kept.sort(key=lambda one: 0.0 if one.score is None else one.score)
        return tuple(kept)

    @property
    def subject_ids(self) -> tuple[SubjectId, ...]:
        """The subjects to pick from: in the order of their first capture."""
        return tuple(dict.fromkeys(one.subject_id for one in self.chosen))

    @property
    def of_subject(self) -> Mapping[str, Entry]:
        """The current subject's captures to pick from, by label."""
        if self.current is None:
            return {}
        return {one.label: one for one in self.chosen if one.subject_id == self.current.subject_id}

    @property
    def position(self) -> tuple[int, int]:
        """Which of how many is shown, counted from 1; 0 if none is."""
        chosen = self.chosen
        return (chosen.index(self.current) + 1 if self.current is not None else 0), len(chosen)

    def filtered(
        self,
        *,
        split: SplitChoice | None = None,
        quality: QualityChoice | None = None,
        order: OrderChoice | None = None,
    ) -> "Selection":
        """With other filters; the same capture stays if it passes them, else the first that does is shown.

        With another order, its first capture is shown.
        """
        other = replace(self, split=split or self.split, quality=quality or self.quality, order=order or self.order)
        chosen = other.chosen
        if self.current in chosen and other.order == self.order:
            return other
        return replace(other, current=chosen[0] if chosen else None)

    def stepped(self, step: int) -> "Selection":
        """The capture so many further, around the end."""
        chosen = self.chosen
        if self.current is None:
            return self
        return replace(self, current=chosen[(chosen.index(self.current) + step) % len(chosen)])

    def of(self, subject_id: SubjectId, gesture: Slug | None = None) -> "Selection":
        """A subject's capture of the same gesture (or of the one given), or else their first.

        Raises:
            StoreError: if no capture that passes the filters is of that subject, or of the gesture that is given.
        """
        theirs = [one for one in self.chosen if one.subject_id == subject_id]
        if not theirs:
            known = ", ".join(self.subject_ids) or "none"
            raise StoreError(f"subject: expected one of {known}, found {subject_id!r}.")
        wanted = gesture or (self.current.gesture if self.current is not None else None)
        same = [one for one in theirs if one.gesture == wanted]
        if gesture is not None and not same:
            known = ", ".join(sorted({one.gesture for one in theirs}))
            raise StoreError(f"subject {subject_id}: gesture: expected one of {known}, found {gesture!r}.")
        return replace(self, current=(same or theirs)[0])

    def labelled_as(self, label: str) -> "Selection":
        """The current subject's capture of that label; no change if there is none, as after a change of filters."""
        return replace(self, current=self.of_subject.get(label, self.current))


def start(release: "Release", subject_id: SubjectId | None = None, gesture: Slug | None = None) -> Selection:
    """The selection that a page opens with: the first capture, or the one asked for.

    Raises:
        StoreError: if there is no such subject, or no such gesture of theirs (of anybody, if no subject is given).
    """
    captures = entries(release)
    selection = Selection(captures=captures, current=captures[0] if captures else None)
    if subject_id is not None:
        return selection.of(subject_id, gesture)
    if gesture is None:
        return selection
    for one in captures:
        if one.gesture == gesture:
            return replace(selection, current=one)
    known = ", ".join(sorted({one.gesture for one in captures}))
    raise StoreError(f"gesture: expected one of {known}, found {gesture!r}.")
