"""The step `lookup` in somebody else's pipeline, the command, and the call from Python: one answer.

Annotations are real types here, as kfp reads them.
"""

import json
from pathlib import Path
from typing import Any

import pytest
from kfp import dsl, local

from components.lookup import lookup as lookup_step
from pipelines.cli import main
from trainer.registry import Found, lookup, opened_registry
from trainer.state import State

TAGS = {
    "run_key": "key",
    "fingerprint": "print",
    "config_digest": "config",
    "code_digest": "code",
    "git_commit": "abc-dirty",
    "image_digest": "inception-gpu@sha256:1",
    "kfp_run_id": "tick",
    "verdict_digest": "verdict",
    "verdict": "promoted",
    "test_accuracy": "0.875",
}


@dsl.component(base_image="python:3.11", install_kfp_package=False)
def deploy(version: str, load_uri: str, accuracy: float, found: dict, into: str):  # type: ignore[no-untyped-def,type-arg]
    """Stands for whatever a user does with a model."""
    import json
    from pathlib import Path

    told = {"version": version, "load_uri": load_uri, "accuracy": accuracy, "found": found}
    Path(into).write_text(json.dumps(told))


@pytest.fixture
def registered(tracked_state: State) -> State:
    """A champion with everything that `register` and `promote` write, and a challenger with nothing."""
    registry = opened_registry(tracked_state)
    registry.create_version("digits", "gs://bucket/model", "a" * 32, TAGS)
    registry.create_version("digits", "gs://bucket/other", "b" * 32, {})
    registry.set_alias("digits", "champion", "1")
    registry.set_alias("digits", "challenger", "2")
    return tracked_state


def by_command(state: State, reference: str, capfd: pytest.CaptureFixture[str], *words: str) -> str:
    capfd.readouterr()
    with pytest.raises(SystemExit) as ended:
        main(["lookup", reference, "--state", str(state.root), *words])
    assert ended.value.code == 0
    return capfd.readouterr().out


def test_step_command_and_call_find_the_same(
    registered: State, tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A pipeline of two steps gets the champion's version and address; lineage comes with it."""
    monkeypatch.chdir(tmp_path)

    @dsl.pipeline(name="deploy-champion")
    def deploy_champion(root: str, into: str) -> str:
        champion = lookup_step(reference="digits@champion", root=root).set_caching_options(False)
        deploy(
            version=champion.outputs["version"],
            load_uri=champion.outputs["load_uri"],
            accuracy=champion.outputs["accuracy"],
            found=champion.outputs["found"],
            into=into,
        )
        return champion.outputs["fingerprint"]  # type: ignore[no-any-return]

    local.init(runner=local.SubprocessRunner(use_venv=False), pipeline_root=str(tmp_path / "kfp"))
    done = deploy_champion(root=str(registered.root), into=str(tmp_path / "told.json"))
    told = json.loads((tmp_path / "told.json").read_text())
    called = lookup("digits@champion", state=registered.root)

    assert done.output == "print"
    assert (told["version"], told["load_uri"], told["accuracy"]) == ("1", "models:/digits/1", 0.875)
    assert Found.model_validate(told["found"]) == called
    assert Found.model_validate_json(by_command(registered, "digits@champion", capfd, "--json")) == called
    assert called.lineage == {key: TAGS[key] for key in TAGS if key not in ("verdict", "test_accuracy")}


def test_the_command_shows_lineage_in_order(registered: State, capfd: pytest.CaptureFixture[str]) -> None:
    """The run key and under it its parts, then code, image, run and decision."""
    shown = by_command(registered, "digits", capfd)
    words = ["verdict", "accuracy", "run key", "data fingerprint", "recipe digest", "code digest", "git commit"]
    words += ["image ", "pipeline run", "verdict digest"]
    places = [shown.index(word) for word in words]
    assert places == sorted(places)
    assert "abc-dirty" in shown


def test_what_was_not_recorded_is_left_out(registered: State, capfd: pytest.CaptureFixture[str]) -> None:
    """A version that somebody else registered has no lineage."""
    assert "git commit" not in by_command(registered, "digits@challenger", capfd)
    assert lookup("digits@challenger", registered.root).lineage == {}


def test_the_call_asks_the_server_that_is_named(
    registered: State, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without a state folder; and MLflow's own address in the process stays as it was."""
    import mlflow

    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{registered.mlflow_database}")
    mlflow.set_tracking_uri("sqlite:///elsewhere.db")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{registered.mlflow_database}")
    found: Any = lookup("digits")
    assert (found.version, found.tracking_uri) == ("1", f"sqlite:///{registered.mlflow_database}")
    assert mlflow.get_tracking_uri() == "sqlite:///elsewhere.db"
    assert not (tmp_path / ".inception").exists()
