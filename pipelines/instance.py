"""The Dagster instance of a workspace: what `palm materialize` writes to and `palm ui` shows.

Belongs here: where it lives and that there is one writer from the terminal. It lies inside the workspace, never in
the user's home. Imports Dagster only when an instance is opened: `palm ui` needs the path alone.
"""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING

from palm_data.store.atomic import write_bytes
from schemas.errors import ConflictError

if TYPE_CHECKING:
    import dagster as dg

_NO_CAPTURE = {
    "compute_logs": {
        "module": "dagster._core.storage.noop_compute_log_manager",
        "class": "NoOpComputeLogManager",
    }
}
"""What a terminal prints belongs on the terminal; Dagster would pass it through a file and two more processes."""

TERMINAL_TAG = "palm/terminal"
"""On runs that a terminal executes itself."""


def dagster_home(workspace: Path) -> Path:
    """The instance's folder, made with the default `dagster.yaml` if there is none."""
    home = workspace.absolute() / "dagster"
    config = home / "dagster.yaml"
    if not config.exists():
        write_bytes(config, (resources.files("pipelines") / "dagster.yaml").read_bytes())
    return home


@contextmanager
def terminal_instance(workspace: Path) -> Iterator["dg.DagsterInstance"]:
    """The workspace's instance, for the one terminal that may run a batch at a time.

    Runs that an earlier terminal began and did not live to end are marked as cancelled.

    Raises:
        ConflictError: if another terminal is running a batch here.
    """
    import dagster as dg
    from dagster._core.instance.ref import InstanceRef

    home = dagster_home(workspace)
    os.environ["DAGSTER_HOME"] = str(home)  # otherwise parts of Dagster write to the user's home
    descriptor = os.open(home / "terminal.lock", os.O_RDWR | os.O_CREAT, 0o644)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise ConflictError(
                f"{home}: expected no other batch, found a terminal that is running one. Wait for it to end."
            ) from None
        with dg.DagsterInstance.from_ref(InstanceRef.from_dir(str(home), overrides=_NO_CAPTURE)) as instance:
            end_abandoned(instance)
            yield instance
    finally:
        os.close(descriptor)


def end_abandoned(instance: "dg.DagsterInstance") -> None:
    """Mark the runs of terminals as cancelled; whoever holds the lock knows that no other terminal is alive."""
    import dagster as dg
    from dagster._core.storage.dagster_run import IN_PROGRESS_RUN_STATUSES

    found = instance.get_runs(dg.RunsFilter(statuses=IN_PROGRESS_RUN_STATUSES, tags={TERMINAL_TAG: "true"}))
    for run in found:
        instance.report_run_canceled(run, message="The terminal that ran this was closed or killed.")
