"""What the tutorial's own set-up costs in memory: its way needs 36 GB."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
CIFAR = ROOT / ".." / "shared" / "data" / "tfds"
LIMIT = 2 * 2**30

PROGRAM = """
import json, re, sys
from pathlib import Path
from trainer import config
from trainer.data.sources import open_source
from trainer.state import State

verb, root, data_dir, recipe = sys.argv[1:]
recipe = config.load(recipe, [f'data.data_dir="{data_dir}"'])
state = State.open(root)
fingerprint = open_source(recipe.data, state).fingerprint().digest
if verb == "prepare":
    from trainer.prepare import prepare
    told = {"images": sum(map(sum, prepare(recipe.data, fingerprint, state).counts.values()))}
else:
    from trainer.data.feed import Feed
    from trainer.data.prepared import open_prepared
    from trainer.models import classifier, zoo
    from trainer.training.learner import Learner
    size = zoo.resolve(recipe.model).image_size
    train = open_prepared(state.data(fingerprint)).split("train")
    feed = Feed(train, recipe.train, size)
    learner = Learner(classifier.for_training(recipe.model, 10, feed.shape), recipe.train, 10)
    learner.advance(iter(feed.batches(0, 2)), [0.01, 0.01])
    told = {"size": size}
# Not getrusage's: that counts what the process that began this one had, too.
peak = int(re.search(r"VmHWM:\\s+(\\d+) kB", Path("/proc/self/status").read_text())[1]) * 1024
print(json.dumps(told | {"peak": peak}))
"""


def told(*arguments: object) -> dict[str, int]:
    words = [sys.executable, "-c", PROGRAM, *map(str, arguments)]
    done = subprocess.run(words, capture_output=True, text=True, check=True)
    return json.loads(done.stdout.splitlines()[-1])  # type: ignore[no-any-return]


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="no /proc to read the peak from")
@pytest.mark.skipif(not CIFAR.is_dir(), reason="the real CIFAR-10 is not beside this checkout")
def test_googlenet_at_224_pixels_on_60000_images_stays_under_2_gb(tmp_path: Path) -> None:
    """Each step is a process of its own, as in the pipeline: neither preparing nor training needs more."""
    place = tmp_path, CIFAR.resolve(), ROOT / "configs" / "cifar10_googlenet.toml"
    prepared, trained = told("prepare", *place), told("train", *place)
    assert (prepared["images"], trained["size"]) == (60000, 224)
    assert prepared["peak"] < LIMIT
    assert trained["peak"] < LIMIT
