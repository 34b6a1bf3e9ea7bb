"""A backup put back: artifacts first, the database last and in one transaction: it names no file that is missing."""

from __future__ import annotations

from inception_mlflow import database, schema
from inception_mlflow.backup import ARTIFACTS, DATABASE, LEDGERS, Manifest, read, verify
from inception_mlflow.places import Place, each
from inception_mlflow.settings import Trouble


def restore(
    backup: str,
    store: str,
    artifacts: str,
    ledgers: str | None,
    overwrite: bool = False,
    database_only: bool = False,
) -> tuple[Manifest, list[str]]:
    """Verify a backup and put it back. Returns its manifest, and what an operator should know, a line each.

    Args:
        backup: address of one backup.
        store: of the database.
        artifacts: where the server's artifacts lie.
        ledgers: where the ledgers lie, if they are to be put back too; one that is there is never overwritten.
        overwrite: whether what is in the way may go.
        database_only: leave artifacts and ledgers as they are.

    Errors: Trouble. Nothing was changed where the backup is damaged, something is in the way, or others are connected.
    """
    manifest = read(backup)
    _expect_known(manifest)
    if count := database.others(store):
        raise Trouble(
            f"{count} others are connected to the database: the server still runs.",
            "Stop it first (no replicas), and what else uses the database.",
        )
    target = Place(artifacts)
    whole = manifest.artifacts_copied and not database_only
    if not overwrite:
        _expect_empty(store, target if whole else None)
    verify(backup)
    place, told = Place(backup), []
    if whole:
        each(lambda file: place.within(ARTIFACTS).copy(file, target), manifest.artifacts)
    else:
        told += _absent(manifest, target)
    if not database_only:
        told += _ledgers(place, manifest, ledgers)
    with place.fetched(DATABASE) as file:
        rows = database.restore(store, file)
    if rows != manifest.rows:
        raise Trouble(f"The database holds {rows} and not {manifest.rows}.", "See the database's log; restore again.")
    if schema.revisions(store) != schema.heads():
        told.append("The backup is of an older MLflow: run `inception-mlflow migrate` before the server starts.")
    return manifest, told


def _expect_known(manifest: Manifest) -> None:
    """Errors: Trouble where a newer MLflow made the tables."""
    if unknown := schema.unknown(manifest.schema_revisions):
        raise Trouble(
            f"The backup was made by MLflow {manifest.mlflow}, whose tables ({unknown}) this one does not know.",
            "Restore it with the image of that version.",
        )


def _expect_empty(store: str, target: Place | None) -> None:
    remedy = "Say --overwrite if that may go; make a backup of it first."
    if held := database.contents(store):
        words = ", ".join(f"{rows} {name.replace('_', ' ')}" for name, rows in held.items())
        raise Trouble(f"The database is not empty: {words}.", f"{remedy} (--database-only leaves artifacts alone.)")
    if target is not None and target.files():
        raise Trouble(
            f"There are artifacts in {target.address}.",
            f"{remedy} Where they are the ones that the database names, say --database-only.",
        )


def _absent(manifest: Manifest, target: Place) -> list[str]:
    there = {(file.path, file.bytes) for file in target.files()}
    absent = [file.path for file in manifest.artifacts if (file.path, file.bytes) not in there]
    return [f"{len(absent)} artifacts of the backup are not in {target.address}: {absent[0]}, …"] if absent else []


def _ledgers(place: Place, manifest: Manifest, address: str | None) -> list[str]:
    if not manifest.ledgers:
        return []
    if address is None:
        return ["INCEPTION_LEDGERS is not set: the ledgers of the backup were not put back."]
    target, source = Place(address), place.within(LEDGERS)
    there = {file.path for file in target.files()}
    each(lambda file: source.copy(file, target), [file for file in manifest.ledgers if file.path not in there])
    return [
        f"The ledger {target.address}/{file.path} is there and was left as it is (the backup's differs)."
        for file in manifest.ledgers
        if file.path in there and target.digest(file) != file
    ]
