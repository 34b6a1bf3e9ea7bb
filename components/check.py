from typing import NamedTuple

from kfp import dsl


@dsl.component(base_image="inception-light", install_kfp_package=False)
def check(recipe: str, root: str, tick: str, variant: str, epochs: int, threshold: float, force: bool) -> NamedTuple(  # type: ignore[valid-type]
    "Work", [("Output", str), ("run_key", str), ("fingerprint", str), ("data", str), ("recipe", str), ("missing", str)]
):
    """Ask whether this exact work was done: resolve recipe and data, look their run key up in the registry.

    Args:
        recipe: the recipe, as TOML or canonical JSON.
        root: the state folder.
        tick: id of this pipeline run.
        variant: overrides the recipe's network unless empty.
        epochs: overrides the recipe's epochs unless 0.
        threshold: overrides the recipe's accuracy threshold unless negative.
        force: train again although nothing changed.

    Outputs:
        Output: `work` or `skip`. Its name is not free: `kfp.local` finds a condition's output by this name only.
        run_key, fingerprint: identity of the work, and of its data.
        missing: the tick where data or training of this work are not in the state folder, else nothing.
        data, recipe: the resolved `[data]` section and the resolved recipe, as canonical JSON.
    """
    from trainer.check import check as verb
    from trainer.check import is_made
    from trainer.config import canonical_json, overrides_from, parse
    from trainer.registry import opened
    from trainer.steps import step

    with step("check", root, tick=tick) as state:
        form = {
            "model.variant": variant,
            "train.epochs": epochs or None,
            "gate.threshold": threshold if threshold >= 0 else None,
        }
        resolved = parse(recipe, overrides_from(form))
        registry, ledger = opened(state, resolved.registry.name)
        checked = verb(resolved, state, registry, ledger, tick, force)
        missing = "" if is_made(state, checked) else tick
    data = canonical_json(resolved.data.model_dump(mode="json"))
    return (checked.decision, checked.run_key, checked.fingerprint, data, checked.recipe, missing)
