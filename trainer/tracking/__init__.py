"""The only door that opens an MLflow run.

Where `MLFLOW_TRACKING_URI` names a server, that server is used; else SQLite and files in the state folder. Where
`MLFLOW_RUN_ID` hands a run over (Kubeflow's own MLflow integration does), the training joins it and leaves its end to
whoever opened it; else a run of its own is opened, and a killed training finds it again by its run key.

`connection.py` says which store is in use, `opening.py` opens runs, `run.py` is an open run, `logged_model.py` puts its
model there, `artifacts.py` is for files and figures of runs that are over, `outcomes.py` for how they ended. All of
them ask patiently (trainer/patience.py), and a try that had worked while its answer was lost is found, not repeated.
"""

from __future__ import annotations

from trainer.tracking.artifacts import download, log_card, log_files, log_metrics
from trainer.tracking.connection import asked, connect, prepared_uri, tracking_uri
from trainer.tracking.opening import open_run, open_trial
from trainer.tracking.outcomes import fetch_outcome, log_outcome
from trainer.tracking.run import FIGURES_TAG, Run, flatten

__all__ = [
    "FIGURES_TAG",
    "Run",
    "asked",
    "connect",
    "download",
    "fetch_outcome",
    "flatten",
    "log_card",
    "log_files",
    "log_metrics",
    "log_outcome",
    "open_run",
    "open_trial",
    "prepared_uri",
    "tracking_uri",
]
