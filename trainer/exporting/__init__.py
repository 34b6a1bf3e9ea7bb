"""Registered models as files for other programs.

formats.py              the table of formats
keras_file.py           .keras, as it is registered
saved_model.py          TensorFlow's SavedModel
onnx_file.py            ONNX
litert_file.py          LiteRT (TensorFlow Lite)
architecture_file.py    architecture as JSON, weights as HDF5
rewriting.py            the same network in operations that every runtime has
answers.py              a Keras model as a function
source.py               a registered model with its files, and real images
description.py          what stands beside an export so that it can be used alone
comparison.py           does the export answer as the model does?
"""
