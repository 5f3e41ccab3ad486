"""Tables in, labelled splits out: the only code that knows columns, splits and label names."""

from nlp_ft.data.labelled import Texts, load_labelled, texts_for_prediction
from nlp_ft.data.labels import encode_labels
from nlp_ft.data.load import TextData, load_data
from nlp_ft.data.read import read_table
from nlp_ft.data.table import Table
from nlp_ft.data.tokens import tokenize

__all__ = [
    "Table",
    "TextData",
    "Texts",
    "encode_labels",
    "load_data",
    "load_labelled",
    "read_table",
    "texts_for_prediction",
    "tokenize",
]
