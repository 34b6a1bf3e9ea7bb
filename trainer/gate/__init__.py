"""The decision, pure: does the challenger deserve to be champion?

Each rule looks at the two candidates under the recipe's policy and says pass, fail, undecided or not applicable, with
its figure and its limit. The verdict follows from the rules: one that fails keeps the champion, one that is undecided
leaves the verdict undecided, and only a challenger that meets them all is promoted. A new rule is a function and a row
in `decision.COMPARISONS`.

decision.py    all rules on one challenger
verdict.py     what comes of them
candidate.py   a model as the gate sees it: scorecard and per-example answers
case.py        challenger, champion, policy and circumstances: all that a rule may look at
standing.py    rules on the challenger alone: scored, golden, comparable, threshold, calibration
gain.py        rules that ask for a gain: improvement, effect, significance
guards.py      rules that guard the rest: class drop, latency, size
paired.py      McNemar's exact test, the paired bootstrap, sample sizes
budget.py      the error budget: at which level the next decision may be made
"""

from __future__ import annotations

from trainer.gate.budget import level, spent
from trainer.gate.candidate import Candidate
from trainer.gate.case import Circumstances
from trainer.gate.decision import decide
from trainer.gate.paired import examples_needed, gain_interval, mcnemar
from trainer.gate.verdict import Rule, Ruling, Verdict, ineligible, not_comparable

__all__ = [
    "Candidate",
    "Circumstances",
    "Rule",
    "Ruling",
    "Verdict",
    "decide",
    "examples_needed",
    "gain_interval",
    "ineligible",
    "level",
    "mcnemar",
    "not_comparable",
    "spent",
]
