"""Pickles that want more than to hold arrays: to run something, to take all memory, or never to end.

Written opcode by opcode; nothing here runs anything. What would run touches a marker file, so that whoever reads one can
look for it.
"""

import pickle
import struct
from collections.abc import Iterator
from pathlib import Path

_CALLS = (
    ("os", "system"), ("posix", "system"), ("subprocess", "getoutput"), ("builtins", "exec"), ("builtins", "eval"),
    ("builtins", "__import__"), ("os", "popen"), ("pty", "spawn"), ("importlib", "import_module"), ("runpy", "_run_code"),
    ("numpy.testing._private.utils", "runstring"), ("numpy", "load"), ("numpy.f2py.crackfortran", "myeval"),
    ("torch", "load"), ("webbrowser", "open"), ("pickle", "loads"), ("code", "interact"), ("timeit", "timeit"), ("bdb", "Bdb"),
    ("operator", "attrgetter"), ("functools", "partial"), ("chumpy.ch", "system"), ("numpy.core.multiarray", "system"),
)  # fmt: skip
_PARENTS = ("__class__", "__init__.__globals__", "__subclasses__", "__reduce__")


def hostile_pickles(marker: Path) -> Iterator[tuple[str, bytes]]:
    """Names and contents; reading any of them in good faith would touch the marker, fill the memory or hang."""
    command = f"touch {marker}"
    yield from _running(command)
    yield from _reaching()
    yield from _states()
    yield from _bombs()
    yield from _shapes()


def _running(command: str) -> Iterator[tuple[str, bytes]]:
    """Each call, by each opcode that makes one."""
    code = f"__import__('os').system({command!r})"
    for module, name in _CALLS:
        text = code if name in ("exec", "eval", "myeval", "runstring", "timeit") else command
        argument = pickle.MARK + _string(text) + pickle.TUPLE
        found, stacked = _global(module, name), _string(module) + _string(name) + pickle.STACK_GLOBAL
        yield f"GLOBAL REDUCE {module}.{name}", _whole(found + argument + pickle.REDUCE)
        yield f"STACK_GLOBAL REDUCE {module}.{name}", _whole(stacked + argument + pickle.REDUCE)
        yield f"INST {module}.{name}", _whole(pickle.MARK + _string(text) + b"i" + f"{module}\n{name}\n".encode())
        yield f"OBJ {module}.{name}", _whole(pickle.MARK + found + _string(text) + pickle.OBJ)
        yield f"NEWOBJ {module}.{name}", _whole(stacked + argument + pickle.NEWOBJ)
        yield f"NEWOBJ_EX {module}.{name}", _whole(stacked + argument + pickle.EMPTY_DICT + pickle.NEWOBJ_EX)
        inner = _string("v_template") + found + argument + pickle.REDUCE
        yield f"a value of a dict, {module}.{name}", _whole(pickle.EMPTY_DICT + inner + pickle.SETITEM)
    for code_number in (1, 0x81, 0xFFFF, 0x7FFFFFFF):
        yield (
            f"EXT {code_number}",
            _whole(pickle.EXT4 + struct.pack("<i", code_number) + pickle.EMPTY_TUPLE + pickle.REDUCE),
        )
    yield "EXT1", _whole(pickle.EXT1 + b"\x01")
    yield "EXT2", _whole(pickle.EXT2 + b"\x01\x02")
    yield "PERSID", b"P" + command.encode() + b"\n."
    yield "BINPERSID", _whole(_string(command) + pickle.BINPERSID)
    yield "NEXT_BUFFER", _whole(b"\x97")


def _reaching() -> Iterator[tuple[str, bytes]]:
    """From what is allowed to what is not, by dots."""
    for module, name in (
        ("builtins", "set"),
        ("builtins", "object"),
        ("numpy", "ndarray"),
        ("copyreg", "_reconstructor"),
    ):
        for parent in _PARENTS:
            yield (
                f"{module}.{name}.{parent}",
                _whole(_string(module) + _string(f"{name}.{parent}") + pickle.STACK_GLOBAL),
            )
    reconstructor = _global("copyreg", "_reconstructor")
    for cls in (_global("builtins", "object"), _global("numpy", "dtype"), pickle.NONE):
        arguments = pickle.MARK + cls + _global("builtins", "object") + pickle.NONE + pickle.TUPLE
        yield f"_reconstructor of {cls!r}", _whole(reconstructor + arguments + pickle.REDUCE)
    yield "a call of a text", _whole(_string("os.system") + pickle.EMPTY_TUPLE + pickle.REDUCE)
    yield "a call of None", _whole(pickle.NONE + pickle.EMPTY_TUPLE + pickle.REDUCE)


