"""`inception schedule` for schedules on a cluster: plan, apply, and what follows."""

from __future__ import annotations

import json
from typing import Any

import pytest

from pipelines import client
from trainer import config
from trainer.record import now
from trainer.registry.protocol import Entry
from trainer.registry.stores import FileLedger
from trainer.state import State

WEEKLY = """
[[schedule]]
name = "weekly"
recipe = "digits.toml"
environment = "here"
cron = "0 3 * * MON"
"""
NIGHTLY = """
[[schedule]]
name = "nightly"
recipe = "digits.toml"
environment = "here"
version = "latest"
cron = "30 4 * * *"
parameters = { epochs = 3, threshold = 0.5 }
"""
LOCAL = """
[[schedule]]
name = "local"
recipe = "digits.toml"
cron = "0 3 * * MON"
"""


def planned(project: Any) -> dict[str, Any]:
    """Schedule to its change, and how many uploads there would be."""
    status, out, err = project.ask("schedule", "plan", "--json")
    assert status == 0, err
    [plan] = json.loads(out)["plans"]
    return {one["schedule"]: one["change"] for one in plan["changes"]} | {"uploads": len(plan["uploads"])}


def applied(project: Any, *more: str) -> list[str]:
    """What was done."""
    status, out, err = project.ask("schedule", "apply", "--yes", "--json", *more)
    assert status == 0, err
    return [deed for one in json.loads(out)["applied"] for deed in one["done"]]


def jobs(project: Any) -> dict[str, Any]:
    """What the server has, by name."""
    return {one["display_name"]: one for one in project.server.recurring_runs.values()}


def changes_of(project: Any) -> int:
    return sum(method != "GET" for method, _ in project.server.asked)


def test_what_is_applied_is_what_the_file_says(project: Any) -> None:
    """Six fields of cron, nothing made up for, one run at a time, the recipe and the form's fields."""
    project.schedules(WEEKLY + NIGHTLY + LOCAL)
    applied(project)
    weekly, nightly = jobs(project)["weekly"], jobs(project)["nightly"]
    assert set(jobs(project)) == {"weekly", "nightly"}
    assert (weekly["trigger"], nightly["trigger"]) == (
        {"cron_schedule": {"cron": "0 0 3 * * 1"}},
        {"cron_schedule": {"cron": "0 30 4 * * *"}},
    )
    for job in (weekly, nightly):
        assert (job["no_catchup"], job["max_concurrency"], job["mode"]) == (True, "1", "ENABLE")
        assert config.parse(job["runtime_config"]["parameters"]["recipe"]) == config.load("configs/digits.toml")
        assert project.server.experiments[job["experiment_id"]]["display_name"] == "digits"
    assert set(weekly["runtime_config"]["parameters"]) == {"recipe"}
    assert nightly["runtime_config"]["parameters"].items() >= {"epochs": 3, "threshold": 0.5}.items()


def test_pinned_names_a_version_and_latest_none(project: Any) -> None:
    """So that the server takes the newest one at every tick."""
    project.schedules(WEEKLY + NIGHTLY)
    applied(project)
    [version] = project.server.versions
    assert jobs(project)["weekly"]["pipeline_version_reference"]["pipeline_version_id"] == version
    assert "pipeline_version_id" not in jobs(project)["nightly"]["pipeline_version_reference"]
    project.environment(more='\n[steps.train]\ncpu = "4"\n')
    assert planned(project) == {"weekly": "change", "nightly": "keep", "uploads": 1}
    before = jobs(project)["nightly"]
    applied(project)
    assert jobs(project)["nightly"] == before
    runs = [project.server.runs[project.server.tick(jobs(project)[name]["recurring_run_id"])] for name in jobs(project)]
    assert {run["pipeline_version_reference"]["pipeline_version_id"] for run in runs} == {
        max(project.server.versions.values(), key=lambda one: one["created_at"])["pipeline_version_id"]
    }


def test_going_back_makes_the_old_pipeline_the_newest_again(project: Any) -> None:
    """A schedule that runs the newest version must not run the one that was taken back."""
    project.schedules(NIGHTLY)
    applied(project)
    project.environment(more='\n[steps.train]\ncpu = "4"\n')
    applied(project)
    project.environment()
    assert planned(project) == {"nightly": "keep", "uploads": 1}
    applied(project)
    newest = max(project.server.versions.values(), key=lambda one: one["created_at"])
    assert "\n          cpuRequest" not in project.server.texts[newest["pipeline_version_id"]]
    assert newest["display_name"].endswith("-2")
    assert planned(project) == {"nightly": "keep", "uploads": 0}


