"""Texts to token ids, cut but not padded: batches are padded to their own longest row later."""

from __future__ import annotations

from typing import Any

from datasets import Dataset
from transformers import PreTrainedTokenizerBase

from nlp_ft.data.store import file_for
from nlp_ft.data.table import counted
from nlp_ft.errors import DataError

_DEFAULT_LENGTH = 512


def tokenize(
    data: Dataset,
    tokenizer: PreTrainedTokenizerBase,
    max_seq_length: int | None = None,
    *,
    split: str = "rows",
    num_proc: int | None = None,
) -> tuple[Dataset, str]:
    """Tokenize a split of `TextData`, pairs as pairs, rows longer than `max_seq_length` tokens cut at the end.

    The limit is what the tokenizer says its model holds where that is less, and 512 where neither says.
    Returns: columns input_ids, attention_mask, (token_type_ids,) labels, length; and a note on how many rows were cut.
    Raises: DataError for rows without a single token (a blank text, and a tokenizer that adds none).
    """
    limit = min(max_seq_length or _DEFAULT_LENGTH, tokenizer.model_max_length)
    tokens = data.map(
        _tokenize_batch,
        batched=True,
        remove_columns=[name for name in data.column_names if name != "label"],
        fn_kwargs={"tokenizer": tokenizer, "limit": limit},
        num_proc=num_proc,
        cache_file_name=file_for(data, f"{split}.arrow"),
        desc=f"Tokenizing {split}",
    ).rename_column("label", "labels")
    lengths = tokens["length"]
    if empty := [place for place, length in enumerate(lengths) if length == 0]:
        raise DataError(
            f"{split}: {counted(len(empty), 'text')} without a single token (the first is row {empty[0] + 1}); this "
            "tokenizer adds none to a blank text, so take such rows out."
        )
    cut = sum(tokens["cut"])
    note = f"{split}: {cut} of {len(tokens)} texts ({cut / len(tokens):.1%}) cut to {limit} tokens"
    return tokens.remove_columns("cut"), note


def _tokenize_batch(
    batch: dict[str, list[Any]], tokenizer: PreTrainedTokenizerBase, limit: int
) -> dict[str, list[Any]]:
    """Tokens of a batch, whole first, so that rows that must be cut are known; those are then done again."""
    texts, pairs = batch["text"], batch.get("text_pair")
    tokens = dict(tokenizer(texts, pairs, verbose=False))
    cut = [len(ids) > limit for ids in tokens["input_ids"]]
    if long := [place for place, is_long in enumerate(cut) if is_long]:
        some_pairs = None if pairs is None else [pairs[place] for place in long]
        again = tokenizer([texts[place] for place in long], some_pairs, truncation=True, max_length=limit)
        for name, values in again.items():
            for place, value in zip(long, values, strict=True):
                tokens[name][place] = value
    return {**tokens, "length": [len(ids) for ids in tokens["input_ids"]], "cut": cut}
