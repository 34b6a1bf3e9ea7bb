"""A process that trains trials, one after the other, for the process that runs the study.

`python -m trainer.tuning.worker STATE STUDY MLFLOW_RUN`: numbers of trials come in on standard input, a line each; JSON
goes out on standard output, a line per message. Whatever is printed goes to standard error. When standard input ends,
whoever started this process is gone, and it ends at once: a study never has workers that nobody knows of.
"""

from __future__ import annotations

import json
import os
import queue
import signal
import sys
import threading
from typing import Any

from trainer.errors import InceptionError
from trainer.interruption import INTERRUPTED, interrupt
from trainer.state import State

_ORPHANED = 1


def main(root: str, study: str, parent_run: str) -> None:
    say = _speaker()
    numbers: queue.Queue[int] = queue.Queue()
    threading.Thread(target=_listen, args=(numbers,), daemon=True).start()
    signal.signal(signal.SIGTERM, interrupt)
    try:
        _work(numbers, State.open(root), study, parent_run, say)
    except InceptionError as error:
        say({"kind": "error", "message": error.message, "remedy": error.remedy})
    except KeyboardInterrupt:
        sys.exit(INTERRUPTED)  # what its checkpoint does not have, the trial does again


def _work(numbers: queue.Queue[int], state: State, name: str, parent_run: str, say: Any) -> None:
    import gc

    import keras

    from trainer.data.prepared import open_prepared
    from trainer.tuning import trial
    from trainer.tuning.study import Study, folder_of

    study = Study(folder_of(state, name))
    dataset = open_prepared(state.data(study.fingerprint))
    while True:
        number = numbers.get()
        trial.run(study, number, dataset, state, parent_run, say)
        # The next trial's network is another one: nothing of this one's graphs and weights is needed any more.
        keras.backend.clear_session()
        gc.collect()
        say({"kind": "ended"})


def _speaker() -> Any:
    """A function that sends messages on what was standard output; from now on that is standard error."""
    messages = os.fdopen(os.dup(sys.stdout.fileno()), "w", buffering=1, encoding="utf-8")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    return lambda message: print(json.dumps(message), file=messages, flush=True)


def _listen(numbers: queue.Queue[int]) -> None:
    for line in sys.stdin:
        numbers.put(int(line))
    os._exit(_ORPHANED)


if __name__ == "__main__":
    main(*sys.argv[1:])
