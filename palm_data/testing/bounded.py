"""Many small pieces of work in a process of their own, each under a memory cap and a time limit."""

import multiprocessing
import os
import resource
import signal
from collections.abc import Callable, Iterator, Sequence
from multiprocessing.connection import Connection
from pathlib import Path

from palm_data.testing.apart import preload

Attempt = Callable[[int], str]
_PATIENCE_S = 300.0


def bounded(
    attempt: Attempt, cases: Sequence[int], *, extra_bytes: int = 512 << 20, seconds: float = 5.0
) -> Iterator[tuple[int, str]]:
    """Each case with what the attempt said of it; with how its process died, if it did, and then the next ones.

    Args:
        attempt: has to pickle. Called with −1 first, without limits, to import and make what it needs.
        extra_bytes: of address space, beyond what the process has once everything is imported.
        seconds: of processor time, for one case.
    """
    preload(attempt.func.__module__ if hasattr(attempt, "func") else attempt.__module__)
    left = list(cases)
    while left:
        ours, theirs = multiprocessing.Pipe(duplex=False)
        process = multiprocessing.get_context("forkserver").Process(
            target=_work, args=(theirs, attempt, left, extra_bytes, seconds), daemon=True
        )
        process.start()
        theirs.close()
        for case, said in _said(ours):
            left.remove(case)
            yield case, said
        process.kill()
        process.join()
        ours.close()
        if left:
            yield left.pop(0), f"died: {_how(process.exitcode)}"


def _said(pipe: Connection) -> Iterator[tuple[int, str]]:
    while pipe.poll(_PATIENCE_S):
        try:
            yield pipe.recv()
        except EOFError:
            return


def _how(exitcode: int | None) -> str:
    if exitcode is None or exitcode >= 0:
        return f"exit code {exitcode}"
    if -exitcode == signal.SIGPROF:
        return "the time limit"
    return "no answer" if -exitcode == signal.SIGKILL else signal.Signals(-exitcode).name


def _work(pipe: Connection, attempt: Attempt, cases: Sequence[int], extra_bytes: int, seconds: float) -> None:
    attempt(-1)
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)  # decoders write their complaints there
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    limit = pages * os.sysconf("SC_PAGE_SIZE") + extra_bytes
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    for case in cases:
        signal.setitimer(signal.ITIMER_PROF, seconds)  # nobody handles its signal, so that it ends the process
        said = attempt(case)
        signal.setitimer(signal.ITIMER_PROF, 0)
        pipe.send((case, said))
    pipe.close()
