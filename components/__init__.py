"""Kubeflow steps: each wraps the verb of its own name and nothing else.

A step's body travels as text and runs in a container that has this distribution installed, so it imports what it
needs itself. The images are named by what they hold: `inception-light` has no TensorFlow, `inception-cpu` has it,
`inception-gpu` has it with CUDA. Where the pipeline runs decides what stands behind the names.
"""