def test_a_plan_changes_nothing_and_applying_twice_changes_nothing_more(project: Any) -> None:
    """Not one request that could."""
    project.schedules(WEEKLY + NIGHTLY)
    assert planned(project) == {"weekly": "add", "nightly": "add", "uploads": 1}
    assert changes_of(project) == 0
    assert applied(project)[1:] == ["added weekly", "added nightly"]
    after = changes_of(project)
    assert planned(project) == {"weekly": "keep", "nightly": "keep", "uploads": 0}
    assert applied(project) == []
    assert changes_of(project) == after


@pytest.mark.parametrize(
    ("old", "new", "difference"),
    [
        ("0 3 * * MON", "0 5 * * MON", "cron: 0 0 3 * * 1 → 0 0 5 * * 1"),
        ("[[schedule]]", "[[schedule]]\nenabled = false", "enabled: true → false"),
        ("[[schedule]]", '[[schedule]]\nversion = "latest"', "→ latest"),
        ("[[schedule]]", "[[schedule]]\nparameters = { epochs = 4 }", "epochs: — → 4"),
        ("[[schedule]]", "[[schedule]]\nparameters = { force = true }", "force: — → true"),
    ],
)
def test_what_differs_is_said_and_made_anew(project: Any, old: str, new: str, difference: str) -> None:
    """The others keep their ids."""
    project.schedules(WEEKLY + NIGHTLY)
    applied(project)
    before = jobs(project)
    project.schedules(WEEKLY.replace(old, new) + NIGHTLY)
    _, out, _ = project.ask("schedule", "plan")
    assert difference in out
    assert "0 to add, 1 to change, 0 to remove, 1 unchanged" in out
    assert applied(project) == ["changed weekly"]
    after = jobs(project)
    assert after["nightly"] == before["nightly"]
    assert after["weekly"]["recurring_run_id"] != before["weekly"]["recurring_run_id"]
    assert len(project.server.recurring_runs) == 2
    assert planned(project) == {"weekly": "keep", "nightly": "keep", "uploads": 0}


def test_a_changed_recipe_is_a_changed_schedule(project: Any) -> None:
    """Its text goes with every tick."""
    project.schedules(WEEKLY)
    applied(project)
    file = project.folder / "configs" / "digits.toml"
    file.write_text(file.read_text().replace("epochs = 30", "epochs = 31"))
    assert planned(project) == {"weekly": "change", "uploads": 1}


def test_only_our_own_are_deleted(project: Any) -> None:
    """Not what bears no mark, another project's or another environment's mark, or is a copy made by hand."""
    project.schedules(WEEKLY + NIGHTLY)
    applied(project)
    ours = jobs(project)["nightly"]
    foreign = {
        "somebody's": "made by hand",
        "nightly": ours["description"].replace('"owner": "inception"', '"owner": "vision"'),
        "other": ours["description"].replace('"environment": "here"', '"environment": "prod"'),
        "Clone of nightly": ours["description"],
        "damaged": ours["description"].replace('"definition"', "definition"),
    }
    kept = {
        project.server.create_recurring_run(
            {
                **{key: ours[key] for key in ("experiment_id", "trigger", "max_concurrency", "mode")},
                "pipeline_version_reference": ours["pipeline_version_reference"],
                "runtime_config": ours["runtime_config"],
                "display_name": name,
                "description": description,
            }
        )["recurring_run_id"]
        for name, description in foreign.items()
    }
    project.schedules(WEEKLY)
    assert planned(project) == {"weekly": "keep", "nightly": "remove", "uploads": 0}
    assert applied(project) == ["removed nightly"]
    assert set(project.server.recurring_runs) == kept | {jobs(project)["weekly"]["recurring_run_id"]}


def test_the_last_schedule_of_a_server_goes_when_the_server_is_named(project: Any) -> None:
    """The file does not know of it any more."""
    project.schedules(WEEKLY)
    applied(project)
    project.schedules(LOCAL)
    assert project.ask("schedule", "apply", "--yes")[0] == 2
    assert applied(project, "--environment", "here") == ["removed weekly"]


def test_removing_asks_first(project: Any) -> None:
    """And adding does not."""
    project.schedules(WEEKLY + NIGHTLY)
    assert project.ask("schedule", "apply")[0] == 0
    project.schedules(WEEKLY)
    status, _, err = project.ask("schedule", "apply")
    assert (status, "Add --yes" in err) == (2, True)
    assert len(project.server.recurring_runs) == 2


def test_a_definition_that_the_server_refuses_leaves_the_old_schedule(project: Any) -> None:
    """The new one is made before the old one is deleted."""
    project.schedules(WEEKLY)
    applied(project)
    before = jobs(project)
    project.schedules(WEEKLY.replace("0 3", "0 5"))
    project.server.fault("POST", "/recurringruns", 500)
    status, _, err = project.ask("schedule", "apply", "--yes")
    assert (status, "(500)" in err) == (1, True)
    assert jobs(project) == before
    applied(project)
    assert jobs(project)["weekly"]["trigger"]["cron_schedule"]["cron"] == "0 0 5 * * 1"


