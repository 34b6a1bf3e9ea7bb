"""The library: images in, a decided and registered classifier out. Keras, TFDS, MLflow; never Kubeflow."""
