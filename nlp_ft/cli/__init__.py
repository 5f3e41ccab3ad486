"""The command line `nlp-ft`: one file a verb; methods are found in `nlp_ft/methods`."""
