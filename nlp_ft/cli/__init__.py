"""The command line `nlp-ft`: one file per verb, and the methods in `nlp_ft/methods`."""
