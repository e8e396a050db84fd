"""Any history of a dataset, against a dict: who is in which version, and with which labels."""

import shutil
import tempfile
import warnings
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

import palm_data
from palm_data.loader.withdrawn import WithdrawnWarning
from palm_data.store.leftovers import release_leftovers, workspace_leftovers
from palm_data.store.manifest import versions
from palm_data.store.release import publish_release
from palm_data.store.verify import verify_release
from palm_data.store.withdraw import withdraw
from palm_data.testing.tiny import add_subject, tiny_workspace, write_subjects
from schemas.errors import StoreError

PEOPLE = ("0001", "0002", "0003")
SEEDS = st.integers(0, 4)


class History(RuleBasedStateMachine):
    """Add, register again, publish, withdraw, clear up; `registered` and `published` are what should be true."""

    def __init__(self) -> None:
        super().__init__()
        self.root = Path(tempfile.mkdtemp())
        self.registered: dict[str, int] = {}
        self.published: dict[str, dict[str, int]] = {}
        self.withdrawn: set[str] = set()
        self.splits: dict[str, str] = {}

    @initialize(seed=SEEDS)
    def start(self, seed: int) -> None:
        made = tiny_workspace(self.root, PEOPLE[:1], seed=seed)
        self.settings, self.workspace = made.settings, made.workspace
        write_subjects(made.settings.raw, PEOPLE)
        self.registered = {PEOPLE[0]: seed}

    @rule(person=st.sampled_from(PEOPLE), seed=SEEDS)
    def add_or_register_again(self, person: str, seed: int) -> None:
        add_subject(self.workspace, self.settings, person, seed=seed)
        self.registered[person] = seed

    @rule()
    def publish(self) -> None:
        version = f"0.{len(self.published) + 1}.0"
        expected = {person: seed for person, seed in self.registered.items() if person not in self.withdrawn}
        if expected:
            publish_release(version, self.workspace, self.settings)
            self.published[version] = expected
        else:
            with pytest.raises(StoreError, match="expected at least one subject"):
                publish_release(version, self.workspace, self.settings)

    @precondition(lambda self: self.published)
    @rule()
    def publish_the_last_one_again(self) -> None:
        version = versions(self.settings.releases)[-1]
        if self.published[version] == self.registered and not self.withdrawn:
            publish_release(version, self.workspace, self.settings)

    @precondition(lambda self: self.published)
    @rule(person=st.sampled_from(PEOPLE))
    def withdraw(self, person: str) -> None:
        highest = self.published[versions(self.settings.releases)[-1]]
        self.withdrawn.add(person)
        left = {one: seed for one, seed in highest.items() if one not in self.withdrawn}
        done = withdraw(person, self.workspace, self.settings)
        assert (done.published is not None) == (bool(left) and left != highest)
        if done.published is not None:
            self.published[done.published] = left

    @precondition(lambda self: self.published)
    @rule()
    def clear_up_after_dead_publishers(self) -> None:
        releases = self.settings.releases
        (releases / ".partial" / "0.9.9.dead").mkdir(parents=True, exist_ok=True)
        (releases / "9.9.9" / "tables").mkdir(parents=True)
        assert {Path(one.path).name for one in release_leftovers(releases, delete=True)} >= {"9.9.9"}
        workspace_leftovers(self.workspace, delete=True)
        assert not (releases / "9.9.9").exists()

    @invariant()
    def every_version_is_what_the_dict_says(self) -> None:
        releases = self.root / "releases"
        assert versions(releases) == sorted(self.published, key=lambda version: int(version.split(".")[1]))
        for version, people in self.published.items():
            assert verify_release(releases / version).passed
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", WithdrawnWarning)
                release = palm_data.open_release(releases, version)
            assert release.tables["subjects"]["subject_id"].to_pylist() == sorted(people), "a version never changes"
            assert release.subject_ids == tuple(sorted(people.keys() - self.withdrawn)), "who withdrew is not shown"
            for sample in release:
                hand = sample.hand
                if hand is not None:
                    assert hand.transl[0] == pytest.approx(0.01 * people[sample.subject_id])
                assert self.splits.setdefault(sample.subject_id, sample.split) == sample.split

    def teardown(self) -> None:
        shutil.rmtree(self.root, ignore_errors=True)


TestHistory = pytest.mark.slow(History.TestCase)
TestHistory.settings = settings(
    max_examples=8, stateful_step_count=10, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck)
)
