from kfp import dsl


@dsl.component(base_image="inception-gpu", install_kfp_package=False)
def train(
    recipe: str, fingerprint: str, run_key: str, missing: str, root: str, metrics: dsl.Output[dsl.Metrics]
) -> str:
    """Train the recipe's variant, resuming from this run key's checkpoints. Returns the logged model's address.

    Args:
        recipe: the resolved recipe as canonical JSON.
        fingerprint: names the prepared dataset.
        run_key: identity of the work; its checkpoints go by it.
        missing: the tick where files that this step makes are not in the state folder, else nothing. It is looked at by
            the orchestrator's cache alone, which would answer for files that are gone.
        root: the state folder.
    """
    import json
    from pathlib import Path

    from trainer.config import parse
    from trainer.steps import step
    from trainer.train import train as verb

    with step("train", root, run_key=run_key) as state:
        trained = verb(parse(recipe), fingerprint, run_key, state)
    kept = trained.kept_epochs()[-1]
    metrics.log_metric("validation accuracy", kept.validation_accuracy)
    metrics.log_metric("validation loss", kept.validation_loss)
    metrics.log_metric("images per second", kept.images_per_second)
    metrics.log_metric("training seconds", trained.seconds)
    # Without a file kfp.local never takes the step from its cache.
    Path(metrics.path).write_text(json.dumps(metrics.metadata))
    return trained.model_uri
