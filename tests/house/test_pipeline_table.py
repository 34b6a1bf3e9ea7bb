"""The compiled pipeline against a table."""

from __future__ import annotations

from functools import cache
from typing import Any

import pytest
import yaml
from google.protobuf import json_format

from pipelines.compiling import compiled_text, tasks

# step: (image, served from the orchestrator's cache, how often it is tried again)
STEPS = {
    "check": ("inception-light", False, 0),
    "prepare": ("inception-cpu", True, 0),
    "train": ("inception-gpu", True, 5),
    "evaluate": ("inception-cpu", False, 0),
    "register": ("inception-light", False, 0),
    "promote": ("inception-light", False, 0),
    "report": ("inception-light", False, 0),
}


@cache
def text() -> str:
    return compiled_text()


@cache
def spec() -> dict[str, Any]:
    return yaml.safe_load(text())  # type: ignore[no-any-return]


def test_the_pipeline_has_these_steps_and_no_others() -> None:
    """A new step is a new row here."""
    assert set(tasks(spec())) == set(STEPS)


@pytest.mark.parametrize("step", STEPS)
def test_caching_is_stated_as_in_the_table(step: str) -> None:
    """Only steps whose parameters say all there is to know are served from the cache."""
    task = tasks(spec())[step]
    assert "cachingOptions" in task
    assert bool(task["cachingOptions"].get("enableCache")) is STEPS[step][1]


@pytest.mark.parametrize("step", STEPS)
def test_image_is_as_in_the_table(step: str) -> None:
    """The three images are named by what they hold."""
    task = tasks(spec())[step]
    executor = spec()["components"][task["componentRef"]["name"]]["executorLabel"]
    assert spec()["deploymentSpec"]["executors"][executor]["container"]["image"] == STEPS[step][0]


@pytest.mark.parametrize("step", [step for step, (_, cached, _) in STEPS.items() if cached])
def test_a_cached_step_is_not_given_the_tick(step: str) -> None:
    """The id of the pipeline run is part of the cache's key: a step that is given it never hits."""
    inputs = tasks(spec())[step]["inputs"]["parameters"]
    assert "{{$.pipeline_job_uuid}}" not in str(inputs)


@pytest.mark.parametrize("step", STEPS)
def test_retries_are_as_in_the_table(step: str) -> None:
    """Pauses grow between them. On one machine there are none."""
    from pipelines.retrain import retrain, tried_once

    policy = tasks(spec())[step].get("retryPolicy", {})
    assert policy.get("maxRetryCount", 0) == STEPS[step][2]
    assert not policy or policy["backoffFactor"] > 1
    for pipeline, retries in ((retrain, STEPS[step][2]), (tried_once(), 0)):
        data = json_format.MessageToDict(pipeline.pipeline_spec)
        assert tasks(data)[step].get("retryPolicy", {}).get("maxRetryCount", 0) == retries


def test_nothing_is_installed_at_run_time() -> None:
    """The images hold everything."""
    assert "pip install" not in text()
    assert "ensurepip" not in text()


def test_report_runs_whatever_happens() -> None:
    """It is an exit handler: it waits for everything and needs nothing to succeed."""
    assert tasks(spec())["report"]["triggerPolicy"]["strategy"] == "ALL_UPSTREAM_TASKS_COMPLETED"


def test_conditions_compare_fixed_words() -> None:
    """kfp.local takes a condition that it cannot evaluate for false: a value with a quote in it would be one."""
    conditions = [
        task["triggerPolicy"]["condition"]
        for component in spec()["components"].values()
        for task in component.get("dag", {}).get("tasks", {}).values()
        if "condition" in task.get("triggerPolicy", {})
    ]
    assert conditions == ["inputs.parameter_values['pipelinechannel--check-Output'] == 'work'"]


def test_compiling_twice_gives_the_same_bytes() -> None:
    """So that an unchanged pipeline is seen to be unchanged."""
    assert compiled_text() == text()


def test_every_field_of_the_form_has_help() -> None:
    """What the UI asks for when a run is started by hand."""
    parameters = spec()["root"]["inputDefinitions"]["parameters"]
    assert set(parameters) == {"recipe", "root", "variant", "epochs", "threshold", "force"}
    assert all(parameter.get("description") for parameter in parameters.values())
