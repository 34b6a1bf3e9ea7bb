from kfp import dsl


@dsl.component(base_image="inception-cpu", install_kfp_package=False)
def evaluate(
    recipe: str,
    fingerprint: str,
    run_key: str,
    model_uri: str,
    root: str,
    metrics: dsl.Output[dsl.Metrics],
    confusion: dsl.Output[dsl.ClassificationMetrics],
) -> float:
    """Score challenger and champion on the same frozen test examples. Returns the challenger's accuracy.

    Args:
        recipe: the resolved recipe as canonical JSON.
        fingerprint: names the prepared dataset.
        run_key: identity of the work, for its run record.
        model_uri: the challenger, as logged.
        root: the state folder.
    """
    from trainer.config import parse
    from trainer.evaluate import evaluate as verb
    from trainer.judging.metrics import matrix, shown
    from trainer.registry import opened
    from trainer.steps import step

    with step("evaluate", root, run_key=run_key) as state:
        resolved = parse(recipe)
        registry, ledger = opened(state, resolved.registry.name)
        evaluated = verb(resolved, fingerprint, run_key, state, registry, ledger)
    for name, figure in shown(evaluated).items():
        metrics.log_metric(name, figure)
    small = matrix(evaluated.challenger)
    if small is not None:
        confusion.log_confusion_matrix(*small)
    return evaluated.challenger.accuracy
