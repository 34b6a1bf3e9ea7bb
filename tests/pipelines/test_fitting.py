"""The pipeline as it is compiled for an environment."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml
from google.protobuf import json_format
from kfp.kubernetes import kubernetes_executor_config_pb2 as pb
from kfp.pipeline_spec import pipeline_spec_pb2

from pipelines.compiling import asked, compiled_text, tasks
from pipelines.environments import load
from pipelines.environments.steps import STEPS
from pipelines.retrain import retrain
from trainer import config
from trainer.errors import RecipeError
from trainer.models.zoo import VARIANTS

ROOT = Path(__file__).resolve().parents[2]
PROD = ROOT / "configs" / "environments" / "prod.toml"
RECIPES = sorted(path for path in (ROOT / "configs").glob("*.toml") if path.name != "schedules.toml")
KIND = {"prepare": "cpu", "evaluate": "cpu", "train": "gpu"}


def recipe() -> config.Recipe:
    return config.load(ROOT / "configs" / "digits.toml")


@cache
def text() -> str:
    return compiled_text(recipe(), load(str(PROD)))


@cache
def documents() -> tuple[dict[str, Any], dict[str, Any]]:
    """The pipeline and what it asks of Kubernetes."""
    spec, platform = yaml.safe_load_all(text())
    return spec, platform["platforms"]["kubernetes"]


def executor(step: str) -> tuple[dict[str, Any], dict[str, Any]]:
    spec, kubernetes = documents()
    label = spec["components"][tasks(spec)[step]["componentRef"]["name"]]["executorLabel"]
    return spec["deploymentSpec"]["executors"][label]["container"], kubernetes["deploymentSpec"]["executors"][label]


def test_it_is_what_the_specification_describes() -> None:
    """Every key is known to kfp-pipeline-spec and to kfp-kubernetes."""
    spec, kubernetes = documents()
    json_format.ParseDict(spec, pipeline_spec_pb2.PipelineSpec())
    for wanted in kubernetes["deploymentSpec"]["executors"].values():
        json_format.ParseDict(wanted, pb.KubernetesExecutorConfig())


def test_the_order_of_the_steps_is_the_local_one() -> None:
    """Nothing but images, machines and defaults differs: what depends on what is the one pipeline's."""
    here, there = json_format.MessageToDict(retrain.pipeline_spec), documents()[0]
    assert set(tasks(there)) == set(STEPS)
    for name, task in tasks(here).items():
        mine = {key: value for key, value in tasks(there)[name].items() if key != "retryPolicy"}
        assert mine == {key: value for key, value in task.items() if key != "retryPolicy"}


def test_the_pipeline_of_one_machine_stays_as_it_is() -> None:
    """Fitting leaves the pipeline object alone: images by their names, no cluster's wishes."""
    before = compiled_text()
    text.cache_clear()
    text()
    assert compiled_text() == before
    assert before.count("image: inception-") == len(STEPS)
    assert len(list(yaml.safe_load_all(before))) == 1


@pytest.mark.parametrize("step", STEPS)
def test_every_image_has_a_digest(step: str) -> None:
    """And is the one that the step needs."""
    container, _ = executor(step)
    assert container["image"].startswith(f"registry.example.com/vision/inception-{KIND.get(step, 'light')}@sha256:")


@pytest.mark.parametrize("step", STEPS)
def test_every_step_states_its_caching(step: str) -> None:
    """As without an environment."""
    caching = tasks(documents()[0])[step]["cachingOptions"]
    assert bool(caching.get("enableCache")) is (step in ("prepare", "train"))


@pytest.mark.parametrize("step", STEPS)
def test_every_step_shares_the_state_and_knows_the_addresses(step: str) -> None:
    """The volume, the variables, the secret of the MLflow server, the registry's, and the labels."""
    container, wanted = executor(step)
    assert {one["name"]: one["value"] for one in container["env"]} == {
        "INCEPTION_IMAGE": container["image"],
        "INCEPTION_LEDGERS": "gs://vision-models/ledgers",
        "MLFLOW_TRACKING_URI": "https://mlflow.example.com",
        "MLFLOW_TRACKING_USERNAME": "inception",
    }
    assert [(one["constant"], one["mountPath"]) for one in wanted["pvcMount"]] == [("inception-state", "/inception")]
    [secret] = wanted["secretAsEnv"]
    assert (secret["secretName"], secret["keyToEnv"]) == (
        "mlflow",
        [{"secretKey": "password", "envVar": "MLFLOW_TRACKING_PASSWORD"}],
    )
    assert [one["secretName"] for one in wanted["imagePullSecret"]] == ["registry"]
    assert wanted["podMetadata"]["labels"] == {"inception-step": step, "team": "vision"}
    assert ("secretAsVolume" in wanted) is (step == "report")


@pytest.mark.parametrize("step", STEPS)
def test_every_step_says_what_it_is(step: str) -> None:
    """Its name for people in the graph, what it does on its pod, and the meaning of every input."""
    spec = documents()[0]
    task = tasks(spec)[step]
    assert task["taskInfo"]["name"].lower().split()[0] == step
    about = executor(step)[1]["podMetadata"]["annotations"]["kubernetes.io/description"]
    assert about.endswith(".")
    assert "\n" not in about
    inputs = spec["components"][task["componentRef"]["name"]]["inputDefinitions"]["parameters"]
    assert all(one.get("description") for one in inputs.values() if one["parameterType"] != "TASK_FINAL_STATUS")


