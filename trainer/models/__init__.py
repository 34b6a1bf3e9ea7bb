"""The Inception family: `zoo` is the table, `blocks` the vocabulary, the other files one paper each."""
