"""Work in processes of its own, so that it can be killed, run out of disk, or be raced against itself.

Python announces each change to the file system to audit hooks before it happens, so that every moment at which the
disk is about to change can be made the last one. Processes are forked from a server that has imported everything
once: a start costs hundredths of a second.
"""

import errno
import multiprocessing
import os
import pickle
import resource
import signal
import sys
import time
from collections.abc import Callable, Collection
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection
from typing import Any, Literal

from schemas.errors import PalmError, StoreError

Fault = Literal["kill", "full"]

_CHANGES = ("os.rename", "os.link", "os.mkdir", "os.remove", "os.rmdir", "os.chmod", "os.symlink", "shutil.copyfile")
_LETS_GO = ("os.remove", "os.rmdir", "os.chmod")
"""What a full disk still allows."""
_WRITE_FLAGS = os.O_WRONLY | os.O_RDWR
_PRELOAD = ["__main__", "palm_data.testing.preload"]
_PATIENCE_S = 120.0


@dataclass(frozen=True)
class Ended:
    """How work in a process of its own ended."""

    exitcode: int
    """0, or minus the signal that killed it, or 1 for an error."""
    changes: int
    """How many changes to the disk it began."""
    seconds: float = 0.0
    """How long it took; 0 if it was killed."""
    result: Any = None
    error: Exception | None = None

    @property
    def killed(self) -> bool:
        """Whether it was killed before it was done."""
        return self.exitcode == -signal.SIGKILL


class Apart:
    """One piece of work in a process of its own, waiting for `go`."""

    def __init__(
        self,
        work: Callable[..., object],
        *args: object,
        at: int | None = None,
        fault: Fault = "kill",
        max_file_bytes: int | None = None,
    ) -> None:
        """Start the process; the work, its arguments, result and error have to pickle.

        Args:
            at: begin this change to the disk (from 0) by dying, or by finding the disk full; None: never.
            max_file_bytes: the kernel refuses to write a file beyond this size.
        """
        context = multiprocessing.get_context("forkserver")
        context.set_forkserver_preload(_PRELOAD)
        self._changes = context.Value("q", 0, lock=False)
        self._pipe, theirs = context.Pipe()
        faults = (self._changes, at, fault, max_file_bytes)
        self._process = context.Process(target=_work, args=(theirs, faults, work, args), daemon=True)
        self._process.start()
        theirs.close()
        if not self._pipe.poll(_PATIENCE_S):
            self._process.kill()
            raise StoreError(f"{work.__name__}: expected its process to start, found it still loading.")
        self._pipe.recv()

    def go(self) -> None:
        """Let the work begin."""
        self._pipe.send(None)

    def kill(self) -> None:
        """SIGKILL, now."""
        self._process.kill()

    def end(self) -> Ended:
        """Wait until the process is gone.

        Raises:
            StoreError: if it hangs.
        """
        found: tuple[float, Any, Exception | None] = (0.0, None, None)
        if not self._pipe.poll(_PATIENCE_S):
            self._process.kill()
            raise StoreError("work in a process of its own: expected an end, found it still running.")
        with suppress(EOFError):  # it was killed
            found = self._pipe.recv()
        self._process.join(_PATIENCE_S)
        self._pipe.close()
        exitcode = self._process.exitcode
        return Ended(-signal.SIGKILL if exitcode is None else exitcode, self._changes.value, *found)


def run(
    work: Callable[..., object],
    *args: object,
    at: int | None = None,
    fault: Fault = "kill",
    max_file_bytes: int | None = None,
) -> Ended:
    """Run the work in a process of its own, with the faults that `Apart` describes."""
    process = Apart(work, *args, at=at, fault=fault, max_file_bytes=max_file_bytes)
    process.go()
    return process.end()


def killed_after(seconds: float, work: Callable[..., object], *args: object) -> Ended:
    """Run the work in a process of its own, and kill that after a while, unless it is done by then."""
    process = Apart(work, *args)
    process.go()
    time.sleep(seconds)
    process.kill()
    return process.end()


def raced(
    runs: Collection[tuple[Callable[..., object], tuple[object, ...]]], delays_s: Collection[float]
) -> list[Ended]:
    """Run pieces of work at the same time, each in a process of its own, each after its delay."""
    processes = [Apart(_delayed, delay, work, args) for (work, args), delay in zip(runs, delays_s, strict=True)]
    for process in processes:
        process.go()
    return [process.end() for process in processes]


def run_apart(
    work: Callable[..., object], *args: object, at: int | None = None, fault: Fault = "kill"
) -> tuple[int, int]:
    """Run the work as `run` does; its exit code and how many changes to the disk it began."""
    ended = run(work, *args, at=at, fault=fault)
    return ended.exitcode, ended.changes


def moments(count: int, several: int) -> list[int]:
    """So many moments of a run of `count` changes, evenly spread; the first and the last among them."""
    return sorted({round(position * (count - 1) / (several - 1)) for position in range(several)})


def preload(*modules: str) -> None:
    """Have the server that processes are forked from import these too; before the first of them is started."""
    _PRELOAD.extend(name for name in modules if name not in _PRELOAD)


def _delayed(seconds: float, work: Callable[..., object], args: tuple[object, ...]) -> object:
    until = time.perf_counter() + seconds
    while time.perf_counter() < until:
        pass  # sleeping is too coarse to make two publishers meet
    return work(*args)


def _work(pipe: Connection, faults: Any, work: Callable[..., object], args: tuple[object, ...]) -> None:
    pipe.send(None)
    pipe.recv()
    _plant(*faults)
    began = time.perf_counter()
    result, error = None, None
    try:
        result = work(*args)
    except Exception as raised:
        error = raised
    seconds = time.perf_counter() - began
    resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    pipe.send((seconds, result, None if error is None else _sendable(error)))
    pipe.close()
    if error is not None:
        sys.exit(1)


def _sendable(error: Exception) -> Exception:
    """The error, or one that says the same and pickles; neither chain nor traceback travels."""
    if isinstance(error, PalmError | OSError):
        try:
            return pickle.loads(pickle.dumps(error))  # noqa: S301 - our own bytes
        except Exception:
            return RuntimeError(f"{type(error).__name__}: {error}")
    return RuntimeError(f"{type(error).__name__}: {error}")


def _plant(changes: Any, at: int | None, fault: Fault, max_file_bytes: int | None) -> None:
    def hook(event: str, details: tuple[Any, ...]) -> None:
        if event not in _CHANGES and not (event == "open" and details[2] & _WRITE_FLAGS):
            return
        changes.value += 1
        if at is not None and changes.value > at:
            if fault == "kill":
                os.kill(os.getpid(), signal.SIGKILL)
            elif event not in _LETS_GO:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    sys.addaudithook(hook)
    if max_file_bytes is not None:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (max_file_bytes, resource.RLIM_INFINITY))
