"""The verb `promote`: decide, append to the ledger by compare-and-set, move the alias, note the verdict.

Every call with the same run key ends in the same state, wherever an earlier one was killed: the ledger is asked first
whether it holds this promotion, the alias follows the ledger, and the tag `verdict` comes last, as the sign that the
run key is done.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from trainer import record
from trainer.config import Gate
from trainer.errors import EvaluationError, InceptionError, LedgerConflict, StateError
from trainer.events import note
from trainer.gate import Candidate, Verdict, decide, not_comparable
from trainer.registry.ledger import follow, reconcile
from trainer.registry.protocol import RUN_KEY_TAG, VERDICT_TAG, Entry, Ledger, Registry, champion

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
) -> record.Promoted:
    """Judge the challenger against the champion that the ledger names, and hand over where the verdict says so.

    If that is not the champion which the evaluation saw, or if somebody else promotes in between, the challenger is
    judged again, on the predictions that the present champion's own run record kept.

    Args:
        registry: holds the versions.
        ledger: the order of promotions of this model.
        name: the registered model.
        run_folder: this run's record, among its siblings: `runs/<run key>/`.
        registered, evaluated: what the earlier steps left there.
        policy: the recipe's `[gate]`.
        tick: id of this pipeline run.
        run_key: identity of the work.

    Errors: RegistryError, StateError, EvaluationError (damaged predictions).
    """
    reconcile(registry, ledger, name)
    court = _Court(registry, name, run_folder, registered.version, evaluated, policy)
    verdict, entry, before = _settle(ledger, court, tick, run_key)
    after = follow(registry, ledger, name)
    result = RESULTS[verdict.outcome]
    tags = {
        "verdict_reason": verdict.reason,
        "verdict_digest": (entry and entry.verdict_digest) or verdict.digest(),
        VERDICT_TAG: result,  # last: it says that all the rest is done
    }
    registry.set_tags(name, registered.version, tags)
    note(f"{name} version {registered.version} {result}: {verdict.reason}")
    return record.Promoted(
        result=result,
        verdict=verdict,
        version=registered.version,
        champion_before=before,
        champion_after=after,
        ledger_entry=entry.number if entry else None,
        at=record.now(),
    )


def _settle(ledger: Ledger, court: _Court, tick: str, run_key: str) -> tuple[Verdict, Entry | None, str | None]:
    """The verdict, its ledger entry where it promotes, and the champion it was reached against."""
    while True:
        entries, generation = ledger.read()
        for done in entries:
            if (done.event, done.run_key, done.version) == ("promote", run_key, court.version):
                return court.recall(done), done, done.previous
        present = champion(entries)
        verdict = court.judge(present)
        if verdict.outcome != "promote":
            return verdict, None, present
        entry = Entry(
            number=len(entries) + 1,
            event="promote",
            version=court.version,
            previous=present,
            run_key=run_key,
            verdict_digest=verdict.digest(),
            reason=verdict.reason,
            tick=tick,
            at=record.now(),
        )
        try:
            ledger.append(entry, generation)
        except LedgerConflict:
            note(f"{court.name}: another run promoted in the meantime; deciding again, against its champion")
            continue
        return verdict, entry, present


@dataclass(frozen=True)
class _Court:
    """Judges one challenger, against whichever version is champion when it is asked."""

    registry: Registry
    name: str
    run_folder: Path
    version: str
    evaluated: record.Evaluated
    policy: Gate

    def judge(self, champion_version: str | None) -> Verdict:
        challenger = Candidate.load(self.evaluated.challenger, self.run_folder)
        if champion_version is None:
            return decide(challenger, None, self.policy)
        if champion_version == self.version:
            return not_comparable("fail", f"Version {self.version} is the champion already.")
        rival = self._rival(champion_version)
        if rival is None:
            return not_comparable(
                "undecided",
                f"Version {champion_version} has become champion since the evaluation, and its predictions are not in "
                "the run records.",
            )
        try:
            return decide(challenger, rival, self.policy)
        except EvaluationError as error:
            return not_comparable("undecided", error.message)

    def recall(self, done: Entry) -> Verdict:
        """The verdict behind a ledger entry; in the ledger's own words where it can be reached no more."""
        try:
            verdict = self.judge(done.previous)
        except InceptionError:
            verdict = None
        if verdict is not None and verdict.digest() == done.verdict_digest:
            return verdict
        return Verdict(outcome="promote", reason=done.reason, rules=[])

    def _rival(self, version: str) -> Candidate | None:
        if version == self.evaluated.champion_version and self.evaluated.champion is not None:
            return Candidate.load(self.evaluated.champion, self.run_folder)
        run_key = self.registry.get(self.name, version).tags.get(RUN_KEY_TAG)
        folder = self.run_folder.parent / run_key if run_key else None
        theirs = record.find(folder, record.Evaluated) if folder else None
        if folder is None or theirs is None:
            return None
        try:
            return Candidate.load(theirs.challenger, folder)
        except (StateError, EvaluationError):
            return None
