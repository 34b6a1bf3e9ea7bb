"""The run card: the evidence of one run, as a self-contained HTML file and as Markdown."""
