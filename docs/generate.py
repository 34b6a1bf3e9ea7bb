"""Writes docs/reference/ from the code: `make docs`. A test keeps pages and code equal."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any, get_args, get_origin

import click
from pydantic import BaseModel
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

REFERENCE = Path(__file__).parent / "reference"
NOTICE = "<!-- Written by docs/generate.py from the code; change that, then `make docs`. -->\n\n"


def commands() -> str:
    """Every command with its help."""
    from pipelines.cli import COMMANDS, cli

    parts = ["# Commands\n"]
    # With the settings of the command itself: click remembers how a command was first asked for help.
    context = click.Context(cli, info_name="inception", terminal_width=100, **cli.context_settings)
    for name in COMMANDS:
        parts += _command(cli, name, context, "##")
    parts.append(
        "## Exit status\n\n"
        "| status | meaning |\n|---|---|\n"
        "| 0 | done; for `run`: the run completed, whatever its verdict |\n"
        "| 1 | failed |\n| 2 | wrong use: an option, an argument or a recipe |\n| 130 | interrupted |\n"
    )
    return "\n".join(parts)


def _command(group: click.Group, name: str, context: click.Context, mark: str) -> list[str]:
    """A command with its help, and the commands below it."""
    command = group.get_command(context, name)
    assert command is not None
    below = click.Context(command, parent=context, info_name=name, terminal_width=100)
    parts = [f"{mark} {below.command_path}\n\n```text\n{command.get_help(below)}\n```\n"]
    if isinstance(command, click.Group):
        for part in command.list_commands(below):
            parts += _command(command, part, below, f"{mark}#")
    return parts


def recipe() -> str:
    """Every key of a recipe with its default."""
    from trainer.config import Recipe

    parts = ["# Recipe\n", "A TOML file with these sections. A key without a default must be given.\n"]
    for name, field in Recipe.model_fields.items():
        [section] = _members(field)
        parts += _section(section, name)
    return "\n".join(parts)


def environments() -> str:
    """Every key of an environment's file with its default."""
    from pipelines.environments import Environment
    from pipelines.environments.steps import STEPS, Secret, Step

    parts = [
        "# Environments\n",
        "A TOML file of configs/environments for each cluster: `inception compile RECIPE --environment NAME`. A key\n"
        "that has `—` for a default must be given. Nothing secret is written here: secrets are named.\n",
    ]
    for name, field in Environment.model_fields.items():
        if name == "steps":
            named = ", ".join(f"`{step}`" for step in STEPS)
            table = _section(Step, "steps.STEP")
            parts += [table[0], f"STEP is one of {named}.\n", *table[1:]]
        elif name == "secrets":
            parts += _section(Secret, "[secrets]]")
        elif _members(field):
            parts += _section(_members(field)[0], name)
        elif name == "variables":
            parts += ["## [variables]\n", f"{_text(field)}\n"]
    return "\n".join(parts)


def _section(model: type[BaseModel], name: str) -> list[str]:
    rows, below = [], []
    for key, field in model.model_fields.items():
        members = _members(field)
        if len(members) > 1:
            names = ", ".join(f"`{_tag(member)}`" for member in members)
            default = f"`{_tag(type(field.default))}`" if not field.is_required() else "—"
            rows.append(f"| `{key}` | {default} | A table with `name` one of {names}; see below. |")
            for member in members:
                below += _section(member, f'{name}.{key}] with `name = "{_tag(member)}"`')
        elif members:
            rows.append(f"| `{key}` | | A table; see below. |")
            below += _section(
                members[0], f"[{name}.{key}]]" if get_origin(field.annotation) is tuple else f"{name}.{key}"
            )
        elif key != "name" or "name" not in name:
            rows.append(f"| `{key}` | {_default(field)} | {_text(field)} |")
    heading = f"## [{name}]" if "]" not in name else f"## [{name}"
    table = ["| key | default | meaning |", "|---|---|---|", *rows, ""] if rows else []
    about = (model.__doc__ or "").strip() if model.__doc__ and not model.__doc__.startswith("!!!") else ""
    return [f"{heading}\n", *([" ".join(about.split()) + "\n"] if about else []), *table, *below]


def _members(field: FieldInfo) -> list[type[BaseModel]]:
    annotation = field.annotation
    candidates: tuple[Any, ...] = get_args(annotation) or (annotation,)
    return [c for c in candidates if isinstance(c, type) and issubclass(c, BaseModel)]


def _tag(model: type[BaseModel]) -> str:
    return str(get_args(model.model_fields["name"].annotation)[0])


def _default(field: FieldInfo) -> str:
    if field.is_required() or field.default is PydanticUndefined:
        return "—"
    if field.default in (None, "", (), {}):
        return ""
    if isinstance(field.default, tuple):
        return f"`{json.dumps(field.default)}`"
    return f"`{str(field.default).lower() if isinstance(field.default, bool) else field.default}`"


def _text(field: FieldInfo) -> str:
    choices = get_args(field.annotation)
    words = " ".join((field.description or "").split())
    if choices and all(isinstance(choice, str) for choice in choices):
        named = ", ".join(f"`{choice}`" for choice in choices)
        words = f"One of {named}. {words}".strip()
    return words.replace("|", "\\|")


def steps() -> str:
    """Every step of the pipeline: image, caching, inputs, outputs."""
    from pipelines.compiling import compiled

    spec = compiled()
    executors = spec["deploymentSpec"]["executors"]
    caching = _caching(spec)
    parts = ["# Steps\n", "One container each on a cluster, one process each on a single machine.\n"]
    for name in ("check", "prepare", "train", "evaluate", "register", "promote", "report"):
        component = spec["components"][f"comp-{name}"]
        image = executors[component["executorLabel"]]["container"]["image"]
        step = sys.modules[f"components.{name}"]
        about = getattr(step, name).component_spec.description.split("\n\n")[0]
        parts.append(f"## {name}\n\n{' '.join(about.split())}\n")
        parts.append(f"Image `{image}`; served from the orchestrator's cache: {'yes' if caching[name] else 'never'}.\n")
        for kind in ("input", "output"):
            declared = component.get(f"{kind}Definitions", {})
            values = declared.get("parameters", {})
            rows = [
                f"| `{key}` | {value['parameterType'].lower()} | {' '.join(value.get('description', '').split())} |"
                for key, value in values.items()
            ]
            rows += [
                f"| `{key}` | {value['artifactType']['schemaTitle']} | |"
                for key, value in declared.get("artifacts", {}).items()
            ]
            if rows:
                parts.append("\n".join([f"| {kind} | type | meaning |", "|---|---|---|", *rows]) + "\n")
    return "\n".join(parts)


def _caching(spec: dict[str, Any]) -> dict[str, bool]:
    from pipelines.compiling import tasks

    return {name: bool(task["cachingOptions"].get("enableCache")) for name, task in tasks(spec).items()}


def variants() -> str:
    """Every network, counted on the network itself: this builds them all."""
    from pipelines.commands import variant_facts, variant_tables

    return variant_tables.markdown(variant_facts.all_variants(classes=10))


PAGES = {
    "commands.md": commands,
    "environments.md": environments,
    "recipe.md": recipe,
    "steps.md": steps,
    "variants.md": variants,
}


def page(name: str) -> str:
    """The text of one generated page."""
    return NOTICE + PAGES[name]().rstrip() + "\n"


if __name__ == "__main__":
    REFERENCE.mkdir(exist_ok=True)
    for name in PAGES:
        (REFERENCE / name).write_text(page(name), encoding="utf-8")
        print(f"wrote docs/reference/{name}")
