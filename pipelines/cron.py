"""A schedule's cron expression as a Kubeflow Pipelines server reads it.

Its schedule controller uses robfig/cron 1.2: six fields, the second first (five are taken for six without the day of
week, which is how a daily job comes to run every hour); Sunday is 0 and never 7; no range goes over the week's end;
`L`, `W` and `#` are unknown; and there is no time zone of a schedule's own (`TZ=` came with version 2, `CRON_TZ=` with
3). What can be said there is translated, the rest is refused.
"""

from __future__ import annotations

import re

from pipelines.schedules import Schedule
from trainer.errors import RecipeError

_UTC = frozenset(
    {"UTC", "Etc/UTC", "Etc/UCT", "Etc/Universal", "Etc/Zulu", "Etc/GMT", "UCT", "Universal", "Zulu", "GMT"}
)
_DAYS = ("SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT")
_ITEM = re.compile(r"^(?:[*?]|(\w+)(?:-(\w+))?)(/\d+)?$")


def six_fields(schedule: Schedule, time_zone: str) -> str:
    """The expression for a server whose controller lives in a time zone.

    Errors: RecipeError (another time zone, or an expression that the server cannot read).
    """
    if schedule.time_zone != time_zone and not {schedule.time_zone, time_zone} <= _UTC:
        raise RecipeError(
            f"The schedule {schedule.name!r} is in {schedule.time_zone}, and the server of {schedule.environment!r} "
            f"reads all schedules in {time_zone}: it knows no time zone of a schedule's own.",
            f"Write its cron for {time_zone}. Or set CRON_SCHEDULE_TIMEZONE of the server's schedule controller, and "
            "say so: time_zone under [server] in the environment's file.",
        )
    fields = schedule.cron.split()
    fields = fields if len(fields) == 6 else ["0", *fields]
    return " ".join([*(_checked(field, schedule) for field in fields[:5]), _days_of_week(fields[5], schedule)])


def _checked(field: str, schedule: Schedule) -> str:
    for item in field.split(","):
        found = _ITEM.match(item)
        if found is None or (found[1] or "0").upper() in ("L", "LW") or (found[1] or "")[-1:].upper() == "W":
            raise _unknown(item, schedule)
    return field.upper()


def _days_of_week(field: str, schedule: Schedule) -> str:
    """With Sunday as 0, and no range over the week's end."""
    days: list[str] = []
    for item in _checked(field, schedule).split(","):
        found = _ITEM.match(item)
        assert found is not None
        first, last, step = found.groups()
        if first is None:
            days.append(item)
        elif last is None:
            days.append(str(_day(first, item, schedule) % 7) + (step or ""))
        else:
            begin, end = _day(first, item, schedule), _day(last, item, schedule)
            if begin > end or (end == 7 and step):
                raise _unknown(item, schedule)
            days += [f"{begin}-{min(end, 6)}{step or ''}"] if begin <= 6 else []
            days += ["0"] if end == 7 else []
    return ",".join(days)


def _day(word: str, item: str, schedule: Schedule) -> int:
    if word in _DAYS:
        return _DAYS.index(word)
    if not word.isdigit() or int(word) > 7:
        raise _unknown(item, schedule)
    return int(word)


def _unknown(item: str, schedule: Schedule) -> RecipeError:
    return RecipeError(
        f"The schedule {schedule.name!r} has {item!r} in its cron {schedule.cron!r}, which the pipeline server cannot "
        "read.",
        "Write it with numbers, names of months and days, lists, ranges from low to high, and steps.",
    )
