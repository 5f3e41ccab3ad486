"""A fine-tuned directory as a graph for other runtimes, beside the proof that it says the same."""

from nlp_ft.errors import NlpFtError


class ExportError(NlpFtError, RuntimeError):
    """An export that did not come about: the exporter failed, or the graph does not say what the model says."""
