"""`inception run --target kfp` against a pipeline server: progress, outcome, card and exit status."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from mlflow import MlflowClient

from trainer import record, tracking
from trainer.record import Outcome
from trainer.registry.protocol import Entry
from trainer.registry.stores import FileLedger, GoogleLedger
from trainer.state import State, write_atomically
from trainer.storage import Bucket, google

DIGITS = "configs/digits.toml"
KFP = ("run", DIGITS, "--target", "kfp", "--environment", "here", "--state", "local")
POD = "r-system-container-impl-9"


def task(name: str, state: str = "SUCCEEDED", **more: Any) -> dict[str, Any]:
    times = {"start_time": "2026-11-21T10:00:00Z", "end_time": "2026-11-21T10:00:07Z"}
    return {"task_id": name, "display_name": name, "state": state, **times, **more}


def frame(*tasks: dict[str, Any], state: str = "SUCCEEDED", **more: Any) -> dict[str, Any]:
    return {"state": state, "run_details": {"task_details": list(tasks)}, **more}


WORKED = frame(*(task(name) for name in ("check", "prepare", "train", "promote")), task("report", pod_name=POD))
NOTHING_TO_DO = frame(task("check"), task("prepare", "SKIPPED"), task("report", pod_name=POD))
BROKEN = frame(
    task("check"),
    task("train", "FAILED", error={"message": "exit status 1"}),
    task("report", pod_name=POD),
    state="FAILED",
    error={"message": "the run has failed"},
)


@pytest.fixture
def cluster(project: Any) -> Any:
    """The project; `ends(frame, log, meanwhile)` says how its server's next run ends, and what happens elsewhere."""
    create = project.server.create_run

    def ends(last: dict[str, Any], log: str | None = None, meanwhile: Callable[[str], object] = str) -> None:
        def played(body: dict[str, Any]) -> Any:
            made = create(body)
            project.server.play(made["run_id"], {"state": "RUNNING"}, last)
            if log is not None:
                project.server.logs[made["run_id"], POD] = log
            meanwhile(made["run_id"])
            return made

        project.server.create_run = played

    project.ends = ends
    return project


def outcome_of(cluster: Any, *more: str) -> tuple[int, dict[str, Any], str]:
    status, out, err = cluster.ask(*KFP, "--json", *more)
    return status, json.loads(out), err


@pytest.mark.parametrize(
    ("last", "log", "result", "reason", "status"),
    [
        (WORKED, "promoted: Accuracy 0.98 meets 0.97.\nreport done in 1.2 s\n", "promoted", "Accuracy 0.98", 0),
        (WORKED, "kept: The champion is better.\n", "kept", "The champion is better.", 0),
        (WORKED, "undecided: The two cannot be told apart.\n", "undecided", "The two cannot", 0),
        (NOTHING_TO_DO, None, "skipped", "Nothing changed", 0),
        (BROKEN, "failed: It diverged.\n", "failed", "It diverged.", 1),
        (BROKEN, None, "failed", "exit status 1", 1),
        (frame(state="CANCELED"), None, "failed", "The run is canceled.", 1),
        (WORKED, None, None, "its verdict is not known here", 0),
    ],
)
def test_the_outcome_and_the_status_are_those_of_a_run_here(
    cluster: Any, last: dict[str, Any], log: str | None, result: str | None, reason: str, status: int
) -> None:
    """Read from the report step's log, where the server still has it; a verdict that nobody knows is none."""
    cluster.ends(last, log)
    ended, outcome, err = outcome_of(cluster)
    assert (ended, outcome["result"], outcome["state"]) == (status, result, last["state"])
    assert reason in outcome["reason"]
    assert outcome["link"] == f"{cluster.server.address}/#/runs/details/{outcome['tick']}"
    assert outcome["link"] in err
    assert outcome["failed_step"] == ("train" if last is BROKEN else None)


def test_a_person_is_told_where_the_card_lies_that_is_out_of_reach(cluster: Any) -> None:
    """Progress, verdict, the run's page, and the volume."""
    cluster.ends(WORKED, "kept: The champion is better.\n")
    status, out, _ = cluster.ask(*KFP)
    assert status == 0
    assert "train done in 7.0 s" in out
    assert "KEPT\n" in out
    [run] = cluster.server.runs
    assert f"on the volume 'inception-state', /inception/ticks/{run}" in out
    assert f"/#/runs/details/{run}" in out


