"""The pipeline's steps as a cluster runs them: each in a process of its own, with a state folder of its own.

Pauses are shorter than on a cluster. Nothing is handed from one to the next but what the pipeline hands over:
parameters, in the order of `pipelines/retrain.py`.
"""

from __future__ import annotations

import importlib
import json
import os
import subprocess
import sys
import types
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

OUTPUTS = {"metrics": "Metrics", "confusion": "ClassificationMetrics", "summary": "Markdown", "card": "HTML"}
"""Artifacts that steps are given to write to, by the names of their parameters, and what kfp calls them."""


def called(name: str, folder: Path, given: dict[str, Any]) -> Any:
    """Call a step as the orchestrator does. Returns its output parameters."""
    from kfp import dsl

    step = getattr(importlib.import_module(f"components.{name}"), name).python_func
    for output, kind in OUTPUTS.items():
        if output in step.__annotations__:
            given[output] = getattr(dsl, kind)(name=output, uri=str(folder / output), metadata={})
    if "status" in given:
        given["status"] = types.SimpleNamespace(state=given["status"])
    return step(**given)


@dataclass
class Pods:
    """One pipeline run after the other.

    Attributes:
        at: folder in which every step gets an empty one.
        variables: the steps' environment, beside this process's.
    """

    at: Path
    variables: dict[str, str]
    said: list[str] = field(default_factory=list)
    """What the steps printed."""
    _count: int = 0

    def run(self, recipe: str, tick: str) -> dict[str, Any]:
        """A pipeline run. Returns its outcome."""
        status = "SUCCEEDED"
        try:
            work = self.step("check", recipe=recipe, tick=tick, variant="", epochs=0, threshold=-1.0, force=False)
            decision, run_key, fingerprint, data, resolved, missing = work
            if decision == "work":
                self.step("prepare", data=data, fingerprint=fingerprint, missing=missing)
                common = {"recipe": resolved, "run_key": run_key}
                uri = self.step("train", **common, fingerprint=fingerprint, missing=missing)
                accuracy = self.step("evaluate", **common, fingerprint=fingerprint, model_uri=uri)
                version = self.step("register", **common, accuracy=accuracy, tick=tick)
                self.step("promote", **common, version=version, tick=tick)
        except StepFailed:
            status = "FAILED"
        self.step("report", tick=tick, status=status)
        outcome: dict[str, Any] = json.loads((self.root / "ticks" / tick / "outcome.json").read_bytes())
        return outcome

    def step(self, name: str, **given: Any) -> Any:
        """One step in a new pod. Errors: StepFailed."""
        process = self.start(name, **given)
        said, _ = process.communicate(timeout=300)
        self.said.append(said)
        if process.returncode:
            raise StepFailed(f"{name}: {process.returncode}\n{said}")
        return json.loads(said.rpartition("DONE ")[2])

    def start(self, name: str, **given: Any) -> subprocess.Popen[str]:
        self._count += 1
        folder = self.at / f"{self._count:02d}-{name}"
        folder.mkdir(parents=True)
        return subprocess.Popen(
            [sys.executable, __file__, name, str(folder), json.dumps({**given, "root": str(self.root)})],
            cwd=folder,
            env=os.environ | self.variables,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    @property
    def root(self) -> Path:
        """The state folder of the newest pod."""
        return next(self.at.glob(f"{self._count:02d}-*")) / "state"


class StepFailed(Exception):
    pass


class OneMachine(Pods):
    """All steps in this process, with one state folder."""

    def step(self, name: str, **given: Any) -> Any:
        self.at.mkdir(exist_ok=True)
        return called(name, self.at, {**given, "root": str(self.root)})

    @property
    def root(self) -> Path:
        return self.at / "state"


def _main() -> None:
    from google.cloud.storage import retry

    from trainer.sharing import lease

    retry.DEFAULT_RETRY = retry.DEFAULT_RETRY.with_delay(initial=0.01, maximum=0.1)
    lease.RENEW_SECONDS, lease.STALE_SECONDS, lease.LOOK_SECONDS = 0.5, 3.0, 0.1
    print("DONE " + json.dumps(called(sys.argv[1], Path(sys.argv[2]), json.loads(sys.argv[3]))))


if __name__ == "__main__":
    _main()
