"""A tick's own process: how it ends, and what is left of it."""

from __future__ import annotations

import sys
import threading
from datetime import UTC, datetime
from pathlib import Path

import psutil
import pytest

from pipelines.tick_process import TickProcess
from trainer.state import State

TICK = """#!{python}
import os, subprocess, sys
step = subprocess.Popen(["{python}", "-c", '''
import signal, sys, time
def stop(*_):
    open("{folder}/said", "w").write("stopped")
    sys.exit()
signal.signal(signal.SIGTERM, stop)
print("ready", flush=True)
time.sleep(60)
'''], stdout=subprocess.PIPE)
open("{folder}/step", "w").write(str(step.pid))
step.stdout.readline()
{end}
"""


@pytest.mark.parametrize(("end", "status"), [("os._exit(3)", 3), ("os.kill(os.getpid(), 9)", -9)])
def test_a_step_does_not_outlive_its_tick(
    end: str, status: int, tmp_path: Path, state: State, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However that ended: the step is asked to put its work in order, and is gone before another tick begins."""
    script = tmp_path / "python"
    script.write_text(TICK.format(python=sys.executable, folder=tmp_path, end=end))
    script.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(script))
    process = TickProcess("a", datetime.now(UTC), tmp_path / "schedules.toml", state)
    assert process.wait(threading.Event(), print) == status
    step = int((tmp_path / "step").read_text())
    assert not psutil.pid_exists(step) or psutil.Process(step).status() == psutil.STATUS_ZOMBIE
    assert (tmp_path / "said").read_text() == "stopped"
