from kfp import dsl


@dsl.component(base_image="inception-light", install_kfp_package=False)
def promote(recipe: str, run_key: str, version: str, tick: str, root: str) -> str:
    """Decide, and make the challenger champion if it deserves to be. Returns promoted, kept or undecided.

    Args:
        recipe: the resolved recipe as canonical JSON.
        run_key: identity of the work.
        version: the challenger's version.
        tick: id of this pipeline run, for the ledger.
        root: the state folder.
    """
    from trainer.config import parse
    from trainer.promote import promote as verb
    from trainer.record import Evaluated, Registered, read, write
    from trainer.registry import opened
    from trainer.steps import step

    with step("promote", root, run_key=run_key) as state:
        resolved, folder = parse(recipe), state.run(run_key)
        name = resolved.registry.name
        registry, ledger = opened(state, name)
        registered, evaluated = read(folder, Registered), read(folder, Evaluated)
        promoted = verb(registry, ledger, name, folder, registered, evaluated, resolved.gate, tick, run_key, state)
        write(folder, promoted)
    return promoted.result
