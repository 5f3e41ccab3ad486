"""Texts as token ids; those that are longer than the model reads, in windows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from nlp_ft.errors import ConfigError, DataError

Row = dict[str, list[int]]


@dataclass(frozen=True)
class Windows:
    """How training reads long texts.

    stride: as `windowed` takes it; most: windows a text, spread over it; None: all.
    """

    stride: int | None = None
    most: int | None = None


def windowed(
    tokenizer: Any, firsts: Sequence[str], seconds: Sequence[str] | None, limit: int, stride: int | None, start: int = 0
) -> tuple[list[Row], np.ndarray]:
    """Every text in windows of at most `limit` tokens, each with its special tokens.

    Of a pair the longer part is cut into windows, and the other one stands whole in each; a pair whose shorter part leaves no
    room for that is cut at its end. Neighbours share `stride` tokens: a quarter of the limit where None; of a pair half of
    the room for the longer part, where that is less than the stride.

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
            parts = cut(tokenizer, firsts[place], None if seconds is None else seconds[place], limit, stride)
        rows += parts
        owners += [place] * len(parts)
    return rows, np.array(owners)


def truncated(
    tokenizer: Any, firsts: Sequence[str], seconds: Sequence[str] | None, limit: int, start: int = 0
) -> list[Row]:
    """Every text cut at its end to `limit` tokens.

    Blank texts and errors as in `windowed`.
    """
    if not len(firsts):
        return []
    cut = tokenizer(list(firsts), None if seconds is None else list(seconds), truncation=True, max_length=limit)
    rows = [{name: values[place] for name, values in cut.items()} for place in range(len(firsts))]
    return [row if row["input_ids"] else _end_token(tokenizer, start + i, firsts[i]) for i, row in enumerate(rows)]


def spread(rows: Sequence[Row], most: int | None) -> list[Row]:
    """All windows of a text, or `most` of them, spread evenly from first to last."""
    if most is None or len(rows) <= most:
        return list(rows)
    return [rows[place] for place in np.linspace(0, len(rows) - 1, most).round().astype(int)]


def _end_token(tokenizer: Any, place: int, text: str) -> Row:
    if tokenizer.eos_token_id is None:
        raise DataError(f"row {place}: {text!r} has no tokens, and this tokenizer no end token to stand for them.")
    return {"input_ids": [tokenizer.eos_token_id], "attention_mask": [1]}


def cut(tokenizer: Any, first: str, second: str | None, limit: int, stride: int | None) -> list[Row]:
    """The windows of a text of more than `limit` tokens, in reading order.

    They are made as `windowed` makes them.

    One window alone comes of a pair whose shorter part fills it, and where special tokens leave no room for a text.

    Raises: ConfigError for a stride that leaves a window nothing new.
    """
    check_stride(tokenizer, limit, stride, pair=second is not None)
    room = limit - tokenizer.num_special_tokens_to_add(pair=second is not None)
    longer: Any = "only_first"
    if second is not None:
        sizes = [len(_ids(tokenizer, text)) for text in (first, second)]
        longer, room = ("only_first" if sizes[0] >= sizes[1] else "only_second"), room - min(sizes)
    if room < 1 or (second is not None and room <= limit // 4):
        return truncated(tokenizer, [first], None if second is None else [second], limit)
    shared = limit // 4 if stride is None else stride
    if shared >= room or (stride is None and shared > room // 2):
        shared = room // 2
    if not tokenizer.is_fast:
        return _cut_by_hand(tokenizer, first, second, longer == "only_first", room, shared)
    encoding = tokenizer(
        first, second, truncation=longer, max_length=limit, stride=shared, return_overflowing_tokens=True
    )
    encoding.pop("overflow_to_sample_mapping", None)
    rows = [{name: values[i] for name, values in encoding.items()} for i in range(len(encoding["input_ids"]))]
    return rows[::-1] if tokenizer.truncation_side == "left" else rows  # which begins at the end


def check_stride(tokenizer: Any, limit: int, stride: int | None, *, pair: bool) -> None:
    """Refuse a stride as long as what a window of `limit` tokens holds of a text.

    Raises: ConfigError.
    """
    room = limit - tokenizer.num_special_tokens_to_add(pair=pair)
    if stride is not None and stride >= max(room, 1):
        raise ConfigError(f"a stride of {stride} tokens leaves nothing new in a window of {room}; give a smaller one.")


def _cut_by_hand(tokenizer: Any, first: str, second: str | None, cuts_first: bool, room: int, shared: int) -> list[Row]:
    """For tokenizers in Python, which give what overflows as one list."""
    parts = [_ids(tokenizer, first), None if second is None else _ids(tokenizer, second)]
    place = 0 if cuts_first else 1
    whole, rows = parts[place] or [], []
    for start in range(0, max(len(whole) - shared, 1), room - shared):
        parts[place] = whole[start : start + room]
        rows.append(dict(tokenizer.prepare_for_model(*parts, add_special_tokens=True, verbose=False).items()))
    return rows


def _ids(tokenizer: Any, text: str) -> list[int]:
    return tokenizer(text, add_special_tokens=False, verbose=False)["input_ids"]
