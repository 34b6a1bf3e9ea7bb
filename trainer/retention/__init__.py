"""What of a model's past may go, and its going: `inception models prune`.

`plan.py` says what stays and what goes, and why; `sweep.py` carries it out, looking again before every deletion.
`versions.py` judges versions, `folders.py` knows the state folder, `tracked.py` what MLflow keeps of a run. What is not
inside the state folder is deleted by MLflow's own API or not at all.
"""

from __future__ import annotations

from trainer.retention.plan import Item, Plan, plan
from trainer.retention.sweep import Sweep
from trainer.retention.tracked import Tracked

__all__ = ["Item", "Plan", "Sweep", "Tracked", "plan"]