def test_what_is_asked_for_goes_to_the_server(cluster: Any) -> None:
    """Overrides and --force; nothing is trained here."""
    cluster.ends(NOTHING_TO_DO)
    assert outcome_of(cluster, "--set", "train.epochs=3", "--force")[0] == 0
    [run] = cluster.server.runs.values()
    passed = run["runtime_config"]["parameters"]
    assert passed["force"] is True
    assert json.loads(passed["recipe"])["train"]["epochs"] == 3
    assert not (Path("local") / "runs").exists()


def test_the_ledger_knows_the_verdict_when_the_log_is_gone(cluster: Any, tmp_path: Path) -> None:
    """Where the environment says where it lies."""
    cluster.environment(more=f'\n[store]\nledgers = "{tmp_path}/ledgers"\n')

    def promote(run: str) -> None:
        entry = Entry(
            number=1, event="promote", version="4", previous=None, challenger="4", run_key="k",
            verdict_digest=None, reason="Better.", tick=run, at=record.now(),
        )  # fmt: skip
        FileLedger(tmp_path / "ledgers" / "digits.json").append(entry, 0)

    cluster.ends(WORKED, meanwhile=promote)
    _, outcome, _ = outcome_of(cluster)
    assert (outcome["result"], outcome["reason"], outcome["champion"]) == ("promoted", "Better.", "4")


def published(state: State, tick: str, result: str = "promoted") -> str:
    """A report step's work: an MLflow run with card and outcome. Returns its id."""
    with tracking.open_run(state, "digits", "k", "n") as run:
        pass
    folder = state.run("k")
    write_atomically(folder / "card.html", "<p>the card</p>")
    tracking.log_card(state, run.run_id, [folder / "card.html"])
    outcome = Outcome(
        tick=tick, result=result, reason="Better.", model="digits", version="7", accuracy=0.98, champion="7",
        run_key="k", fingerprint="f", mlflow_run_id=run.run_id, card=str(folder / "card.html"), failed_step=None,
        remedy="", seconds=3.0,
    )  # fmt: skip
    record.write(state.tick(tick), outcome)
    tracking.log_outcome(state, outcome)
    return run.run_id


@pytest.mark.parametrize("named_by", ["environment", "variable"])
def test_outcome_and_card_come_from_mlflow(
    cluster: Any, tracked_state: State, monkeypatch: pytest.MonkeyPatch, named_by: str
) -> None:
    """The environment's server, or the one that is named to this process, which goes first."""
    address = tracking.tracking_uri(tracked_state)
    cluster.environment(
        more=f'\n[store]\nmlflow = "{address if named_by == "environment" else "sqlite:////no/where"}"\n'
    )
    if named_by == "variable":
        monkeypatch.setenv("MLFLOW_TRACKING_URI", address)
    ids: list[str] = []
    cluster.ends(WORKED, meanwhile=lambda run: ids.append(published(tracked_state, run)))
    status, outcome, _ = outcome_of(cluster)
    assert (status, outcome["result"], outcome["version"], outcome["accuracy"]) == (0, "promoted", "7", 0.98)
    assert outcome["mlflow_run_id"] == ids[0]
    card = Path(outcome["card"])
    assert card.read_text() == "<p>the card</p>"
    assert card.parent == Path("local/ticks").absolute() / outcome["tick"]


def test_a_skipped_run_is_not_published_over_the_one_that_did_the_work(tracked_state: State) -> None:
    """The MLflow run keeps the outcome of the tick that made it."""
    run_id = published(tracked_state, "first")
    later = Outcome.model_validate({**_outcome(tracked_state), "tick": "later", "result": "skipped"})
    record.write(tracked_state.tick("later"), later)
    tracking.log_outcome(tracked_state, later)
    assert MlflowClient().get_run(run_id).data.tags["tick"] == "first"
    address = tracking.tracking_uri(tracked_state)
    assert tracking.fetch_outcome(address, "later", tracked_state.root / "fetched") is None


