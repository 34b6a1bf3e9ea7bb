"""One version per run key, whoever registers, however often, and wherever it was killed."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from trainer import record
from trainer.errors import RegistryError, StateError
from trainer.register import register
from trainer.registry.memory import MemoryRegistry
from trainer.registry.protocol import ModelVersion
from trainer.scorecard import Predictions, score
from trainer.state import State


def parts(
    run_key: str = "key",
    fingerprint: str = "print",
    recipe: str = '{"data":{}}',
    lineage: Mapping[str, str] | None = None,
) -> dict[str, Any]:
    """What the earlier steps of a run leave, as `register` takes it."""
    predictions = Predictions(["a", "b"], np.array([0, 1], np.int32), np.float32([[0.9, 0.1], [0.8, 0.2]]))
    return {
        "trained": record.Trained(
            model_uri=f"models:/m-{run_key}",
            mlflow_run_id="run",
            experiment_id="1",
            variant="inception_module",
            image_size=32,
            parameters=2_106_250,
            training_parameters=2_106_250,
            epochs=[],
            precision="float32",
            device="cpu",
            seconds=1.0,
            resumed_from_epoch=None,
            versions={},
            lineage=dict(lineage or {}),
        ),
        "evaluated": record.Evaluated(
            challenger=score(predictions, ["x", "y"]), champion=None, champion_version=None, worst_mistakes=[]
        ),
        "checked": record.Checked(
            decision="work",
            reason="r",
            run_key=run_key,
            fingerprint=fingerprint,
            config_digest="config",
            code_digest="code",
            recipe=recipe,
            source={},
            at=record.now(),
        ),
        "prepared": record.Prepared(
            fingerprint=fingerprint,
            path="data",
            classes=["x", "y"],
            counts={},
            identity_digests={"train": "t" * 64, "test": "e" * 64},
            rejected=[],
            rejected_total=0,
            seconds=1.0,
        ),
    }


@pytest.fixture
def state(tmp_path: Path) -> State:
    return State.open(tmp_path / "state")


def test_a_version_carries_its_lineage(state: State, monkeypatch: pytest.MonkeyPatch) -> None:
    """Run key and its parts, recipe, figures, split digests, code and image are tags; alias challenger."""
    registry = MemoryRegistry()
    monkeypatch.setenv("INCEPTION_GIT_COMMIT", "of this step")
    lineage = {"git_commit": "abc", "image_digest": "gpu@sha256:1", "kfp_run_id": "tick-1"}
    made = register(
        registry,
        "digits",
        **parts(lineage={"git_commit": "abc", "image_digest": "gpu@sha256:1"}),
        state=state,
        tick="tick-1",
    )
    assert made == record.Registered(name="digits", version="1", created=True, lineage=lineage)
    version = registry.get("digits", "1")
    assert (version.model_uri, version.run_id, version.aliases) == ("models:/m-key", "run", ["challenger"])
    assert (
        version.tags.items()
        >= {
            "run_key": "key",
            "fingerprint": "print",
            "config_digest": "config",
            "code_digest": "code",
            "recipe": '{"data":{}}',
            "variant": "inception_module",
            "parameters": "2106250",
            "test_accuracy": "0.5",
            "test_examples": "2",
            "train_identities": "t" * 64,
            "test_identities": "e" * 64,
            **lineage,
        }.items()
    )
    assert "verdict" not in version.tags


def test_the_same_run_key_makes_no_second_version(state: State) -> None:
    """It finds the first one again, and other run keys have versions of their own."""
    registry = MemoryRegistry()
    for key, version, created in [("a", "1", True), ("b", "2", True), ("a", "1", False), ("b", "2", False)]:
        done = register(registry, "digits", **parts(key), state=state)
        assert (done.version, done.created) == (version, created)
        assert registry.alias("digits", "challenger") == version
    assert len(registry.versions("digits")) == 2


def test_a_version_keeps_the_lineage_of_the_run_that_made_it(state: State, monkeypatch: pytest.MonkeyPatch) -> None:
    """A run that finds it made already is not what made it; what was not recorded then is added."""
    registry = MemoryRegistry()
    monkeypatch.setenv("INCEPTION_GIT_COMMIT", "first")
    register(registry, "digits", **parts(), state=state, tick="tick-1")
    monkeypatch.setenv("INCEPTION_GIT_COMMIT", "second")
    monkeypatch.setenv("INCEPTION_IMAGE", "light@sha256:2")
    again = register(registry, "digits", **parts(), state=state, tick="tick-2")
    assert again.lineage == {"git_commit": "first", "image_digest": "light@sha256:2", "kfp_run_id": "tick-1"}
    assert registry.get("digits", "1").tags.items() >= again.lineage.items()


@pytest.mark.parametrize(("length", "held"), [(100_000, True), (100_001, False)])
def test_a_recipe_that_no_tag_can_hold_is_left_out(state: State, length: int, held: bool) -> None:
    """Half of one would be none; the version is made all the same."""
    registry = MemoryRegistry()
    register(registry, "digits", **parts(recipe="x" * length), state=state)
    assert ("recipe" in registry.get("digits", "1").tags) is held


class Crash(BaseException):
    """The process ends here."""


@pytest.mark.parametrize("moment", ["find_by_run_key", "create_version", "set_alias"])
@pytest.mark.parametrize("before", [True, False])
def test_a_crash_heals_with_the_next_call(
    state: State, moment: str, before: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Killed before or after any call to the registry, the same call again ends with one whole version."""
    registry = MemoryRegistry()
    real: Callable[..., Any] = getattr(registry, moment)

    def crash(*args: Any, **kwargs: Any) -> Any:
        if not before:
            real(*args, **kwargs)
        raise Crash

    with monkeypatch.context() as patch:
        patch.setattr(registry, moment, crash)
        with pytest.raises(Crash):
            register(registry, "digits", **parts(), state=state)
    done = register(registry, "digits", **parts(), state=state)
    assert done.version == "1"
    (version,) = registry.versions("digits")
    assert version.aliases == ["challenger"]
    assert version.tags["test_accuracy"] == "0.5"


