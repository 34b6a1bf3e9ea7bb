"""A cron expression as a pipeline server reads it."""

from __future__ import annotations

import pytest

from pipelines.cron import six_fields
from pipelines.schedules import Schedule
from trainer.errors import RecipeError


def schedule(cron: str, zone: str = "UTC") -> Schedule:
    return Schedule(name="s", recipe="r.toml", cron=cron, time_zone=zone, environment="prod")


@pytest.mark.parametrize(
    ("cron", "expected"),
    [
        ("0 3 * * MON", "0 0 3 * * 1"),
        ("30 0 3 * * 1", "30 0 3 * * 1"),
        ("0 3 * * 7", "0 0 3 * * 0"),
        ("0 3 * * 0", "0 0 3 * * 0"),
        ("0 3 * * 5-7", "0 0 3 * * 5-6,0"),
        ("0 3 * * 1-5", "0 0 3 * * 1-5"),
        ("0 3 * * MON-FRI", "0 0 3 * * 1-5"),
        ("0 3 * * SUN,WED", "0 0 3 * * 0,3"),
        ("0 3 * * 1-5/2", "0 0 3 * * 1-5/2"),
        ("*/20 8-18/2 1,15 jan-mar *", "0 */20 8-18/2 1,15 JAN-MAR *"),
    ],
)
def test_what_the_server_can_read_is_said_in_its_way(cron: str, expected: str) -> None:
    """Six fields, the second first; Sunday is 0; no range over the week's end."""
    assert six_fields(schedule(cron), "UTC") == expected


@pytest.mark.parametrize("cron", ["0 3 L * *", "0 3 * * 5L", "0 3 * * 1#1", "0 3 * * 3-7/2"])
def test_what_it_cannot_read_is_refused(cron: str) -> None:
    """Rather than brought there to mean something else."""
    with pytest.raises(RecipeError, match="which the pipeline server cannot read"):
        six_fields(schedule(cron), "UTC")


@pytest.mark.parametrize(
    ("zone", "server", "taken"),
    [
        ("UTC", "UTC", True),
        ("Etc/UTC", "UTC", True),
        ("Europe/Berlin", "Europe/Berlin", True),
        ("Europe/Berlin", "UTC", False),
        ("UTC", "Europe/Berlin", False),
        ("Europe/London", "UTC", False),
    ],
)
def test_a_schedule_ticks_in_its_own_time_zone_or_is_refused(zone: str, server: str, taken: bool) -> None:
    """The server has one for all schedules."""
    if taken:
        assert six_fields(schedule("0 3 * * *", zone), server) == "0 0 3 * * *"
    else:
        with pytest.raises(RecipeError) as error:
            six_fields(schedule("0 3 * * *", zone), server)
        assert f"reads all schedules in {server}" in error.value.message
        assert "CRON_SCHEDULE_TIMEZONE" in error.value.remedy
