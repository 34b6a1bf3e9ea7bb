"""`inception compile`, `submit` and `runs` against a pipeline server."""

from __future__ import annotations

import json
import re
import signal
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from pipelines import submission
from trainer import config

HERE = ("--environment", "here")
ENVIRONMENT = """
[server]
endpoint = "ADDRESS"

[images]
light = "registry.test/light@sha256:D"
cpu = "registry.test/cpu@sha256:D"
gpu = "registry.test/gpu@sha256:D"

[state]
claim = "inception-state"
""".replace("sha256:D", "sha256:" + "0123456789abcdef" * 4)
DIGITS = "configs/digits.toml"


def task(name: str, state: str, **more: Any) -> dict[str, Any]:
    times = {"start_time": "2026-11-21T10:00:00Z", "end_time": "2026-11-21T10:00:07Z"}
    return {"task_id": name, "display_name": name, "state": state, **times, **more}


def details(*tasks: dict[str, Any]) -> dict[str, Any]:
    return {"run_details": {"task_details": list(tasks)}}


def submitted(project: Any, *more: str) -> str:
    """Id of a run that was started."""
    status, out, err = project.ask("submit", DIGITS, *HERE, "--json", *more)
    assert status == 0, err
    return str(json.loads(out)["id"])


def test_the_run_is_what_was_asked_for(project: Any) -> None:
    """The recipe's text and nothing else goes with it; the server finds version, parameters and experiment in order."""
    status, out, err = project.ask("submit", DIGITS, *HERE, "--set", "train.epochs=3", "--force", "--json")
    assert status == 0
    answer, server = json.loads(out), project.server
    [run] = server.runs.values()
    assert (answer["id"], answer["link"]) == (run["run_id"], f"{server.address}/#/runs/details/{run['run_id']}")
    assert answer["link"] in err
    passed = run["runtime_config"]["parameters"]
    assert (sorted(passed), passed["force"]) == (["force", "recipe"], True)
    assert config.parse(passed["recipe"]) == config.load(DIGITS, ["train.epochs=3"])
    assert server.experiments[run["experiment_id"]]["display_name"] == "digits"


def test_a_version_is_named_by_commit_and_content(project: Any) -> None:
    """And there once: other overrides, another run, the same YAML."""
    submitted(project)
    submitted(project, "--set", "train.epochs=3")
    server = project.server
    [version] = server.versions.values()
    [pipeline] = server.pipelines.values()
    assert pipeline["display_name"] == "inception-digits-here"
    assert re.fullmatch(r"([0-9a-f]{12}(-dirty)?|v[\d.]+)-[0-9a-f]{12}", version["display_name"])
    assert {run["pipeline_version_reference"]["pipeline_version_id"] for run in server.runs.values()} == {
        version["pipeline_version_id"]
    }
    assert len(server.runs) == 2


def test_other_yaml_is_another_version_and_the_old_one_is_found_again(project: Any) -> None:
    """Also when it is not the newest any more."""
    submitted(project)
    plain = Path("configs/environments/here.toml").read_text()
    project.environment(more='\n[steps.train]\ncpu = "4"\n')
    submitted(project)
    assert len(project.server.versions) == 2
    Path("configs/environments/here.toml").write_text(plain)
    last = submitted(project)
    assert len(project.server.versions) == 2
    oldest = min(project.server.versions.values(), key=lambda one: one["created_at"])
    assert (
        project.server.runs[last]["pipeline_version_reference"]["pipeline_version_id"]
        == (oldest["pipeline_version_id"])
    )


def test_what_is_uploaded_is_what_compile_writes(project: Any) -> None:
    """Byte for byte."""
    submitted(project)
    assert project.ask("compile", DIGITS, *HERE, "-o", "out.yaml")[0] == 0
    assert list(project.server.texts.values()) == [Path("out.yaml").read_text()]


def test_who_uploads_first_wins(project: Any) -> None:
    """A version of that name and content that somebody else made in this moment is used."""
    server = project.server
    real = server.create_version

    def twice(query: dict[str, str], text: str) -> Any:
        real(query, text)
        return real(query, text)

    server.create_version = twice
    submitted(project)
    assert len(server.versions) == 1


def test_the_namespace_is_kept_where_several_users_share_the_server(project: Any) -> None:
    """Pipelines, experiments and runs are those of the namespace."""
    project.server.multi_user = True
    run = submitted(project)
    assert {one["namespace"] for one in (*project.server.pipelines.values(), *project.server.experiments.values())} == {
        "kubeflow"
    }
    assert json.loads(project.ask("runs", *HERE, "--json")[1])["runs"][0]["id"] == run


