"""Random changes of training images, as `[train.augment]` asks for them.

What an image gets depends on (seed, epoch, turn) and nothing else, so neither the batch it is in nor an interruption
changes it. Its turn is the example's index; with balanced sampling, where an example may come again in an epoch and
must not look the same, its place in the epoch. What is mixed depends on (seed, step) and the batch, which is the
step's.

The order: crop, while an image is decoded and resized; affine transform and mirror, colour, RandAugment, erasing, on
batches, each image by itself; last, the images of a batch are mixed with each other.
"""
