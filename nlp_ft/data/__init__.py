"""Tables in, labelled splits out: the only code that knows columns, splits and label names."""

from nlp_ft.data.bad_rows import BadRow, write_rejected
from nlp_ft.data.block_readers import Block, Size
from nlp_ft.data.blocks import tokenize_texts
from nlp_ft.data.folds import fold_rows
from nlp_ft.data.labelled import Texts, load_labelled, texts_for_prediction
from nlp_ft.data.labelling import Labelled, read_rows
from nlp_ft.data.labels import encode_labels
from nlp_ft.data.load import TextData, keys_of, load_data, sampled
from nlp_ft.data.read import read_table
from nlp_ft.data.rows import text_digest, text_key, texts_of
from nlp_ft.data.split import split_rows
from nlp_ft.data.streaming import TextFile, open_texts
from nlp_ft.data.table import SOURCE, Table, counted
from nlp_ft.data.tokens import tokenize
from nlp_ft.data.unlabelled import Unlabelled, load_texts

__all__ = [
    "SOURCE",
    "BadRow",
    "Block",
    "Labelled",
    "Size",
    "Table",
    "TextData",
    "TextFile",
    "Texts",
    "Unlabelled",
    "counted",
    "encode_labels",
    "fold_rows",
    "keys_of",
    "load_data",
    "load_labelled",
    "load_texts",
    "open_texts",
    "read_rows",
    "read_table",
    "sampled",
    "split_rows",
    "text_digest",
    "text_key",
    "texts_for_prediction",
    "texts_of",
    "tokenize",
    "tokenize_texts",
    "write_rejected",
]
