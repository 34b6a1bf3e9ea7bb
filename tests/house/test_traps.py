"""What orchestrators do without a word, and what keeps the pipeline clear of it. Other guards stand beside these:
test_pipeline_table.py (caching, conditions, retries) and tests/pipelines/ (digests, schedules, old servers)."""

from __future__ import annotations

import inspect
from functools import cache
from pathlib import Path
from typing import Any, cast

import kfp.local
import pytest
import yaml
from kfp.local.subprocess_task_handler import SubprocessTaskHandler

from pipelines import local
from pipelines.compiling import compiled_text, tasks
from pipelines.environments.steps import STEPS
from trainer import config
from trainer.state import State

DIGITS = Path(__file__).parents[2] / "configs" / "digits.toml"


class Enough(Exception):
    """What is to be seen has been seen."""


@cache
def spec() -> dict[str, Any]:
    return yaml.safe_load(compiled_text())  # type: ignore[no-any-return]


def component(step: str) -> dict[str, Any]:
    found: dict[str, Any] = spec()["components"][tasks(spec())[step]["componentRef"]["name"]]
    return found


CACHED = [name for name, task in tasks(spec()).items() if task["cachingOptions"].get("enableCache")]


@pytest.mark.parametrize("step", STEPS)
def test_every_step_is_a_python_component(step: str) -> None:
    """The SubprocessRunner runs nothing else, and the DockerRunner may call a failed container step a success."""
    executor = spec()["deploymentSpec"]["executors"][component(step)["executorLabel"]]
    assert set(executor) == {"container"}
    assert "kfp.dsl.executor_main" in " ".join(executor["container"]["command"])
    assert executor["container"]["args"][-2:] == ["--function_to_execute", step]


def test_the_orchestrator_is_given_folders_of_its_own(state: State, monkeypatch: pytest.MonkeyPatch) -> None:
    """`kfp.local` deletes the workspace that it is given: it gets new, empty ones in the state folder."""
    given: dict[str, Any] = {}

    def init(**options: Any) -> None:
        given.update(options)
        raise Enough

    state.pipeline_root.mkdir()
    (state.pipeline_root / "somebody's").write_text("file")
    monkeypatch.setattr(kfp.local, "init", init)
    with pytest.raises(Enough):
        local.run(config.load(DIGITS), state, lambda event: None)
    for folder in (given["workspace_root"], given["pipeline_root"]):
        assert Path(folder).parent.parent == state.pipeline_root
        assert not Path(folder).parent.exists()
    assert (state.pipeline_root / "somebody's").read_text() == "file"


def test_nobody_is_warned_of_images_that_are_meant(
    state: State, monkeypatch: pytest.MonkeyPatch, recwarn: pytest.WarningsRecorder
) -> None:
    """The SubprocessRunner warns of every image whose name lacks the word "python", as ours do."""

    def init(**options: Any) -> None:
        SubprocessTaskHandler.validate_image(cast(Any, None), "inception-light")
        raise Enough

    monkeypatch.setattr(kfp.local, "init", init)
    with pytest.raises(Enough):
        local.run(config.load(DIGITS), state, lambda event: None)
    assert not recwarn.list
    with pytest.warns(RuntimeWarning, match="non-Python base image"):
        SubprocessTaskHandler.validate_image(cast(Any, None), "inception-light")


def test_nothing_is_asked_for_that_one_machine_would_ignore() -> None:
    """`kfp.local` passes over secrets, timeouts and resources without a word: the local pipeline has none."""
    assert len(list(yaml.safe_load_all(compiled_text()))) == 1
    for executor in spec()["deploymentSpec"]["executors"].values():
        assert set(executor["container"]) == {"image", "command", "args"}


@pytest.mark.parametrize("step", CACHED)
def test_a_cached_step_writes_the_file_of_its_metrics(step: str) -> None:
    """`kfp.local` never takes a step from its cache whose Metrics have no file."""
    import importlib

    module = importlib.import_module(f"components.{step}")
    assert "metrics.path" in inspect.getsource(module)
    kinds = {one["artifactType"]["schemaTitle"] for one in component(step)["outputDefinitions"]["artifacts"].values()}
    assert kinds == {"system.Metrics"}


@pytest.mark.parametrize("step", CACHED)
def test_a_cached_step_is_known_by_words(step: str) -> None:
    """The server's cache goes by parameters and by artifacts' ids, never by what is in them: no artifact goes in, and
    the identity of data or work is a string among the parameters."""
    inputs = component(step)["inputDefinitions"]
    assert "artifacts" not in inputs
    assert {"fingerprint", "run_key"} & set(inputs["parameters"])


@pytest.mark.parametrize("step", STEPS)
def test_no_number_travels_inside_a_list_or_a_table(step: str) -> None:
    """It would arrive as a float: whatever has parts goes as the text of a JSON document."""
    kinds = {one["parameterType"] for one in component(step)["inputDefinitions"]["parameters"].values()}
    assert not kinds & {"LIST", "STRUCT"}


def test_no_artifact_is_chosen_between_branches() -> None:
    """`kfp.local` fails on `OneOf` of artifacts."""
    assert "artifactSelectors" not in compiled_text()
    assert "Oneof" not in compiled_text()


def test_report_is_handed_nothing_that_a_step_makes() -> None:
    """An exit handler gets the pipeline's parameters and the final status: what was done it reads in the record."""
    given = tasks(spec())["report"]["inputs"]["parameters"]
    assert set(given) == {"root", "status", "tick"}
    assert given["status"] == {"taskFinalStatus": {"producerTask": "exit-handler-1"}}
    assert given["root"] == {"componentInputParameter": "root"}
    assert given["tick"] == {"runtimeValue": {"constant": "{{$.pipeline_job_uuid}}"}}


def test_what_is_handed_over_is_what_the_ui_draws() -> None:
    """Nothing else: it has no view of TensorBoard."""
    drawn = {"system.Markdown", "system.HTML", "system.Metrics", "system.ClassificationMetrics"}
    made = {
        one["artifactType"]["schemaTitle"]
        for step in STEPS
        for one in component(step).get("outputDefinitions", {}).get("artifacts", {}).values()
    }
    assert made == drawn


def test_images_have_plain_names() -> None:
    """The DockerRunner looks for the string itself among the local tags: no registry before it, no id."""
    images = {one["container"]["image"] for one in spec()["deploymentSpec"]["executors"].values()}
    assert images == {"inception-light", "inception-cpu", "inception-gpu"}
