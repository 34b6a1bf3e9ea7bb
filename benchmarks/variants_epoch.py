"""One epoch on real CIFAR-10 images for every variant, through the project's own feed and step.

    python benchmarks/variants_epoch.py --data-dir PATH [--images 5000]

Prints a Markdown table: loss over the first and the last quarter of the epoch, images per second, peak memory, and the
seconds it takes to build the variant at its paper's size. Every variant runs in a process of its own.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from importlib.metadata import version
from pathlib import Path
from typing import Any

CONFIGS = Path(__file__).resolve().parents[1] / "configs"
RECIPES = {
    "inception_module": "cifar10_module",
    "googlenet": "cifar10_googlenet_small",
    **{
        name: f"cifar10_{name}"
        for name in ("inception_v2", "inception_v3", "inception_v4", "inception_resnet_v1", "inception_resnet_v2")
    },
}


def measure(variant: str, state_root: str, overrides: list[str]) -> dict[str, Any]:
    """One variant, in this process."""
    import keras
    import numpy as np

    from trainer import config
    from trainer.data.feed import Feed
    from trainer.data.prepared import open_prepared
    from trainer.data.sources import open_source
    from trainer.models import classifier, zoo
    from trainer.state import State
    from trainer.training import precision
    from trainer.training.learner import Learner
    from trainer.training.phases import phases

    recipe = config.load(CONFIGS / f"{RECIPES[variant]}.toml", overrides)
    state = State.open(state_root)
    chosen = precision.choose("auto", [], precision.cpu_flags()).policy
    keras.mixed_precision.set_dtype_policy(chosen)
    keras.utils.set_random_seed(recipe.train.seed)
    dataset = open_prepared(state.data(open_source(recipe.data, state).fingerprint().digest))
    options = zoo.resolve(recipe.model)
    feed = Feed(dataset.split("train"), recipe.train, options.image_size)
    model = classifier.for_training(recipe.model, len(dataset.manifest.classes), feed.shape)
    learner = Learner(model, recipe.train, len(dataset.manifest.classes))
    [phase] = phases(recipe, model.get_layer(variant), feed.steps_per_epoch)
    losses, begun = [], 0.0
    batches = iter(feed.batches(0, feed.steps_per_epoch))
    for step in range(feed.steps_per_epoch):
        learner.advance(batches, [phase.rate(step)])
        losses.append(learner.score().loss)
        learner.reset()
        if step == 0:
            begun = time.perf_counter()  # the first step compiles
    images_per_second = (len(losses) - 1) * recipe.train.batch_size / (time.perf_counter() - begun)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    started = time.perf_counter()
    zoo.build(config.Model(variant=variant), 1000)
    built = time.perf_counter() - started
    quarter = max(1, len(losses) // 4)
    return {
        "variant": variant,
        "parameters": model.count_params(),
        "precision": chosen,
        "first": float(np.mean(losses[:quarter])),
        "last": float(np.mean(losses[-quarter:])),
        "images_per_second": images_per_second,
        "peak_gb": peak / 1e9,
        "build_seconds": built,
    }


def prepare(state_root: str, overrides: list[str]) -> None:
    from trainer import config
    from trainer.data.sources import open_source
    from trainer.prepare import prepare as verb
    from trainer.state import State

    recipe = config.load(CONFIGS / "cifar10_module.toml", overrides)
    state = State.open(state_root)
    verb(recipe.data, open_source(recipe.data, state).fingerprint().digest, state)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data-dir", required=True, help="TFDS folder that holds cifar10")
    parser.add_argument("--images", type=int, default=5000, help="training images")
    parser.add_argument("--variant", choices=RECIPES, help="only this one, in this process")
    parser.add_argument("--state", help="where the prepared slice is kept; left out: nowhere")
    arguments = parser.parse_args()
    overrides = [f'data.data_dir="{arguments.data_dir}"', f"data.limit={arguments.images}", "train.epochs=1"]
    if arguments.variant:
        print(json.dumps(measure(arguments.variant, arguments.state, overrides)))
        return
    with tempfile.TemporaryDirectory() as scratch:
        state_root = arguments.state or scratch
        prepare(state_root, overrides)
        print(", ".join(f"{name} {version(name)}" for name in ("tensorflow", "keras", "numpy")) + "\n")
        print("| variant | parameters | loss, first quarter | last quarter | images/s | peak, GB | built in, s |")
        print("|---|---|---|---|---|---|---|")
        for variant in RECIPES:
            words = [sys.executable, __file__, "--variant", variant, "--state", state_root]
            words += ["--data-dir", arguments.data_dir, "--images", str(arguments.images)]
            done = subprocess.run(words, capture_output=True, text=True, check=False)
            if done.returncode:
                print(f"| {variant} | failed: {done.stderr.strip().splitlines()[-1]} |")
                continue
            row = json.loads(done.stdout.splitlines()[-1])
            print(
                f"| {variant} | {row['parameters']:,} | {row['first']:.3f} | {row['last']:.3f} | "
                f"{row['images_per_second']:,.0f} | {row['peak_gb']:.2f} | {row['build_seconds']:.1f} |",
                flush=True,
            )


if __name__ == "__main__":
    main()
