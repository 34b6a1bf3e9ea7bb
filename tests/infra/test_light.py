"""The steps of the image `light` do their work without the packages that the image leaves out."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

LEFT_OUT = (
    "tensorflow",
    "keras",
    "scipy",
    "pandas",
    "pyarrow",
    "sklearn",
    "flask",
    "onnxruntime",
    "tensorflow_datasets",
)
PROGRAM = f"""
import sys
from importlib.machinery import PathFinder

class Installed(PathFinder):
    @classmethod
    def find_spec(cls, name, path=None, target=None):
        return None if name.partition(".")[0] in {LEFT_OUT!r} else PathFinder.find_spec(name, path, target)

sys.meta_path[sys.meta_path.index(PathFinder)] = Installed

import trainer.card, trainer.lookup, trainer.promote, trainer.register, trainer.report
from trainer.check import check
from trainer.config import load
from trainer.gate.paired import gain_interval, mcnemar
from trainer.registry import opened
from trainer.state import State

state = State.open(sys.argv[1])
recipe = load(sys.argv[2])
checked = check(recipe, state, *opened(state, recipe.registry.name), "tick")
print(checked.decision, mcnemar(9, 3), gain_interval(9, 3, 100, 0.95, 100))
"""


def test_light_steps_need_none_of_what_the_image_leaves_out(tmp_path: Path) -> None:
    """Checking, deciding and drawing go without TensorFlow, SciPy, pandas and Arrow, on the embedded store too."""
    recipe = Path(__file__).resolve().parents[2] / "configs" / "digits.toml"
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(tmp_path), str(recipe)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.split("\n")[-2].startswith("work 0.07299")
