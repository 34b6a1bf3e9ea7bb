from typing import NamedTuple

from kfp import dsl


@dsl.component(base_image="inception-light", install_kfp_package=False)
def lookup(reference: str, root: str, metrics: dsl.Output[dsl.Metrics]) -> NamedTuple(  # type: ignore[valid-type]
    "Found",
    [
        ("version", str),
        ("model_uri", str),
        ("load_uri", str),
        ("accuracy", float),
        ("run_key", str),
        ("fingerprint", str),
        ("found", dict),
    ],
):
    """Find a registered model for a pipeline of your own. Switch its caching off: the champion changes.

    Args:
        reference: NAME (its champion), NAME@champion, NAME@challenger or NAME/3.
        root: the state folder; empty where MLFLOW_TRACKING_URI names a server.

    Outputs:
        version: of the registered model.
        model_uri, load_uri: its artifact's address, and what mlflow.pyfunc.load_model takes.
        accuracy: on the frozen test examples; -1 where it was not recorded.
        run_key, fingerprint: identity of the work that made it and of its data; empty where they were not recorded.
        found: all of it, lineage and tags too, as `inception lookup --json` prints it, but for what was not recorded.
    """
    from trainer.lookup import lookup as verb
    from trainer.state import DEFAULT_ROOT

    found = verb(reference, root or DEFAULT_ROOT)
    accuracy = -1.0 if found.accuracy is None else found.accuracy
    metrics.log_metric("accuracy", accuracy)
    metrics.metadata["version"] = found.version
    everything = found.model_dump(mode="json", exclude_none=True)  # kfp takes no null inside a dict
    known = (found.run_key or "", found.fingerprint or "")
    return (found.version, found.model_uri, found.load_uri, accuracy, *known, everything)
