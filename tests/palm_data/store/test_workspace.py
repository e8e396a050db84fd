import errno
import signal
import threading
import time
from pathlib import Path

import pytest

from palm_data.store.workspace import StageReport, Workspace
from palm_data.testing.apart import killed_after, moments, preload, run_apart
from schemas.errors import IntegrityError, StoreError

preload(__name__)

FILES = ("a.bin", "deep/b.bin", "figures.json")


def run(root: Path, content: str, *, key: str = "0001") -> StageReport:
    """A stage whose files all hold the same content, so that a mixture can be told."""

    def work(folder: Path) -> None:
        for name in FILES:
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_text(f'{{"content": "{content}"}}')

    return Workspace(root).run_stage("maps", key, code_version="1", settings={}, inputs={"x": content}, work=work)


def run_on_and_on(root: Path) -> None:
    for turn in range(100_000):
        run(root, str(turn % 2))


def state(root: Path, *, key: str = "0001") -> str | None:
    """What a reader finds: one content in every file that the record names, or nothing."""
    workspace = Workspace(root)
    if workspace.record("maps", key) is None:
        return None
    contents = {(workspace.output("maps", key) / name).read_text() for name in FILES}
    (content,) = contents
    return content.split('"')[3]


def leftovers(root: Path) -> list[str]:
    """Everything in the workspace but locks and the current output."""
    workspace = Workspace(root)
    current = {workspace.output("maps", key) for key in workspace.keys("maps")}
    return [
        path.relative_to(root).as_posix()
        for path in root.rglob("*")
        if path.is_file() and path.name != "record.json" and path.suffix != ".lock" and not current & set(path.parents)
    ]


def test_a_stage_runs_once_for_the_same_inputs(tmp_path: Path) -> None:
    first, second = run(tmp_path, "one"), run(tmp_path, "one")
    assert (first.ran, second.ran) == (True, False)
    assert first.digest == second.digest
    assert second.figures == {"content": "one"}


def test_other_inputs_replace_the_output_and_nothing_is_left_behind(tmp_path: Path) -> None:
    run(tmp_path, "one")
    assert run(tmp_path, "two").ran
    assert state(tmp_path) == "two"
    assert leftovers(tmp_path) == []


def test_a_killed_writer_leaves_the_old_state_or_the_new_one_and_a_rerun_converges(tmp_path: Path) -> None:
    _, count = run_apart(run, tmp_path / "count", "one")
    assert count > 8
    for at in moments(count, 12):
        root = tmp_path / str(at)
        code, _ = run_apart(run, root, "one", at=at)
        assert code == -signal.SIGKILL
        assert state(root) in (None, "one")
        assert run(root, "one").figures == {"content": "one"}
        assert leftovers(root) == []


def test_a_killed_replacement_leaves_the_old_state_or_the_new_one(tmp_path: Path) -> None:
    run(tmp_path / "count", "one")
    _, count = run_apart(run, tmp_path / "count", "two")
    for at in moments(count, 12):
        root = tmp_path / str(at)
        run(root, "one")
        run_apart(run, root, "two", at=at)
        assert state(root) in ("one", "two")
        run_apart(run, root, "two", at=at)  # killed again while it clears up
        assert state(root) in ("one", "two")
        run(root, "two")
        assert state(root) == "two"
        assert leftovers(root) == []


def test_a_writer_killed_at_a_random_time_is_survived_too(tmp_path: Path) -> None:
    for number in range(5):
        killed_after(0.02 + 0.013 * number, run_on_and_on, tmp_path)
        assert state(tmp_path) in (None, "0", "1")
    run(tmp_path, "two")
    assert state(tmp_path) == "two"
    assert leftovers(tmp_path) == []


def test_a_full_disk_leaves_the_old_state_or_the_new_one(tmp_path: Path) -> None:
    run(tmp_path / "count", "one")
    _, count = run_apart(run, tmp_path / "count", "two")
    for at in moments(count, 8):
        root = tmp_path / str(at)
        run(root, "one")
        run_apart(run, root, "two", at=at, fault="full")
        assert state(root) in ("one", "two")
        run(root, "two")
        assert state(root) == "two"
        assert leftovers(root) == []


