"""One challenger before the gate."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from trainer import record, sharing
from trainer.config import Gate
from trainer.errors import EvaluationError, InceptionError
from trainer.gate import Candidate, Circumstances, Verdict, decide, ineligible, level
from trainer.promotion import rival, verdicts
from trainer.promotion.rival import Rival
from trainer.registry.protocol import RUN_KEY_TAG, VERDICT_TAG, Entry, Registry, Trial, retired
from trainer.state import State


@dataclass(frozen=True)
class Judgement:
    """A verdict, and what reaching it spent of the error budget: nothing where nothing was tested."""

    verdict: Verdict
    trial: Trial | None = None


@dataclass(frozen=True)
class Court:
    """Judges one challenger, against whichever version is champion when it is asked.

    Attributes:
        registry: says which run made a version.
        name: the registered model.
        run_folder: the challenger's run record, named by its run key, among its siblings.
        version: the challenger.
        evaluated: what its evaluation found.
        policy: what it must show.
        shared: the state folder whose records may lie in a store; None: they are all here.
    """

    registry: Registry
    name: str
    run_folder: Path
    version: str
    evaluated: record.Evaluated
    policy: Gate
    shared: State | None = None

    def judge(self, champion: str | None, entries: Sequence[Entry]) -> Judgement:
        """The verdict against a version, or alone where nobody is champion.

        Args:
            champion: the version to beat.
            entries: the ledger so far, for what is left of the error budget.

        Errors: StateError, EvaluationError (the challenger's own predictions are missing or damaged).
        """
        if champion == self.version:
            return Judgement(ineligible(f"Version {self.version} is the champion already."))
        if self.version in retired(entries):
            return Judgement(ineligible(f"Version {self.version} was retired before it could be decided on."))
        twin = next((one for one in entries if one.event == "retire" and one.run_key == self.run_folder.name), None)
        if twin is not None:
            text = f"Version {twin.challenger}, made of the same images, recipe and code, was retired: {twin.reason}"
            return Judgement(ineligible(text))
        challenger = Candidate.load(self.evaluated.challenger, self.run_folder)
        golden = self.evaluated.golden
        if champion is None:
            return Judgement(decide(challenger, None, self.policy, Circumstances(golden=golden)))
        found = self._rival(champion)
        circumstances = replace(found.circumstances, golden=golden)
        if found.candidate is None:
            return Judgement(decide(challenger, None, self.policy, circumstances))
        compared = (circumstances.compared or challenger).scorecard
        if self.policy.policy == "paired":
            share = level(entries, self.policy, compared.test_digest, compared.examples)
            circumstances = replace(circumstances, level=share)
        try:
            verdict = decide(challenger, found.candidate, self.policy, circumstances)
        except EvaluationError as error:
            alone = Circumstances(incomparable=error.message, golden=golden)
            return Judgement(decide(challenger, None, self.policy, alone))
        tested = verdict.rule("significance")
        if tested is None or circumstances.level is None:
            return Judgement(verdict)
        trial = Trial(
            test_digest=compared.test_digest,
            examples=compared.examples,
            level=circumstances.level,
            p_value=tested.figure,
        )
        return Judgement(verdict, trial)

    def recall(self, done: Entry, entries: Sequence[Entry]) -> Verdict:
        """The verdict behind a ledger entry: as it was kept, else as it can be reached again.

        Where it can be reached no more, it is told in the ledger's own words.

        Args:
            done: the entry.
            entries: those before it.
        """
        kept = verdicts.find(self.run_folder, done.verdict_digest or "")
        if kept is not None:
            return kept
        try:
            again = self.judge(done.previous, entries).verdict
        except InceptionError:
            again = None
        if again is not None and again.digest() == done.verdict_digest:
            return again
        if done.event == "promote":
            return Verdict(outcome="promote", reason=done.reason, rules=[])
        # The ledger does not tell the two apart in which the champion stays; the version's tag does.
        open_ = self.registry.get(self.name, self.version).tags.get(VERDICT_TAG) == "undecided"
        return Verdict(outcome="undecided" if open_ else "keep", reason=done.reason, rules=[])

    def _rival(self, champion: str) -> Rival:
        if champion == self.evaluated.champion_version:
            return rival.as_evaluated(self.run_folder, self.evaluated)
        run_key = self.registry.get(self.name, champion).tags.get(RUN_KEY_TAG)
        folder = self.run_folder.parent / run_key if run_key else None
        if self.shared is not None and folder is not None:
            sharing.fetch(self.shared, folder)
        return rival.from_records(champion, folder, self.evaluated, self.run_folder)
