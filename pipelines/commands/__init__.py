"""One file per command of `inception`; each is imported when it is called."""
