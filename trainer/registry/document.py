"""What a ledger looks like where it is stored: one JSON document, read with care and never started anew silently."""

from __future__ import annotations

import json
from typing import Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from trainer.errors import LedgerConflict, RegistryError
from trainer.registry.protocol import Entry

FORMAT: Literal[2] = 2
"""1: promotions and adoptions alone. 2: what people do, what was kept, what was spent of the error budget."""


class Document(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    format: Literal[1, 2] = FORMAT
    entries: tuple[Entry, ...] = ()


def parse(text: str | bytes, where: str) -> tuple[Entry, ...]:
    """The entries of a stored ledger. Errors: RegistryError where it is damaged, has a gap or is of a newer format."""
    try:
        entries = Document.model_validate_json(text).entries
    except ValidationError as error:
        _expect_known_format(text, where)
        first = error.errors(include_url=False)[0]
        raise _damaged(where, f"{'.'.join(map(str, first['loc'])) or 'document'}: {first['msg']}") from None
    if [entry.number for entry in entries] != list(range(1, len(entries) + 1)):
        raise _damaged(where, f"its entries are numbered {[entry.number for entry in entries]}")
    return entries


def render(entries: tuple[Entry, ...]) -> str:
    return Document(entries=entries).model_dump_json(indent=2) + "\n"


def expect_next(entry: Entry, entries: tuple[Entry, ...], generation: int, expected_generation: int) -> None:
    """Errors: LedgerConflict unless the ledger is as it was read and the entry's number is the next."""
    if generation != expected_generation or entry.number != len(entries) + 1:
        raise conflict(entry, len(entries), generation, expected_generation)


def conflict(entry: Entry, length: int, generation: int, expected_generation: int) -> LedgerConflict:
    return LedgerConflict(
        f"The promotion ledger has {length} entries (generation {generation}); entry {entry.number} was "
        f"decided on generation {expected_generation}.",
        "Somebody else wrote in between: read the ledger again and decide again.",
    )


def _expect_known_format(text: str | bytes, where: str) -> None:
    try:
        found = json.loads(text)
    except ValueError:
        return
    version = found.get("format") if isinstance(found, dict) else None
    if isinstance(version, int) and version > FORMAT:
        raise RegistryError(
            f"The promotion ledger {where} is of format {version}; this version of inception knows those up to "
            f"{FORMAT}.",
            "Upgrade inception here: a newer version has written to this ledger.",
        )


def _damaged(where: str, why: str) -> RegistryError:
    return RegistryError(
        f"The promotion ledger {where} is damaged ({why}).",
        "Put back a good copy. To begin a new history on purpose, move the file away: the next run adopts the "
        "champion that the registry names.",
    )
