"""Answers to files of any size and to streams without end, in constant memory."""

from nlp_ft.inference.files.predict_file import FileAnswers, FileTask, answer_file, check_file, predict_file
from nlp_ft.inference.files.stream import stream

__all__ = ["FileAnswers", "FileTask", "answer_file", "check_file", "predict_file", "stream"]
