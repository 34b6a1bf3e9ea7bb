from kfp import dsl


@dsl.component(base_image="inception-cpu", install_kfp_package=False)
def prepare(data: str, fingerprint: str, missing: str, root: str, metrics: dsl.Output[dsl.Metrics]) -> str:
    """Read and check every image, assign the splits, write the prepared dataset. Returns the fingerprint.

    Args:
        data: the recipe's `[data]` section as JSON.
        fingerprint: identity of source and section; names the prepared dataset.
        missing: the tick where files that this step makes are not in the state folder, else nothing. It is looked at by
            the orchestrator's cache alone, which would answer for files that are gone.
        root: the state folder.
    """
    import json
    from pathlib import Path

    from trainer.config import Data
    from trainer.prepare import prepare as verb
    from trainer.record import write
    from trainer.steps import step

    with step("prepare", root, fingerprint=fingerprint) as state:
        prepared = verb(Data.model_validate_json(data), fingerprint, state)
        write(state.data(fingerprint), prepared)
    for split, counts in prepared.counts.items():
        metrics.log_metric(f"{split} images", sum(counts))
    metrics.log_metric("images left out", prepared.rejected_total)
    metrics.log_metric("look-alikes between train and test", prepared.near_duplicates_total)
    # Without a file kfp.local never takes the step from its cache.
    Path(metrics.path).write_text(json.dumps(metrics.metadata))
    return prepared.fingerprint
