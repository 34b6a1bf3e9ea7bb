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
@pytest.mark.parametrize(
    ("action", "says"),
    [
        (401, "does not know who is asking (401)"),
        (403, "refuses this to whoever is asking (403)"),
        (404, "has nothing there (404)"),
        (409, "has that already (409)"),
        (500, "failed (500)"),
        ("drop", "cannot be reached"),
        ("html", "is no pipeline server of this API"),
    ],
)
def test_every_command_says_what_is_wrong_with_the_server(
    project: Any, words: tuple[str, ...], action: Any, says: str
) -> None:
    """In two lines, never with a traceback."""
    for method in ("GET", "POST"):
        project.server.fault(method, "/apis/", action, times=50)
    ended, _, err = project.ask(*words)
    assert (ended, says in err) == (1, True)
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
        ("2.16.0", "choices = false\n\n[run]\nuser = 1000", "leave user out under [run]"),
        ("2.15.1", "choices = false", "need 2.15.2 or newer"),
    ],
)
def test_a_server_that_is_too_old_is_named_as_such(project: Any, version: str, more: str, says: str | None) -> None:
    """When it refuses the pipeline or the run, with what to do; nothing is started."""
    project.server.version = version
    project.environment(text=ENVIRONMENT.replace("[images]", f"{more}\n\n[images]"))
    status, _, err = project.ask("submit", DIGITS, *HERE)
    assert (status, len(project.server.runs)) == ((0, 1) if says is None else (1, 0))
    assert says is None or (says in err and f"Kubeflow Pipelines {version}" in err)


@pytest.mark.parametrize("action", ["drop", "lose", "hang", 502, 504])
def test_a_run_that_may_have_begun_is_not_called_a_failure(project: Any, action: Any) -> None:
    """Where the answer was lost nobody knows: look first."""
    project.environment(text=ENVIRONMENT.replace("[images]", "timeout = 2.0\n\n[images]"))
    project.server.fault("POST", "/runs", action)
    status, _, err = project.ask("submit", DIGITS, *HERE)
    assert (status, project.server.count("POST", "/runs")) == (1, 1)
    assert len(project.server.runs) == (action == "lose")
    assert "The run may have begun all the same. Look before you start another: inception runs" in err


@pytest.mark.parametrize("made", ["/pipelines", "/upload_version", "/experiments"])
def test_what_was_made_and_never_heard_of_is_found_the_next_time(project: Any, made: str) -> None:
    """Pipeline, version and experiment are there once."""
    project.server.fault("POST", made, "lose")
    assert project.ask("submit", DIGITS, *HERE)[0] == 1
    submitted(project)
    server = project.server
    assert [len(held) for held in (server.pipelines, server.versions, server.experiments, server.runs)] == [1, 1, 1, 1]


@pytest.mark.parametrize("store", ["database", "kubernetes"])
@pytest.mark.parametrize("name", ["cifar10_fast", "Blumen klein", "blüten", "x" * 200])
def test_every_recipe_has_a_name_that_the_server_takes(project: Any, name: str, store: str) -> None:
    """Where pipelines are Kubernetes objects too, and no two recipes have the same one."""
    project.server.store = store
    text = Path(DIGITS).read_text()
    for file in (name, f"{name}2"):
        Path(f"configs/{file}.toml").write_text(text)
        status, _, err = project.ask("submit", f"configs/{file}.toml", *HERE)
        assert status == 0, err
    assert len(project.server.pipelines) == 2


def test_what_is_followed_goes_on_where_the_server_is_lost(project: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Which is said, with how to watch it again."""
    monkeypatch.setattr(submission, "PATIENCE", 2)
    create, server = project.server.create_run, project.server

    def lost(body: dict[str, Any]) -> Any:
        made = create(body)
        server.fault("GET", "/runs/", 401, times=9)
        return made

    server.create_run = lost
    status, _, err = project.ask("submit", DIGITS, *HERE, "--wait")
    [run] = server.runs
    assert (status, "(401)" in err) == (1, True)
    assert f"The run goes on. Watch it:  inception runs show {run} --environment here" in err


def test_a_run_that_is_not_there_is_looked_for_in_the_list(project: Any) -> None:
    """The endpoint is not doubted: the server answered."""
    status, _, err = project.ask("runs", "show", "none", *HERE)
    assert (status, "run none not found" in err) == (1, True)
    assert "See what there is: inception runs --environment here" in err


@pytest.mark.parametrize(("action", "says"), [(400, "Failed to read"), (401, "(401)"), ("hang", "does not answer")])
def test_why_there_is_no_log_is_said(project: Any, action: Any, says: str) -> None:
    """A pod that is gone is something else than a server that refuses."""
    project.environment(text=ENVIRONMENT.replace("[images]", "timeout = 2.0\n\n[images]"))
    run = submitted(project)
    project.server.play(run, {"state": "RUNNING"} | details(task("train", "RUNNING", pod_name="p-impl-1")))
    if action != 400:
        project.server.fault("GET", "/log", action)
    status, _, err = project.ask("runs", "logs", run, *HERE)
    assert (status, says in err) == (1, True)
    assert "kubectl logs --namespace kubeflow p-impl-1 --container main" in err


def test_an_environment_that_is_empty_is_not_one_that_is_left_out(project: Any) -> None:
    """A script's variable that nobody set must not ask for the pipeline of one machine."""
    for words in (("compile", DIGITS), ("runs",), ("submit", DIGITS)):
        status, out, err = project.ask(*words, "--environment", "")
        assert (status, out, "it is empty" in err) == (2, "", True)


def test_a_file_that_cannot_be_written_is_an_error_of_the_option(project: Any) -> None:
    """Not of the state folder, which has no part in it."""
    Path("file").write_text("")
    status, _, err = project.ask("compile", DIGITS, *HERE, "-o", "file/out.yaml")
    assert (status, "Name another file with -o." in err) == (2, True)


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