@pytest.mark.parametrize(
    ("ending", "status", "word"),
    [("SUCCEEDED", 0, "SUCCEEDED"), ("FAILED", 1, "FAILED  train failed"), ("CANCELED", 1, "CANCELED")],
)
def test_waiting_follows_the_steps_and_ends_as_the_run_does(
    project: Any, monkeypatch: pytest.MonkeyPatch, ending: str, status: int, word: str
) -> None:
    """Every step is said once when it starts and once when it ends, whatever the server calls it."""
    frames = [
        {"state": "PENDING"},
        {"state": "RUNNING"} | details(task("check-driver", "SUCCEEDED"), task("check", "RUNNING")),
        {"state": "RUNNING"} | details(task("Check", "SUCCEEDED"), task("Prepare data", "RUNNING")),
        {"state": ending, "error": {"message": "train failed"} if ending == "FAILED" else None}
        | details(task("check", "SUCCEEDED"), task("prepare", "SUCCEEDED"), task("train", ending)),
    ]
    create = project.server.create_run

    def played(body: dict[str, Any]) -> Any:
        made = create(body)
        project.server.play(made["run_id"], *frames)
        return made

    project.server.create_run = played
    ended, out, _ = project.ask("submit", DIGITS, *HERE, "--wait")
    assert ended == status
    lines = out.splitlines()
    assert lines[:4] == ["check …", "check done in 7.0 s", "prepare …", "prepare done in 7.0 s"]
    assert lines[-1] == word


def test_waiting_outlives_a_server_that_is_away_for_a_while(project: Any) -> None:
    """Longer than one request is tried."""
    create, server = project.server.create_run, project.server

    def played(body: dict[str, Any]) -> Any:
        made = create(body)
        server.play(made["run_id"], {"state": "SUCCEEDED"})
        server.fault("GET", "/runs/", 500, times=5)
        return made

    server.create_run = played
    assert project.ask("submit", DIGITS, *HERE, "--wait")[0] == 0
    assert server.count("GET", f"/runs/{next(iter(server.runs))}") == 6


def test_ctrl_c_ends_the_watching_and_not_the_run(project: Any) -> None:
    """And says how to watch it again, and how to stop it."""

    def press() -> None:
        while not any(path.startswith("/apis/v2beta1/runs/") for _, path in project.server.asked):
            time.sleep(0.01)
        signal.raise_signal(signal.SIGINT)

    # A test run in the background of a shell is born deaf to Ctrl-C.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    threading.Thread(target=press, daemon=True).start()
    try:
        status, _, err = project.ask("submit", DIGITS, *HERE, "--wait")
    finally:
        signal.signal(signal.SIGINT, before)
    [run] = project.server.runs.values()
    assert status == 130
    assert run["state"] == "PENDING"
    assert f"inception runs cancel {run['run_id']} --environment here" in err


def test_runs_are_listed_newest_first(project: Any) -> None:
    """All, or those of a model; a model that never ran has none."""
    ids = [submitted(project) for _ in range(3)]
    assert [row["id"] for row in json.loads(project.ask("runs", *HERE, "--json")[1])["runs"]] == ids[::-1]
    assert len(json.loads(project.ask("runs", *HERE, "--last", "2", "--json")[1])["runs"]) == 2
    assert len(json.loads(project.ask("runs", *HERE, "--model", "digits", "--json")[1])["runs"]) == 3
    assert json.loads(project.ask("runs", *HERE, "--model", "none", "--json")[1]) == {"runs": []}
    assert ids[0] in project.ask("runs", *HERE)[1]


def test_a_run_is_shown_with_its_steps(project: Any) -> None:
    """In the pipeline's order, with times and errors; the recipe, which fills a screen, is left to --json."""
    run = submitted(project, "--force")
    frame = details(task("train", "FAILED", error={"message": "out of memory"}), task("check", "SUCCEEDED"))
    project.server.play(run, {"state": "FAILED"} | frame)
    status, out, _ = project.ask("runs", "show", run, *HERE)
    assert status == 0
    assert re.search(r"failed.*check\s+succeeded\s+7 s.*train\s+failed\s+7 s\s+out of memory", out, re.DOTALL)
    assert "force" in out
    assert "adamw" not in out
    answer = json.loads(project.ask("runs", "show", run, *HERE, "--json")[1])
    assert [step["name"] for step in answer["steps"]] == ["check", "train"]
    assert config.parse(answer["parameters"]["recipe"]) == config.load(DIGITS)


