"""What `inception schedule apply` would do to a pipeline server, and doing it.

The server has recurring runs, and no call that changes one: what differs is made anew, and then the old one is deleted,
so that a definition the server refuses leaves the old schedule as it was.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, Literal, NamedTuple

from pipelines import compiling, recurring, versions
from pipelines.client import Server
from pipelines.cron import six_fields
from pipelines.recurring import Definition, Owned
from pipelines.schedules import Schedule
from trainer import config
from trainer.config import sha256_text
from trainer.errors import RecipeError

SHORT = 12


class Wanted(NamedTuple):
    """A schedule of the file, as the server is to have it."""

    name: str
    model: str
    pipeline: str
    """Name of the pipeline."""
    text: str
    """The compiled pipeline."""
    latest: bool
    parameters: dict[str, Any]
    definition: Definition


class Change(NamedTuple):
    """One schedule's way from the server's state to the file's."""

    kind: Literal["add", "change", "remove", "keep"]
    name: str
    differences: list[str]
    """`cron: 0 0 3 * * 1 → 0 0 4 * * 1`."""
    wanted: Wanted | None
    owned: list[Owned]
    """What is there now; those that `kept` is not among are deleted."""
    kept: Owned | None


class Plan(NamedTuple):
    environment: str
    changes: list[Change]
    uploads: list[Wanted]
    """Of which the pipeline has no version yet, or for `latest` a newer one that is another."""

    @property
    def empty(self) -> bool:
        return not self.uploads and all(one.kind == "keep" for one in self.changes)


def wanted(schedule: Schedule, folder: Path, server: Server, allow_tags: bool = False) -> Wanted:
    """A schedule of a file in `folder`, as the server is to have it.

    Errors: RecipeError (its recipe, its environment, its cron).
    """
    recipe = config.load(folder / schedule.recipe)
    environment = server.environment
    cron = six_fields(schedule, environment.server.time_zone)
    text = compiling.compiled_text(recipe, environment, allow_tags)
    form = schedule.parameters.model_dump(exclude_none=True, exclude_defaults=True)
    parameters = {"recipe": compiling.asked(recipe, environment), **form}
    latest = schedule.version == "latest"
    definition = {
        "cron": cron,
        "enabled": schedule.enabled,
        "version": "latest" if latest else f"pinned {compiling.digest(text)[:SHORT]}",
        "recipe": sha256_text(parameters["recipe"])[:SHORT],
        **form,
        "service_account": environment.run.service_account,
        "pipeline_root": environment.store.pipeline_root,
    }
    return Wanted(
        schedule.name,
        recipe.registry.name,
        versions.pipeline_name(Path(schedule.recipe), server),
        text,
        latest,
        parameters,
        {key: value for key, value in definition.items() if value is not None},
    )


def plan(schedules: Iterable[Wanted], server: Server) -> Plan:
    """The difference between what is wanted and what the server has. Changes nothing. Errors: ServerError."""
    there: dict[str, list[Owned]] = {}
    for one in recurring.owned(server):
        there.setdefault(one.name, []).append(one)
    changes: list[Change] = []
    uploads: dict[tuple[str, str], Wanted] = {}
    for want in _without_rivals(schedules):
        change = _change(want, there.pop(want.name, []))
        changes.append(change)
        needs_version = want.latest or change.kind in ("add", "change")
        if needs_version and versions.find_version(server, want.pipeline, want.text, newest=want.latest) is None:
            uploads[want.pipeline, want.text] = want
    changes += [Change("remove", name, [], None, gone, None) for name, gone in there.items()]
    return Plan(server.environment.name, changes, list(uploads.values()))


def apply(plan: Plan, server: Server) -> Iterator[str]:
    """Make it so, and say of each deed that it is done. Errors: ServerError; what was done until then stays done."""
    for want in plan.uploads:
        version = versions.upload(server, want.pipeline, want.text, newest=want.latest)
        if version.new:
            yield f"uploaded {want.pipeline} {version.name}"
    for change in plan.changes:
        if change.wanted is not None and change.kind in ("add", "change") and change.kept is None:
            recurring.make(server, change.wanted, running=not any(one.paused for one in change.owned))
        for one in change.owned:
            if one is not change.kept:
                recurring.delete(server, one)
        if change.kind != "keep":
            yield f"{_DONE[change.kind]} {change.name}"


_DONE = {"add": "added", "change": "changed", "remove": "removed"}


def _without_rivals(schedules: Iterable[Wanted]) -> list[Wanted]:
    """Errors: RecipeError (two recipes of one file name would take turns at being the pipeline's newest version)."""
    found, newest = list(schedules), dict[str, Wanted]()
    for want in found:
        if want.latest and newest.setdefault(want.pipeline, want).text != want.text:
            raise RecipeError(
                f"The schedules {newest[want.pipeline].name!r} and {want.name!r} run the newest version of the "
                f"pipeline {want.pipeline!r}, with different recipes of the same file name.",
                'Rename one recipe, or set version = "pinned".',
            )
    return found


def _change(want: Wanted, there: list[Owned]) -> Change:
    same = [one for one in there if one.definition == want.definition]
    if same:
        # A second one of the name is left by an `apply` that was interrupted.
        kind: Literal["keep", "change"] = "keep" if len(there) == 1 else "change"
        extra = ["there twice: the other one goes"] if len(there) > 1 else []
        return Change(kind, want.name, extra, want, there, same[0])
    if not there:
        return Change("add", want.name, [], want, [], None)
    return Change("change", want.name, _differences(there[-1].definition, want.definition), want, there, None)


def _differences(before: Definition, after: Definition) -> list[str]:
    return [
        f"{key}: {_word(before.get(key))} → {_word(after.get(key))}"
        for key in dict.fromkeys([*after, *before])
        if before.get(key) != after.get(key)
    ]


def _word(value: Any) -> str:
    return "—" if value is None else str(value).lower() if isinstance(value, bool) else str(value)
