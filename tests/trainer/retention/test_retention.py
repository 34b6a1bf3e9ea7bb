"""What goes and what stays, on a real state folder with a real MLflow store."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from filelock import FileLock

from trainer import record, tracking
from trainer.gate import Verdict
from trainer.registry import opened
from trainer.registry.ledger import follow
from trainer.registry.protocol import Entry, Event, champion
from trainer.retention import Plan, Sweep, Tracked, folders, plan
from trainer.state import State

NAME = "digits"
MONTH = 30 * 24 * 3600.0
BYTES = 1000


class House:
    """Eight versions that were made and decided a month ago: 1, 3 and 5 were champions, 3 is retired; 8 challenges."""

    def __init__(self, state: State, runs: dict[str, str], models: dict[str, str]) -> None:
        self.state, self.runs, self.models = state, runs, models
        tracking.connect(state)
        from mlflow.tracking import MlflowClient

        self.client: Any = MlflowClient()
        self.registry, self.ledger = opened(state, NAME)
        self.tracked = Tracked(state)
        found = self.client.get_experiment_by_name(NAME)
        self.experiment = found.experiment_id if found else self.client.create_experiment(NAME)

    @classmethod
    def built(cls, state: State) -> House:
        house = cls(state, {}, {})
        for number in range(1, 9):
            house.run(f"k{number}", f"f{(number + 1) // 2}")
        for event, version in (("promote", "1"), ("promote", "3"), ("promote", "5"), ("retire", "3")):
            house.enter(event, version)  # type: ignore[arg-type]
        follow(house.registry, house.ledger, NAME)
        house.registry.set_alias(NAME, "challenger", "8")
        return house

    def run(self, key: str, fingerprint: str, *, decided: bool = True, registered: bool = True) -> None:
        """What a run leaves behind everywhere, with its checkpoints as if it had been killed before it cleared them."""
        run = self.client.create_run(self.experiment, tags={"run_key": key})
        self.client.set_terminated(run.info.run_id)
        model = self.client.create_logged_model(self.experiment, source_run_id=run.info.run_id)
        self.client.finalize_logged_model(model.model_id, "READY")
        self.runs[key], self.models[key] = run.info.run_id, model.model_id
        folder = self.state.run(key)
        recipe = f'{{"registry": {{"name": "{NAME}"}}}}'
        checked = record.Checked(
            decision="work", reason="r", run_key=key, fingerprint=fingerprint, config_digest="c", code_digest="c",
            recipe=recipe, source={}, at=datetime.now(UTC),
        )  # fmt: skip
        record.write(folder, checked)
        if registered:
            tags = {"run_key": key, "fingerprint": fingerprint, **({"verdict": "kept"} if decided else {})}
            made = self.registry.create_version(NAME, f"models:/{model.model_id}", run.info.run_id, tags)
            record.write(folder, record.Registered(name=NAME, version=made.version, created=True))
        self.fill(
            *(self.state.artifacts / run.info.run_id / "artifacts", self.state.artifacts / "models" / model.model_id),
            *(self.state.checkpoints(key), self.state.data(fingerprint), folder),
        )
        if decided:
            verdict = Verdict(outcome="keep", reason="r", rules=[])
            promoted = record.Promoted(
                result="kept", verdict=verdict, version="1", champion_before=None, champion_after=None,
                ledger_entry=None, at=datetime.now(UTC),
            )  # fmt: skip
            record.write(folder, promoted)

    def fill(self, *folders: Path) -> None:
        for folder in folders:
            folder.mkdir(parents=True, exist_ok=True)
            (folder / "content").write_bytes(b"x" * BYTES)

    def age(self, *folders: Path, seconds: float = MONTH) -> None:
        """Nothing in these folders (in all) has changed for so long."""
        then = time.time() - seconds
        for folder in folders or (self.state.root,):
            for path in (folder, *folder.rglob("*")):
                os.utime(path, (then, then), follow_symlinks=False)

    def enter(self, event: Event, version: str) -> None:
        entries, generation = self.ledger.read()
        before = champion(entries)
        entry = Entry(
            number=len(entries) + 1, event=event, version=before if event == "retire" else version, previous=before,
            challenger=version, run_key=None, verdict_digest=None, reason="r", tick=None, at=datetime.now(UTC),
        )  # fmt: skip
        self.ledger.append(entry, generation)

    def plan(self, newest: int = 2) -> Plan:
        return plan(self.state, self.registry, self.ledger, self.tracked, NAME, newest)

    def sweep(self, shown: Plan, newest: int = 2) -> set[tuple[str, str]]:
        done = Sweep(self.state, self.registry, self.ledger, self.tracked, NAME, newest).carry_out(shown)
        return {(item.kind, item.name) for item in done}

    def versions(self) -> list[str]:
        return [one.version for one in self.registry.versions(NAME)]

    def folders(self, kind: str) -> set[str]:
        return {path.name for path in (self.state.root / kind).iterdir() if not path.name.startswith(".")}


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory, mlflow_template: Path) -> House:
    state = State.open(tmp_path_factory.mktemp("retention") / "state")
    shutil.copyfile(mlflow_template, state.mlflow_database)
    return House.built(state)


@pytest.fixture
def house(state: State, template: House) -> House:
    shutil.copytree(template.state.root, state.root, dirs_exist_ok=True)
    house = House(state, dict(template.runs), dict(template.models))
    house.age()
    return house


def test_champions_aliases_and_the_newest_stay(house: House) -> None:
    """Each with its reason; a version that was retired, and those that never were anything, go."""
    assert house.plan().kept == {
        "1": "was champion", "5": "champion", "7": "among the last 2", "8": "alias challenger",
    }  # fmt: skip
    assert list(house.plan(newest=1).kept) == ["1", "5", "8"]
    assert list(house.plan(newest=100).kept) == [str(number) for number in range(1, 9)]
    going = [item.name for item in house.plan().items if item.kind == "version"]
    assert going == ["2", "3", "4", "6"]


def test_the_plan_shows_all_that_goes_and_its_size(house: House) -> None:
    """Versions, what MLflow keeps of their runs, run records, checkpoints, data; nothing is deleted by it."""
    before = sorted(house.state.root.rglob("*"))
    shown = house.plan()
    keys = ["k2", "k3", "k4", "k6"]
    expected = {
        "version": {"2", "3", "4", "6"},
        "logged model": {house.models[key] for key in keys},
        "MLflow run": {house.runs[key] for key in keys},
        "run record": set(keys),
        "checkpoints": {f"k{number}" for number in range(1, 9)},
        "prepared data": {"f2"},
    }
    found: dict[str, set[str]] = {}
    for item in shown.items:
        found.setdefault(item.kind, set()).add(item.name)
        assert item.bytes >= BYTES or item.kind == "version"
    assert found == expected
    assert shown.bytes == sum(item.bytes for item in shown.items) >= 21 * BYTES
    assert sorted(house.state.root.rglob("*")) == before


def test_the_sweep_deletes_what_was_shown_and_no_more(house: House) -> None:
    """Files, versions, runs and models are gone; what stays is whole; a second plan is empty."""
    shown = house.plan()
    assert house.sweep(shown) == {(item.kind, item.name) for item in shown.items}
    assert house.versions() == ["1", "5", "7", "8"]
    assert house.folders("runs") == {"k1", "k5", "k7", "k8"}
    assert house.folders("checkpoints") == set()
    assert house.folders("data") == {"f1", "f3", "f4"}
    stay = {"k1", "k5", "k7", "k8"}
    assert house.folders("artifacts") == {house.runs[key] for key in stay} | {"models"}
    assert house.folders("artifacts/models") == {house.models[key] for key in stay}
    stages = {key: house.client.get_run(run).info.lifecycle_stage for key, run in house.runs.items()}
    assert {key for key, stage in stages.items() if stage == "active"} == stay
    for key in stay:
        house.client.get_logged_model(house.models[key])
        assert record.find(house.state.run(key), record.Checked) is not None
    assert house.plan().items == []
    assert len(house.ledger.read().entries) == 4


@pytest.mark.slow
def test_a_folder_that_is_a_cache_of_a_store_is_left_alone(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    """It does not tell what other machines use; versions and MLflow runs go as ever."""
    everything = plan(house.state, house.registry, house.ledger, house.tracked, NAME, 2)
    monkeypatch.setenv("INCEPTION_STORE", "gs://b/team")
    monkeypatch.setenv("INCEPTION_LEDGERS", str(house.state.root / "ledger"))
    shared = plan(house.state, house.registry, house.ledger, house.tracked, NAME, 2)
    kinds = {"logged model", "MLflow run", "version"}
    assert shared.items == [item for item in everything.items if item.kind in kinds]
    assert len(shared.items) < len(everything.items)


@pytest.mark.parametrize("cut_after", [2, 9])
def test_a_sweep_that_was_cut_is_finished_by_the_next(house: House, cut_after: int) -> None:
    """Whatever had gone by then, the rest is found again."""
    shown = house.plan()
    house.sweep(shown.model_copy(update={"items": shown.items[:cut_after]}))
    house.sweep(house.plan())
    assert house.versions() == ["1", "5", "7", "8"]
    assert house.folders("runs") == {"k1", "k5", "k7", "k8"}
    assert house.folders("artifacts/models") == {house.models[key] for key in ("k1", "k5", "k7", "k8")}
    assert house.plan().items == []


def test_a_removal_that_was_killed_is_finished(house: House) -> None:
    """What was out of sight already and still on the disk goes with the next sweep; what is taken away now stays."""
    old, young = (house.state.root / "runs" / f".deleted-{name}" for name in ("old", "young"))
    house.fill(old / "k0", young / "k0")
    house.age(old)
    house.sweep(house.plan())
    assert not old.exists()
    assert young.exists()


def test_files_that_a_run_takes_away_meanwhile_are_none(state: State, monkeypatch: pytest.MonkeyPatch) -> None:
    """A training replaces its checkpoints while ages and sizes are taken."""
    folder = state.checkpoints("k")
    folder.mkdir(parents=True)
    for name in ("stays", "goes"):
        (folder / name).write_bytes(b"x" * BYTES)
    whole = os.walk

    def walk(path: Path) -> Any:
        found = list(whole(path))
        (folder / "goes").unlink(missing_ok=True)
        return found

    monkeypatch.setattr(os, "walk", walk)
    assert folders.newest(folder) > time.time() - 60
    (folder / "goes").write_bytes(b"x")
    assert folders.size(folder) == BYTES


def test_a_study_that_was_killed_before_it_began_stops_nothing(state: State) -> None:
    """It has named no data."""
    (state.root / "tuning" / "digits-0").mkdir(parents=True)
    assert folders.in_tuning(state) == set()


def test_a_run_under_way_loses_nothing(house: House) -> None:
    """Young and undecided, or with its training's lock held however old; given up after a week it goes."""
    house.run("young", "young-data", decided=False, registered=False)
    house.run("long", "long-data", decided=False, registered=False)
    house.run("waiting", "waiting-data", decided=False)
    house.run("given-up", "old-data", decided=False, registered=False)
    for number in range(3):
        house.run(f"later{number}", "later-data")
    mine = {"young", "long", "waiting"}
    with FileLock(house.state.run("long") / "train.lock"):
        for kind in (house.state.run, house.state.checkpoints):
            house.age(kind("long"), kind("given-up"))
        house.age(*(house.state.root / "data").iterdir())
        shown = house.plan()
        named = {item.name for item in shown.items}
        waiting = house.registry.find_by_run_key(NAME, "waiting")
        assert waiting is not None
        assert shown.kept[waiting.version] == "its run is under way"
        assert not named & (mine | {f"{key}-data" for key in mine} | {house.runs[key] for key in mine})
        assert {"given-up", "old-data"} <= named
        house.sweep(shown)
    assert mine <= house.folders("runs") & house.folders("checkpoints")
    assert {f"{key}-data" for key in mine} <= house.folders("data")
    assert "given-up" not in house.folders("runs") | house.folders("checkpoints")


