"""The schedule file: what it may say, and when it ticks."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from pipelines.schedules import DEFAULT_FILE, Schedule, load, named
from trainer.errors import RecipeError, UsageError

ROOT = Path(__file__).resolve().parents[2]
BERLIN = "Europe/Berlin"


def ticks(cron: str, start: str, count: int, zone: str = BERLIN) -> list[str]:
    schedule = Schedule(name="s", recipe="r.toml", cron=cron, time_zone=zone)
    at = datetime.fromisoformat(start).replace(tzinfo=ZoneInfo(zone))
    found = []
    for _ in range(count):
        at = schedule.after(at)
        found.append(f"{at:%m-%d %H:%M%z}")
    return found


@pytest.mark.parametrize(
    ("cron", "start", "expected"),
    [
        # A week's day as crontab(5) has it: 0 and 7 are Sunday, 1 is Monday (2026-11-21 is a Saturday).
        ("0 3 * * 0", "2026-11-21", ["11-22 03:00+0100"]),
        ("0 3 * * 7", "2026-11-21", ["11-22 03:00+0100"]),
        ("0 3 * * 1", "2026-11-21", ["11-23 03:00+0100"]),
        ("0 3 * * MON-FRI", "2026-11-21", ["11-23 03:00+0100", "11-24 03:00+0100"]),
        # Summer time begins: 02:30 is leapt over, and comes right after the leap.
        ("30 2 * * *", "2026-03-28", ["03-28 02:30+0100", "03-29 03:00+0200", "03-30 02:30+0200"]),
        ("0 * * * *", "2026-03-29T00:30", ["03-29 01:00+0100", "03-29 03:00+0200"]),
        # Summer time ends: 02:30 comes twice and ticks once; what matches every hour ticks in both.
        ("30 2 * * *", "2026-10-24", ["10-24 02:30+0200", "10-25 02:30+0200", "10-26 02:30+0100"]),
        ("0 * * * *", "2026-10-25T01:30", ["10-25 02:00+0200", "10-25 02:00+0100", "10-25 03:00+0100"]),
        ("0 0 29 2 *", "2026-11-21", ["02-29 00:00+0100"]),
    ],
)
def test_ticks_come_as_a_wall_clock_has_them(cron: str, start: str, expected: list[str]) -> None:
    """In the schedule's own time zone, over both changes of summer time."""
    assert ticks(cron, start, len(expected)) == expected


def written(folder: Path, text: str) -> Path:
    (folder / "digits.toml").write_text("")
    path = folder / "schedules.toml"
    path.write_text(text)
    return path


GOOD_RECIPE = (ROOT / "configs" / "digits.toml").read_text(encoding="utf-8")
GOOD = '[[schedule]]\nname = "a"\nrecipe = "digits.toml"\ncron = "0 3 * * MON"\n'


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (GOOD.replace("0 3 * * MON", "0 25 * * *"), "cron: received '0 25 * * *'. Bad hour"),
        (GOOD.replace("0 3 * * MON", "hourly"), "Wrong number of fields: write it as in crontab"),
        (GOOD.replace("0 3 * * MON", "0 0 31 2 *"), "Bad day-of-month"),
        (GOOD + 'time_zone = "Europe/Berln"', "Did you mean 'Europe/Berlin'?"),
        (GOOD + 'time_zone = "Moon"', "time_zone: received 'Moon'."),
        (GOOD + 'time_zone = "CEST"', "time_zone: received 'CEST'. Write it as Europe/Berlin."),
        (GOOD + 'time_zone = "utc"', "Did you mean 'UTC'?"),
        (GOOD + "catch_up = true", "catch_up: received True. It can only be false: all ticks that were missed"),
        (GOOD + "concurrency = 2", "concurrency: received 2. It can only be 1: a tick waits"),
        (GOOD + "concurrency = true", "concurrency: received True. It can only be 1"),
        (GOOD + "enabled = 1", "enabled: received 1."),
        (GOOD + 'crn = "x"', "crn: unknown key. Did you mean 'cron'?"),
        (GOOD + "parameters = { epoch = 3 }", "parameters.epoch: unknown key. Did you mean 'epochs'?"),
        (GOOD + "parameters = { threshold = 3.0 }", "parameters.threshold: received 3.0."),
        (GOOD.replace("digits", "digit"), "Did you mean 'digits.toml'?"),
        (GOOD.replace('"a"', '"a b"'), "name: received 'a b'. Write it with letters, digits, '-' and '_'"),
        (GOOD.replace('"a"', '""'), "name: received ''."),
        (GOOD.replace('"a"', '"-a"'), "name: received '-a'."),
        (GOOD.replace('"a"', '"' + "a" * 101 + '"'), "at most 100 of them"),
        (GOOD.replace('name = "a"\n', ""), "schedule 1 has 1 problem:\n  name: missing"),
        (GOOD + GOOD, "the schedule 'a' is there twice"),
        ("[schedules]\n", "received 'schedules'"),
        ("[schedule]\nname = 'a'\n", "nothing but [[schedule]] tables"),
        ("[[schedule\n", "cannot be read"),
    ],
)
def test_a_file_that_says_something_impossible_is_refused(tmp_path: Path, text: str, says: str) -> None:
    """The message names the schedule, the key, what was received and what would do."""
    with pytest.raises(RecipeError) as refused:
        load(written(tmp_path, text))
    assert says in str(refused.value)
    assert "schedules.toml" in str(refused.value)


def test_what_the_schedules_of_the_field_say_may_be_said(tmp_path: Path) -> None:
    """That nothing is caught up with, and that one tick runs at a time."""
    [schedule] = load(written(tmp_path, GOOD + "catch_up = false\nconcurrency = 1\n"))
    assert (schedule.catch_up, schedule.concurrency) == (False, 1)


@pytest.mark.parametrize(
    ("recipe", "more", "says"),
    [
        (GOOD_RECIPE, "parameters = { epochs = 3, threshold = 0.5, variant = 'inception_module' }", None),
        (GOOD_RECIPE, "parameters = { variant = 'googlenat' }", "a: its ticks will fail: {recipe} has 1 problem:"),
        (GOOD_RECIPE.replace("source", "sorce"), "", "Did you mean 'source'?"),
        ("[data\n", "", "a: its ticks will fail: "),
    ],
)
def test_a_recipe_that_no_tick_could_use_is_told_beforehand(
    recipe: str, more: str, says: str | None, tmp_path: Path
) -> None:
    """Its parameters in it, long before the clock strikes."""
    [schedule] = load(written(tmp_path, GOOD + more))
    (tmp_path / "digits.toml").write_text(recipe)
    found = schedule.problem(tmp_path)
    assert (found is None) if says is None else (says.format(recipe=tmp_path / "digits.toml") in str(found))


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    """With the place where it is looked for."""
    with pytest.raises(RecipeError, match="There is no schedule file") as refused:
        load(tmp_path / "schedules.toml")
    assert str(DEFAULT_FILE) in refused.value.remedy


def test_a_schedule_is_found_by_its_name(tmp_path: Path) -> None:
    """And a near miss is told."""
    schedules = load(written(tmp_path, GOOD.replace('"a"', '"weekly"')))
    assert named(schedules, "weekly").in_words() == "At 03:00 on Monday, UTC"
    with pytest.raises(UsageError, match="Did you mean 'weekly'"):
        named(schedules, "weekl")


def test_the_schedules_that_come_with_the_project_can_be_used() -> None:
    """Their recipes are there."""
    assert load(ROOT / DEFAULT_FILE)
