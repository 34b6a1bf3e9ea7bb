"""The pipeline as it is compiled for an environment."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import tomllib
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml
from google.protobuf import json_format
from kfp import compiler, components
from kfp.kubernetes import kubernetes_executor_config_pb2 as pb
from kfp.pipeline_spec import pipeline_spec_pb2

from pipelines.compiling import asked, compiled_text, tasks
from pipelines.environments import Environment, load
from pipelines.environments.steps import STEPS
from pipelines.retrain import retrain
from trainer import config
from trainer.errors import RecipeError
from trainer.models.zoo import VARIANTS

ROOT = Path(__file__).resolve().parents[2]
PROD = ROOT / "configs" / "environments" / "prod.toml"
RECIPES = sorted(path for path in (ROOT / "configs").glob("*.toml") if path.name != "schedules.toml")
KIND = {"prepare": "cpu", "evaluate": "cpu", "train": "gpu"}
EVERYTHING = """
[server]
endpoint = "https://kubeflow.test/pipeline"
authentication = { name = "token", variable = "KFP_TOKEN" }

[images]
light = "registry.test/vision/inception-light@sha256:D"
cpu = "registry.test/vision/inception-cpu@sha256:D"
gpu = "registry.test/vision/inception-gpu@sha256:D"
pull_secrets = ["registry"]

[state]
claim = "inception-state"

[store]
mlflow = "https://mlflow.test"
ledgers = "gs://models/ledgers"
checkpoints = "gs://models/checkpoints"
pipeline_root = "gs://models/kfp"

[run]
service_account = "inception-steps"
user = 1000
keep_hours = 48
deadline_hours = 36
labels = { team = "vision" }

[variables]
MLFLOW_TRACKING_USERNAME = "inception"

[[secrets]]
secret = "mlflow"
variables = { MLFLOW_TRACKING_PASSWORD = "password" }

[[secrets]]
secret = "smtp"
mount = "/var/secrets/smtp"
steps = ["report"]

[steps.train]
cpu = "8"
memory = "32Gi"
shared_memory = "8Gi"
gpu = { type = "nvidia.com/gpu", count = 1 }
node_selector = { "cloud.google.com/gke-accelerator" = "nvidia-l4" }
tolerations = [{ key = "nvidia.com/gpu", effect = "NoSchedule" }]
timeout_minutes = 720
retry = { times = 10, pause = 60, factor = 2.0, longest = 900 }
""".replace("sha256:D", "sha256:" + "0123456789abcdef" * 4)


def environment(*changes: tuple[str, str]) -> Environment:
    """One that says something of everything, some of it otherwise."""
    text = EVERYTHING
    for old, new in changes:
        assert old in text
        text = text.replace(old, new)
    return Environment.model_validate({"name": "there", **tomllib.loads(text)})


def recipe() -> config.Recipe:
    return config.load(ROOT / "configs" / "digits.toml")


@cache
def text() -> str:
    return compiled_text(recipe(), environment())


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


def test_kfp_itself_reads_what_was_written(tmp_path: Path) -> None:
    """Its loader finds pipeline and wishes in it, and would write the same bytes."""
    again = tmp_path / "again.yaml"
    compiler.Compiler().compile(components.load_component_from_text(text()), str(again))
    assert again.read_text() == text()


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
    assert container["image"].startswith(f"registry.test/vision/inception-{KIND.get(step, 'light')}@sha256:")


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
        "INCEPTION_LEDGERS": "gs://models/ledgers",
        "MLFLOW_TRACKING_URI": "https://mlflow.test",
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
    # No step runs as root, which pod security `restricted` wants to hear.
    assert wanted["securityContext"] == {"runAsUser": "1000", "runAsNonRoot": True}


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
    assert documents()[0]["defaultPipelineRoot"] == "gs://models/kfp"


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


def test_an_older_server_is_not_sent_what_it_does_not_know() -> None:
    """It would refuse it: lists to choose from, and the user of a step."""
    old = compiled_text(None, environment(("[images]", "choices = false\n\n[images]"), ("user = 1000\n", "")))
    assert "literals" not in old
    assert "securityContext" not in old


def test_without_a_volume_every_step_has_a_folder_of_its_own() -> None:
    """As large as is said, and told where the state is that all share."""
    shared = environment(
        ('claim = "inception-state"', 'size = "50Gi"'), ("[store]", '[store]\nstate = "gs://steps/state"')
    )
    spec, platform = yaml.safe_load_all(compiled_text(None, shared))
    for wanted in platform["platforms"]["kubernetes"]["deploymentSpec"]["executors"].values():
        assert "pvcMount" not in wanted
        folder = {"volumeName": "inception-state-folder", "mountPath": "/inception", "sizeLimit": "50Gi"}
        assert {key: value for key, value in wanted["emptyDirMounts"][0].items() if value} == folder
    assert spec["root"]["inputDefinitions"]["parameters"]["root"]["defaultValue"] == "/inception"
    for one in spec["deploymentSpec"]["executors"].values():
        assert {"name": "INCEPTION_STORE", "value": "gs://steps/state"} in one["container"]["env"]


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.name)
def test_a_recipe_survives_the_form(path: Path) -> None:
    """Its text asks for the same, also where a field of one line has taken the line breaks out of it."""
    meant = config.load(path)
    field = asked(meant)
    assert "\n" not in field
    assert config.parse(field) == meant


def test_checkpoints_go_where_the_environment_keeps_them() -> None:
    """Unless the recipe names a place; what the recipe asks for stays the same work."""
    there = environment()
    sent = config.parse(asked(recipe(), there))
    assert sent.resources.checkpoints == "gs://models/checkpoints"
    assert sent.digest() == recipe().digest()
    form = documents()[0]["root"]["inputDefinitions"]["parameters"]["recipe"]["defaultValue"]
    assert config.parse(form).resources.checkpoints == "gs://models/checkpoints"
    own = config.load(ROOT / "configs" / "digits.toml", ["resources.checkpoints=gs://mine/here"])
    assert config.parse(asked(own, there)).resources.checkpoints == "gs://mine/here"


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
    here = hashlib.sha256(compiled_text(recipe(), load(str(PROD))).encode()).hexdigest()
    assert {process.communicate()[0].strip() for process in started} == {here}


def test_a_tag_is_refused_unless_it_is_allowed() -> None:
    """The server's cache goes by the image's name."""
    dev = load(str(PROD.with_name("dev.toml")))
    with pytest.raises(RecipeError, match="without a digest"):
        compiled_text(None, dev)
    assert "/inception-light:latest\n" in compiled_text(None, dev, allow_tags=True)


def test_nothing_secret_is_in_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """Secrets are named; what they hold is not written down, even where whoever compiles knows it."""
    for name in ("KFP_TOKEN", "MLFLOW_TRACKING_PASSWORD"):
        monkeypatch.setenv(name, "open sesame")
    assert "open sesame" not in compiled_text(recipe(), environment())
