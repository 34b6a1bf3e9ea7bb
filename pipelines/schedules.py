"""`configs/schedules.toml`: what is retrained when.

    [[schedule]]
    name = "digits-weekly"
    recipe = "digits.toml"             # beside the file
    environment = "prod"               # left out: this machine
    cron = "0 3 * * MON"
    time_zone = "Europe/Berlin"

Every tick runs the whole pipeline; one that finds images, recipe and code unchanged ends after the first step.
"""

from __future__ import annotations

import re
import tomllib
from collections import Counter
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal
from zoneinfo import ZoneInfo, available_timezones

from cronsim import CronSim, CronSimError
from pydantic import NonNegativeInt, ValidationError, ValidationInfo, field_validator

from trainer import config
from trainer.config import Recipe
from trainer.config_errors import explain
from trainer.errors import RecipeError, UsageError, nearest
from trainer.sections.base import Section, Share

DEFAULT_FILE = Path("configs") / "schedules.toml"
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,99}")


class Parameters(Section):
    """The pipeline's own form fields; what is left out stays as the recipe has it."""

    variant: str | None = None
    """Network to train."""
    epochs: NonNegativeInt | None = None
    threshold: Share | None = None
    """Accuracy a model must reach to be promoted."""
    force: bool = False
    """Train at every tick, whether anything changed or not."""


class Schedule(Section):
    """One entry of the file."""

    name: str
    """Letters, digits, `-` and `_`; the first one is a letter or a digit."""
    recipe: str
    """Path of a recipe, as seen from the file's folder."""
    cron: str
    """Minute, hour, day of month, month, day of week, as in crontab(5): `0 3 * * MON`; 0 and 7 are Sunday. With six
    fields the first one is the second."""
    time_zone: str = "UTC"
    """Where the clock hangs: `Europe/Berlin`. A time that the change to summer time leaps over comes right after the
    leap; one that autumn has twice comes once, unless the expression matches every hour."""
    enabled: bool = True
    catch_up: Literal[False] = False
    """Never, on this machine as on a cluster: ticks that were missed are made up for by one."""
    concurrency: Literal[1] = 1
    """Always: a tick waits for the end of the one before it."""
    environment: str | None = None
    """Cluster that runs it: a file of configs/environments by its name. Left out: this machine, and `inception schedule
    serve`."""
    version: Literal["pinned", "latest"] = "pinned"
    """On a cluster: every tick runs the pipeline's version of the last `inception schedule apply`, or the newest one
    there is by then."""
    parameters: Parameters = Parameters()

    @field_validator("name")
    @classmethod
    def _is_a_file_name(cls, name: str) -> str:
        if not _NAME.fullmatch(name):
            raise ValueError(
                f"received {name!r}. Write it with letters, digits, '-' and '_' (not first), at most 100 of them."
            )
        return name

    @field_validator("catch_up", "concurrency", mode="before")
    @classmethod
    def _only_one(cls, value: Any, info: ValidationInfo) -> Any:
        only = cls.model_fields[str(info.field_name)].default
        if type(value) is not type(only) or value != only:
            why = {
                "catch_up": "all ticks that were missed are made up for by one",
                "concurrency": "a tick waits for the end of the one before it",
            }
            raise ValueError(f"received {value!r}. It can only be {str(only).lower()}: {why[str(info.field_name)]}.")
        return value

    @field_validator("cron")
    @classmethod
    def _ever_comes(cls, cron: str) -> str:
        try:
            next(CronSim(cron, datetime.now(UTC)))
        except CronSimError as error:
            raise ValueError(f"received {cron!r}. {error}: write it as in crontab(5), like '0 3 * * MON'.") from None
        except StopIteration:
            raise ValueError(f"received {cron!r}, which never comes.") from None
        return cron

    @field_validator("time_zone")
    @classmethod
    def _known(cls, zone: str) -> str:
        known = available_timezones()
        if zone not in known:
            alike = [one for one in known if one.lower() == zone.lower()]
            # Of a short name the nearest one is another zone: CEST is not EST.
            near = f"Did you mean {alike[0]!r}?" if alike else nearest(zone, known) if "/" in zone else ""
            raise ValueError(f"received {zone!r}. {near if near.startswith('Did') else 'Write it as Europe/Berlin.'}")
        return zone

    @property
    def zone(self) -> ZoneInfo:
        return ZoneInfo(self.time_zone)

    def after(self, moment: datetime) -> datetime:
        """The first tick after a moment, in the schedule's own time zone."""
        tick: datetime = next(CronSim(self.cron, moment.astimezone(self.zone)))
        return tick

    def recipe_in(self, folder: Path) -> Recipe:
        """The recipe, seen from the schedule file's folder, with the parameters in it. Errors: RecipeError."""
        asked = self.parameters
        form = {"model.variant": asked.variant, "train.epochs": asked.epochs, "gate.threshold": asked.threshold}
        return config.load(folder / self.recipe, config.overrides_from(form))

    def problem(self, folder: Path) -> str | None:
        """What would make its next tick fail at once: a recipe or a parameter that says something impossible."""
        try:
            self.recipe_in(folder)
        except RecipeError as error:
            return f"{self.name}: its ticks will fail: {error.message}"
        return None

    def in_words(self) -> str:
        """As in "At 03:00 on Monday, Europe/Berlin"."""
        return f"{CronSim(self.cron, datetime.now(UTC)).explain()}, {self.time_zone}"


def load(path: Path) -> list[Schedule]:
    """The schedules of a file, in its order. Errors: RecipeError (missing, unreadable, invalid, a name twice)."""
    try:
        found = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise RecipeError(
            f"There is no schedule file at {str(path)!r}.",
            f"Write one, or name it with --file ({DEFAULT_FILE} is meant).",
        ) from None
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise RecipeError(f"The schedule file {str(path)!r} cannot be read: {error}.", "Mend it.") from None
    entries = found.pop("schedule", [])
    if found or not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
        wrong = next(iter(found), "schedule")
        raise RecipeError(f"{path}: received {wrong!r}.", "A schedule file holds nothing but [[schedule]] tables.")
    schedules = [
        _parsed(entry, f"{path}, schedule {entry.get('name', number)!r}") for number, entry in enumerate(entries, 1)
    ]
    twice = [name for name, count in Counter(one.name for one in schedules).items() if count > 1]
    if twice:
        raise RecipeError(
            f"{path}: the schedule {twice[0]!r} is there twice.", "Give every schedule a name of its own."
        )
    for schedule in schedules:
        if not (path.parent / schedule.recipe).is_file():
            beside = [
                one.relative_to(path.parent).as_posix() for one in sorted(path.parent.glob("*.toml")) if one != path
            ]
            raise RecipeError(
                f"{path}, schedule {schedule.name!r}: there is no recipe at {schedule.recipe!r}, seen from the file.",
                nearest(schedule.recipe, beside),
            )
    return schedules


def _parsed(entry: dict[str, Any], name: str) -> Schedule:
    try:
        return Schedule.model_validate(entry)
    except ValidationError as error:
        message, _ = explain(error, Schedule, name)
        raise RecipeError(message, "Mend the schedule file.") from None


def named(schedules: list[Schedule], name: str) -> Schedule:
    """Errors: UsageError."""
    for schedule in schedules:
        if schedule.name == name:
            return schedule
    raise UsageError(f"There is no schedule {name!r}. {nearest(name, [one.name for one in schedules])}")
