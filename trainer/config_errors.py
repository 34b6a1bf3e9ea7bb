"""Turns pydantic's findings about a recipe into one message a person can act on."""

from __future__ import annotations

from typing import Any, get_args

from pydantic import BaseModel, ValidationError

from trainer.errors import nearest

MOST = 50
"""Findings that are explained: a text may have as many as it has lines."""


def explain(error: ValidationError, root: type[BaseModel], name: str, shown: bool = True) -> tuple[str, str]:
    """Message and remedy for all findings in `error`: which key, what was received, what is valid.

    What was received is left out where it may be a secret, with `shown` false.
    """
    found: dict[str, str] = {}
    for finding in error.errors(include_url=False)[:MOST]:
        owner, path = _walk(root, finding["loc"])
        # Of a value that may be one of several kinds pydantic says of each why it is not that one: the first will do.
        found.setdefault(".".join(path), _line(finding, owner, path, shown))
    lines = [line for key, line in found.items() if not any(other.startswith(f"{key}.") for other in found if key)]
    noun = "problem" if len(lines) == 1 else "problems"
    first = "" if error.error_count() <= MOST else "more than "
    return f"{name} has {first}{len(lines)} {noun}:\n" + "\n".join(f"  {line}" for line in lines), (
        "Mend the recipe, or override a value with --set section.key=value."
    )


def _line(finding: Any, owner: type[BaseModel], path: list[str], shown: bool) -> str:
    key = ".".join(path)
    kind, received = finding["type"], finding["input"]
    if kind == "extra_forbidden":
        known = [field.alias or name for name, field in owner.model_fields.items()]
        return f"{key}: unknown key. {nearest(path[-1], known)}"
    if kind == "missing":
        return f"{key}: missing, and it has no default."
    if kind == "union_tag_not_found":
        return f"{key}: missing the key 'name'. {nearest('', _names(owner.model_fields[path[-1]].annotation))}"
    if kind == "union_tag_invalid":
        known = [tag.strip(" '") for tag in finding["ctx"]["expected_tags"].split(",")]
        return f"{key}.name: received {finding['ctx']['tag']!r}. {nearest(finding['ctx']['tag'], known)}"
    if kind == "literal_error":
        values = get_args(owner.model_fields[path[-1]].annotation) if path[-1] in owner.model_fields else ()
        words = [word for word in values if isinstance(word, str)]
        return f"{key}: received {received!r}. {nearest(str(received), words) if words else finding['msg'] + '.'}"
    if kind == "value_error":
        return f"{key}: {finding['ctx']['error']}" if key else str(finding["ctx"]["error"])
    return f"{key}: received {received!r}. {finding['msg']}." if shown else f"{key}: {finding['msg']}."


def _walk(root: type[BaseModel], loc: tuple[Any, ...]) -> tuple[type[BaseModel], list[str]]:
    """The model that owns the last key of a location, and the location as the recipe's author wrote it.

    Pydantic puts the member of a union that it tried into the location ("train", "optimizer", "sgd", "momentum", or
    "train", "class_weights", "dict[str,float]", "cat"); the author never wrote it there.
    """
    owner, path = root, []
    members: list[type[BaseModel]] = []
    for part in map(str, loc):
        tagged = [m for m in members if part in get_args(m.model_fields["name"].annotation)]
        if tagged:
            owner, members = tagged[0], []
            continue
        if "[" in part:
            continue
        path.append(part)
        if part.isdigit():  # the place in a list; its owner is the list's member
            continue
        field = owner.model_fields.get(part)
        if field is None:
            break
        section = _section(field.annotation)
        if section is None:
            members = _members(field.annotation)
        elif part != str(loc[-1]):
            owner = section
    return owner, path


def _section(annotation: Any) -> type[BaseModel] | None:
    """The one model that a key holds, also where it may be left out."""
    if isinstance(annotation, type):
        return annotation if issubclass(annotation, BaseModel) else None
    models = [a for a in get_args(annotation) if isinstance(a, type) and issubclass(a, BaseModel)]
    return models[0] if len(models) == 1 else None


def _members(annotation: Any) -> list[type[BaseModel]]:
    """The models of a union that are told apart by their `name`."""
    members = [a for a in get_args(annotation) if isinstance(a, type) and issubclass(a, BaseModel)]
    return [member for member in members if "name" in member.model_fields]


def _names(annotation: Any) -> list[str]:
    return [name for member in _members(annotation) for name in get_args(member.model_fields["name"].annotation)]