def test_logs_are_those_of_the_pods_that_ran_the_step(project: Any) -> None:
    """Not of the drivers beside them; a pod that is gone is named with the command that may still know it."""
    run = submitted(project)
    tree = [
        task("train", "SUCCEEDED", child_tasks=[{"task_id": "d"}, {"task_id": "x"}]),
        task("train-driver", "SUCCEEDED", task_id="d", pod_name="r-system-container-driver-1"),
        task("executor", "SUCCEEDED", task_id="x", pod_name="r-system-container-impl-2"),
        task("check", "SUCCEEDED", pod_name="r-system-container-impl-3"),
    ]
    project.server.play(run, {"state": "SUCCEEDED"} | details(*tree))
    project.server.logs[run, "r-system-container-impl-2"] = "epoch 1/30\nepoch 2/30\n"
    assert project.ask("runs", "logs", run, "train", *HERE)[:2] == (0, "epoch 1/30\nepoch 2/30\n")
    status, out, err = project.ask("runs", "logs", run, *HERE)
    assert (status, out) == (1, "epoch 1/30\nepoch 2/30\n")
    assert "kubectl logs --namespace kubeflow r-system-container-impl-3 --container main" in err
    status, _, err = project.ask("runs", "logs", run, "trian", *HERE)
    assert (status, "Did you mean 'train'?" in err) == (2, True)


def test_the_environment_may_stand_before_the_command_and_must_stand_somewhere(
    project: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Or in INCEPTION_ENVIRONMENT."""
    run = submitted(project)
    assert project.ask("runs", *HERE, "show", run)[0] == 0
    for words in (("runs",), ("runs", "show", run), ("submit", DIGITS)):
        status, _, err = project.ask(*words)
        assert (status, "--environment" in err) == (2, True)
    monkeypatch.setenv("INCEPTION_ENVIRONMENT", "here")
    assert project.ask("runs", "show", run)[0] == 0


def test_a_run_is_stopped(project: Any) -> None:
    """Once it has ended there is nothing to stop."""
    run = submitted(project)
    assert project.ask("runs", "cancel", run, *HERE)[0] == 0
    assert project.server.runs[run]["state"] == "CANCELING"
    project.server.play(run, {"state": "CANCELED"})
    assert "ended already: CANCELED" in project.ask("runs", "cancel", run, *HERE)[1]
    assert project.server.count("POST", ":terminate") == 1


@pytest.mark.parametrize(
    "words",
    [
        ("submit", DIGITS, *HERE),
        ("submit", DIGITS, *HERE, "--wait"),
        ("runs", *HERE),
        ("runs", "show", "x", *HERE),
        ("runs", "logs", "x", *HERE),
        ("runs", "cancel", "x", *HERE),
    ],
    ids=" ".join,
)
@pytest.mark.parametrize("status", [401, 404, 500])
def test_every_command_says_what_is_wrong_with_the_server(project: Any, words: tuple[str, ...], status: int) -> None:
    """In two lines; as one JSON object where that is asked for; never with a traceback."""
    for method in ("GET", "POST"):
        project.server.fault(method, "/apis/", status, times=50)
    ended, _, err = project.ask(*words)
    assert ended == 1
    assert f"({status})" in err
    assert len(err.strip().splitlines()) == 2


def test_a_server_that_refuses_the_run_leaves_its_own_words(project: Any) -> None:
    """As for a parameter that the uploaded pipeline does not have."""
    project.server.fault("POST", "/runs", 400)
    status, _, err = project.ask("submit", DIGITS, *HERE)
    assert status == 1
    assert "It says: an error on order." in err


@pytest.mark.parametrize(
    ("version", "more", "says"),
    [
        ("2.17.0", "", None),
        ("2.16.0", "choices = false", None),
        ("2.16.0", "", "set choices = false under [server]"),
        ("2.15.1", "choices = false", "need 2.15.2 or newer"),
    ],
)
def test_a_server_that_is_too_old_is_named_as_such(project: Any, version: str, more: str, says: str | None) -> None:
    """When it refuses the pipeline, with what to do; nothing is started."""
    project.server.version = version
    project.environment(text=ENVIRONMENT.replace("[images]", f"{more}\n\n[images]"))
    status, _, err = project.ask("submit", DIGITS, *HERE)
    assert (status, len(project.server.runs)) == ((0, 1) if says is None else (1, 0))
    assert says is None or (says in err and f"Kubeflow Pipelines {version}" in err)


def test_compiling_without_an_environment_is_as_before(project: Any) -> None:
    """For one machine, and no recipe in it; overrides need a recipe."""
    assert project.ask("compile", "-o", "plain.yaml")[0] == 0
    assert "image: inception-light\n" in Path("plain.yaml").read_text()
    assert project.ask("compile", "--set", "train.epochs=3")[0] == 2


def test_the_experiment_is_made_once(project: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also by two who look at the same time."""
    server, real = project.server, submission.find_experiment
    answers = iter([None])
    monkeypatch.setattr(submission, "find_experiment", lambda *asked: next(answers, real(*asked)))
    server.create_experiment({"display_name": "digits"})
    submitted(project)
    assert len(server.experiments) == 1