def test_the_training_gets_its_machine() -> None:
    """GPU, processors, memory, shared memory, nodes, time and tries; the others get none of it."""
    container, wanted = executor("train")
    resources = container["resources"]
    assert (resources["resourceCpuRequest"], resources["resourceMemoryRequest"]) == ("8", "32Gi")
    assert resources["resourceMemoryLimit"] == "32Gi"
    assert resources["accelerator"]["resourceType"] == "nvidia.com/gpu"
    assert resources["accelerator"]["resourceCount"] == "1"
    assert wanted["nodeSelector"]["labels"] == {"cloud.google.com/gke-accelerator": "nvidia-l4"}
    assert wanted["tolerations"] == [{"key": "nvidia.com/gpu", "operator": "Exists", "effect": "NoSchedule"}]
    [memory] = wanted["emptyDirMounts"]
    assert (memory["mountPath"], memory["medium"], memory["sizeLimit"]) == ("/dev/shm", "Memory", "8Gi")
    assert wanted["activeDeadlineSeconds"] == str(720 * 60)
    assert tasks(documents()[0])["train"]["retryPolicy"] == {
        "maxRetryCount": 10,
        "backoffDuration": "60s",
        "backoffFactor": 2.0,
        "backoffMaxDuration": "900s",
    }
    for step in set(STEPS) - {"train"}:
        container, wanted = executor(step)
        assert "accelerator" not in container.get("resources", {})
        assert not {"nodeSelector", "tolerations", "emptyDirMounts", "activeDeadlineSeconds"} & set(wanted)


def test_a_run_is_cleared_away_and_stopped_in_time() -> None:
    """What the environment says of whole runs."""
    assert documents()[1]["pipelineConfig"] == {
        "resourceTtlOnCompletion": 48 * 3600,
        "activeDeadlineSeconds": 36 * 3600,
    }
    assert documents()[0]["defaultPipelineRoot"] == "gs://vision-models/kfp"


def test_the_form_has_types_help_and_what_to_choose_from() -> None:
    """The variant is a list, the recipe is there already, and so is the state folder."""
    parameters = documents()[0]["root"]["inputDefinitions"]["parameters"]
    assert {name: one["parameterType"] for name, one in parameters.items()} == {
        "recipe": "STRING",
        "root": "STRING",
        "variant": "STRING",
        "epochs": "NUMBER_INTEGER",
        "threshold": "NUMBER_DOUBLE",
        "force": "BOOLEAN",
    }
    assert all(one["description"] and "defaultValue" in one for one in parameters.values())
    assert parameters["variant"]["literals"] == ["", *VARIANTS]
    assert parameters["root"]["defaultValue"] == "/inception"
    assert config.parse(parameters["recipe"]["defaultValue"]).digest() == recipe().digest()
    assert all("name" in task["taskInfo"] for task in tasks(documents()[0]).values())


def test_an_older_server_is_not_sent_lists(tmp_path: Path) -> None:
    """It would refuse what it does not know."""
    file = tmp_path / "old.toml"
    file.write_text(PROD.read_text().replace("[images]", "choices = false\n\n[images]", 1))
    assert "literals" not in compiled_text(None, load(str(file)))


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.name)
def test_a_recipe_survives_the_form(path: Path) -> None:
    """Its text asks for the same, also where a field of one line has taken the line breaks out of it."""
    meant = config.load(path)
    field = asked(meant)
    assert "\n" not in field
    assert config.parse(field) == meant


def test_checkpoints_go_where_the_environment_keeps_them() -> None:
    """Unless the recipe names a place; what the recipe asks for stays the same work."""
    environment = load(str(PROD))
    sent = config.parse(asked(recipe(), environment))
    assert sent.resources.checkpoints == "gs://vision-models/checkpoints"
    assert sent.digest() == recipe().digest()
    form = documents()[0]["root"]["inputDefinitions"]["parameters"]["recipe"]["defaultValue"]
    assert config.parse(form).resources.checkpoints == "gs://vision-models/checkpoints"
    own = config.load(ROOT / "configs" / "digits.toml", ["resources.checkpoints=gs://mine/here"])
    assert config.parse(asked(own, environment)).resources.checkpoints == "gs://mine/here"


def test_equal_input_gives_equal_bytes() -> None:
    """In two processes with other hash seeds, and in this one."""
    program = (
        "import hashlib, sys; from pipelines.compiling import compiled_text; from pipelines.environments import load; "
        "from trainer import config; "
        "print(hashlib.sha256(compiled_text(config.load(sys.argv[1]), load(sys.argv[2])).encode()).hexdigest())"
    )
    arguments = [str(ROOT / "configs" / "digits.toml"), str(PROD)]
    started = [
        subprocess.Popen(
            [sys.executable, "-c", program, *arguments],
            env=os.environ | {"PYTHONHASHSEED": seed},
            cwd=ROOT,
            stdout=subprocess.PIPE,
            text=True,
        )
        for seed in ("1", "2")
    ]
    found = {process.communicate()[0].strip() for process in started}
    assert found == {hashlib.sha256(text().encode()).hexdigest()}


def test_a_tag_is_refused_unless_it_is_allowed() -> None:
    """The server's cache goes by the image's name."""
    dev = load(str(PROD.with_name("dev.toml")))
    with pytest.raises(RecipeError, match="without a digest"):
        compiled_text(None, dev)
    assert "image: inception-light:latest" in compiled_text(None, dev, allow_tags=True)


def test_nothing_secret_is_in_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """Secrets are named; what they hold is not written down, even where whoever compiles knows it."""
    for name in ("KFP_TOKEN", "MLFLOW_TRACKING_PASSWORD"):
        monkeypatch.setenv(name, "open sesame")
    assert "open sesame" not in compiled_text(recipe(), load(str(PROD)))
