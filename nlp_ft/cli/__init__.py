"""The command line `nlp-ft`.

One file per verb; the methods are in `nlp_ft/methods`.
"""
