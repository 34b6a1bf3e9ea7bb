"""Images: where they come from, how they are checked and divided, and how they reach the network.

sources/         what a recipe's `data.source` names: digits, TFDS, folders
digests.py       checksums of files, remembered between runs
images.py        the one decoder
inspection.py    decodes candidates in threads and measures them
splits.py        which side an example is on, for good
near_duplicates.py  training images that are test images over again
intake.py        accepts candidates or says why not
acceptance.py    what a source must hold to be trained on
payloads.py      image bytes on disk with random access
writing.py       writes a prepared dataset while its images stream by
prepared.py      the prepared dataset: manifest, tables, payloads
augmentation.py  random changes of training batches
feed.py          batches from any position, the same every time
"""
