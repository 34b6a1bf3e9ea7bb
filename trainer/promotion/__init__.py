"""What `promote` needs to come to its decision, and to come to the same one again.

court.py            one challenger before the gate, against whichever version is champion at the time
rival.py            a champion that the evaluation did not see, from its own run record
common_classes.py   two sets of predictions on the classes that both know
verdicts.py         verdicts on file, for a run that is decided already
from_files.py       a decision without registry, ledger and models
"""
