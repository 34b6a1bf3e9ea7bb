"""The walls between the rooms."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
ROOMS = ("trainer", "components", "pipelines")


def modules(room: str) -> list[Path]:
    return sorted((ROOT / room).rglob("*.py"))


def imports(tree: ast.AST) -> set[str]:
    """Every module named by an import statement anywhere in a tree."""
    named = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            named |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            named.add(node.module or "")
    return named


def top_level(tree: ast.Module) -> ast.Module:
    """A module without what is inside its functions."""
    kept = [node for node in tree.body if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)]
    return ast.Module(body=kept, type_ignores=[])


def packages(named: set[str]) -> set[str]:
    return {name.partition(".")[0] for name in named}


@pytest.mark.parametrize("path", modules("trainer"), ids=str)
def test_trainer_knows_nothing_of_kubeflow_and_of_the_rooms_above_it(path: Path) -> None:
    """No module of trainer imports kfp, components or pipelines, not even inside a function."""
    assert not packages(imports(ast.parse(path.read_text()))) & {"kfp", "kfp_kubernetes", "components", "pipelines"}


@pytest.mark.parametrize("path", modules("components"), ids=str)
def test_a_component_imports_only_kfp_at_module_level(path: Path) -> None:
    """A step's body travels alone, so what it needs of ours is imported inside it; and it never knows the pipelines."""
    tree = ast.parse(path.read_text())
    assert packages(imports(top_level(tree))) <= {"kfp", "typing", "__future__"}
    assert "pipelines" not in packages(imports(tree))


@pytest.mark.parametrize("path", [p for p in modules("components") if p.name != "__init__.py"], ids=str)
def test_a_component_wraps_the_verb_of_its_own_name(path: Path) -> None:
    """components/train.py imports trainer.train, and its body is short."""
    tree = ast.parse(path.read_text())
    assert f"trainer.{path.stem}" in imports(tree)
    [function] = [node for node in tree.body if isinstance(node, ast.FunctionDef)]
    statements = sum(isinstance(node, ast.stmt) for node in ast.walk(function)) - 1
    assert statements <= 25


def test_only_tracking_opens_an_mlflow_run() -> None:
    """Runs and logged models are made and ended in trainer/tracking/ and nowhere else."""
    opening = {"start_run", "end_run", "create_run", "set_terminated", "create_logged_model"}
    callers = set()
    for room in ROOMS:
        for path in modules(room):
            for node in ast.walk(ast.parse(path.read_text())):
                if isinstance(node, ast.Attribute) and node.attr in opening:
                    callers.add(path.relative_to(ROOT).as_posix())
    assert callers == {"trainer/tracking/opening.py", "trainer/tracking/logged_model.py"}


HEAVY = ("tensorflow", "keras", "mlflow", "kfp", "torch", "jax")
LIGHT_MODULES = {
    "pipelines.cli": HEAVY,
    "trainer.config": HEAVY,
    "trainer.errors": HEAVY,
    "trainer.events": HEAVY,
    "trainer.gate": HEAVY,
    "trainer.models.zoo": HEAVY,
    "trainer.record": HEAVY,
    "trainer.scorecard": HEAVY,
    "trainer.state": HEAVY,
    "trainer.check": ("tensorflow", "keras"),
    "trainer.register": ("tensorflow", "keras"),
    "trainer.promote": ("tensorflow", "keras"),
    "trainer.report": ("tensorflow", "keras", "mlflow"),
}


@pytest.mark.parametrize(("module", "heavy"), LIGHT_MODULES.items(), ids=LIGHT_MODULES)
def test_light_modules_load_nothing_heavy(module: str, heavy: tuple[str, ...]) -> None:
    """What must start at once, or run in an image without TensorFlow, does not import it."""
    program = f"import sys, {module}; print(*[name for name in {heavy!r} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.split() == []


def test_help_loads_nothing_heavy() -> None:
    """`inception --help` prints every command without loading TensorFlow, MLflow or kfp."""
    program = (
        "import sys\nfrom pipelines.cli import _status\n_status(['--help'])\n"
        f"print('HEAVY', *[name for name in {HEAVY!r} if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert "Commands:" in done.stdout
    assert done.stdout.rstrip().endswith("HEAVY")