CHANGES: dict[str, tuple[Callable[[House], Any], set[tuple[str, str]]]] = {
    "a rollback to it": (lambda h: h.enter("rollback", "2"), {("version", "2"), ("run record", "k2")}),
    "an alias on it": (lambda h: h.registry.set_alias(NAME, "best", "2"), {("version", "2"), ("run record", "k2")}),
    "its run goes on": (lambda h: h.fill(h.state.run("k2")), {("run record", "k2"), ("checkpoints", "k2")}),
    "its data is wanted": (lambda h: h.run("new", "f2", decided=False, registered=False), {("prepared data", "f2")}),
    "another model needs its data": (
        lambda h: h.registry.create_version("letters", "file:///m", "", {"fingerprint": "f2"}),
        {("prepared data", "f2")},
    ),
}


@pytest.mark.slow
@pytest.mark.parametrize("change", CHANGES)
def test_what_came_into_use_after_the_plan_was_shown_stays(house: House, change: str) -> None:
    """Every item is looked at again just before it goes."""
    shown = house.plan()
    happen, staying = CHANGES[change]
    happen(house)
    gone = house.sweep(shown)
    assert not gone & staying
    assert ("version", "4") in gone


def test_data_that_anything_needs_stays(house: House) -> None:
    """Of another model's versions, new, or being prepared; what a failed preparation left goes with its run."""
    house.fill(*(house.state.data(name) for name in ("other", "locked", "lone")), house.state.failed_data("f9"))
    house.registry.create_version("letters", "file:///m", "", {"fingerprint": "other"})
    house.age()
    house.fill(house.state.data("new"))
    with FileLock(house.state.root / "data" / ".locked.lock"):
        found = {(item.kind, item.name) for item in house.plan().items if "data" in item.kind or "failed" in item.kind}
    assert found == {("prepared data", "f2"), ("prepared data", "lone"), ("failed preparation", "f9")}


