"""What the fused batch normalisation is worth: training steps with it and with Keras' own layer, in turn.

    python benchmarks/fused_normalisation.py [--batch-size 128] [VARIANT ...]

Prints a Markdown table: images per second of the fastest of `--rounds` rounds, forward, backward and SGD, on 32×32
images with the small stem, in each precision. The two take turns, so that a busy machine slows both down.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable

import keras
import numpy as np
import tensorflow as tf

from trainer.config import Model
from trainer.models import zoo

NORMALISED = [name for name, row in zoo.VARIANTS.items() if "bn_gamma" in row.options]
CLASSES = 10
STEPS = 2


def stepper(variant: str, batch_size: int, fused: bool) -> Callable[[], None]:
    """A compiled training step that has run before. Waits for its end."""
    network = zoo.build(Model(variant=variant, stem="small"), CLASSES, fused=fused)
    optimizer = keras.optimizers.SGD(1e-3, momentum=0.9, nesterov=True)
    optimizer.build(network.trainable_variables)
    size = network.input_shape[1]
    images = tf.constant(np.random.default_rng(0).uniform(-1, 1, (batch_size, size, size, 3)), tf.float32)
    labels = np.arange(batch_size) % CLASSES

    def step() -> tf.Tensor:
        with tf.GradientTape() as tape:
            outputs = network(images, training=True).values()
            losses = [tf.nn.sparse_softmax_cross_entropy_with_logits(labels, logits) for logits in outputs]
            loss = tf.reduce_mean(tf.add_n(losses))
        optimizer.apply(tape.gradient(loss, network.trainable_variables), network.trainable_variables)
        return loss

    compiled = tf.function(step)

    def run() -> None:
        compiled().numpy()

    run()
    return run


def seconds(step: Callable[[], None]) -> float:
    begun = time.perf_counter()
    for _ in range(STEPS):
        step()
    return (time.perf_counter() - begun) / STEPS


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("variants", nargs="*", default=NORMALISED, metavar="VARIANT")
    parser.add_argument("--batch-size", type=int, default=128)
    parser.add_argument("--rounds", type=int, default=5)
    arguments = parser.parse_args()
    print("| variant | precision | stock, images/s | fused, images/s | factor |\n|---|---|---|---|---|", flush=True)
    for variant in arguments.variants:
        for precision in ("float32", "mixed_bfloat16"):
            keras.mixed_precision.set_dtype_policy(precision)
            both = [stepper(variant, arguments.batch_size, fused) for fused in (False, True)]
            rounds = np.array([[seconds(step) for step in both] for _ in range(arguments.rounds)])
            stock, fused = arguments.batch_size / rounds.min(axis=0)
            print(f"| {variant} | {precision} | {stock:,.0f} | {fused:,.0f} | {fused / stock:.2f} |", flush=True)


if __name__ == "__main__":
    main()
