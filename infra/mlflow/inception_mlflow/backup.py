"""A backup: the database, the artifacts that it names, and the ledgers of promotions, as they were together.

    PLACE/20261121T030000Z/database.dump      pg_dump's custom format; the users' hashed passwords are in it
    PLACE/20261121T030000Z/artifacts/…        as they lie in the server's own store
    PLACE/20261121T030000Z/ledgers/NAME.json  where INCEPTION_LEDGERS names them
    PLACE/20261121T030000Z/manifest.json      what there must be, with sizes and digests; written last

The order keeps the parts consistent while the server works on: a ledger names versions that the registry has by then,
the registry names files that the store has by then. So ledgers are copied first, the database next, artifacts last.
"""

from __future__ import annotations

import tempfile
from datetime import UTC, datetime
from pathlib import Path

from pydantic import BaseModel, ValidationError

from inception_mlflow import database, schema
from inception_mlflow.database import Moment
from inception_mlflow.places import File, Place, described, each
from inception_mlflow.settings import Trouble

MANIFEST, DATABASE, ARTIFACTS, LEDGERS = "manifest.json", "database.dump", "artifacts", "ledgers"


class Manifest(BaseModel, frozen=True):
    format: int = 1
    made_at: datetime
    mlflow: str
    schema_revisions: dict[str, str | None]
    rows: dict[str, int]
    database: File
    artifacts_from: str
    artifacts_copied: bool
    artifacts: tuple[File, ...]
    ledgers: tuple[File, ...]
    lost: tuple[str, ...]
    """Registered versions that had no files in the store any more."""

    @property
    def summary(self) -> str:
        size = sum(file.bytes for file in self.artifacts) / 1e6
        rows = ", ".join(f"{count} {name.replace('_', ' ')}" for name, count in self.rows.items())
        kind = "copied" if self.artifacts_copied else "listed, not copied"
        return (
            f"{rows}; {len(self.artifacts)} artifacts of {size:.1f} MB ({kind}); {len(self.ledgers)} ledgers; "
            f"MLflow {self.mlflow}, {self.made_at:%Y-%m-%d %H:%M:%S} UTC"
        )


def back_up(
    store: str, artifacts: str, ledgers: str | None, place: str, copying: bool = True
) -> tuple[Place, Manifest]:
    """Make a backup beside the earlier ones.

    Args:
        store: address of the database.
        artifacts: where the server's artifacts lie.
        ledgers: where the ledgers lie; None where they are kept elsewhere.
        place: of all backups.
        copying: whether artifacts are copied, or only listed (for a store that keeps old versions by itself).

    Errors: Trouble. What was begun has no manifest then, and is no backup.
    """
    import mlflow

    now = datetime.now(UTC)
    target, source = Place(f"{place.rstrip('/')}/{now:%Y%m%dT%H%M%SZ}"), Place(artifacts)
    kept = _copied(Place(ledgers), target.within(LEDGERS), ".json") if ledgers else ()
    with database.moment(store) as at:
        dumped = _dumped(store, at, target)
    held = _copied(source, target.within(ARTIFACTS)) if copying else tuple(source.files())
    manifest = Manifest(
        made_at=now,
        mlflow=mlflow.__version__,
        schema_revisions=schema.revisions(store),
        rows=at.rows,
        database=dumped,
        artifacts_from=artifacts,
        artifacts_copied=copying,
        artifacts=held,
        ledgers=kept,
        lost=tuple(lost(at, held)),
    )
    target.write(MANIFEST, manifest.model_dump_json(indent=1))
    return target, manifest


def verify(backup: str) -> Manifest:
    """Read all of a backup and compare it with its manifest. Errors: Trouble (unfinished, damaged)."""
    place, manifest = Place(backup), read(backup)
    parts = [("", (manifest.database,)), (LEDGERS, manifest.ledgers)]
    if manifest.artifacts_copied:
        parts.append((ARTIFACTS, manifest.artifacts))
    for folder, wanted in parts:
        inside = place.within(folder) if folder else place
        there = {file.path for file in inside.files()}
        gone = [file.path for file in wanted if file.path not in there]
        if gone:
            raise _damaged(backup, f"{len(gone)} files are not there, such as {f'{folder}/{gone[0]}'.lstrip('/')}")
        for found, file in zip(each(inside.digest, wanted), wanted, strict=True):
            if found != file:
                raise _damaged(backup, f"{f'{folder}/{file.path}'.lstrip('/')} is not what was written")
    with place.fetched(DATABASE) as dumped:
        database.check(dumped)
    return manifest


def read(backup: str) -> Manifest:
    """The manifest. Errors: Trouble (none, or none that can be read)."""
    place = Place(backup)
    try:
        text = place.read(MANIFEST)
    except Trouble as error:
        raise Trouble(
            f"{backup} has no {MANIFEST} that can be read: it is no backup, or one that was not finished. "
            f"({str(error).partition(chr(10))[0]})",
            "Name the folder of one backup, such as PLACE/20261121T030000Z.",
        ) from error
    try:
        return Manifest.model_validate_json(text)
    except ValidationError as error:
        raise _damaged(backup, f"{MANIFEST} cannot be read ({error.error_count()} errors)") from error


def lost(at: Moment, held: tuple[File, ...]) -> list[str]:
    """The registered versions of which no file is held."""
    folders = {"/".join(file.path.split("/")[:depth]) for file in held for depth in range(1, file.path.count("/") + 1)}
    return [version for version, folder in at.models.items() if folder.rstrip("/") not in folders]


def _dumped(store: str, at: Moment, target: Place) -> File:
    with tempfile.TemporaryDirectory(prefix="mlflow-") as folder:
        file = Path(folder, DATABASE)
        database.dump(store, at, file)
        target.put(file, DATABASE)
        return described(file, DATABASE)


def _copied(source: Place, target: Place, ending: str = "") -> tuple[File, ...]:
    return each(lambda file: source.copy(file, target), [one for one in source.files() if one.path.endswith(ending)])


def _damaged(backup: str, why: str) -> Trouble:
    return Trouble(f"The backup {backup} is damaged: {why}.", "Take an older one.")