def test_nothing_outside_the_state_folder_is_touched(house: House, tmp_path: Path) -> None:
    """What is behind a link is not shown, and stays even if it was shown before; the link itself as well."""
    shown = house.plan()
    for kind, name in (("runs", "k2"), ("data", "f2"), ("checkpoints", "k2")):
        inside = house.state.root / kind / name
        inside.rename(tmp_path / f"{kind}-{name}")
        inside.symlink_to(tmp_path / f"{kind}-{name}")
    house.age()
    linked = {("run record", "k2"), ("prepared data", "f2"), ("checkpoints", "k2")}
    assert linked <= {(item.kind, item.name) for item in shown.items}
    assert not linked & {(item.kind, item.name) for item in house.plan().items}
    house.sweep(shown)
    for kind, name in (("runs", "k2"), ("data", "f2"), ("checkpoints", "k2")):
        assert (tmp_path / f"{kind}-{name}" / "content").exists()
        assert (house.state.root / kind / name).is_symlink()


def test_another_models_runs_stay(house: House) -> None:
    """Only the named model is swept."""
    folder = house.state.run("theirs")
    recipe = '{"registry": {"name": "letters"}}'
    checked = record.read(house.state.run("k2"), record.Checked).model_copy(update={"recipe": recipe})
    record.write(folder, checked)
    house.age()
    house.sweep(house.plan())
    assert "theirs" in house.folders("runs")


