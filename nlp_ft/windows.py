"""Texts as token ids, those that are longer than the model in windows; and one answer out of those of its windows."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np
from scipy.special import softmax

from nlp_ft.answering import LongDocuments
from nlp_ft.errors import ConfigError, DataError

Row = dict[str, list[int]]


def windowed(
    tokenizer: Any, firsts: Sequence[str], seconds: Sequence[str] | None, limit: int, stride: int | None, start: int = 0
) -> tuple[list[Row], np.ndarray]:
    """Every text in windows of at most `limit` tokens, its own special tokens around each.

    Of a pair the longer part is cut into windows, and the other one stands whole in each; a pair whose shorter part leaves no
    room for that is cut at its end. Neighbours share `stride` tokens: a quarter of the limit where None.

    A decoder's tokenizer may have no token for a blank text. The end token stands for it then, so that one blank cell does
    not stop a file: the answer is what the model says of no text, as an encoder's is, which reads its own two.

    start: the number of the first text, for errors. Returns: one dictionary a window, not padded, and the text each is of:
    (windows,), ascending.

    Raises: DataError for a blank text where the tokenizer has no token at all to stand for it; ConfigError for a stride that
    leaves a window nothing new.
    """
    if not len(firsts):
        return [], np.zeros(0, dtype=np.int64)
    whole = tokenizer(list(firsts), None if seconds is None else list(seconds), verbose=False)
    rows: list[Row] = []
    owners: list[int] = []
    for place in range(len(firsts)):
        row = {name: values[place] for name, values in whole.items()}
        if not row["input_ids"]:
            row = _end_token(tokenizer, start + place, firsts[place])
        parts = [row]
        if len(row["input_ids"]) > limit:
            parts = _cut(tokenizer, firsts[place], None if seconds is None else seconds[place], limit, stride)
        rows += parts
        owners += [place] * len(parts)
    return rows, np.array(owners)


def truncated(
    tokenizer: Any, firsts: Sequence[str], seconds: Sequence[str] | None, limit: int, start: int = 0
) -> list[Row]:
    """Every text cut at its end to `limit` tokens; blank texts and errors as in `windowed`."""
    if not len(firsts):
        return []
    cut = tokenizer(list(firsts), None if seconds is None else list(seconds), truncation=True, max_length=limit)
    rows = [{name: values[place] for name, values in cut.items()} for place in range(len(firsts))]
    return [row if row["input_ids"] else _end_token(tokenizer, start + i, firsts[i]) for i, row in enumerate(rows)]


def pool_windows(
    logits: np.ndarray, owners: np.ndarray, texts: int, how: LongDocuments, features: np.ndarray | None = None
) -> np.ndarray:
    """One row of logits a text: (texts, classes) out of (windows, classes).

    owners: the text each window is of, ascending. features: (windows, width), what the last layer read; for attention alone.
    """
    if len(logits) == texts:  # a window each
        return logits
    out = np.empty((texts, logits.shape[1]), dtype=logits.dtype)
    starts = np.searchsorted(owners, np.arange(texts + 1))
    for text, (start, end) in enumerate(pairwise(starts)):
        part = logits[start:end]
        if how.pooling == "max":
            out[text] = part.max(axis=0)
        elif how.pooling == "attention" and features is not None:
            out[text] = softmax(features[start:end] @ np.asarray(how.query, dtype=features.dtype)) @ part
        else:
            out[text] = part.mean(axis=0)
    return out


def _end_token(tokenizer: Any, place: int, text: str) -> Row:
    if tokenizer.eos_token_id is None:
        raise DataError(f"row {place}: {text!r} has no tokens, and this tokenizer no end token to stand for them.")
    return {"input_ids": [tokenizer.eos_token_id], "attention_mask": [1]}


def _cut(tokenizer: Any, first: str, second: str | None, limit: int, stride: int | None) -> list[Row]:
    """The windows of one text."""
    room = limit - tokenizer.num_special_tokens_to_add(pair=second is not None)
    longer: Any = True
    if second is not None:
        sizes = [len(tokenizer(text, add_special_tokens=False, verbose=False)["input_ids"]) for text in (first, second)]
        longer, room = ("only_first" if sizes[0] >= sizes[1] else "only_second"), room - min(sizes)
    shared = limit // 4 if stride is None else stride
    if second is not None and room <= max(limit // 4, 1):  # the shorter part fills the window
        cut = tokenizer(first, second, truncation=True, max_length=limit)
        return [dict(cut.items())]
    if stride is not None and shared >= room:
        raise ConfigError(f"a stride of {stride} tokens leaves nothing new in a window of {room}; give a smaller one.")
    found = tokenizer(
        first,
        second,
        truncation=longer,
        max_length=limit,
        stride=min(shared, room // 2),
        return_overflowing_tokens=True,
    )
    found.pop("overflow_to_sample_mapping", None)
    return [{name: values[i] for name, values in found.items()} for i in range(len(found["input_ids"]))]
