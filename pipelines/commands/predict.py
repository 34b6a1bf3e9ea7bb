"""`inception predict`: classes of pictures, from the registered model alone."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterable, Iterator
from pathlib import Path, PurePath
from typing import TYPE_CHECKING

import click

from pipelines.commands import options
from trainer.errors import UsageError
from trainer.legible import in_one_line

if TYPE_CHECKING:
    from trainer.prediction.answering import Answer
    from trainer.prediction.naming import Pictures

FORMATS = ("table", "json", "csv", "jsonl")
_ENDINGS = {".csv": "csv", ".json": "json", ".jsonl": "jsonl", ".txt": "table", "": "table"}
_MANY = 100
"""So many pictures get a line that counts them."""
_SPOKEN_EVERY = {True: 0.3, False: 10.0}
"""Seconds between two counts, on a terminal and elsewhere."""
_ERRORS_SHOWN = 20


@click.command()
@click.argument("reference", metavar="NAME[@ALIAS|/VERSION]")
@click.argument("images", nargs=-1, required=True, metavar="IMAGE…")
@click.option("--top", default=3, show_default=True, type=click.IntRange(min=1), help="Classes to show per image.")
@click.option(
    "--batch-size",
    default=32,
    show_default=True,
    type=click.IntRange(1, 4096),
    help="Images of one size that are asked together.",
)
@click.option(
    "--format",
    "form",
    type=click.Choice(FORMATS),
    help="How to write the answers; else as the name of --output ends (.csv, .json, .jsonl, .txt), else a table.",
)
@click.option(
    "--output",
    metavar="FILE",
    help="Write the answers here or to gs://…, whole or not at all. CSV gets the mark that tells spreadsheets UTF-8.",
)
@options.state
@options.as_json
@options.debug
@click.pass_context
def predict(
    context: click.Context,
    reference: str,
    images: tuple[str, ...],
    top: int,
    batch_size: int,
    form: str | None,
    output: str | None,
    root: str,
    as_json: bool,
) -> None:
    """Classify images with a registered model; without alias or version its champion.

    An IMAGE is a file, a folder (with all folders below it), a pattern in quotes ('scans/**/*.png'), or any of these
    at gs://bucket/…. Up to 20 files named one by one must all be images; among more, in folders and behind patterns
    those that are not get an error in place of an answer, and the exit status is 1 when all the others are done.

    \b
    Example:
      inception predict digits@champion three.png
      inception predict digits scans/ gs://bucket/scans/ --output answers.csv
    """
    from trainer.prediction import naming
    from trainer.quiet import hushed
    from trainer.registry import opened_registry
    from trainer.registry.lookup import lookup
    from trainer.state import State

    form = _form("json" if as_json else form, output)
    _expect(output)
    state = State.existing(root)
    pictures = naming.find(images)
    found = lookup(opened_registry(state), reference)
    with hushed():
        from trainer.predict import predict as verb
        from trainer.prediction.writing import FORMS, Sheet

        predicted = verb(state, found.name, found.version, pictures, top, batch_size)
    widest = max(len(address) for address in pictures.addresses)
    sheet = Sheet(found.name, found.version, min(top, len(predicted.classes)), widest)
    failed: list[Answer] = []
    answers = _watched(predicted.answers, len(pictures.addresses), output, failed)
    _write(FORMS[form](sheet, answers), form, output)
    _say_what_is_missing(pictures, failed, output)
    context.exit(1 if failed else 0)


def _form(asked: str | None, output: str | None) -> str:
    """Errors: UsageError (the output's name ends as no format does)."""
    if asked is not None:
        return asked
    ending = PurePath(output or "").suffix.lower()
    if ending not in _ENDINGS:
        raise UsageError(
            f"Received the output {output!r}, and no format ends in {ending}.",
            f"Let it end in {', '.join(filter(None, _ENDINGS))}, or say --format {'|'.join(FORMATS)}.",
        )
    return _ENDINGS[ending]


def _expect(output: str | None) -> None:
    """Errors: UsageError, StateError, where the output has no such place, or a local one cannot be written."""
    from trainer.output import expect
    from trainer.storage import Bucket, place

    if output is None or isinstance(place(output), Bucket):
        return
    path = Path(output).expanduser()
    if path.is_dir() or output.endswith("/"):
        raise UsageError(f"Received the output {output!r}, which is a folder.", "Name a file: --output answers.csv.")
    expect(path, "--output")


def _write(lines: Iterable[str], form: str, output: str | None) -> None:
    """To a file as they come; to standard output too, but for JSON: there one object, or an error, must be all."""
    if output is None:
        for line in ["".join(lines)] if form == "json" else lines:
            click.echo(line, nl=False)
        return
    from trainer.output import written
    from trainer.storage import writing

    encoding = "utf-8-sig" if form == "csv" else "utf-8"
    with written(output, "--output"), writing(output) as path, path.open("w", encoding=encoding, newline="") as file:
        file.writelines(lines)


def _watched(answers: Iterable[Answer], total: int, output: str | None, failed: list[Answer]) -> Iterator[Answer]:
    """The answers; those that are errors are kept in `failed`, and many are counted on standard error."""
    drawn = sys.stderr.isatty()
    counted = total >= _MANY and (output is not None or not sys.stdout.isatty())
    began = spoken = time.monotonic()
    for done, answer in enumerate(answers, start=1):
        if answer.error is not None:
            failed.append(answer)
        yield answer
        now = time.monotonic()
        if counted and (now - spoken > _SPOKEN_EVERY[drawn] or done == total):
            spoken = now
            count = f"{done:,} of {total:,} images, {done / max(now - began, 1e-9):,.0f} images/s"
            click.echo(f"\r{count}\033[K" if drawn else count, err=True, nl=not drawn or done == total)


def _say_what_is_missing(pictures: Pictures, failed: list[Answer], output: str | None) -> None:
    total = len(pictures.addresses)
    if pictures.passed_over:
        click.echo(f"passed over, not called like a picture: {pictures.passed_over:,}", err=True)
    if output is not None:
        images = "image" if total == 1 else "images"
        click.echo(f"{total - len(failed):,} of {total:,} {images} classified in {output}", err=True)
    for answer in failed[:_ERRORS_SHOWN]:
        click.echo(f"{click.style('error:', fg='red', bold=True)} {in_one_line(answer.image)} {answer.error}", err=True)
    if len(failed) > _ERRORS_SHOWN:
        click.echo(f"… and {len(failed) - _ERRORS_SHOWN:,} more, with their reasons in the answers", err=True)