def test_a_run_that_was_handed_over_stays_in_mlflow(house: House) -> None:
    """Kubeflow opened it, and has more in it: only a run that was opened for the run key alone goes."""
    house.client.delete_tag(house.runs["k2"], "run_key")
    house.sweep(house.plan())
    assert house.client.get_run(house.runs["k2"]).info.lifecycle_stage == "active"
    house.client.get_logged_model(house.models["k2"])
    assert "2" not in house.versions()


def test_while_nobody_is_champion_the_last_retired_stays(house: House) -> None:
    """Its tag tells a crash from a hand."""
    house.registry.set_alias(NAME, "champion", "5")
    entries, generation = house.ledger.read()
    gone = {"number": 5, "event": "retire", "version": None, "previous": "5", "challenger": "5"}
    house.ledger.append(entries[-1].model_copy(update=gone), generation)
    follow(house.registry, house.ledger, NAME)
    assert house.plan().kept["5"] == "the last to be retired"


def copied(house: House, uri: str | None = None) -> None:
    """Version 2 under another name, as MLflow's clients copy or register it."""
    if uri is None:
        house.client.copy_model_version(f"models:/{NAME}/2", "digits-prod")
    else:
        house.registry.create_version("digits-prod", uri.format(house.models["k2"]), "", {})


