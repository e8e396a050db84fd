"""Scenes that were built lately, so that going back and forth does not read them again."""

import threading
from collections import OrderedDict
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

from palm_data.view.scene import Scene
from schemas.errors import PalmError
from schemas.ids import SubjectId

Key = tuple[SubjectId, int]
_BYTES = 512 << 20


class SceneCache:
    """Builds each scene once, one at a time, and keeps those used last. Shared by all pages; close it at the end."""

    def __init__(self, build: Callable[[SubjectId, int], Scene], *, max_bytes: int = _BYTES) -> None:
        """Take how a capture's scene is built."""
        self._build, self._max_bytes = build, max_bytes
        self._kept: OrderedDict[Key, Scene] = OrderedDict()
        self._lock = threading.Lock()
        self._ahead = ThreadPoolExecutor(max_workers=1, thread_name_prefix="palm-view-ahead")

    def get(self, subject_id: SubjectId, frame: int) -> Scene:
        """The scene of a capture.

        Raises:
            PalmError: whatever building it raises.
        """
        key = (subject_id, frame)
        with self._lock:
            if key not in self._kept:
                self._kept[key] = self._build(subject_id, frame)
                self._shrink()
            self._kept.move_to_end(key)
            return self._kept[key]

    def prepare(self, subject_id: SubjectId, frame: int) -> None:
        """Build a scene that will probably be asked for next, meanwhile; errors are left to whoever asks for it."""

        def work() -> None:
            try:
                self.get(subject_id, frame)
            except PalmError:
                return

        if (subject_id, frame) not in self._kept:
            self._ahead.submit(work)

    def close(self) -> None:
        """Wait for what is being built, and forget the rest."""
        self._ahead.shutdown(wait=True, cancel_futures=True)

    def _shrink(self) -> None:
        while len(self._kept) > 1 and sum(one.bytes for one in self._kept.values()) > self._max_bytes:
            self._kept.popitem(last=False)
