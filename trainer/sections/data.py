"""`[data]`."""

from __future__ import annotations

from typing import Self

from pydantic import PositiveInt, model_validator

from trainer.errors import nearest
from trainer.sections.base import Fraction, Section, Share

SOURCE_KINDS = ("digits", "tfds", "folder")


class Data(Section):
    """Where the images come from and how they are divided."""

    source: str
    """`digits`, `tfds:<name>[/<config>][:<version>]` or `folder:<path>`, where a path may be an address in an object
    store: `folder:gs://bucket/images`."""
    data_dir: str | None = None
    """Folder, or address in an object store, where TFDS's prepared data lies; without it TFDS downloads into the state
    folder."""
    validation_fraction: Fraction = 0.1
    """Share carved out for validation, by hash of the content, where the source has no validation split."""
    test_fraction: Fraction = 0.2
    """Share carved out for the frozen test split, likewise."""
    max_rejected_share: Share = 0.02
    """More unusable images than this share stop the run."""
    limit: PositiveInt | None = None
    """At most this many examples of each split (those whose identity sorts first): for trials."""

    @model_validator(mode="after")
    def _source_has_a_known_kind(self) -> Self:
        kind, _, rest = self.source.partition(":")
        if kind not in SOURCE_KINDS:
            raise ValueError(
                f"source kind {kind!r} is unknown. {nearest(kind, SOURCE_KINDS)} "
                "Write 'digits', 'tfds:<name>' or 'folder:<path>'."
            )
        if (kind == "digits") == bool(rest):
            raise ValueError(f"{self.source!r} is incomplete. Write 'digits', 'tfds:<name>' or 'folder:<path>'.")
        if self.validation_fraction + self.test_fraction >= 1:
            raise ValueError(
                f"validation_fraction {self.validation_fraction} and test_fraction {self.test_fraction} leave "
                "nothing to train on. Their sum must stay under 1."
            )
        return self