def test_an_apply_that_was_cut_short_is_brought_to_its_end(project: Any) -> None:
    """What was left twice is there once afterwards, as the file says."""
    project.schedules(WEEKLY)
    applied(project)
    project.schedules(WEEKLY.replace("0 3", "0 5"))
    project.server.fault("DELETE", "/recurringruns", "drop")
    assert project.ask("schedule", "apply", "--yes")[0] == 1
    assert len(project.server.recurring_runs) == 2
    assert planned(project) == {"weekly": "change", "uploads": 0}
    applied(project)
    assert len(project.server.recurring_runs) == 1
    assert jobs(project)["weekly"]["trigger"]["cron_schedule"]["cron"] == "0 0 5 * * 1"
    assert planned(project) == {"weekly": "keep", "uploads": 0}


def test_a_schedule_that_was_made_and_never_heard_of_is_there_once(project: Any) -> None:
    """The next `apply` finds it, and takes away what it was made in place of."""
    project.schedules(WEEKLY)
    for text in (WEEKLY, WEEKLY.replace("0 3", "0 5")):
        project.schedules(text)
        project.server.fault("POST", "/recurringruns", "lose")
        status, _, err = project.ask("schedule", "apply", "--yes")
        assert (status, "'weekly' may be there all the same. Apply again" in err) == (1, True)
        applied(project)
        assert len(project.server.recurring_runs) == 1
    assert jobs(project)["weekly"]["trigger"]["cron_schedule"]["cron"] == "0 0 5 * * 1"


def test_a_pause_outlives_changes(project: Any) -> None:
    """What somebody paused does not tick because a cron expression was mended; `resume` lets it."""
    project.schedules(WEEKLY)
    applied(project)
    assert project.ask("schedule", "pause", "weekly")[0] == 0
    assert jobs(project)["weekly"]["status"] == "DISABLED"
    assert planned(project) == {"weekly": "keep", "uploads": 0}
    project.schedules(WEEKLY.replace("0 3", "0 5"))
    assert "weekly  (paused)" in project.ask("schedule", "plan")[1]
    applied(project)
    assert jobs(project)["weekly"]["status"] == "DISABLED"
    status, out, _ = project.ask("schedule", "resume", "weekly")
    assert (status, "05:00:00" in out) == (0, True)
    assert jobs(project)["weekly"]["status"] == "ENABLED"


def test_the_list_says_where_and_how_a_schedule_stands(project: Any) -> None:
    """Those of this machine beside those of a cluster; a server out of reach hides nothing but its own."""
    project.schedules(WEEKLY + NIGHTLY.replace("[[schedule]]", "[[schedule]]\nenabled = false") + LOCAL)

    def status() -> dict[str, str]:
        ended, out, _ = project.ask("schedule", "list", "--json")
        assert ended == 0
        return {one["name"]: one["status"] for one in json.loads(out)["schedules"]}

    assert status() == {"weekly": "not applied", "nightly": "disabled", "local": "enabled"}
    applied(project)
    project.server.tick(jobs(project)["weekly"]["recurring_run_id"], "FAILED", error={"message": "no"})
    project.ask("schedule", "pause", "weekly")
    assert status() == {"weekly": "paused", "nightly": "disabled", "local": "enabled"}
    assert "failed" in project.ask("schedule", "list")[1]
    project.server.fault("GET", "/", "drop", times=2 * client.TRIES)
    assert status() == {"weekly": "out of reach", "nightly": "out of reach", "local": "enabled"}
    project.schedules(WEEKLY.replace('"here"', '"nowhere"') + LOCAL)
    assert status() == {"weekly": "no usable environment", "local": "enabled"}
    token = '[server]\nauthentication = { name = "token", variable = "KFP_TOKEN" }'
    here = (project.folder / "configs" / "environments" / "here.toml").read_text()
    project.environment("locked", here.replace("[server]", token))
    project.schedules(WEEKLY.replace('"here"', '"locked"') + LOCAL)
    assert status() == {"weekly": "no token", "local": "enabled"}


def test_ticks_are_those_of_the_schedule_newest_first(project: Any) -> None:
    """A run that found nothing to do was skipped; more the server does not know."""
    project.schedules(WEEKLY + NIGHTLY)
    applied(project)
    weekly, nightly = (jobs(project)[name]["recurring_run_id"] for name in ("weekly", "nightly"))

    def steps(*names: str) -> dict[str, Any]:
        return {"run_details": {"task_details": [{"display_name": n, "state": "SUCCEEDED"} for n in names]}}

    project.server.tick(weekly, **steps("check", "prepare", "train"))
    project.server.tick(nightly)
    project.server.tick(weekly, **steps("check", "report"))
    project.server.tick(weekly, "FAILED", error={"message": "the step train failed"})
    _, out, _ = project.ask("schedule", "history", "weekly", "--json")
    assert [tick["result"] for tick in json.loads(out)["ticks"]] == ["failed", "skipped", "done"]
    assert "the step train failed" in project.ask("schedule", "history", "weekly")[1]
    assert len(json.loads(project.ask("schedule", "history", "weekly", "--last", "1", "--json")[1])["ticks"]) == 1


