"""Every command that the documents tell a reader to type is typed here, in order, unless the page says why not.

One reader follows all pages on one machine, beginning with five minutes. The README's first block is what that page
begins with too, and is not typed twice.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path

import documents
import pytest

ROOT = Path(__file__).resolve().parents[2]
ORDER = ["start", "own-images", "tuning", "publishing", "rollback"]
"""Pages that lead somewhere; the others are read after them."""
BEFORE = {"rollback": "inception models promote digits 2 --reason 'a mistake, to be taken back' --yes"}
"""What must have happened before a page makes sense."""
FILES = ("Makefile", "pyproject.toml", "configs", "requirements")

pytestmark = pytest.mark.slow


PAGES = sorted(documents.PAGES, key=lambda page: ORDER.index(page.stem) if page.stem in ORDER else len(ORDER))
BLOCKS = [
    pytest.param(block, id=str(block))
    for page in PAGES
    for block in documents.blocks(page)
    if not (block.why_not or block.run_by)
]


@dataclass
class Reader:
    folder: Path
    typed: dict[str, list[str]] = field(default_factory=dict)
    """What every command printed, each time."""
    before: dict[str, str] = field(default_factory=lambda: dict(BEFORE))

    def environment(self) -> dict[str, str]:
        kept = {key: value for key, value in os.environ.items() if not key.startswith(("MLFLOW_", "INCEPTION_"))}
        return kept | {"PATH": f"{self.folder / '.venv' / 'bin'}{os.pathsep}{os.environ['PATH']}"}

    def type(self, command: str) -> str:
        done = subprocess.run(
            ["bash", "-c", command],
            cwd=self.folder,
            env=self.environment(),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=400,
            check=False,
        )
        assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
        self.typed.setdefault(command, []).append(done.stdout)
        return done.stdout

    def type_and_stop(self, command: str) -> str:
        """What it says first; then it is asked to stop, upon which it ends without an error."""
        with subprocess.Popen(
            ["bash", "-c", f"exec {command}"],
            cwd=self.folder,
            env=self.environment() | {"PYTHONUNBUFFERED": "1"},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        ) as process:
            assert process.stdout is not None
            said = process.stdout.readline()
            process.terminate()
            rest = process.stdout.read()
        assert process.returncode in (0, 143), said + rest
        return said


@pytest.fixture(scope="module")
def reader(tmp_path_factory: pytest.TempPathFactory) -> Reader:
    """In a checkout with an environment, a recipe of their own and some photographs."""
    from PIL import Image

    folder = tmp_path_factory.mktemp("checkout")
    for name in FILES:
        (shutil.copytree if (ROOT / name).is_dir() else shutil.copy2)(ROOT / name, folder / name)
    # Older than the environment, or `make` would install this checkout into it.
    for path in folder.rglob("*"):
        os.utime(path, (0, 0))
    (folder / ".venv").symlink_to(Path(sys.executable).parents[1])
    for kind, colour in {"cat": "grey", "dog": "brown"}.items():
        (folder / "photographs" / kind).mkdir(parents=True)
        for number in range(30):
            picture = Image.effect_noise((40, 30), 10 + number).convert("RGB")
            Image.blend(picture, Image.new("RGB", (40, 30), colour), 0.5).save(
                folder / "photographs" / kind / f"{number}.png"
            )
    return Reader(folder)


@pytest.mark.parametrize("block", BLOCKS)
def test_what_a_page_says_to_type_works(reader: Reader, block: documents.Block) -> None:
    """Every command ends well, and a run ends as the page shows."""
    if block.endless:
        [command] = block.commands
        assert reader.type_and_stop(command)
        return
    if what := reader.before.pop(block.page.stem, None):
        reader.type(what)
    repeated = block.page.name == "README.md" and all(command in reader.typed for command in block.commands)
    before = {command: iter(outputs) for command, outputs in reader.typed.items()} if repeated else {}
    printed = [next(before[command]) if repeated else reader.type(command) for command in block.commands]
    endings = [line.split()[0] for output in printed for line in output.splitlines() if documents.WORD.match(line)]
    assert not block.words or endings == block.words
