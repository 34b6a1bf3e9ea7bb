"""The one pipeline: check → prepare → train → evaluate → register → promote, and report whatever happens.

Caching is stated on every task. The orchestrator's cache is keyed on parameters, so only the two steps whose parameters
say all there is to know (data fingerprint, run key, and whether the state folder still has what they made) may be
served from it.

The one step that is tried again is the training, the one that takes long enough to lose its machine: it goes on from
its last checkpoint, and where it failed for good it says so at once.
"""

import copy
from typing import Any

from kfp import dsl

from components.check import check
from components.evaluate import evaluate
from components.prepare import prepare
from components.promote import promote
from components.register import register
from components.report import report
from components.train import train


@dsl.pipeline(name="inception-retrain", display_name="Retrain an Inception classifier")
def retrain(
    recipe: str,
    root: str,
    variant: str = "",
    epochs: int = 0,
    threshold: float = -1.0,
    force: bool = False,
):
    """Retrain an image classifier and promote it if it beats the threshold and the current champion.

    Args:
        recipe: The recipe's text (TOML or JSON); the fields below override it.
        root: The state folder.
        variant: Network to train instead of the recipe's; empty keeps the recipe's.
        epochs: Epochs to train instead of the recipe's; 0 keeps the recipe's.
        threshold: Accuracy a model must reach to be promoted; -1 keeps the recipe's.
        force: Train again even if nothing changed since the last run.
    """
    tick = dsl.PIPELINE_JOB_ID_PLACEHOLDER
    reported = report(tick=tick, root=root).set_caching_options(False).set_display_name("Report")

    with dsl.ExitHandler(reported, name="retrain"):
        checked = (
            check(
                recipe=recipe,
                root=root,
                tick=tick,
                variant=variant,
                epochs=epochs,
                threshold=threshold,
                force=force,
            )
            .set_caching_options(False)
            .set_display_name("Check")
        )
        work = checked.outputs
        with dsl.If(work["Output"] == "work", name="work"):
            prepared = (
                prepare(data=work["data"], fingerprint=work["fingerprint"], missing=work["missing"], root=root)
                .set_caching_options(True)
                .set_display_name("Prepare data")
            )
            trained = (
                train(
                    recipe=work["recipe"],
                    fingerprint=prepared.outputs["Output"],
                    run_key=work["run_key"],
                    missing=work["missing"],
                    root=root,
                )
                .set_caching_options(True)
                .set_retry(num_retries=5, backoff_duration="30s", backoff_factor=2.0, backoff_max_duration="600s")
                .set_display_name("Train")
            )
            evaluated = (
                evaluate(
                    recipe=work["recipe"],
                    fingerprint=prepared.outputs["Output"],
                    run_key=work["run_key"],
                    model_uri=trained.outputs["Output"],
                    root=root,
                )
                .set_caching_options(False)
                .set_display_name("Evaluate")
            )
            registered = (
                register(
                    recipe=work["recipe"],
                    run_key=work["run_key"],
                    accuracy=evaluated.outputs["Output"],
                    tick=tick,
                    root=root,
                )
                .set_caching_options(False)
                .set_display_name("Register")
            )
            (
                promote(recipe=work["recipe"], run_key=work["run_key"], version=registered.output, tick=tick, root=root)
                .set_caching_options(False)
                .set_display_name("Promote")
            )


def tried_once() -> Any:
    """The pipeline for one machine: no step is tried again.

    `kfp.local` tries again whatever the exit status says, after Ctrl-C in a step and on a full disk too. Who sits at
    the machine sees the failure and runs again.
    """
    pipeline = copy.deepcopy(retrain)
    spec = pipeline.pipeline_spec
    for dag in (spec.root.dag, *(component.dag for component in spec.components.values())):
        for task in dag.tasks.values():
            task.ClearField("retry_policy")
    return pipeline
