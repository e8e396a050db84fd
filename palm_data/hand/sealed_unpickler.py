"""An unpickler that a pickle can do nothing to but have it build lists, dicts and records of ours.

The machine is Python's own, in Python: the one in C allocates what a memo's index asks for. On top of refusing names, as
documented for `pickle.Unpickler.find_class`, it calls nothing but what was allowed, sets the state of nothing but
records, and hashes nothing but plain keys: tuples that mention each other hash for years.
"""

import pickle
from collections.abc import Callable, Mapping
from typing import Any, ClassVar

_KEYS = (str, bytes, int, float, type(None))


class SealedUnpickler(pickle._Unpickler):
    """Resolves the names in `allowed`, and no others."""

    allowed: ClassVar[Mapping[tuple[str, str], object]] = {}
    """What stands for the classes and functions that a pickle may mention."""
    stack: list[Any]
    append: Callable[[object], None]
    pop_mark: Callable[[], list[Any]]
    read: Callable[[int], bytes]
    dispatch: ClassVar[dict[int, Callable[..., None]]] = dict(pickle._Unpickler.dispatch)

    def find_class(self, module: str, name: str) -> object:
        """What stands for a name."""
        try:
            return self.allowed[module, name]
        except KeyError:
            raise pickle.UnpicklingError(f"the name {module[:80]}.{name[:80]}") from None

    def load_reduce(self) -> None:
        """Call what was allowed."""
        arguments = self.stack.pop()
        called: Any = self.stack[-1]
        if not any(called is one for one in self.allowed.values()) or not isinstance(arguments, tuple):
            raise pickle.UnpicklingError(f"a call of {type(called).__name__}")
        self.stack[-1] = called(*arguments)

    def load_build(self) -> None:
        """Set a record's state; never a class's or a function's."""
        state = self.stack.pop()
        record = self.stack[-1]
        kind = type(record)
        if kind not in self.allowed.values() or not hasattr(kind, "__setstate__"):
            raise pickle.UnpicklingError(f"a state of {kind.__name__}")
        record.__setstate__(state)

    def load_append(self) -> None:
        """Add to a list."""
        value = self.stack.pop()
        self._top(list).append(value)

    def load_appends(self) -> None:
        """Add to a list."""
        values = self.pop_mark()
        self._top(list).extend(values)

    def load_setitem(self) -> None:
        """Add to a dict."""
        value, key = self.stack.pop(), self.stack.pop()
        self._top(dict)[_key(key)] = value

    def load_setitems(self) -> None:
        """Add to a dict."""
        items = self.pop_mark()
        self._top(dict).update(_pairs(items))

    def load_dict(self) -> None:
        """Make a dict."""
        items = self.pop_mark()
        self.append(_pairs(items))

    def load_additems(self) -> None:
        """Add to a set."""
        items = self.pop_mark()
        self._top(set).update(map(_key, items))

    def load_frozenset(self) -> None:
        """Make a set."""
        items = self.pop_mark()
        self.append(frozenset(map(_key, items)))

    def load_bytearray8(self) -> None:
        """Take as many bytes as there are, not as many as are announced."""
        size = int.from_bytes(self.read(8), "little")
        self.append(bytearray(self.read(min(size, _MOST))))

    def _top(self, kind: type) -> Any:
        if type(self.stack[-1]) is not kind:
            raise pickle.UnpicklingError(f"items of {type(self.stack[-1]).__name__}")
        return self.stack[-1]


_MOST = 1 << 40
for _code, _load in {
    pickle.REDUCE: SealedUnpickler.load_reduce,
    pickle.BUILD: SealedUnpickler.load_build,
    pickle.APPEND: SealedUnpickler.load_append,
    pickle.APPENDS: SealedUnpickler.load_appends,
    pickle.SETITEM: SealedUnpickler.load_setitem,
    pickle.SETITEMS: SealedUnpickler.load_setitems,
    pickle.DICT: SealedUnpickler.load_dict,
    pickle.ADDITEMS: SealedUnpickler.load_additems,
    pickle.FROZENSET: SealedUnpickler.load_frozenset,
    pickle.BYTEARRAY8: SealedUnpickler.load_bytearray8,
}.items():
    SealedUnpickler.dispatch[_code[0]] = _load


def _key(key: object) -> object:
    """The key, if it is a plain one."""
    if type(key) not in (*_KEYS, bool):
        raise pickle.UnpicklingError(f"a key that is a {type(key).__name__}")
    return key


def _pairs(items: list[object]) -> dict[object, object]:
    if len(items) % 2:
        raise pickle.UnpicklingError("a key without a value")
    return {_key(key): value for key, value in zip(items[::2], items[1::2], strict=True)}
