"""How a model is judged: what it answers, what that is worth, and what may not be compared.

registered_model.py   a registered model as users load it, as a function
answers.py            what it says of a split, example by example
predictions.py        the answers as they are kept on file
figures.py            accuracy, log loss, calibration, precision and recall from answers
intervals.py          bootstrap intervals of all of them
slices.py             the test examples by size, brightness, folder, class
latency.py            two models' times in alternation
golden.py             does the registered model answer as the trained one did?
hygiene.py            was the champion trained on a test example?
class_changes.py      what two models of different classes both know
pictures.py           the worst mistakes and the examples that changed sides
training_files.py     what a training left in its MLflow run for all this
comparison.py         the champion held against a challenger
metrics.py            the figures that MLflow and the pipeline's UI list
any_source.py         a registered model on any source, by hand
"""
