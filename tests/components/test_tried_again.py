"""A step that is asked to stop ends with status 75, and a retry policy brings it back: under `kfp.local`, which tries
again on any status but 0, as Argo does.

Annotations are real types here, as kfp reads them.
"""

import pytest
from kfp import dsl, local

from pipelines.environments.steps import Retry
from pipelines.fitting import _retry
from trainer import record
from trainer.state import State


@dsl.component(base_image="python:3.11", install_kfp_package=False)
def train(root: str):  # type: ignore[no-untyped-def]
    """A training that is preempted at its second step, in the first try."""
    import os
    import signal
    from pathlib import Path

    from trainer.interruption import interruption
    from trainer.steps import step

    checkpoint, said = Path(root, "checkpoint"), Path(root, "said")

    def work() -> None:
        first = int(checkpoint.read_text()) if checkpoint.exists() else 0
        for position in range(first, 4):
            with said.open("a") as file:
                file.write(f"{position} ")
            if position == 1 and first == 0:
                os.kill(os.getpid(), signal.SIGTERM)
                while not interruption.asked:
                    pass
            checkpoint.write_text(str(position + 1))
            if interruption.asked:
                raise interruption.stopped("train", "step 2 of 4")

    try:
        with step("train", root, run_key="k"), interruption.heeded():
            work()
    except SystemExit as ended:
        Path(root, "status").write_text(str(ended.code))
        raise


@pytest.mark.slow
@pytest.mark.parametrize(("times", "positions"), [(3, "0 1 2 3 "), (0, "0 1 ")])
def test_a_preempted_step_goes_on_in_the_next_try(
    times: int, positions: str, state: State, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """From where it stopped, and its failure is taken back; without retries it fails with a checkpoint."""

    @dsl.pipeline(name="preempted")
    def pipeline(root: str):  # type: ignore[no-untyped-def]
        task = train(root=root)
        if times:
            _retry(task, Retry(times=times, pause=1))

    local.init(
        runner=local.SubprocessRunner(use_venv=False),
        pipeline_root=str(state.root / "outputs"),
        workspace_root=str(state.root / "workspace"),
        raise_on_error=False,
    )
    pipeline(root=str(state.root))
    assert (state.root / "said").read_text() == positions
    failure = record.find(state.run("k"), record.Failure)
    assert (failure is None) == bool(times)
    said = capfd.readouterr()
    assert "train was preempted at step 2 of 4; a checkpoint was written." in said.out + said.err
    assert (state.root / "status").read_text() == "75"
