"""One file a transfer-learning method; each is a subcommand of `nlp-ft` by its file name."""
