"""What a source must hold to be trained on: two classes, images of each in every split, few that are unusable."""

from __future__ import annotations

from pathlib import Path

from trainer.config import Data
from trainer.data.splits import SPLITS
from trainer.errors import DataError
from trainer.legible import in_one_line
from trainer.record import Rejected
from trainer.state import write_atomically

REJECTED_FILE = "rejected.tsv"
SHOWN = 5


def judge_classes(classes: list[str], data: Data) -> None:
    """Errors: DataError (fewer than two)."""
    if len(classes) < 2:
        raise DataError(
            f"{data.source} has only {len(classes)} class: {', '.join(classes)}.",
            "A classifier needs at least two: add images of what else there is to see, as a class of their own.",
        )


def judge_rejected(rejected: list[Rejected], candidates: int, data: Data, folder: Path) -> None:
    """Errors: DataError (more than `data.max_rejected_share` cannot be used; all of them are listed in `folder`)."""
    if not candidates:
        raise DataError(f"{data.source} holds no images.", "Put images there, or mend data.source.")
    share = len(rejected) / candidates
    if share <= data.max_rejected_share:
        return
    listing = folder / REJECTED_FILE
    write_atomically(listing, "".join(f"{in_one_line(one.path)}\t{in_one_line(one.reason)}\n" for one in rejected))
    shown = "\n".join(f"  {one.path}: {one.reason}" for one in rejected[:SHOWN])
    raise DataError(
        f"{len(rejected)} of the {candidates} images of {data.source} cannot be used: {share:.1%}, where "
        f"data.max_rejected_share allows {data.max_rejected_share:.1%}. The first of them:\n{shown}",
        f"All are listed in {listing}. Mend or remove them, or raise data.max_rejected_share.",
    )


def judge_counts(counts: dict[str, list[int]], classes: list[str], data: Data) -> None:
    """Errors: DataError (a split without images, a class without images in a split)."""
    for split in SPLITS:
        if not any(counts[split]):
            raise DataError(f"{data.source} leaves no image for the {split} split.", f"{_more_of(split, data)}.")
    for split in SPLITS:
        for label, name in enumerate(classes):
            if counts[split][label]:
                continue
            elsewhere = ", ".join(f"{counts[s][label]} in {s}" for s in SPLITS)
            raise DataError(
                f"The class {name!r} of {data.source} has no image in the {split} split ({elsewhere}).",
                f"Add images of it, or leave the class out. {_more_of(split, data)}.",
            )


def _more_of(split: str, data: Data) -> str:
    if data.limit is not None:
        return f"Or raise data.limit, which is {data.limit}"
    if split == "train":
        return f"Or lower data.test_fraction ({data.test_fraction}) and data.validation_fraction"
    fraction = data.test_fraction if split == "test" else data.validation_fraction
    return f"Where the source has no {split} split of its own, raise data.{split}_fraction, which is {fraction}"
