"""The ledger and the registry side by side: what each says of every version, and where they disagree."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime

from pydantic import BaseModel, ConfigDict

from trainer.errors import InceptionError, RegistryError, UsageError
from trainer.registry.belonging import expect_known, marked
from trainer.registry.hands import Deed, Hands
from trainer.registry.ledger import Moved, moved_by_hand
from trainer.registry.protocol import (
    CHAMPION,
    RETIRED_TAG,
    VERDICT_TAG,
    Entry,
    Ledger,
    ModelVersion,
    Registry,
    champion,
    retired,
)

RESULTS = {"promote": ("promoted",), "keep": ("kept", "undecided")}
"""The verdict tags that fit the gate's entries."""


class AuditedVersion(BaseModel):
    """What both sides say of one version."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    version: str
    created_at: datetime | None
    """None: it is in the ledger and no longer in the registry."""
    aliases: list[str]
    verdict: str | None
    """The registry's tag."""
    entries: list[str]
    """The ledger's entries about it, as `3 promote`."""


class Audit(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    model: str
    ledger: str
    """Where the ledger lies."""
    ledger_champion: str | None
    alias: str | None
    versions: list[AuditedVersion]
    discrepancies: list[str]

    @property
    def agrees(self) -> bool:
        return not self.discrepancies


def audit(registry: Registry, ledger: Ledger, name: str) -> Audit:
    """Compare them. Nothing is changed.

    Errors: RegistryError (no such model, a damaged ledger, one that is not this model's), StateError.
    """
    versions = registry.versions(name)
    expect_known(registry, ledger, name)
    entries = ledger.read().entries
    alias = registry.alias(name, CHAMPION)
    return Audit(
        model=name,
        ledger=ledger.address,
        ledger_champion=champion(entries),
        alias=alias,
        versions=_side_by_side(versions, entries),
        discrepancies=[*_of_alias(registry, ledger, name, alias, versions), *_of_tags(versions, entries)],
    )


def results(entries: Iterable[Entry], versions: Iterable[ModelVersion]) -> list[str | None]:
    """How the gate decided, entry by entry: `promoted`, `kept` or `undecided`; None for what people did.

    The ledger tells only that a challenger was not promoted; whether that was left undecided its verdict tag tells.
    """
    tags = {one.version: one.tags.get(VERDICT_TAG) for one in versions}
    words = ((RESULTS.get(entry.event, ()), tags.get(entry.challenger or "")) for entry in entries)
    return [tag if tag in known else next(iter(known), None) for known, tag in words]


def doubt(registry: Registry, ledger: Ledger, name: str) -> str | None:
    """Why the alias is not to be believed: a hand has moved it. None also where the ledger cannot be asked."""
    try:
        moved = moved_by_hand(registry, ledger, name)
    except InceptionError:
        return None
    return moved and f"{moved.in_words(name)} Say which holds: inception models audit {name}"


def adopt(hands: Hands, reason: str) -> Deed:
    """What the alias says holds from here on; where the ledger is empty, it is the first entry.

    Errors: UsageError (no reason, nothing to adopt), RegistryError.
    """
    if hands.ledger.read().entries:
        moved = moved_by_hand(hands.registry, hands.ledger, hands.name)
    else:
        alias = hands.registry.alias(hands.name, CHAMPION)
        moved = Moved(alias, None) if alias or marked(hands.registry, hands.name) else None
    if moved is None:
        raise UsageError(
            f"The alias {CHAMPION!r} of {hands.name!r} was not moved by hand, so there is nothing to adopt.",
            "Tags that differ from the ledger are put right by --restore.",
        )
    if not reason.strip():
        raise UsageError("Received no reason.", "Say why the alias was moved: --reason TEXT.")
    if moved.alias in retired(hands.ledger.read().entries):
        raise RegistryError(
            f"The alias is on version {moved.alias} of {hands.name!r}, which is retired.",
            f"Put it back: inception models audit {hands.name} --restore",
        )
    return Deed("adopt", moved.alias, moved.ledger, None, reason.strip())


def restore(hands: Hands, reason: str = "") -> Deed:
    """What the ledger says holds. Errors: UsageError (they agree), RegistryError (its champion is gone)."""
    found = audit(hands.registry, hands.ledger, hands.name)
    head = found.ledger_champion
    if not hands.ledger.read().entries:
        raise UsageError(f"The ledger of {hands.name!r} is empty.", "There is nothing to put back.")
    if found.agrees:
        raise UsageError(f"Ledger and registry of {hands.name!r} agree.", "Nothing needs doing.")
    if head is not None and all(one.version != head or one.created_at is None for one in found.versions):
        raise RegistryError(
            f"Version {head} of {hands.name!r}, the ledger's champion, is gone from the registry.",
            f"Go back to another: inception models rollback {hands.name}",
        )
    return Deed("restore", head, head, None, reason.strip() or "What the ledger says was put back.")


def put_right(hands: Hands, deed: Deed) -> Entry:
    """Carry out what `adopt` or `restore` planned. Errors: as `Hands.do`."""
    entry = hands.do(deed)
    if deed.event == "restore":
        versions, entries = hands.registry.versions(hands.name), hands.ledger.read().entries
        for version, tags in tuple(_wanted_tags(versions, entries)):
            hands.registry.set_tags(hands.name, version, tags)
    return entry


def _wanted_tags(versions: Sequence[ModelVersion], entries: Sequence[Entry]) -> Iterator[tuple[str, dict[str, str]]]:
    """The versions whose tags say otherwise than the ledger, with the tags it wants."""
    gone = retired(entries)
    for one in versions:
        wanted: dict[str, str] = {}
        entry = _verdict_on(one.version, entries)
        tag = one.tags.get(VERDICT_TAG)
        if entry is None:
            if tag == "promoted" and _within(one, entries):
                wanted[VERDICT_TAG] = "kept"
        else:
            if tag not in RESULTS[entry.event]:
                wanted[VERDICT_TAG] = RESULTS[entry.event][0]
            if one.tags.get("verdict_digest") != entry.verdict_digest and entry.verdict_digest:
                wanted |= {"verdict_digest": entry.verdict_digest, "verdict_reason": entry.reason}
        if one.version in gone and RETIRED_TAG not in one.tags:
            wanted[RETIRED_TAG] = next(e.reason for e in entries if e.event == "retire" and e.challenger == one.version)
        if wanted:
            yield one.version, wanted


def _of_alias(
    registry: Registry, ledger: Ledger, name: str, alias: str | None, versions: Sequence[ModelVersion]
) -> Iterator[str]:
    entries = ledger.read().entries
    head = champion(entries)
    if not entries and alias is not None:
        yield f"The alias {CHAMPION!r} is on version {alias}, and no ledger was begun yet: the next run adopts it."
    elif head is not None and all(one.version != head for one in versions):
        yield f"The ledger's champion is version {head}, which is gone from the registry."
    elif alias != head:
        moved = moved_by_hand(registry, ledger, name)
        on = f"on version {alias}" if alias else "on no version"
        yield (
            moved.in_words(name)
            if moved
            else f"The alias {CHAMPION!r} is {on}, the ledger's champion is {head or 'nobody'}: a run was killed in "
            "between, or is at work; the next run mends it."
        )


def _of_tags(versions: Sequence[ModelVersion], entries: Sequence[Entry]) -> Iterator[str]:
    tags = {one.version: one.tags for one in versions}
    for version, wanted in _wanted_tags(versions, entries):
        entry = _verdict_on(version, entries)
        said = tags[version].get(VERDICT_TAG)
        if entry is None and VERDICT_TAG in wanted:
            yield f"Version {version} is tagged {said!r}, and the ledger never promoted it."
        elif entry is not None and VERDICT_TAG in wanted:
            word = f"is tagged {said!r}" if said else "has no verdict tag (its run was killed; run it again)"
            yield f"Version {version} {word}; entry {entry.number} of the ledger says {entry.event}."
        elif entry is not None and "verdict_digest" in wanted:
            yield (
                f"Version {version} names another verdict ({tags[version].get('verdict_digest')}) than entry "
                f"{entry.number} of the ledger ({entry.verdict_digest})."
            )
        if RETIRED_TAG in wanted:
            yield f"Version {version} is retired by the ledger and has no tag {RETIRED_TAG!r}."


def _side_by_side(versions: Sequence[ModelVersion], entries: Sequence[Entry]) -> list[AuditedVersion]:
    known = {one.version: one for one in versions}
    named = {entry.version for entry in entries} | {entry.challenger for entry in entries}
    return [
        AuditedVersion(
            version=version,
            created_at=known[version].created_at if version in known else None,
            aliases=known[version].aliases if version in known else [],
            verdict=known[version].tags.get(VERDICT_TAG) if version in known else None,
            entries=[f"{entry.number} {entry.event}" for entry in entries if version == _subject(entry)],
        )
        for version in sorted({*known, *(one for one in named if one is not None)}, key=int)
    ]


def _subject(entry: Entry) -> str | None:
    """The version that an entry is about."""
    return entry.challenger or entry.version


def _verdict_on(version: str, entries: Sequence[Entry]) -> Entry | None:
    """The gate's entry about a version."""
    return next((e for e in entries if e.event in RESULTS and _subject(e) == version), None)


def _within(one: ModelVersion, entries: Sequence[Entry]) -> bool:
    """Whether a version is younger than the ledger, which cannot know what was promoted before it began."""
    return bool(entries) and one.created_at > entries[0].at
