"""Which versions of a model stay."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence

from trainer.registry.protocol import CHAMPION, RUN_KEY_TAG, Entry, ModelVersion, champion, retired


def kept(
    versions: Sequence[ModelVersion], entries: Sequence[Entry], newest: int, under_way: Callable[[ModelVersion], bool]
) -> dict[str, str]:
    """The versions that stay, each with the first reason that holds.

    Args:
        versions: oldest first.
        entries: of the ledger.
        newest: how many of the last versions stay whatever they are.
        under_way: whether the run that made a version has not come to its end yet.
    """
    last = newest_of(versions, newest)
    found = {one.version: reason(one, entries, last, under_way) for one in versions}
    return {version: why for version, why in found.items() if why is not None}


def newest_of(versions: Sequence[ModelVersion], newest: int) -> set[str]:
    return {one.version for one in versions[-newest:]}


def reason(
    one: ModelVersion, entries: Sequence[Entry], last: Collection[str], under_way: Callable[[ModelVersion], bool]
) -> str | None:
    """Why a version stays; None where it may go. `last` are the newest ones, the rest is as for `kept`."""
    gone = retired(entries)
    head = champion(entries)
    # The tag of the version that was retired last tells, while nobody is champion, that the alias has followed.
    bearer = entries[-1].challenger if entries and head is None else None
    former = {entry.version for entry in entries} - gone
    if one.version == head:
        return CHAMPION
    if one.version in former:
        return "was champion"
    if one.aliases:
        return f"alias {', '.join(one.aliases)}"
    if one.version in last:
        return f"among the last {len(last)}"
    if one.version == bearer:
        return "the last to be retired"
    if RUN_KEY_TAG not in one.tags:
        return "registered by hand"
    return "its run is under way" if under_way(one) else None
