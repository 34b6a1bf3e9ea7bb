"""Batch normalisation that trains through TensorFlow's fused operation.

Keras computes the moments of a batch in separate float32 operations, which on a processor can take most of a small
bfloat16 network's time; the fused one reads and writes bfloat16 and keeps its sums in float32. The variables and their
names are Keras' own, so the weights fit a network of stock layers, which is what is registered.
"""

from __future__ import annotations

from typing import Any

import keras
from keras import layers

IMAGES_RANK = 4


class FusedBatchNormalization(layers.BatchNormalization):  # type: ignore[misc]  # Keras ships no types
    """`keras.layers.BatchNormalization` over the channels of (batch, height, width, channels), fused while it trains.

    The same to rounding: outputs, gradients and moving statistics. In inference, where it is frozen, and without
    TensorFlow it is the stock layer.
    """

    def call(self, inputs: Any, training: bool | None = None, mask: Any = None) -> Any:
        fusable = mask is None and len(inputs.shape) == IMAGES_RANK and keras.backend.backend() == "tensorflow"
        if not (training and self.trainable and fusable):
            return super().call(inputs, training=training, mask=mask)
        import tensorflow as tf

        inputs = tf.convert_to_tensor(inputs)
        channels = inputs.shape[-1]
        output, mean, variance, *_ = tf.raw_ops.FusedBatchNormV3(
            x=inputs,
            scale=self.gamma.value if self.scale else tf.ones(channels),
            offset=self.beta.value if self.center else tf.zeros(channels),
            mean=tf.zeros(0),
            variance=tf.zeros(0),
            epsilon=self.epsilon,
            is_training=True,
        )
        count = tf.cast(tf.size(inputs) // channels, tf.float32)
        self._move(self.moving_mean, mean)
        # The operation gives the variance of the population; Keras keeps that of the batch.
        self._move(self.moving_variance, variance * ((count - 1.0) / count))
        return output

    def _move(self, average: keras.Variable, value: Any) -> None:
        average.assign(average * self.momentum + value * (1.0 - self.momentum))
