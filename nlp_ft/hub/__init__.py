"""Push a fine-tuned directory to the Hub.

The files are staged by an allow-list, verified in a fresh process and sent in one commit.
"""
