"""A project folder with environments, beside the test's own pipeline server."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from pipelines.cli import main

RECIPE = """
[data]
source = "digits"

[model]
variant = "inception_module"
image_size = 8

[train]
epochs = 30
batch_size = 32
optimizer = { name = "adamw", learning_rate = 0.003 }

[gate]
threshold = 0.97

[registry]
name = "digits"
"""

DIGEST = "@sha256:" + "0123456789abcdef" * 4

ENVIRONMENT = """
[server]
endpoint = "ADDRESS"
timeout = 20.0

[images]
light = "registry.test/light{d}"
cpu = "registry.test/cpu{d}"
gpu = "registry.test/gpu{d}"

[state]
claim = "inception-state"
""".replace("{d}", DIGEST)

Answer = tuple[int, str, str]


@dataclass
class Project:
    """A folder that `inception` is called in."""

    folder: Path
    server: Any
    """`Api` of tests/support/kfp_api.py."""
    ask: Callable[..., Answer]
    """The command as it is typed: exit status, standard output and standard error."""

    def environment(self, name: str = "here", text: str = ENVIRONMENT, more: str = "") -> None:
        file = self.folder / "configs" / "environments" / f"{name}.toml"
        file.write_text(text.replace("ADDRESS", self.server.address) + more)

    def schedules(self, text: str) -> None:
        (self.folder / "configs" / "schedules.toml").write_text(text)


_COMPILED: dict[tuple[str, str, bool], str] = {}


@pytest.fixture
def compiled_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """What was compiled once is not compiled again: the YAML knows nothing of a server's address."""
    from pipelines import compiling

    real = compiling.compiled_text

    def remembered(recipe: Any = None, environment: Any = None, allow_tags: bool = False) -> str:
        if environment is None:
            return real(recipe, None, allow_tags)
        elsewhere = environment.model_dump_json(exclude={"server": {"endpoint"}})
        key = (compiling.asked(recipe, environment) if recipe else "", elsewhere, allow_tags)
        if key not in _COMPILED:
            _COMPILED[key] = real(recipe, environment, allow_tags)
        return _COMPILED[key]

    monkeypatch.setattr(compiling, "compiled_text", remembered)


@pytest.fixture
def project(
    kfp: Any,
    compiled_once: None,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> Project:
    """With configs/digits.toml and the environment `here`, which is the test's server."""

    def ask(*words: str) -> Answer:
        with pytest.raises(SystemExit) as ended:
            main(list(words))
        said = capfd.readouterr()
        assert "Traceback" not in said.out + said.err
        return int(ended.value.code or 0), said.out, said.err

    (tmp_path / "configs" / "environments").mkdir(parents=True)
    (tmp_path / "configs" / "digits.toml").write_text(RECIPE)
    monkeypatch.chdir(tmp_path)
    made = Project(tmp_path, kfp, ask)
    made.environment()
    return made
