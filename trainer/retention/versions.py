"""Which versions of a model stay."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from trainer.registry.protocol import CHAMPION, Entry, ModelVersion, champion, retired


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
    gone = retired(entries)
    head = champion(entries)
    # The tag of the version that was retired last tells, while nobody is champion, that the alias has followed.
    bearer = entries[-1].challenger if entries and head is None else None
    former = {entry.version for entry in entries} - gone
    last = {one.version for one in versions[-newest:]}
    found = {}
    for one in versions:
        if one.version == head:
            found[one.version] = CHAMPION
        elif one.version in former:
            found[one.version] = "was champion"
        elif one.aliases:
            found[one.version] = f"alias {', '.join(one.aliases)}"
        elif one.version in last:
            found[one.version] = f"among the last {newest}"
        elif one.version == bearer:
            found[one.version] = "the last to be retired"
        elif under_way(one):
            found[one.version] = "its run is under way"
    return found
