"""Encodings cut to a length without a change of the tokenizer.

A fast tokenizer keeps truncation and padding as state of one object, which every call with other settings switches; a second
thread's call is then cut at the first one's length. Here the tokenizer encodes whole texts alone, and its encodings, which
belong to the call, are cut and joined afterwards.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeGuard

if TYPE_CHECKING:
    from tokenizers import Encoding
    from transformers import PreTrainedTokenizerBase, PreTrainedTokenizerFast

Row = dict[str, list[int]]


def is_fast(tokenizer: PreTrainedTokenizerBase) -> TypeGuard[PreTrainedTokenizerFast]:
    """Whether the tokenizer is one of the library tokenizers, not one in Python."""
    return bool(getattr(tokenizer, "is_fast", False))


def clear_state(tokenizer: PreTrainedTokenizerBase) -> None:
    """Switch off the truncation and padding a tokenizer was saved or last called with.

    Done once, before threads share it: calls that neither truncate nor pad change nothing from then on.
    """
    if is_fast(tokenizer):
        tokenizer.backend_tokenizer.no_truncation()
        tokenizer.backend_tokenizer.no_padding()


def encode_part(tokenizer: PreTrainedTokenizerFast, text: str) -> Encoding:
    """Encode one text without special tokens."""
    backend = tokenizer.backend_tokenizer
    if backend.encode_special_tokens != tokenizer.split_special_tokens:  # a pickle has lost it
        backend.encode_special_tokens = tokenizer.split_special_tokens
    return backend.encode(text, add_special_tokens=False)


def join(tokenizer: PreTrainedTokenizerFast, first: Encoding, second: Encoding | None) -> Encoding:
    """Add the special tokens to a text, or to a pair."""
    return tokenizer.backend_tokenizer.post_process(first, second, add_special_tokens=True)


def pieces(encoding: Encoding, length: int, stride: int, *, from_left: bool) -> list[Encoding]:
    """Cut into pieces of at most `length` tokens, in reading order.

    Neighbours share `stride` tokens. from_left: whether the pieces are counted from the end, as a tokenizer with
    `truncation_side` left does.
    """
    encoding.truncate(length, stride=stride, direction="left" if from_left else "right")
    in_order = [encoding, *encoding.overflowing]
    return in_order[::-1] if from_left else in_order


def truncate(tokenizer: PreTrainedTokenizerFast, first: str, second: str | None, limit: int) -> Encoding:
    """Encode a text, or a pair, cut to `limit` tokens.

    Of a pair the longer part is cut to the length of the shorter one first, then both: the `longest_first` of the library
    tokenizers.
    """
    room = max(limit - tokenizer.num_special_tokens_to_add(pair=second is not None), 0)
    parts = [encode_part(tokenizer, text) for text in (first, second) if text is not None]
    for part, length in zip(parts, _longest_first([len(part.ids) for part in parts], room), strict=True):
        part.truncate(length, direction=tokenizer.truncation_side)
    return join(tokenizer, parts[0], parts[1] if second is not None else None)


def _longest_first(lengths: list[int], room: int) -> list[int]:
    """Lengths to which the parts of a row are cut."""
    if len(lengths) == 1:
        return [min(lengths[0], room)]
    shorter, longer = min(lengths), max(lengths)
    longer = shorter if shorter > room else max(shorter, room - shorter)
    if shorter + longer > room:
        shorter = room // 2
        longer = shorter + room % 2
    return [shorter, longer] if lengths[0] <= lengths[1] else [longer, shorter]


def sequence_ids(encoding: Encoding) -> list[int | None]:
    """Part of each token of a joined encoding: 0, or 1 for the second text.

    None for special tokens. Joining two encodings loses the mark of the first one's tokens: they are those without any before
    the second one's.
    """
    marks = encoding.sequence_ids
    if 1 not in marks:
        return marks
    second = marks.index(1)
    specials = encoding.special_tokens_mask
    return [0 if index < second and not specials[index] else mark for index, mark in enumerate(marks)]


def row(tokenizer: PreTrainedTokenizerFast, encoding: Encoding) -> Row:
    """The model's inputs of one encoding."""
    inputs = {"input_ids": encoding.ids, "token_type_ids": encoding.type_ids, "attention_mask": encoding.attention_mask}
    return {
        name: values for name, values in inputs.items() if name == "input_ids" or name in tokenizer.model_input_names
    }
