"""One browser page: its pickers and switches, and what they make it show."""

import threading
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from palm_data.view.cache import SceneCache
from palm_data.view.colours import legend
from palm_data.view.drawing import AIMS, HAND_LOOKS, SCAN_LOOKS, Aim, Drawing, Look
from palm_data.view.figures import error_text, nothing_text, page_text
from palm_data.view.selection import ORDER_CHOICES, QUALITY_CHOICES, SPLIT_CHOICES, Selection
from schemas.errors import PalmError

if TYPE_CHECKING:
    import viser

    from palm_data.loader.release import Release
    from palm_data.view.scene import Scene

_NONE = "–"


class Page:
    """One person's page; every page has its own selection, and shows one capture at a time, whole.

    Events come on several threads. Each notes what is wanted; whoever draws next draws what is wanted last.
    """

    def __init__(
        self, client: "viser.ClientHandle", release: "Release", selection: Selection, scenes: SceneCache
    ) -> None:
        self._client, self._release, self._scenes = client, release, scenes
        self._selection, self._look = selection, Look()
        self._drawing = Drawing(client)
        self._wanted = 0
        self._state_lock, self._draw_lock = threading.Lock(), threading.Lock()
        with client.atomic():
            self._add_pickers()
            self._add_switches()
            self._add_filters()
        self._update(aim="the hand")

    def _add_pickers(self) -> None:
        gui = self._client.gui
        self._subject = gui.add_dropdown("Subject", (_NONE,))
        self._gesture = gui.add_dropdown("Capture", (_NONE,))
        steps = gui.add_button_group("Go to", ("Previous", "Next"))
        self._text = gui.add_html("")
        self._on(self._subject, lambda now, value: now if value == _NONE else now.of(value))
        self._on(self._gesture, Selection.labelled_as)
        steps.on_click(lambda event: self._select(lambda now: now.stepped(1 if event.target.value == "Next" else -1)))

    def _add_filters(self) -> None:
        gui, labelled = self._client.gui, self._selection.labelled
        with gui.add_folder("Filter and order", expand_by_default=False):
            split = gui.add_dropdown("Split", SPLIT_CHOICES)
            quality = gui.add_dropdown("Quality", QUALITY_CHOICES, disabled=not labelled)
            order = gui.add_dropdown("Order", ORDER_CHOICES, disabled=not labelled)
        self._on(split, lambda now, value: now.filtered(split=value))
        self._on(quality, lambda now, value: now.filtered(quality=value))
        self._on(order, lambda now, value: now.filtered(order=value))

    def _add_switches(self) -> None:
        gui, look, labelled = self._client.gui, self._look, self._selection.labelled
        with gui.add_folder("Show"):
            scan = gui.add_dropdown("Scan", SCAN_LOOKS, initial_value=look.scan)
            hand = gui.add_dropdown("Hand", HAND_LOOKS, initial_value=look.hand, disabled=not labelled)
            apart = gui.add_checkbox("Side by side", look.apart, disabled=not labelled)
            joints = gui.add_checkbox("Joints", look.joints, disabled=not labelled)
            cameras = gui.add_checkbox("Cameras", look.cameras)
            limit = gui.add_slider("Colours to, mm", 1, 20, 1, int(look.limit_mm), disabled=not labelled)
            self._legend = gui.add_html(legend(look.limit_mm), visible=labelled)
            look_at = gui.add_button_group("Look at", AIMS)
        for name, handle in (("scan", scan), ("hand", hand), ("apart", apart), ("joints", joints),
                             ("cameras", cameras), ("limit_mm", limit)):  # fmt: skip
            handle.on_update(self._looker(name))
        look_at.on_click(lambda event: self._update(aim=AIMS[AIMS.index(event.target.value)]))

    def _on(self, handle: Any, change: Callable[[Selection, Any], Selection]) -> None:
        def changed(event: Any) -> None:
            if event.client is not None:  # what the page itself sets is no wish
                self._select(lambda now: change(now, handle.value))

        handle.on_update(changed)

    def _looker(self, name: str) -> Callable[[Any], None]:
        def changed(event: Any) -> None:
            with self._state_lock:
                self._look = replace(self._look, **{name: event.target.value})
            self._update()

        return changed

    def _select(self, change: Callable[[Selection], Selection]) -> None:
        with self._state_lock:
            try:
                self._selection = change(self._selection)
            except PalmError as error:  # a picker that was changed meanwhile
                self._client.add_notification("Not found", str(error), color="red")
        self._update()

    def _update(self, *, aim: Aim | None = None) -> None:
        """Show what is wanted; leave it to a later wish if one has come."""
        with self._state_lock:
            self._wanted += 1
            mine = self._wanted
        with self._draw_lock:
            if mine != self._wanted and aim is None:
                return
            selection, look = self._selection, self._look
            scene, text = self._read(selection)
            with self._client.atomic():
                self._pickers(selection)
                self._text.content = text
                self._legend.content = legend(look.limit_mm)
                self._drawing.draw(scene, look)
                if aim is not None and scene is not None:
                    self._drawing.aim(scene, look, aim)
        following = selection.stepped(1).current
        if following is not None:
            self._scenes.prepare(following.subject_id, following.frame)

    def _read(self, selection: Selection) -> "tuple[Scene | None, str]":
        """What to draw, and what to say about it."""
        current = selection.current
        if current is None:
            return None, nothing_text()
        try:
            scene = self._scenes.get(current.subject_id, current.frame)
        except PalmError as error:  # a damaged capture costs that capture, not the page
            return None, error_text(current, error)
        return scene, page_text(current, self._release.person(current.subject_id), scene, selection.position)

    def _pickers(self, selection: Selection) -> None:
        """Have the pickers offer and show what is selected."""
        current = selection.current
        for handle, options, value in (
            (self._subject, selection.subject_ids, None if current is None else current.subject_id),
            (self._gesture, tuple(selection.of_subject), None if current is None else current.label),
        ):
            if handle.options != (options or (_NONE,)):
                handle.options = options or (_NONE,)
            handle.value = value or _NONE  # type: ignore[misc]  # mypy sees two properties of one name
