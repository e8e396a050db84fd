"""Where subjects are worked on: this process, or local worker processes. Knows no Dagster.

Belongs here: mapping one function over many keys so that one failing key costs one key, with the same bytes
wherever it runs. Does not belong here: what the function does.

Kernels run on one thread everywhere, because the order of a parallel sum is not the same twice.
"""

import errno
import multiprocessing
import os
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from contextlib import ExitStack, contextmanager
from contextvars import ContextVar
from multiprocessing import connection
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field
from threadpoolctl import threadpool_limits

from palm_data.store.workspace import StageReport, Workspace
from pipelines.logs import configure_logs_as_told
from schemas.errors import PalmError
from schemas.settings import Settings

StageFunction = Callable[[str, Workspace, Settings], StageReport]
"""What is mapped: importable by name, a function of its key, the workspace and the settings only."""

ONE_THREAD = dict.fromkeys(
    (
        "OMP_NUM_THREADS",
        "OPENBLAS_NUM_THREADS",
        "MKL_NUM_THREADS",
        "NUMEXPR_NUM_THREADS",
        "NUMBA_NUM_THREADS",
        "OPENCV_FOR_THREADS_NUM",
        "BLOSC_NTHREADS",
    ),
    "1",
)
"""Variables that libraries read when they are first imported."""

_TRANSIENT = {
    errno.EAGAIN, errno.EBUSY, errno.EINTR, errno.EIO, errno.ESTALE, errno.ETIMEDOUT,
    errno.ECONNABORTED, errno.ECONNREFUSED, errno.ECONNRESET, errno.EHOSTUNREACH, errno.ENETUNREACH, errno.EPIPE,
}  # fmt: skip


class Failure(BaseModel):
    """Why a key came to nothing."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: Annotated[str, Field(description="Name of the error's class.")]
    message: str
    expected: Annotated[bool, Field(description="True: the input is at fault (a PalmError); False: a defect or I/O.")]
    transient: Annotated[bool, Field(description="True: input or output failed in a way that may pass.")]
    trace: Annotated[str, Field(description="Traceback; empty for expected errors.")] = ""


class Outcome(BaseModel):
    """What became of a key: a report or a failure, never both."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    key: str
    seconds: Annotated[float, Field(ge=0, description="Wall time of the key's own work.")]
    report: StageReport | None = None
    failure: Failure | None = None


class Progress(BaseModel):
    """A step forward, for whoever watches."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    label: str
    total: int
    outcome: Annotated[Outcome | None, Field(description="None: the work begins.")] = None


_WATCHER: ContextVar[Callable[[Progress], None] | None] = ContextVar("watcher", default=None)


@contextmanager
def watching(watcher: Callable[[Progress], None]) -> Iterator[None]:
    """Tell `watcher` of every step forward made inside the block, in the thread that maps."""
    token = _WATCHER.set(watcher)
    try:
        yield
    finally:
        _WATCHER.reset(token)


def map_keys(
    function: StageFunction,
    keys: Sequence[str],
    workspace: Workspace,
    settings: Settings,
    *,
    where: Literal["here", "processes"],
    workers: int,
    label: str = "",
) -> list[Outcome]:
    """The outcome of every key, in the order given; work starts in that order and a failing key stops no other.

    Raises:
        KeyboardInterrupt: as it comes; finished keys stay finished.
    """
    tell = _WATCHER.get() or (lambda _: None)
    tell(Progress(label=label, total=len(keys)))
    run = _map_processes if where == "processes" and keys else _map_here
    found = {}
    with single_threaded():
        for outcome in run(function, keys, workspace, settings, min(workers, len(keys))):
            found[outcome.key] = outcome
            tell(Progress(label=label, total=len(keys), outcome=outcome))
    return [found[key] for key in keys]


def run_key(function: StageFunction, key: str, workspace: Workspace, settings: Settings) -> Outcome:
    """The key's report or its failure; only an interrupt gets out."""
    start = time.perf_counter()
    try:
        report = function(key, workspace, settings)
    except Exception as error:
        return Outcome(key=key, seconds=time.perf_counter() - start, failure=failure_of(error))
    return Outcome(key=key, seconds=time.perf_counter() - start, report=report)


def failure_of(error: Exception) -> Failure:
    """What an error is to an orchestrator: I/O that may pass counts as that, whatever it was wrapped in."""
    transient = any(_may_pass(cause) for cause in _causes(error))
    expected = isinstance(error, PalmError) and not transient
    trace = "" if expected else "".join(traceback.format_exception(error))
    return Failure(kind=type(error).__name__, message=str(error), expected=expected, transient=transient, trace=trace)


def _causes(error: BaseException) -> Iterator[BaseException]:
    found: BaseException | None = error
    while found is not None:
        yield found
        found = found.__cause__


def _may_pass(error: BaseException) -> bool:
    return isinstance(error, OSError) and (error.errno in _TRANSIENT or isinstance(error, TimeoutError))


