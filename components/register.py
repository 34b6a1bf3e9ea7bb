from kfp import dsl


@dsl.component(base_image="inception-light", install_kfp_package=False)
def register(recipe: str, run_key: str, accuracy: float, tick: str, root: str) -> str:
    """Make the model version with its lineage; the same run key never makes a second. Returns the version.

    Args:
        recipe: the resolved recipe as canonical JSON.
        run_key: identity of the work.
        accuracy: the challenger's, which says that it was evaluated.
        tick: id of this pipeline run, for the version's lineage.
        root: the state folder.
    """
    from trainer import sharing
    from trainer.config import parse
    from trainer.record import Checked, Evaluated, Prepared, Trained, read, write
    from trainer.register import register as verb
    from trainer.registry import opened_registry
    from trainer.steps import step

    with step("register", root, run_key=run_key) as state:
        name, folder = parse(recipe).registry.name, state.run(run_key)
        checked = read(folder, Checked)
        sharing.fetch(state, state.data(checked.fingerprint))
        registered = verb(
            opened_registry(state),
            name,
            read(folder, Trained),
            read(folder, Evaluated),
            checked,
            read(state.data(checked.fingerprint), Prepared),
            state,
            tick,
        )
        write(folder, registered)
    return registered.version
