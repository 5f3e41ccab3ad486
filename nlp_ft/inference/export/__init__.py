"""Export of a fine-tuned directory to ONNX or OpenVINO, compared with the model."""

from nlp_ft.errors import NlpFtError


class ExportError(NlpFtError, RuntimeError):
    """A failed export: the exporter failed, or the graph differs from the model."""