def _map_here(
    function: StageFunction, keys: Sequence[str], workspace: Workspace, settings: Settings, workers: int
) -> Iterator[Outcome]:
    del workers
    for key in keys:
        yield run_key(function, key, workspace, settings)


def _map_processes(
    function: StageFunction, keys: Sequence[str], workspace: Workspace, settings: Settings, workers: int
) -> Iterator[Outcome]:
    """As `_map_here`, in worker processes; keys that were under way when a worker died run again, each alone."""
    orphans: list[str] = []
    with _pool(workers, _SHARED.get()) as pool:
        futures = {pool.submit(run_key, function, key, workspace, settings): key for key in keys}
        for future in as_completed(futures):
            if isinstance(future.exception(), BrokenProcessPool):
                orphans.append(futures[future])
            else:
                yield future.result()
    for key in sorted(orphans, key=keys.index):
        yield _run_alone(function, key, workspace, settings)


class _Workers:
    """Worker processes, started when first needed."""

    def __init__(self) -> None:
        self._pool: ProcessPoolExecutor | None = None
        self._count = 0

    def pool(self, count: int) -> ProcessPoolExecutor:
        """The pool, started anew if it has too few workers."""
        if self._pool is None or self._count < count:
            self.end()
            context = multiprocessing.get_context("spawn")
            self._pool = ProcessPoolExecutor(count, mp_context=context, initializer=_start_worker)
            self._count = count
        return self._pool

    def end(self, *, at_once: bool = False) -> None:
        """End the workers, once they are idle or at once: what they were at appears whole or not at all."""
        if self._pool is None:
            return
        if at_once:
            for process in list(self._pool._processes.values()):  # public from Python 3.14 on
                process.terminate()
        self._pool.shutdown(cancel_futures=True)
        self._pool = None


_SHARED: ContextVar[_Workers | None] = ContextVar("shared_workers", default=None)


@contextmanager
def shared_workers() -> Iterator[None]:
    """Have every map inside the block use the same worker processes: starting them takes seconds."""
    workers = _Workers()
    token = _SHARED.set(workers)
    try:
        yield
    finally:
        _SHARED.reset(token)
        workers.end()


@contextmanager
def _pool(count: int, shared: _Workers | None) -> Iterator[ProcessPoolExecutor]:
    """A pool of workers: the shared ones, or some that end with the block."""
    workers = shared or _Workers()
    try:
        pool = workers.pool(count)
        yield pool
        pool.submit(os.getpid)  # a pool that lost a worker refuses all further work
    except BrokenProcessPool:
        workers.end()
    except BaseException:  # an interrupt: nobody waits for what is under way
        workers.end(at_once=True)
        raise
    finally:
        if shared is None:
            workers.end()


def _run_alone(function: StageFunction, key: str, workspace: Workspace, settings: Settings) -> Outcome:
    """The key's outcome from a process of its own, so that nobody else pays if it is killed again."""
    start = time.perf_counter()
    with _pool(1, None) as pool:
        future: Future[Outcome] = pool.submit(run_key, function, key, workspace, settings)
        if not isinstance(future.exception(), BrokenProcessPool):
            return future.result()
    failure = Failure(
        kind="WorkerDied",
        message="the worker process was killed while it worked on this key: out of memory, or a crash in native code.",
        expected=False,
        transient=False,
    )
    return Outcome(key=key, seconds=time.perf_counter() - start, failure=failure)


def _start_worker() -> None:
    """Leave interrupts to the parent, and end with it: a worker that outlives a killed parent would hold its locks."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    configure_logs_as_told()
    parent = multiprocessing.parent_process()
    if parent is not None:
        threading.Thread(target=_follow, args=(parent.sentinel,), daemon=True).start()


def _follow(sentinel: int) -> None:
    connection.wait([sentinel])
    os._exit(1)


@contextmanager
def single_threaded() -> Iterator[None]:
    """One thread for kernels inside the block, in this process and in those it starts.

    Variables reach libraries that are not imported yet; those that are, among them the BLAS whose products change in
    their last bits with the number of threads, are told directly.
    """
    before = {name: os.environ.get(name) for name in ONE_THREAD}
    os.environ.update(ONE_THREAD)
    try:
        with ExitStack() as limits:
            limits.enter_context(threadpool_limits(1))
            for names in _OWN_POOLS:
                limits.callback(_one_thread(*names))
            yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


# Numba is not among them: no kernel here is parallel, and asking it would start its thread pool.
_OWN_POOLS = (
    ("cv2", "getNumThreads", "setNumThreads"),
    ("torch", "get_num_threads", "set_num_threads"),
)


def _one_thread(module_name: str, getter: str, setter: str) -> Callable[[], None]:
    """Limit a library with a thread pool of its own, if it is imported; returns how to undo it."""
    module = sys.modules.get(module_name)
    if module is None:
        return lambda: None
    threads = getattr(module, getter)()
    getattr(module, setter)(1)
    return lambda: getattr(module, setter)(threads)
