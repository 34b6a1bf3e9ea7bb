"""Retraining by the clock on one machine: real ticks, seconds apart, on a folder of images that grows."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from sklearn.datasets import load_digits

from pipelines.tick_process import GRACE_SECONDS

COMMAND = str(Path(sys.executable).with_name("inception"))
RECIPE = """
[data]
source = "folder:images"
test_fraction = 0.2
validation_fraction = 0.2
[model]
variant = "inception_module"
image_size = 8
width = 0.2
[train]
epochs = 3
batch_size = 32
[train.optimizer]
name = "adamw"
learning_rate = 0.005
[gate]
threshold = 0.15
policy = "threshold"
[registry]
name = "growing"
"""
SCHEDULES = """
[[schedule]]
name = "often"
recipe = "growing.toml"
cron = "*/2 * * * * *"
"""
PATIENCE_SECONDS = 480


class Site:
    """A folder with images, a recipe and a schedule file, and a scheduler that serves it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        (folder / "growing.toml").write_text(RECIPE)
        (folder / "schedules.toml").write_text(SCHEDULES)
        self.taken = 0
        self.serving: list[subprocess.Popen[str]] = []

    def grow(self, count: int) -> None:
        """Add real digits, written beside and moved in."""
        digits = load_digits()
        for index in range(self.taken, self.taken + count):
            place = self.folder / "images" / str(digits.target[index])
            place.mkdir(parents=True, exist_ok=True)
            Image.fromarray((digits.images[index] * 15.9).astype(np.uint8)).save(self.folder / "new.png")
            os.replace(self.folder / "new.png", place / f"{index}.png")
        self.taken += count

    def serve(self) -> subprocess.Popen[str]:
        words = ["schedule", "serve", "--file", "schedules.toml", "--state", "state"]
        with open(self.folder / "serve.log", "a") as log:
            process = subprocess.Popen(
                [COMMAND, *words], cwd=self.folder, stdout=log, stderr=log, text=True, start_new_session=True
            )
        self.serving.append(process)
        return process

    def close(self) -> None:
        """A test that fails leaves no scheduler behind."""
        for process in self.serving:
            process.terminate()
            process.wait(GRACE_SECONDS + 30)

    def ticks(self) -> list[dict[str, Any]]:
        path = self.folder / "state" / "schedules" / "ticks.jsonl"
        return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []

    def wait(
        self, done: Callable[[list[dict[str, Any]]], bool], process: subprocess.Popen[str]
    ) -> list[dict[str, Any]]:
        deadline = time.monotonic() + PATIENCE_SECONDS
        while not done(found := self.ticks()):
            assert process.poll() is None, (self.folder / "serve.log").read_text()
            assert time.monotonic() < deadline, (self.folder / "serve.log").read_text()
            time.sleep(0.2)
        return found


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    with closing(Site(tmp_path)) as made:
        yield made


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_ticks_promote_skip_and_retrain_as_the_images_grow(site: Site, tmp_path: Path) -> None:
    """The first tick promotes, the next finds nothing changed; after a kill and a restart new images are trained on.

    A stop in the middle of a tick leaves it to be taken up at the next start, and no two ticks overlap.
    """
    site.grow(900)
    serving = site.serve()
    site.wait(lambda ticks: len(ticks) >= 2, serving)
    os.kill(serving.pid, signal.SIGKILL)
    serving.wait()
    site.grow(200)

    serving = site.serve()
    site.wait(lambda ticks: any(one["version"] == "2" for one in ticks), serving)
    serving.send_signal(signal.SIGTERM)
    assert serving.wait(60) == 0
    ticks = site.ticks()
    assert (ticks[0]["result"], ticks[0]["version"]) == ("promoted", "1")
    assert ticks[1]["result"] == "skipped"
    retrained = next(one for one in ticks if one["version"] == "2")
    assert retrained["result"] in ("promoted", "kept")
    assert all(earlier["ended"] <= later["started"] for earlier, later in pairwise(ticks))

    site.grow(100)
    now = datetime.now(UTC).isoformat()
    serving = site.serve()
    mark = tmp_path / "state" / "schedules" / "running.json"
    # The stop before may have left one.
    site.wait(lambda _: mark.exists() and json.loads(mark.read_text())["started"] > now, serving)
    time.sleep(1)
    serving.send_signal(signal.SIGTERM)
    assert serving.wait(90) == 0
    assert site.ticks()[-1]["result"] == "interrupted"
    assert mark.exists()
    before = len(site.ticks())
    once = subprocess.run(
        [COMMAND, "schedule", "serve", "--once", "--file", "schedules.toml", "--state", "state"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=PATIENCE_SECONDS,
        check=False,
    )
    assert once.returncode == 0, once.stderr
    assert "taking it up again" in once.stdout
    done = site.ticks()[before:]
    assert [one["version"] for one in done if one["result"] != "skipped"] == ["3"]
    assert not mark.exists()
