"""The verb `export`: a registered model as a file for other programs, shown to answer as the model does."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from trainer.errors import EvaluationError, UsageError
from trainer.exporting import description
from trainer.exporting.formats import FORMATS, Format, Size
from trainer.output import expect, written
from trainer.state import State, reported, storage_error, write_atomically

if TYPE_CHECKING:
    from trainer.exporting.source import Source
    from trainer.registry.lookup import Found

OPTION = "--output"


@dataclass(frozen=True)
class Exported:
    path: Path
    """Of the file or folder."""
    description: Path
    """Of the JSON document that describes it."""
    size_bytes: int
    told: dict[str, Any]
    """What the description says."""


def export(
    state: State,
    found: Found,
    form: str,
    output: Path,
    image_size: Size | None = None,
    images: Sequence[str] = (),
    overwrite: bool = False,
) -> Exported:
    """Write a registered model in another format, load that again in its own runtime, and compare the two.

    Args:
        state: the state folder.
        found: the registered version.
        form: a row of `trainer.exporting.formats`.
        output: the file or folder to make. It is there whole and compared, or not at all.
        image_size: height and width of images, for a format that holds one size; None: what the network takes.
        images: files, folders or patterns to compare on; none: the golden images of its training.
        overwrite: whether an earlier export may be replaced.

    Errors: UsageError (an output that cannot be one or has no folder, an image size where there is no use for it, a
    package that is missing), EvaluationError (a model that cannot be loaded, an export that answers otherwise),
    DataError (images that are none), StateError (no space, no permission).
    """
    row = FORMATS[form]
    row.check_installed()
    if image_size is not None and not row.one_size:
        raise UsageError(
            f"Received --image-size with the format {form}, which holds images of any size.",
            f"Leave it out; only {', '.join(one.name for one in FORMATS.values() if one.one_size)} has one size.",
        )
    _check(output, row, overwrite)
    expect(output, OPTION)

    from trainer.exporting.source import images_for, opened

    with opened(state, found) as source:
        asked, which = images_for(source, state, images)
        size = (image_size or _size_of_network(source)) if row.one_size else None
        with written(output, OPTION):
            beside = Path(tempfile.mkdtemp(dir=output.parent, prefix=f".{output.name}."))
        try:
            with written(output, OPTION):
                return _made(source, row, beside / output.name, output, size, asked, which)
        finally:
            shutil.rmtree(beside, ignore_errors=True)


def _made(
    source: Source, row: Format, made: Path, output: Path, size: Size | None, images: list[Any], which: str
) -> Exported:
    """Write at `made`, load, compare, and move to `output`."""
    from trainer.exporting.comparison import compare

    try:
        row.write(source, made, size)
        loaded = row.load(made)
    except OSError as error:
        raise storage_error(error, output) from error
    except Exception as error:  # every converter has its own
        raise EvaluationError(
            f"{source.uri} cannot be written as {row.name}: {(str(error).strip() or repr(error)).splitlines()[0]}.",
            "Choose another format; --debug shows all that the converter says.",
        ) from error
    compared = compare(loaded, source.answer, images, which, size, row.name)
    told = description.describe(source, row, made, size, compared)
    files = [made] if made.is_file() else [file for file in made.rglob("*") if file.is_file()]
    size_bytes = sum(file.stat().st_size for file in files)
    text = json.dumps(told, indent=2, ensure_ascii=False) + "\n"
    write_atomically(description.place(made, row.is_folder), text)
    _move(made, output, row)
    return Exported(output, description.place(output, row.is_folder), size_bytes, told)


def _move(made: Path, output: Path, row: Format) -> None:
    """To where it belongs, in place of an earlier one, which stays if that cannot be done.

    A crash in between leaves a file that nothing describes, never a description of another file.
    """
    told = description.place(output, row.is_folder)
    earlier, aside = output if row.is_folder else told, made.parent / "before"
    with ExitStack() as back, reported(output):
        if os.path.lexists(earlier):
            os.replace(earlier, aside)
            back.callback(os.replace, aside, earlier)
        os.replace(made, output)
        back.pop_all()
        if not row.is_folder:
            os.replace(description.place(made, row.is_folder), told)


def _check(output: Path, row: Format, overwrite: bool) -> None:
    """Errors: UsageError, where nothing can, or may, be put."""
    if output.name in ("", ".."):
        raise UsageError(
            f"Received the output {str(output)!r} for the format {row.name}.",
            f"Name the {'folder' if row.is_folder else 'file'} to make: --output {output / f'model{row.suffix}'}.",
        )
    if row.suffix and output.suffix.lower() != row.suffix:
        raise UsageError(
            f"Received the output {str(output)!r} for the format {row.name}.",
            f"Name a file that ends in {row.suffix}: --output {output.with_suffix(row.suffix)}.",
        )
    beside = description.place(output, row.is_folder)
    taken = [path for path in (output, beside) if os.path.lexists(path)]
    if output in taken and (
        output.is_dir() != row.is_folder or (row.is_folder and beside not in taken and any(output.iterdir()))
    ):
        what = "a folder that holds something else" if output.is_dir() else "a file"
        raise UsageError(
            f"{output} is {what}: the format {row.name} makes a {'folder' if row.is_folder else 'file'} there.",
            "Choose another --output; an export replaces nothing but an export.",
        )
    if not row.is_folder and beside in taken and not description.is_one(beside):
        raise UsageError(
            f"{beside} is there already, and describes no export.",
            "Choose another --output; an export replaces nothing but an export.",
        )
    if taken and not overwrite:
        raise UsageError(f"{taken[0]} is there already.", "Choose another --output, or replace it with --overwrite.")


def _size_of_network(source: Source) -> Size:
    from trainer.exporting.rewriting import image_size

    size = image_size(source.model)
    if size is None:
        raise UsageError(
            f"It cannot be told what size of image {source.uri} takes.", "Say it: --image-size HEIGHT WIDTH."
        )
    return size, size
