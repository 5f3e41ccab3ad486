"""Tables in, labelled splits out.

The only code that knows columns, splits and label names.
"""

from nlp_ft.data.evaluation_file import Texts, load_labelled, texts_for_prediction
from nlp_ft.data.labelled_rows import Labelled, read_rows
from nlp_ft.data.load import TextData, keys_of, load_data, sampled
from nlp_ft.data.readers.bad_rows import BadRow, write_rejected
from nlp_ft.data.readers.blocks import Block, Size
from nlp_ft.data.readers.options import Reading, reading_of
from nlp_ft.data.readers.table import SOURCE, Table
from nlp_ft.data.readers.table_reader import read_table
from nlp_ft.data.rows import text_columns, text_digest, text_key, texts_of, texts_or_pairs
from nlp_ft.data.schema.columns import Columns, find_columns
from nlp_ft.data.schema.encode_labels import encode_labels
from nlp_ft.data.splits.folds import fold_rows
from nlp_ft.data.splits.split import split_rows
from nlp_ft.data.text import counted
from nlp_ft.data.text_stream import TextFile, open_texts
from nlp_ft.data.tokenization import tokenize
from nlp_ft.data.tokenization_lm import tokenize_texts
from nlp_ft.data.unlabelled import Unlabelled, load_texts

__all__ = [
    "SOURCE",
    "BadRow",
    "Block",
    "Columns",
    "Labelled",
    "Reading",
    "Size",
    "Table",
    "TextData",
    "TextFile",
    "Texts",
    "Unlabelled",
    "counted",
    "encode_labels",
    "find_columns",
    "fold_rows",
    "keys_of",
    "load_data",
    "load_labelled",
    "load_texts",
    "open_texts",
    "read_rows",
    "read_table",
    "reading_of",
    "sampled",
    "split_rows",
    "text_columns",
    "text_digest",
    "text_key",
    "texts_for_prediction",
    "texts_of",
    "texts_or_pairs",
    "tokenize",
    "tokenize_texts",
    "write_rejected",
]
