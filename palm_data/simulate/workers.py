"""Worker processes of a simulation: always spawned, one kernel thread each, gone when their parent is.

A session is the same whatever their number, because every piece of work is done in such a process, even by one alone.
"""

import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from contextlib import contextmanager
from typing import Any


@contextmanager
def worker_pool(jobs: int) -> Iterator[ProcessPoolExecutor]:
    """A pool of workers; leaving the block by an error or an interrupt stops them at once."""
    pool = ProcessPoolExecutor(jobs, mp_context=multiprocessing.get_context("spawn"), initializer=_start_worker)
    try:
        yield pool
    except BaseException:
        before = multiprocessing.active_children()
        pool.shutdown(wait=False, cancel_futures=True)
        for process in before:
            process.terminate()
        for process in before:
            process.join()
        raise
    pool.shutdown()


def run_all(
    pool: ProcessPoolExecutor, tasks: Sequence[tuple[str, Callable[..., None], tuple[Any, ...]]]
) -> Iterator[str]:
    """Run the tasks (label, function, arguments) in the pool, started in order; yields labels as they finish."""
    futures: dict[Future[None], str] = {pool.submit(function, *given): label for label, function, given in tasks}
    for future in as_completed(futures):
        future.result()
        yield futures[future]


def threads_of(jobs: int) -> int:
    """How many threads of the renderer's each of the workers may have."""
    return max((os.cpu_count() or 1) // jobs, 1)


def _start_worker() -> None:
    """The terminal's interrupt is for the parent to handle; numerical libraries get one thread."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_leave_with_parent, daemon=True).start()
    _one_thread()


def _one_thread() -> None:
    import cv2
    import torch
    from threadpoolctl import threadpool_limits

    threadpool_limits(1)
    cv2.setNumThreads(1)
    torch.set_num_threads(1)


def _leave_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)
