"""Publishers that die, meet a full disk, or meet each other."""

import shutil
import signal
import threading
from pathlib import Path

import pytest

from palm_data.store import release
from palm_data.store.manifest import read_manifest, versions
from palm_data.store.release import publish_release
from palm_data.store.verify import verify_release
from palm_data.store.workspace import Workspace
from palm_data.testing.apart import Fault, killed_after, moments, preload, run_apart
from palm_data.testing.tiny import Tiny, add_subject, tiny_workspace
from schemas.errors import ConflictError
from schemas.release import Manifest
from schemas.settings import Settings

preload(__name__)

MOMENTS: dict[Fault, int] = {"kill": 10, "full": 5}


@pytest.fixture
def tiny(tmp_path: Path) -> Tiny:
    """One subject, published as 0.1.0, and changed since."""
    made = tiny_workspace(tmp_path, ["0001"])
    publish_release("0.1.0", made.workspace, made.settings)
    add_subject(made.workspace, made.settings, "0001", seed=3)
    return made


def publish(settings: Settings) -> Manifest:
    return publish_release("0.2.0", Workspace(settings.workspace), settings)


def publish_in(settings: Settings, releases: Path) -> Manifest:
    return publish(settings.model_copy(update={"releases": releases}))


def on_copy(tiny: Tiny, name: str) -> Settings:
    """Settings that publish into a copy of the releases."""
    releases = tiny.settings.releases.with_name(name)
    shutil.copytree(tiny.settings.releases, releases)
    return tiny.settings.model_copy(update={"releases": releases})


def assert_old_or_new(settings: Settings) -> None:
    for version in versions(settings.releases):
        assert verify_release(settings.releases / version).passed
    assert versions(settings.releases) in (["0.1.0"], ["0.1.0", "0.2.0"])


def assert_clean(releases: Path) -> None:
    """Nothing but whole versions, and the one lock file that stays."""
    left = [path.name for path in (releases / ".partial").iterdir()]
    assert left == ["install.lock"]
    assert sorted(path.name for path in releases.iterdir()) == [".partial", "0.1.0", "0.2.0"]


@pytest.mark.slow
@pytest.mark.parametrize("fault", ["kill", "full"])
def test_a_publisher_stopped_at_any_moment_leaves_whole_versions_and_the_next_one_finishes(
    tiny: Tiny, fault: Fault
) -> None:
    reference = on_copy(tiny, "reference")
    code, count = run_apart(publish, reference)
    assert code == 0
    expected = read_manifest(reference.releases / "0.2.0").merkle_root
    for at in moments(count, MOMENTS[fault]):
        settings = on_copy(tiny, f"stopped-{at}")
        code, _ = run_apart(publish, settings, at=at, fault=fault)
        if fault == "kill":
            assert code == -signal.SIGKILL
        assert_old_or_new(settings)
        assert publish(settings).merkle_root == expected
        assert verify_release(settings.releases / "0.2.0").passed
        assert_clean(settings.releases)


def test_a_publisher_killed_between_its_rename_and_its_manifest_is_cleared_away(tiny: Tiny) -> None:
    _, count = run_apart(publish, on_copy(tiny, "reference"))
    found = 0
    for at in range(count - 1, 0, -1):
        settings = on_copy(tiny, f"stopped-{at}")
        run_apart(publish, settings, at=at)
        folder = settings.releases / "0.2.0"
        if not folder.exists():
            break
        if "0.2.0" not in versions(settings.releases):
            found += 1
            assert publish(settings).version == "0.2.0"
            assert verify_release(folder).passed
            assert_clean(settings.releases)
    assert found > 0


def test_a_publisher_killed_at_a_random_time_is_survived_too(tiny: Tiny) -> None:
    for number in range(4):
        settings = on_copy(tiny, f"random-{number}")
        killed_after(0.02 + 0.04 * number, publish, settings)
        assert_old_or_new(settings)
        publish(settings)
        assert_clean(settings.releases)


def test_of_two_publishers_with_different_contents_one_wins_and_the_other_is_told(tmp_path: Path) -> None:
    candidates = [tiny_workspace(tmp_path / str(seed), ["0001"], seed=seed) for seed in range(4)]
    won: list[Manifest] = []
    lost: list[str] = []
    start = threading.Barrier(len(candidates))

    def race(tiny: Tiny) -> None:
        start.wait()
        try:
            won.append(publish_in(tiny.settings, tmp_path / "releases"))
        except ConflictError as error:
            lost.append(str(error))

    threads = [threading.Thread(target=race, args=(tiny,)) for tiny in candidates]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(won) == 1
    assert len(lost) == len(candidates) - 1
    assert all(won[0].merkle_root in message for message in lost)
    assert verify_release(tmp_path / "releases" / "0.2.0").merkle_root == won[0].merkle_root


def test_publishers_of_the_same_contents_all_succeed(tiny: Tiny) -> None:
    codes: list[int] = []
    threads = [
        threading.Thread(target=lambda: codes.append(run_apart(publish, tiny.settings)[0])) for _ in range(3)
    ]  # fmt: skip
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert codes == [0, 0, 0]
    assert verify_release(tiny.settings.releases / "0.2.0").passed
    assert_clean(tiny.settings.releases)


def test_a_publisher_at_work_is_not_swept_away(tiny: Tiny) -> None:
    releases = tiny.settings.releases
    with release._staging(releases, "0.2.0") as ours:
        (ours / "file").touch()
        code, _ = run_apart(publish, tiny.settings)
        assert code == 0
        assert (ours / "file").exists()
    assert_clean(releases)
