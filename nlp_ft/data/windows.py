"""Texts as token ids; those that are longer than the model reads, in windows.

No function here changes the tokenizer, so that threads may share one; see `encodings`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from transformers import PreTrainedTokenizerBase

from nlp_ft.data.encodings import Row, encode_part, is_fast, join, pieces, row, truncate
from nlp_ft.errors import ConfigError, RowError


@dataclass(frozen=True)
class Windows:
    """Reading of long texts in training.

    stride: as `windowed` takes it; most: windows a text, spread over it; None: all.
    """

    stride: int | None = None
    most: int | None = None


class Tokens(NamedTuple):
    """Texts as tokens.

    rows: one dictionary a window, not padded. owners: the text each window is of, (windows,), ascending. cut: number of tokens
    of each text that no window has, (texts,).
    """

    rows: list[Row]
    owners: np.ndarray
    cut: np.ndarray


def windowed(
    tokenizer: PreTrainedTokenizerBase,
    firsts: Sequence[str],
    seconds: Sequence[str] | None,
    limit: int,
    stride: int | None,
    start: int = 0,
) -> Tokens:
    """Every text in windows of at most `limit` tokens, each with its special tokens.

    Of a pair the longer part is cut into windows, and the other one stands whole in each; a pair whose shorter part leaves no
    room for that is cut at its end. Neighbours share `stride` tokens: a quarter of the limit where None; of a pair half of
    the room for the longer part, where that is less than the stride.

    A decoder's tokenizer may have no token for a blank text. The end token stands for it then, so that one blank cell does
    not stop a file: the answer is what the model says of no text, as an encoder's is, which reads its own two.

    start: the number of the first text, for errors.

    Raises: DataError for a blank text where the tokenizer has no token at all to stand for it; ConfigError for a stride that
    leaves a window nothing new.
    """
    rows: list[Row] = []
    owners: list[int] = []
    lost = np.zeros(len(firsts), dtype=np.int64)
    for index, whole in enumerate(_whole(tokenizer, firsts, seconds, start)):
        parts = [whole]
        length = len(whole["input_ids"])
        if length > limit:
            parts = cut(tokenizer, firsts[index], None if seconds is None else seconds[index], limit, stride)
            if len(parts) == 1:
                lost[index] = length - len(parts[0]["input_ids"])
        rows += parts
        owners += [index] * len(parts)
    return Tokens(rows, np.array(owners, dtype=np.int64), lost)


def truncated(
    tokenizer: PreTrainedTokenizerBase,
    firsts: Sequence[str],
    seconds: Sequence[str] | None,
    limit: int,
    start: int = 0,
) -> Tokens:
    """Every text cut at its end to `limit` tokens.

    Blank texts and errors as in `windowed`.
    """
    rows = _whole(tokenizer, firsts, seconds, start)
    lost = np.zeros(len(rows), dtype=np.int64)
    for index, whole in enumerate(rows):
        length = len(whole["input_ids"])
        if length > limit:
            rows[index] = _truncated(tokenizer, firsts[index], None if seconds is None else seconds[index], limit)
            lost[index] = length - len(rows[index]["input_ids"])
    return Tokens(rows, np.arange(len(rows)), lost)


def spread(rows: Sequence[Row], most: int | None) -> list[Row]:
    """All windows of a text, or `most` of them, spread evenly from first to last."""
    if most is None or len(rows) <= most:
        return list(rows)
    return [rows[index] for index in np.linspace(0, len(rows) - 1, most).round().astype(int)]


def cut(
    tokenizer: PreTrainedTokenizerBase, first: str, second: str | None, limit: int, stride: int | None
) -> list[Row]:
    """The windows of a text of more than `limit` tokens, in reading order.

    They are made as `windowed` makes them.

    One window alone comes of a pair whose shorter part fills it, and where special tokens leave no room for a text.

    Raises: ConfigError for a stride that leaves a window nothing new.
    """
    check_stride(tokenizer, limit, stride, pair=second is not None)
    room = limit - tokenizer.num_special_tokens_to_add(pair=second is not None)
    texts = [first] if second is None else [first, second]
    fast = tokenizer if is_fast(tokenizer) else None
    parts = [encode_part(fast, text) for text in texts] if fast else []
    ids = [part.ids for part in parts] if fast else [_ids(tokenizer, text) for text in texts]
    longer = max(range(len(ids)), key=lambda part: len(ids[part]))  # the first, of two alike
    room -= sum(map(len, ids)) - len(ids[longer])
    if room < 1 or (second is not None and room <= limit // 4):
        return [_truncated(tokenizer, first, second, limit)]
    shared = limit // 4 if stride is None else stride
    if shared >= room or (stride is None and shared > room // 2):
        shared = room // 2
    if not fast:
        return _cut_ids(tokenizer, ids, longer, room, shared)
    rows = []
    for piece in pieces(parts[longer], room, shared, from_left=tokenizer.truncation_side == "left"):
        parts[longer] = piece
        rows.append(row(fast, join(fast, parts[0], None if second is None else parts[1])))
    return rows


def check_stride(tokenizer: PreTrainedTokenizerBase, limit: int, stride: int | None, *, pair: bool) -> None:
    """Refuse a stride as long as what a window of `limit` tokens holds of a text.

    Raises: ConfigError.
    """
    room = limit - tokenizer.num_special_tokens_to_add(pair=pair)
    if stride is not None and stride >= max(room, 1):
        raise ConfigError(f"a stride of {stride} tokens leaves nothing new in a window of {room}; give a smaller one.")


def end_token(tokenizer: PreTrainedTokenizerBase, index: int, text: str) -> int:
    """The token that stands for a blank text where the tokenizer has none for it.

    Raises: DataError where there is no such token.
    """
    if tokenizer.eos_token_id is None:
        raise RowError(index, f"{text!r} has no tokens, and this tokenizer no end token to stand for them.")
    token: Any = tokenizer.eos_token_id
    return int(token)


def _whole(
    tokenizer: PreTrainedTokenizerBase, firsts: Sequence[str], seconds: Sequence[str] | None, start: int
) -> list[Row]:
    """Every text with all its tokens; the end token for one that has none."""
    if not len(firsts):
        return []
    columns = tokenizer(list(firsts), None if seconds is None else list(seconds), verbose=False)
    rows: list[Row] = [{name: values[index] for name, values in columns.items()} for index in range(len(firsts))]
    for index, whole in enumerate(rows):
        if not whole["input_ids"]:
            rows[index] = {"input_ids": [end_token(tokenizer, start + index, firsts[index])], "attention_mask": [1]}
    return rows


def _truncated(tokenizer: PreTrainedTokenizerBase, first: str, second: str | None, limit: int) -> Row:
    """One row cut to `limit` tokens."""
    if is_fast(tokenizer):
        return row(tokenizer, truncate(tokenizer, first, second, limit))
    seconds = None if second is None else [second]
    columns = tokenizer([first], seconds, truncation=True, max_length=limit)
    return {name: values[0] for name, values in columns.items()}


def _cut_ids(
    tokenizer: PreTrainedTokenizerBase, parts: list[list[int]], longer: int, room: int, shared: int
) -> list[Row]:
    """Windows by tokenizers in Python, which give what overflows as one list."""
    whole, rows = parts[longer], []
    for start in range(0, max(len(whole) - shared, 1), room - shared):
        window = [whole[start : start + room] if part == longer else ids for part, ids in enumerate(parts)]
        prepare: Any = tokenizer.prepare_for_model
        rows.append(dict(prepare(*window, add_special_tokens=True, verbose=False).items()))
    return rows


def _ids(tokenizer: PreTrainedTokenizerBase, text: str) -> list[int]:
    return tokenizer(text, add_special_tokens=False, verbose=False)["input_ids"]
