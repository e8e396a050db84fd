"""Any history of subjects coming, changing, withdrawing and returning, against a model of what each version holds."""

import shutil
import tempfile
import warnings
from pathlib import Path

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

import palm_data
from palm_data.loader.withdrawn import WithdrawnWarning
from palm_data.store.manifest import read_manifest, versions
from palm_data.store.places import place_at
from palm_data.store.release import publish_release
from palm_data.store.verify import verify_release
from palm_data.store.withdrawals import read_status
from palm_data.testing.tiny import add_subject, tiny_workspace, write_subjects
from schemas.errors import ConflictError, StoreError

SUBJECTS = st.sampled_from(["0001", "0002", "0003", "0004"])


class History(RuleBasedStateMachine):
    """A releases folder, and a dictionary that says what has to be in it."""

    def __init__(self) -> None:
        super().__init__()
        self.root = Path(tempfile.mkdtemp())
        tiny = tiny_workspace(self.root, [])
        self.workspace, self.settings = tiny.workspace, tiny.settings
        self.seeds: dict[str, int] = {}
        self.withdrawn: set[str] = set()
        self.published: dict[str, tuple[str, dict[str, int]]] = {}
        """Version → merkle root, and the seed of each subject in it."""
        self.marked: dict[str, set[str]] = {}
        """Version → who of it had withdrawn when a later one was published."""

    @rule(subject=SUBJECTS, seed=st.integers(0, 2))
    def bring(self, subject: str, seed: int) -> None:
        """Deliver a subject, or deliver them anew."""
        add_subject(self.workspace, self.settings, subject, seed=seed)
        self.seeds[subject] = seed
        self._register()

    @rule(subject=SUBJECTS)
    def withdraw(self, subject: str) -> None:
        self.withdrawn.add(subject)
        self._register()

    @rule(subject=SUBJECTS)
    def return_(self, subject: str) -> None:
        self.withdrawn.discard(subject)
        self._register()

    @rule(subject=SUBJECTS)
    def forget(self, subject: str) -> None:
        self.workspace.forget("subject_shard", subject)
        self.seeds.pop(subject, None)

    @rule()
    def publish(self) -> None:
        version, expected = f"0.{len(self.published) + 1}.0", self._releasable()
        if not expected:
            with pytest.raises(StoreError, match="at least one subject"):
                publish_release(version, self.workspace, self.settings)
            return
        manifest = publish_release(version, self.workspace, self.settings)
        self.published[version] = (manifest.merkle_root, expected)
        for one, (_, held) in self.published.items():
            self.marked.setdefault(one, set()).update(self.withdrawn & held.keys())
        before = f"0.{len(self.published) - 1}.0"
        assert manifest.parent == (before if before in self.published else None)

    @precondition(lambda self: self.published)
    @rule()
    def publish_again(self) -> None:
        version = f"0.{len(self.published)}.0"
        root, held = self.published[version]
        expected = self._releasable()
        try:
            manifest = publish_release(version, self.workspace, self.settings)
        except ConflictError:
            return  # subjects, or who is left out, changed since
        except StoreError:
            assert not expected
            return
        assert (manifest.merkle_root, held) == (root, expected)
        for one, (_, people) in self.published.items():
            self.marked[one].update(self.withdrawn & people.keys())

    @invariant()
    def every_version_is_as_it_was_published(self) -> None:
        assert versions(self.settings.releases) == list(self.published)
        for version, (root, held) in self.published.items():
            report = verify_release(self.settings.releases / version, deep=version == f"0.{len(self.published)}.0")
            assert report.passed
            assert report.merkle_root == root
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", WithdrawnWarning)
                opened = palm_data.open_release(self.settings.releases, version)
            assert opened.subject_ids == tuple(sorted(held.keys() - self.marked[version]))
            assert read_status(place_at(self.settings.releases), version).withdrawn_ids == self.marked[version]

    @invariant()
    def nobody_changes_split_while_they_stay(self) -> None:
        splits: dict[str, str] = {}
        for version in self.published:
            named = read_manifest(self.settings.releases / version).splits
            now = {subject: split for split, subjects in named.items() for subject in subjects}
            assert all(now[one] == split for one, split in splits.items() if one in now)
            splits = now

    def teardown(self) -> None:
        shutil.rmtree(self.root)

    def _releasable(self) -> dict[str, int]:
        return {one: seed for one, seed in self.seeds.items() if one not in self.withdrawn}

    def _register(self) -> None:
        write_subjects(self.settings.raw, ["0001", "0002", "0003", "0004"], withdrawn=self.withdrawn)


TestHistory = pytest.mark.slow(History.TestCase)
TestHistory.settings = settings(max_examples=4, stateful_step_count=8, deadline=None)