@pytest.mark.parametrize(
    ("uri", "when"),
    [(None, "before"), (None, "after"), ("models:/{}", "before"), ("file:///artifacts/models/{}/artifacts", "after")],
)
def test_a_copy_under_another_name_keeps_its_files(house: House, uri: str | None, when: str) -> None:
    """Run, logged model and, where the run key was copied too, the record; whether it was made before the plan or
    after it was shown. The version itself goes."""
    if when == "before":
        copied(house, uri)
    shown = house.plan()
    if when == "after":
        copied(house, uri)
    gone = house.sweep(shown)
    assert {kind for kind, name in gone if name in ("2", "k2", house.runs["k2"], house.models["k2"])} == {
        "version", "checkpoints", *([] if uri is None else ["run record"]),
    }  # fmt: skip
    assert ("MLflow run", house.runs["k4"]) in gone
    assert (house.state.artifacts / "models" / house.models["k2"] / "content").exists()
    assert house.client.get_run(house.runs["k2"]).info.lifecycle_stage == "active"
    house.client.get_logged_model(house.models["k2"])


@pytest.mark.parametrize("deed", ["delete_logged_model", "delete_run"])
def test_a_sweep_that_was_killed_at_mlflow_leaves_no_files(
    house: House, deed: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """MLflow has just marked the first as deleted: the next sweep finishes the rest."""
    whole = getattr(house.tracked._client, deed)

    def killed(*arguments: Any) -> None:
        whole(*arguments)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(house.tracked._client, deed, killed)
        with pytest.raises(KeyboardInterrupt):
            house.sweep(house.plan())
    house.sweep(house.plan())
    stay = {house.runs[key] for key in ("k1", "k5", "k7", "k8")}
    assert house.folders("artifacts") == stay | {"models"}
    assert house.folders("artifacts/models") == {house.models[key] for key in ("k1", "k5", "k7", "k8")}


def test_a_version_that_was_registered_by_hand_stays(house: House) -> None:
    """It has no run key: nobody here can say that it is over. The plan says so, and a sweep looks again."""
    made = house.registry.create_version(NAME, "file:///m", "", {})
    for number in range(9, 12):
        house.run(f"k{number}", "later-data")
    assert house.plan().kept[made.version] == "registered by hand"
    shown = house.plan()
    house.client.delete_model_version_tag(NAME, "2", "run_key")
    assert ("version", "2") not in house.sweep(shown)


def test_a_run_that_was_taken_up_again_keeps_what_mlflow_has(house: House) -> None:
    """After the plan was shown, though it never came to a version."""
    house.run("given-up", "f2", decided=False, registered=False)
    trained = {"model_uri": "models:/m", "mlflow_run_id": house.runs["given-up"], "experiment_id": "1", "variant": "v"}
    trained |= dict.fromkeys(("image_size", "parameters", "training_parameters", "seconds"), 1)  # type: ignore[arg-type]
    trained |= {"epochs": [], "precision": "p", "device": "d", "resumed_from_epoch": None, "versions": {}}  # type: ignore[dict-item]
    record.write(house.state.run("given-up"), record.Trained.model_validate(trained))
    house.age()
    shown = house.plan()
    mine = {("MLflow run", house.runs["given-up"]), ("logged model", house.models["given-up"])}
    assert mine <= {(item.kind, item.name) for item in shown.items}
    house.fill(house.state.run("given-up"))
    assert not house.sweep(shown) & mine


def test_a_sweep_reads_everything_once_for_each_kind(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not once for each of the things that go."""
    shown = house.plan()
    read: list[str] = []
    whole, listed = folders.RunRecord.read, house.registry.versions

    def versions(name: str) -> Any:
        read.append(name)
        return listed(name)

    def run_record(folder: Path, checkpoints: Path) -> folders.RunRecord:
        read.append(folder.name)
        return whole(folder, checkpoints)

    monkeypatch.setattr(house.registry, "versions", versions)
    monkeypatch.setattr(folders.RunRecord, "read", run_record)
    house.sweep(shown)
    kinds = {item.kind for item in shown.items}
    assert read.count(NAME) <= len(kinds)
    assert read.count("k1") <= 2 * len(kinds)
    assert len(shown.items) > 3 * len(kinds)
