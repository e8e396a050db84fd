"""Processes that die, or run out of disk, at a chosen one of their writes to the file system.

Python announces each such operation to audit hooks before it happens, so that every moment at which the disk is
about to change can be made the last one.
"""

import errno
import multiprocessing
import os
import signal
import sys
import time
from collections.abc import Callable
from typing import Literal

Fault = Literal["kill", "full"]

_CHANGES = ("os.rename", "os.link", "os.mkdir", "os.remove", "os.rmdir", "os.chmod", "os.symlink", "shutil.copyfile")
_WRITE_FLAGS = os.O_WRONLY | os.O_RDWR
_PRELOAD = ("palm_data.store.release", "tests.palm_data.store.tiny")


def run_apart(
    work: Callable[..., object], *args: object, at: int | None = None, fault: Fault = "kill"
) -> tuple[int, int]:
    """Run the work in a process of its own; its exit code and how many changes to the disk it began.

    Args:
        at: begin this change (from 0) by dying, or by finding the disk full; None: never.
    """
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(list(_PRELOAD))
    changes = context.Value("q", 0)
    process = context.Process(target=_watched, args=(changes, at, fault, work, args))
    process.start()
    process.join(60)
    assert process.exitcode is not None, "the process hangs"
    return process.exitcode, changes.value


def run_and_kill(work: Callable[..., object], *args: object, after_s: float) -> None:
    """Run the work in a process of its own, and kill that after a while."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(list(_PRELOAD))
    started = context.Event()
    process = context.Process(target=_announced, args=(started, work, args))
    process.start()
    assert started.wait(60)
    time.sleep(after_s)
    process.kill()
    process.join(60)


def moments(count: int, several: int) -> list[int]:
    """So many moments of a run of `count` changes, evenly spread; the first and the last among them."""
    return sorted({round(position * (count - 1) / (several - 1)) for position in range(several)})


def _announced(started: object, work: Callable[..., object], args: tuple) -> None:
    started.set()  # type: ignore[attr-defined]
    work(*args)


def _watched(changes: object, at: int | None, fault: Fault, work: Callable[..., object], args: tuple) -> None:
    def hook(event: str, details: tuple) -> None:
        if event not in _CHANGES and not (event == "open" and details[2] & _WRITE_FLAGS):
            return
        changes.value += 1  # type: ignore[attr-defined]
        if at is not None and changes.value > at:  # type: ignore[attr-defined]
            if fault == "kill":
                os.kill(os.getpid(), signal.SIGKILL)
            elif event not in ("os.remove", "os.rmdir", "os.chmod"):  # a full disk lets go of files
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    sys.addaudithook(hook)
    work(*args)