def test_missing_tags_are_put_right(state: State) -> None:
    """A version of this run key that lacks tags (an older release made it) is given them; others of its tags stay."""
    registry = MemoryRegistry()
    registry.create_version("digits", "models:/m-key", "run", {"run_key": "key", "verdict": "kept"})
    assert not register(registry, "digits", **parts(), state=state).created
    tags = registry.get("digits", "1").tags
    assert (tags["fingerprint"], tags["verdict"]) == ("print", "kept")


class Slow(MemoryRegistry):
    """Waits between looking for a run key and making its version, until everybody has looked."""

    def __init__(self, parties: int) -> None:
        super().__init__()
        self.barrier = threading.Barrier(parties)

    def create_version(self, name: str, model_uri: str, run_id: str, tags: Mapping[str, str]) -> ModelVersion:
        with contextlib.suppress(threading.BrokenBarrierError):
            self.barrier.wait(timeout=0.5)
        return super().create_version(name, model_uri, run_id, tags)


@pytest.mark.parametrize("machines", [1, 4])
def test_registrations_at_once_leave_one_version(tmp_path: Path, machines: int) -> None:
    """Four at once: on one machine they take turns; on four, which share no lock, the younger versions go."""
    registry = Slow(4)
    done: list[record.Registered] = []

    def work(who: int) -> None:
        state = State.open(tmp_path / str(who % machines))
        done.append(register(registry, "digits", **parts(), state=state))

    threads = [threading.Thread(target=work, args=(who,)) for who in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [one.version for one in registry.versions("digits")] == ["1"]
    assert [one.version for one in done] == ["1"] * 4
    assert sum(one.created for one in done) == 1
    assert registry.alias("digits", "challenger") == "1"


def test_a_state_folder_that_cannot_hold_the_lock_says_so(state: State) -> None:
    """Nothing is registered."""
    (state.root / "ledger").write_text("in the way")
    registry = MemoryRegistry()
    with pytest.raises(StateError, match="ledger"):
        register(registry, "digits", **parts(), state=state)
    assert registry.names() == []


def test_a_registry_out_of_reach_stops_the_step(state: State, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its error is passed on, and the lock is free again."""
    registry = MemoryRegistry()

    def unreachable(*args: Any) -> Any:
        raise RegistryError("out of reach")

    with monkeypatch.context() as patch:
        patch.setattr(registry, "create_version", unreachable)
        with pytest.raises(RegistryError):
            register(registry, "digits", **parts(), state=state)
    assert register(registry, "digits", **parts(), state=state).created