def test_verdicts_come_from_the_ledger(project: Any) -> None:
    """By the run that made them; a ledger that cannot be read hides the verdicts only."""
    ledgers = project.folder / "ledgers"
    project.environment(more=f'\n[store]\nledgers = "{ledgers}"\n')
    project.schedules(WEEKLY)
    applied(project)
    weekly = jobs(project)["weekly"]["recurring_run_id"]
    runs = [project.server.tick(weekly) for _ in range(3)]
    ledger = FileLedger(ledgers / "digits.json")
    for number, (run, event) in enumerate(((runs[0], "promote"), (runs[1], "keep")), 1):
        ledger.append(
            Entry(
                number=number,
                event=event,
                version="1",
                previous=None if number == 1 else "1",
                challenger=str(number),
                run_key=f"key{number}",
                verdict_digest=None,
                reason=f"because {number}",
                tick=run,
                at=now(),
            ),
            number - 1,
        )

    def ticks() -> list[tuple[Any, ...]]:
        status, out, _ = project.ask("schedule", "history", "weekly", "--json")
        assert status == 0
        return [(tick["result"], tick.get("version"), tick["reason"]) for tick in json.loads(out)["ticks"]]

    assert ticks() == [("done", None, ""), ("kept", "2", "because 2"), ("promoted", "1", "because 1")]
    ledger.path.write_text("no ledger")
    assert ticks() == [("done", None, "")] * 3
    assert "verdicts are not known" in project.ask("schedule", "history", "weekly")[2]


def test_this_machine_leaves_a_cluster_s_schedules_alone(project: Any, state: State) -> None:
    """`inception schedule serve` has nothing to do where all schedules are a cluster's."""
    from pipelines.clock import Clock

    project.schedules(WEEKLY + NIGHTLY)
    said: list[str] = []
    file = project.folder / "configs" / "schedules.toml"
    assert Clock(state, file, said.append).once()
    assert said == [f"{file} has no schedule for this machine that is enabled"]


def test_a_tick_can_be_had_at_once(project: Any) -> None:
    """With what the server would run: its version, its parameters; and followed to its end."""
    project.schedules(NIGHTLY)
    assert project.ask("schedule", "run-now", "nightly")[0] == 2
    applied(project)
    create, server = project.server.create_run, project.server

    def ended(body: dict[str, Any]) -> Any:
        made = create(body)
        server.play(made["run_id"], {"state": "FAILED"})
        return made

    server.create_run = ended
    assert project.ask("schedule", "run-now", "nightly")[0] == 1
    [run] = server.runs.values()
    assert run["runtime_config"]["parameters"] == jobs(project)["nightly"]["runtime_config"]["parameters"]


def test_a_time_zone_that_the_server_does_not_have_is_refused(project: Any) -> None:
    """Before anything is changed."""
    project.schedules(WEEKLY + NIGHTLY.replace("[[schedule]]", '[[schedule]]\ntime_zone = "Europe/Berlin"'))
    status, _, err = project.ask("schedule", "apply", "--yes")
    assert (status, "reads all schedules in UTC" in err) == (2, True)
    assert changes_of(project) == 0


def test_two_recipes_of_one_name_do_not_take_turns(project: Any) -> None:
    """Both would be the newest version of one pipeline."""
    (project.folder / "configs" / "more").mkdir()
    text = (project.folder / "configs" / "digits.toml").read_text().replace("epochs = 30", "epochs = 2")
    (project.folder / "configs" / "more" / "digits.toml").write_text(text)
    project.schedules(NIGHTLY + NIGHTLY.replace("nightly", "second").replace("digits.toml", "more/digits.toml"))
    status, _, err = project.ask("schedule", "plan")
    assert (status, "different recipes of the same file name" in err) == (2, True)


@pytest.mark.parametrize("status", [401, 403, 500])
@pytest.mark.parametrize(
    "words", ["plan", "apply", "pause weekly", "resume weekly", "run-now weekly", "history weekly"]
)
def test_every_command_says_what_is_wrong_with_the_server(project: Any, words: str, status: int) -> None:
    """In two lines and without a traceback."""
    project.schedules(WEEKLY)
    for method in ("GET", "POST", "DELETE"):
        project.server.fault(method, "/apis/", status, times=50)
    ended, _, err = project.ask("schedule", *words.split())
    assert (ended, f"({status})" in err) == (1, True)
    assert len(err.strip().splitlines()) == 2
