"""Figures of the machine while a training runs: processor, memory, disk, network, and the GPU's where pynvml is there.

MLflow's own monitor does it, in a thread. It is started and ended here rather than by `mlflow.start_run`, which leaves
the thread behind where the store no longer answers when the run ends.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator
from contextlib import contextmanager

FAREWELL_SECONDS = 4.0
_THREAD_LOGGERS = ("mlflow.system_metrics.system_metrics_monitor", "mlflow.utils.autologging_utils")


@contextmanager
def watched(run_id: str) -> Iterator[None]:
    """Log the machine's figures to a run, as `system/…`, until the block is left.

    A sample every ten seconds, or every `MLFLOW_SYSTEM_METRICS_SAMPLING_INTERVAL`. A second sitting goes on counting
    where the first one stopped.
    """
    from mlflow.system_metrics.system_metrics_monitor import SystemMetricsMonitor

    for chatty in _THREAD_LOGGERS:
        logging.getLogger(chatty).setLevel(logging.ERROR)
    try:
        monitor = SystemMetricsMonitor(run_id, resume_logging=True)
    except Exception as error:  # a machine that does not tell: no network devices, no /proc
        logging.getLogger(__name__).info("no system metrics: %s", error)
        yield
        return
    monitor.start()
    try:
        yield
    finally:
        # Ending it waits for its last request, which for a server that is gone may take minutes.
        ending = threading.Thread(target=monitor.finish, name="system metrics end", daemon=True)
        ending.start()
        ending.join(FAREWELL_SECONDS)
