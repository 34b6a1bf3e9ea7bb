"""The parts of one tuning.

space.py    what may vary, as a file says it
keys.py     whether the recipe takes it, asked before anything is trained
values.py   values as the study holds them and as the recipe takes them
study.py    Optuna's study on disk, and how it goes on after a kill
crew.py     the worker processes, seen from the process that runs the study
worker.py   such a process
trial.py    one trial: a training that the study watches
results.py  what the trials came to
plots.py    the study in pictures
best.py     the best recipe as a file
"""
