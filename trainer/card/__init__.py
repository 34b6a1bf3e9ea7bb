"""The run card: the evidence of one run, as a self-contained HTML file and as Markdown.

`gathering.py` reads a record into `material.py`'s Material; `verdict`, `comparison`, `figures`, `trust`, `content` and
`lineage` turn that into rows of finished text; `html.py` and `markdown.py` lay the rows out, `sections.py` in order.
"""