def _states() -> Iterator[tuple[str, bytes]]:
    """States given to what is allowed, so that the next reading would meet something else."""
    slots = _pair(pickle.NONE, _dict(_string("poisoned"), pickle.NEWTRUE))
    defaults = _pair(pickle.NONE, _dict(_string("__defaults__"), pickle.EMPTY_TUPLE))
    for module, name in (
        ("numpy.core.multiarray", "scalar"), ("numpy.core.multiarray", "_reconstruct"), ("copyreg", "_reconstructor"),
        ("_codecs", "encode"), ("numpy", "dtype"), ("numpy", "ndarray"), ("builtins", "set"), ("builtins", "object"),
    ):  # fmt: skip
        found = _global(module, name)
        yield (
            f"BUILD attributes of {name}",
            _whole(_top(found + _dict(_string("poisoned"), pickle.NEWTRUE) + pickle.BUILD)),
        )
        yield f"BUILD slots of {name}", _whole(_top(found + slots + pickle.BUILD))
        yield f"BUILD defaults of {name}", _whole(_top(found + defaults + pickle.BUILD))
        yield f"APPEND to {name}", _whole(_top(found + pickle.NONE + pickle.APPEND))
        yield f"SETITEM of {name}", _whole(_top(found + _string("x") + pickle.NONE + pickle.SETITEM))


def _bombs() -> Iterator[tuple[str, bytes]]:
    """Small pickles that ask for years or for all memory."""
    tuples = pickle.EMPTY_TUPLE + b"".join(
        pickle.BINPUT + bytes([n]) + pickle.POP + 2 * (pickle.BINGET + bytes([n])) + pickle.TUPLE2 for n in range(60)
    )
    yield "a key that hashes for years", _whole(pickle.EMPTY_DICT + tuples + pickle.NONE + pickle.SETITEM)
    yield "keys that hash for years", _whole(pickle.EMPTY_DICT + pickle.MARK + tuples + pickle.NONE + pickle.SETITEMS)
    yield "a DICT that hashes for years", _whole(pickle.MARK + tuples + pickle.NONE + pickle.DICT)
    yield "a set that hashes for years", _whole(pickle.EMPTY_SET + pickle.MARK + tuples + pickle.ADDITEMS)
    yield "a frozenset that hashes for years", _whole(pickle.MARK + tuples + pickle.FROZENSET)
    of_list = pickle.EMPTY_LIST + tuples + pickle.APPEND + pickle.TUPLE1
    yield "a called set that hashes for years", _whole(_top(_global("builtins", "set") + of_list + pickle.REDUCE))
    yield "a shape that prints for years", _whole(_top(_array(tuples)))
    yield (
        "a class that prints for years",
        _whole(
            _global("copyreg", "_reconstructor") + pickle.MARK + tuples + pickle.NONE + pickle.TUPLE + pickle.REDUCE
        ),
    )
    for index in (0x7FFFFFFF, 0xFFFFFFFF):
        yield f"a memo of {index}", _whole(pickle.NONE + pickle.LONG_BINPUT + struct.pack("<I", index))
    for name, opcode in (
        ("BINBYTES8", pickle.BINBYTES8),
        ("BINUNICODE8", pickle.BINUNICODE8),
        ("BYTEARRAY8", pickle.BYTEARRAY8),
        ("FRAME", pickle.FRAME),
    ):
        for size in (1 << 33, (1 << 62) - 1, (1 << 64) - 1):
            yield f"{name} of {size} bytes", _whole(opcode + struct.pack("<Q", size) + b"x")
    yield "LONG4 of 2 GB", _whole(pickle.LONG4 + struct.pack("<i", 0x7FFFFFFF) + b"\1")
    yield "a number of a million digits", b"L" + b"9" * 1_000_000 + b"L\n."
    yield "a million lists", _whole(pickle.EMPTY_LIST * 1_000_000 + pickle.APPEND * 999_999)
    yield "tuples in each other", _whole(pickle.EMPTY_TUPLE + pickle.TUPLE1 * 500_000)
    yield "marks without end", _whole(pickle.MARK * 1_000_000)
    yield "no end", pickle.PROTO + b"\x04" + pickle.EMPTY_DICT
    yield "nothing", b""


