"""Predictions for files of any size and endless streams, in constant memory."""

from nlp_ft.inference.files.predict_file import (
    FilePredictions,
    FileTask,
    check_file,
    predict_file,
    predict_to_file,
    predict_to_stream,
)
from nlp_ft.inference.files.stream import stream

__all__ = [
    "FilePredictions",
    "FileTask",
    "check_file",
    "predict_file",
    "predict_to_file",
    "predict_to_stream",
    "stream",
]