def test_work_that_fails_passes_its_error_through_and_the_old_output_stays(tmp_path: Path) -> None:
    run(tmp_path, "one")

    def work(folder: Path) -> None:
        (folder / "a.bin").write_bytes(b"half")
        raise OSError(errno.ENOSPC, "No space left on device")

    with pytest.raises(OSError, match="No space left"):
        Workspace(tmp_path).run_stage("maps", "0001", code_version="2", settings={}, inputs={}, work=work)
    assert state(tmp_path) == "one"
    assert leftovers(tmp_path) == []


def test_of_two_racing_writers_one_does_the_work(tmp_path: Path) -> None:
    working = threading.Semaphore(1)
    reports: list[StageReport] = []

    def work(folder: Path) -> None:
        assert working.acquire(blocking=False), "two writers at once"
        time.sleep(0.05)
        (folder / "a").write_bytes(b"a")
        working.release()

    def write() -> None:
        reports.append(
            Workspace(tmp_path).run_stage("maps", "0001", code_version="1", settings={}, inputs={}, work=work)
        )

    threads = [threading.Thread(target=write) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(report.ran for report in reports) == [False, False, False, True]
    assert len({report.digest for report in reports}) == 1


def test_racing_processes_with_different_inputs_leave_one_whole_output(tmp_path: Path) -> None:
    threads = [threading.Thread(target=run_apart, args=(run, tmp_path, str(number))) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert state(tmp_path) in ("0", "1", "2", "3")
    assert leftovers(tmp_path) == []


def test_a_writer_does_not_disturb_one_whose_key_begins_alike(tmp_path: Path) -> None:
    workspace = Workspace(tmp_path)

    def outer(folder: Path) -> None:
        (folder / "a").write_bytes(b"outer")
        run(tmp_path, "one", key="rig")  # while this one is at work on rig.2
        (folder / "b").write_bytes(b"outer")

    workspace.run_stage("maps", "rig.2", code_version="1", settings={}, inputs={}, work=outer)
    assert sorted(item.path for item in workspace.require("maps", "rig.2").outputs) == ["a", "b"]


def test_an_output_that_lost_a_file_is_made_again(tmp_path: Path) -> None:
    run(tmp_path, "one")
    (Workspace(tmp_path).output("maps", "0001") / "a.bin").unlink()
    assert run(tmp_path, "one").ran
    assert state(tmp_path) == "one"


def test_the_digest_is_of_the_content_alone(tmp_path: Path) -> None:
    workspace = Workspace(tmp_path)

    def work(folder: Path) -> None:
        (folder / "a").write_bytes(b"same")

    first = workspace.run_stage("maps", "1", code_version="1", settings={"s": 1}, inputs={}, work=work)
    second = workspace.run_stage("maps", "2", code_version="2", settings={"s": 2}, inputs={"i": "x"}, work=work)
    assert first.digest == second.digest


def test_work_that_makes_nothing_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="expected at least one output file, found none"):
        Workspace(tmp_path).run_stage("maps", "1", code_version="1", settings={}, inputs={}, work=lambda _: None)


@pytest.mark.parametrize("key", ["", "..", "a/b", ".hidden", "a\\b"])
def test_a_key_cannot_leave_the_workspace(tmp_path: Path, key: str) -> None:
    with pytest.raises(StoreError, match="expected a plain name"):
        run(tmp_path, "one", key=key)


def test_a_damaged_record_is_named(tmp_path: Path) -> None:
    run(tmp_path, "one")
    path = tmp_path / "stages" / "maps" / "0001" / "record.json"
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(IntegrityError, match=r"record\.json: expected a stage record"):
        Workspace(tmp_path).record("maps", "0001")


def test_what_was_not_made_is_asked_for_by_name(tmp_path: Path) -> None:
    workspace = Workspace(tmp_path)
    assert workspace.record("maps", "0001") is None
    assert workspace.keys("maps") == []
    for ask in (workspace.output, workspace.require):
        with pytest.raises(StoreError, match="expected the output of stage 'maps' for '0001', found none"):
            ask("maps", "0001")


def test_a_forgotten_output_is_gone_and_may_be_made_again(tmp_path: Path) -> None:
    run(tmp_path, "one")
    Workspace(tmp_path).forget("maps", "0001")
    assert state(tmp_path) is None
    assert run(tmp_path, "one").ran
