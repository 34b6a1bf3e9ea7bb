"""The verb `promote`: decide, append to the ledger by compare-and-set, move the alias, note the verdict.

Every decision against a champion is an entry, whichever way it went, for it has used the test set. A version that has
one is never judged again: the ledger is asked first, the alias follows the ledger, and the tag `verdict` comes last, as
the sign that the run key is done. So every call with the same run key ends in the same state, wherever an earlier one
was killed. Only where the version was deleted since, and the run key has made another, that one is judged for itself.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from trainer import record, sharing
from trainer.config import Gate
from trainer.errors import LedgerConflict
from trainer.events import note
from trainer.gate import Verdict, not_comparable
from trainer.promotion import verdicts
from trainer.promotion.court import Court, Judgement
from trainer.registry.ledger import follow, moved_by_hand, reconcile
from trainer.registry.protocol import VERDICT_TAG, Entry, Ledger, Registry, champion
from trainer.state import State

RESULTS: dict[str, Literal["promoted", "kept", "undecided"]] = {
    "promote": "promoted",
    "keep": "kept",
    "undecided": "undecided",
}


def promote(
    registry: Registry,
    ledger: Ledger,
    name: str,
    run_folder: Path,
    registered: record.Registered,
    evaluated: record.Evaluated,
    policy: Gate,
    tick: str,
    run_key: str,
    shared: State | None = None,
) -> record.Promoted:
    """Judge the challenger against the champion that the ledger names, and hand over where the verdict says so.

    If that is not the champion which the evaluation saw, or if somebody else is decided on in between, the challenger
    is judged again, on the predictions that the present champion's own run record kept. While the alias is where a
    hand has moved it, nothing is decided, spent or touched: the next run tries again.

    Args:
        registry: holds the versions.
        ledger: the order of promotions of this model.
        name: the registered model.
        run_folder: this run's record, among its siblings: `runs/<run key>/`.
        registered, evaluated: what the earlier steps left there.
        policy: the recipe's `[gate]`.
        tick: id of this pipeline run.
        run_key: identity of the work.
        shared: the state folder whose records may lie in a store; None: they are all here.

    Errors: RegistryError, StateError, EvaluationError (damaged predictions).
    """
    reconcile(registry, ledger, name)
    version = registered.version
    if _decided(ledger.read().entries, run_key, version) is None:
        moved = moved_by_hand(registry, ledger, name)
        if moved is not None:
            text = f"{moved.in_words(name)} Say which of them holds: inception models audit {name}"
            return _promoted(not_comparable(text), version, moved.ledger, moved.ledger, None)
    court = Court(registry, name, run_folder, version, evaluated, policy, shared)
    verdict, entry, before = _settle(ledger, court, tick, run_key)
    after = follow(registry, ledger, name)
    tags = {
        "verdict_reason": verdict.reason,
        "verdict_digest": (entry and entry.verdict_digest) or verdict.digest(),
        VERDICT_TAG: RESULTS[verdict.outcome],  # last: it says that all the rest is done
    }
    registry.set_tags(name, version, tags)
    note(f"{name} version {version} {RESULTS[verdict.outcome]}: {verdict.reason}")
    return _promoted(verdict, version, before, after, entry)


def _settle(ledger: Ledger, court: Court, tick: str, run_key: str) -> tuple[Verdict, Entry | None, str | None]:
    """The verdict, its ledger entry, and the champion it was reached against."""
    while True:
        entries, generation = ledger.read()
        done = _decided(entries, run_key, court.version)
        if done is not None:
            return court.recall(done, entries[: done.number - 1]), done, done.previous
        present = champion(entries)
        judgement = court.judge(present, entries)
        verdict = judgement.verdict
        if verdict.rule("eligible") is not None or (present is None and verdict.outcome != "promote"):
            return verdict, None, present  # nobody was challenged
        entry = _entry(len(entries) + 1, court.version, present, judgement, tick, run_key)
        verdicts.keep(court.run_folder, verdict)
        if court.shared is not None:
            sharing.push(court.shared)
        try:
            ledger.append(entry, generation)
        except LedgerConflict:
            note(f"{court.name}: another run was decided on in the meantime; deciding again, as things are now")
            continue
        return verdict, entry, present


def _decided(entries: Sequence[Entry], run_key: str, version: str) -> Entry | None:
    """The entry by which the gate has decided on what this run key made."""
    of_gate = (one for one in entries if one.run_key == run_key and one.event in ("promote", "keep"))
    return next((one for one in of_gate if (one.challenger or one.version) == version), None)


def _entry(number: int, challenger: str, present: str | None, judgement: Judgement, tick: str, run_key: str) -> Entry:
    promotes = judgement.verdict.outcome == "promote"
    return Entry(
        number=number,
        event="promote" if promotes else "keep",
        version=challenger if promotes else present,
        previous=present,
        challenger=challenger,
        run_key=run_key,
        verdict_digest=judgement.verdict.digest(),
        reason=judgement.verdict.reason,
        tick=tick,
        trial=judgement.trial,
        at=record.now(),
    )


def _promoted(
    verdict: Verdict, version: str, before: str | None, after: str | None, entry: Entry | None
) -> record.Promoted:
    return record.Promoted(
        result=RESULTS[verdict.outcome],
        verdict=verdict,
        version=version,
        champion_before=before,
        champion_after=after,
        ledger_entry=entry.number if entry else None,
        at=record.now(),
    )
