"""A fine-tuned directory to the Hub: staged by an allow-list, proven in a fresh process, sent in one commit."""

from nlp_ft.push.command import after_run, push

__all__ = ["after_run", "push"]
