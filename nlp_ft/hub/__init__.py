"""A fine-tuned directory to the Hub: staged by an allow-list, verified in a fresh process, sent in one commit."""