def _shapes() -> Iterator[tuple[str, bytes]]:
    """Arrays whose states do not fit, or hold themselves."""
    huge, empty = pickle.LONG1 + b"\x20" + b"\xff" * 31 + b"\x00", pickle.EMPTY_TUPLE
    zero = pickle.BININT1 + b"\0"
    yield "a size beyond all machines", _whole(_top(_array(_pair(zero, huge))))
    yield (
        "a size of a million bytes",
        _whole(_top(_array(_pair(zero, pickle.LONG4 + struct.pack("<i", 1_000_000) + b"\x7f" * 1_000_000)))),
    )
    yield "a thousand axes", _whole(_top(_array(pickle.MARK + zero * 1000 + pickle.TUPLE)))
    yield (
        "negative sizes",
        _whole(_top(_array(_pair(pickle.BININT + struct.pack("<i", -1), pickle.BININT + struct.pack("<i", -8))))),
    )
    for code in ("O", "O8", "f8,O", "f8,(9,)f8", "V8", "U1000000000", "f0", "f3", "M8[ns]", "b", "f8" * 50_000):
        yield f"dtype {code[:20]}", _whole(_top(_array(empty, code=code)))
    yield (
        "text for bytes",
        _whole(_top(_array(pickle.MARK + pickle.BININT1 + b"\1" + pickle.TUPLE, content=_string("\u0416" * 8)))),
    )
    chumpy = _global("chumpy.ch", "Ch") + empty + pickle.NEWOBJ + pickle.BINPUT + b"\0"
    yield (
        "chumpy that is its own value",
        _whole(_top(chumpy + _dict(_string("x"), pickle.BINGET + b"\0") + pickle.BUILD)),
    )
    select = _global("chumpy.reordering", "Select") + empty + pickle.NEWOBJ + pickle.BINPUT + b"\0"
    yield "a selection of itself", _whole(_top(select + _dict(_string("a"), pickle.BINGET + b"\0") + pickle.BUILD))
    sparse = _global("scipy.sparse._csc", "csc_matrix") + empty + pickle.NEWOBJ
    yield (
        "a sparse matrix of all memory",
        _whole(_top(sparse + _dict(_string("_shape"), _pair(huge, huge)) + pickle.BUILD)),
    )
    looped = pickle.EMPTY_DICT + pickle.BINPUT + b"\0" + _string("x") + pickle.BINGET + b"\0" + pickle.SETITEM
    yield "a dict in itself", _whole(looped)


def _whole(body: bytes) -> bytes:
    return pickle.PROTO + b"\x04" + body + pickle.STOP


def _global(module: str, name: str) -> bytes:
    return pickle.GLOBAL + f"{module}\n{name}\n".encode()


def _string(text: str) -> bytes:
    encoded = text.encode()
    return pickle.BINUNICODE + struct.pack("<I", len(encoded)) + encoded


def _pair(one: bytes, other: bytes) -> bytes:
    return one + other + pickle.TUPLE2


def _dict(key: bytes, value: bytes) -> bytes:
    return pickle.EMPTY_DICT + key + value + pickle.SETITEM


def _top(value: bytes) -> bytes:
    """A dict as a hand model is, with one value."""
    return _dict(_string("v_template"), value)


def _array(shape: bytes, *, code: str = "f8", content: bytes = pickle.BINBYTES + b"\x08\0\0\0" + bytes(8)) -> bytes:
    start = _global("numpy.core.multiarray", "_reconstruct") + pickle.EMPTY_TUPLE + pickle.REDUCE
    order = pickle.MARK + pickle.BININT1 + b"\3" + _string("<") + pickle.TUPLE
    dtype = _global("numpy", "dtype") + _string(code) + pickle.TUPLE1 + pickle.REDUCE + order + pickle.BUILD
    return (
        start
        + pickle.MARK
        + pickle.BININT1
        + b"\1"
        + shape
        + dtype
        + pickle.NEWFALSE
        + content
        + pickle.TUPLE
        + pickle.BUILD
    )
