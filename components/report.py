from kfp import dsl


@dsl.component(base_image="inception-light", install_kfp_package=False)
def report(
    tick: str,
    root: str,
    status: dsl.PipelineTaskFinalStatus,
    summary: dsl.Output[dsl.Markdown],
    card: dsl.Output[dsl.HTML],
):
    """Make the run card from the run record, whatever became of the run: an exit handler is handed no outputs.

    Args:
        tick: id of this pipeline run.
        root: the state folder.
        status: how the rest of the pipeline ended.
    """
    import shutil
    from functools import partial
    from pathlib import Path

    from trainer import tracking
    from trainer.report import report as verb
    from trainer.steps import step

    with step("report", root, tick=tick) as state:
        outcome = verb(state, tick, status.state, partial(tracking.log_card, state))
        tracking.log_outcome(state, outcome)
        if outcome.card is not None:
            shutil.copyfile(outcome.card, card.path)
            shutil.copyfile(Path(outcome.card).with_suffix(".md"), summary.path)
