"""Unlabelled texts to token ids.

A text a row, or texts put together into blocks of one length.
"""

from __future__ import annotations

from datasets import Dataset
from transformers import BatchEncoding, PreTrainedTokenizerBase

from nlp_ft.data.readers.arrow_store import file_for
from nlp_ft.data.text import counted
from nlp_ft.errors import ConfigError, DataError

_LOOKED_AT = 500  # texts from which it is told whether a tokenizer knows words


def tokenize_texts(
    texts: Dataset,
    tokenizer: PreTrainedTokenizerBase,
    limit: int,
    *,
    split: str = "texts",
    words: bool = False,
    group: bool = False,
    num_proc: int | None = None,
) -> tuple[Dataset, str]:
    """Tokenize the column `text`, rows cut to `limit` tokens.

    Grouped, into rows of `limit` tokens, of which none is lost.

    words: also the number of the word each token belongs to, -1 for special tokens.
    Returns: columns input_ids, (words,) length, place (the number of the row); and a note on what was cut or put together.
    Raises: ConfigError if words are asked of a tokenizer that does not tell them apart; DataError if no token is left.
    """
    if words:
        _check_words(texts, tokenizer)
    around = _around(tokenizer) if group else ([], [])
    if group and limit <= sum(map(len, around)):
        raise ConfigError(f"--max_seq_length {limit}: nothing but special tokens fits in.")
    rows = texts.map(
        _grouped if group else _cut,
        batched=True,
        remove_columns=texts.column_names,
        fn_kwargs={"tokenizer": tokenizer, "limit": limit, "words": words, **({"around": around} if group else {})},
        num_proc=num_proc,
        cache_file_name=file_for(texts, f"{split}.arrow"),
        desc=f"Tokenizing {split}",
    )
    if not all(rows["length"]):
        empty = sum(length == 0 for length in rows["length"])
        raise DataError(f"{split}: {counted(empty, 'text')} without a single token for this tokenizer; take them out.")
    rows = rows.add_column("place", list(range(len(rows))))  # type: ignore[call-arg]
    if group:
        return (
            rows,
            f"{split}: {counted(len(texts), 'text')} in {counted(len(rows), 'block')} of {limit} tokens or less",
        )
    cut = sum(rows["cut"])
    note = f"{split}: {cut} of {len(rows)} texts ({cut / len(rows):.1%}) cut to {limit} tokens"
    return rows.remove_columns("cut"), note


def _cut(batch: dict[str, list[str]], tokenizer: PreTrainedTokenizerBase, limit: int, words: bool) -> dict[str, object]:
    """Tokens of a batch, whole first, so that texts that must be cut are known.

    The cut keeps the tokens at the end that close a text.
    """
    whole = tokenizer(batch["text"], verbose=False)
    cut = [len(ids) > limit for ids in whole["input_ids"]]
    tokens = tokenizer(batch["text"], truncation=True, max_length=limit) if any(cut) else whole
    numbers = {"words": [_word_numbers(tokens, row) for row in range(len(cut))]} if words else {}
    ids = tokens["input_ids"]
    return {"input_ids": ids, "cut": cut, **numbers, "length": [len(row) for row in ids]}


def _grouped(
    batch: dict[str, list[str]],
    tokenizer: PreTrainedTokenizerBase,
    limit: int,
    words: bool,
    around: tuple[list[int], list[int]],
) -> dict[str, object]:
    """Texts one after another, in pieces that begin and end as a text does.

    Each text is closed by what closes a text.
    """
    before, after = around
    tokens = tokenizer(batch["text"], add_special_tokens=False, verbose=False)
    close = after or [tokenizer.eos_token_id][: tokenizer.eos_token_id is not None]
    ids: list[int] = []
    numbers: list[int] = []
    for row, text in enumerate(tokens["input_ids"]):
        if words:
            start = max(numbers, default=-1) + 1
            numbers += [number + start if number >= 0 else -1 for number in _word_numbers(tokens, row)]
            numbers += [-1] * len(close)
        ids += [*text, *close]
    if after:  # the end of the last block is what closes it
        ids, numbers = ids[: -len(after)], numbers[: -len(after)]
    size = limit - len(before) - len(after)
    pieces = [slice(start, start + size) for start in range(0, len(ids), size)]
    features = {"input_ids": [[*before, *ids[piece], *after] for piece in pieces]}
    if words:
        features["words"] = [[*[-1] * len(before), *numbers[piece], *[-1] * len(after)] for piece in pieces]
    return {**features, "length": [len(row) for row in features["input_ids"]]}


def _around(tokenizer: PreTrainedTokenizerBase) -> tuple[list[int], list[int]]:
    """The special tokens in front of a text and behind it."""
    bare = tokenizer("a", add_special_tokens=False)["input_ids"]
    whole = tokenizer("a")["input_ids"]
    start = next((at for at in range(len(whole)) if whole[at : at + len(bare)] == bare), 0)
    return whole[:start], whole[start + len(bare) :]


def _word_numbers(tokens: BatchEncoding, row: int) -> list[int]:
    return [-1 if word is None else word for word in tokens.word_ids(row)]


def _check_words(texts: Dataset, tokenizer: PreTrainedTokenizerBase) -> None:
    """Refuse a tokenizer that does not tell words apart. Raises: ConfigError.

    Some take a whole text for one word, and would have it masked whole.
    """
    if not tokenizer.is_fast:
        raise ConfigError("--whole_word_mask: this tokenizer does not say which tokens make up a word; leave it out.")
    some = list(texts["text"][:_LOOKED_AT])
    tokens = tokenizer(some, add_special_tokens=False, verbose=False)
    told = sum(len(set(tokens.word_ids(row))) for row in range(len(some)))
    spaced = sum(len(text.split()) for text in some)
    if told < spaced / 2:
        raise ConfigError(
            f"--whole_word_mask: this tokenizer does not tell words apart ({told} in {spaced} between spaces); leave it out."
        )
