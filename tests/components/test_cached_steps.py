"""Steps that the orchestrator may take from its cache, under `kfp.local` with its cache on.

Annotations are real types here, as kfp reads them.
"""

import shutil

import pytest
from kfp import dsl, local

from components.prepare import prepare
from trainer.config import canonical_json
from trainer.state import State


@dsl.pipeline(name="prepare-only")
def once(data: str, fingerprint: str, missing: str, root: str):  # type: ignore[no-untyped-def]
    prepare(data=data, fingerprint=fingerprint, missing=missing, root=root).set_caching_options(True)


@pytest.mark.slow
def test_a_step_with_metrics_comes_from_the_cache_the_second_time(state: State, digits) -> None:  # type: ignore[no-untyped-def]
    """Because the file of its metrics is there; told that its files are gone, it makes them again."""
    local.init(
        runner=local.SubprocessRunner(use_venv=False),
        pipeline_root=str(state.root / "outputs"),
        workspace_root=str(state.root / "workspace"),
        enable_caching=True,
    )
    data = canonical_json(digits.recipe().data.model_dump(mode="json"))
    once(data=data, fingerprint=digits.fingerprint, missing="", root=str(state.root))
    assert (state.data(digits.fingerprint) / "manifest.json").exists()
    shutil.rmtree(state.data(digits.fingerprint))
    once(data=data, fingerprint=digits.fingerprint, missing="", root=str(state.root))
    assert not state.data(digits.fingerprint).exists()
    once(data=data, fingerprint=digits.fingerprint, missing="a-tick", root=str(state.root))
    assert (state.data(digits.fingerprint) / "manifest.json").exists()
