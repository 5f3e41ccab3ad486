"""Transfer-learning methods: a folder each, and a subcommand of `nlp-ft`."""