def _outcome(state: State) -> dict[str, Any]:
    [document] = state.artifacts.glob("*/artifacts/card/outcome.json")
    return dict(json.loads(document.read_text()))


def test_an_outcome_that_cannot_be_published_is_noted(tracked_state: State, capsys: pytest.CaptureFixture[str]) -> None:
    """The report step goes on: the state folder has it."""
    published(tracked_state, "first")
    lost = Outcome.model_validate({**_outcome(tracked_state), "mlflow_run_id": "0" * 32})
    tracking.log_outcome(tracked_state, lost)
    assert "The outcome could not be logged to MLflow." in capsys.readouterr().out


def test_an_mlflow_that_is_down_is_said_and_costs_nothing(cluster: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """The run's own success stays one."""
    from trainer.tracking import outcomes

    monkeypatch.setattr(outcomes, "HASTY_SECONDS", 0.1)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    cluster.ends(WORKED, "promoted: Better.\n")
    status, outcome, err = outcome_of(cluster)
    assert (status, outcome["result"], outcome["card"]) == (0, "promoted", None)
    assert "MLflow's word on the run is not known here" in err


def test_the_card_comes_from_the_bucket_of_the_pipelines_root(cluster: Any, storage: Any) -> None:
    """Where Kubeflow's launcher puts what a step hands over: pipeline, run, task, a folder of its own, name."""
    cluster.environment(more='\n[store]\npipeline_root = "gs://b/kfp"\n')

    def hand_over(run: str) -> None:
        place = Bucket(f"gs://b/kfp/inception-retrain/{run}/Report/5d08dd3d")
        place.write("card", b"<p>the earlier card</p>")
        place.write("summary", b"# earlier")

    cluster.ends(NOTHING_TO_DO, meanwhile=hand_over)
    _, outcome, _ = outcome_of(cluster)
    assert outcome["result"] == "skipped"
    assert Path(outcome["card"]).read_text() == "<p>the earlier card</p>"


def test_a_bucket_that_is_down_is_not_waited_for(cluster: Any, storage: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """The run has ended: neither ledger nor card is asked for with the patience of a step."""
    monkeypatch.setattr(google, "HASTY_SECONDS", 0.2)
    cluster.environment(more='\n[store]\npipeline_root = "gs://b/kfp"\nledgers = "gs://b/ledgers"\n')
    storage.fault(None, 503, times=100_000)
    cluster.ends(WORKED)
    status, outcome, err = outcome_of(cluster)
    assert (status, outcome["result"], outcome["card"]) == (0, None, None)
    assert "The verdicts are not known here" in err
    assert "The card could not be fetched from gs://b/kfp" in err


def test_verdicts_are_also_found_in_the_state_that_all_share(
    cluster: Any, storage: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where no place of their own is named for ledgers."""
    from trainer.tracking import outcomes

    monkeypatch.setattr(outcomes, "HASTY_SECONDS", 0.1)
    cluster.environment(more='\n[store]\nstate = "gs://b/state"\nmlflow = "http://127.0.0.1:9"\n')

    def decide(run: str) -> None:
        GoogleLedger("gs://b/state/ledger/digits.json").append(
            Entry(
                number=1,
                event="promote",
                version="7",
                previous=None,
                challenger="7",
                run_key="key",
                verdict_digest=None,
                reason="because",
                tick=run,
                at=record.now(),
            ),
            0,
        )

    cluster.ends(WORKED, meanwhile=decide)
    _, outcome, _ = outcome_of(cluster)
    assert (outcome["result"], outcome["version"], outcome["reason"]) == ("promoted", "7", "because")


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("run", DIGITS, "--target", "kfp"), "--environment"),
        (("run", DIGITS, "--environment", "here"), "--environment is for a run on a cluster"),
        (("run", DIGITS, "--target", "local", "--allow-tags"), "--allow-tags is for a run on a cluster"),
    ],
    ids=" ".join,
)
def test_a_cluster_is_named_where_one_is_meant_and_only_there(project: Any, words: tuple[str, ...], says: str) -> None:
    """Nothing is started."""
    status, _, err = project.ask(*words)
    assert (status, says in err) == (2, True)
    assert project.server.runs == {}
