"""Texts to token ids, cut or in windows but not padded.

Batches are padded to their own longest row later.
"""

from __future__ import annotations

from datasets import Dataset
from transformers import PreTrainedTokenizerBase

from nlp_ft.data.readers.arrow_store import file_for
from nlp_ft.data.text import counted
from nlp_ft.data.windows import Windows, cut, spread
from nlp_ft.errors import DataError
from nlp_ft.utils import Note

_DEFAULT_LENGTH = 512


def tokenize(
    data: Dataset,
    tokenizer: PreTrainedTokenizerBase,
    max_seq_length: int | None = None,
    *,
    split: str = "rows",
    num_proc: int | None = None,
    windows: Windows | None = None,
    hint: str = "",
) -> tuple[Dataset, str]:
    """Tokenize a split of `TextData`, pairs as pairs.

    Rows longer than `max_seq_length` tokens are cut at the end.

    The limit is what the tokenizer says its model holds where that is less, and 512 where neither says.

    windows: reads longer rows in windows in place of cutting them: each cell of input_ids and its like is a list of windows
    then, one for rows that fit, `windows` their number, and length the tokens of all. hint: what to add to a note on cuts.

    Returns: columns input_ids, attention_mask, (token_type_ids,) labels, length; and a note on how many rows were cut.
    Raises: DataError for rows without a single token (a blank text, and a tokenizer that adds none).
    """
    limit = min(max_seq_length or _DEFAULT_LENGTH, tokenizer.model_max_length)
    options: dict[str, object] = {"tokenizer": tokenizer, "limit": limit}
    tokens = data.map(
        _tokenize_batch if windows is None else _window_batch,
        batched=True,
        remove_columns=[name for name in data.column_names if name != "label"],
        fn_kwargs=options if windows is None else {**options, "windows": windows},
        num_proc=num_proc,
        cache_file_name=file_for(data, f"{split}.arrow"),
        desc=f"Tokenizing {split}",
    ).rename_column("label", "labels")
    lengths = tokens["length"]
    if empty := [index for index, length in enumerate(lengths) if length == 0]:
        raise DataError(
            f"{split}: {counted(len(empty), 'text')} without a single token (the first is row {empty[0] + 1}); this "
            "tokenizer adds none to a blank text, so take such rows out."
        )
    if windows is not None:
        return tokens.remove_columns("held"), _window_note(tokens, split, limit, windows)
    cut = sum(tokens["cut"])
    note = f"{split}: {cut} of {len(tokens)} texts ({cut / len(tokens):.1%}) cut to {limit} tokens"
    return tokens.remove_columns("cut"), Note(note + (hint if cut else ""), "cut texts" if cut else "tokens")


def _tokenize_batch(batch: dict[str, list[str]], tokenizer: PreTrainedTokenizerBase, limit: int) -> dict[str, object]:
    """Tokens of a batch, whole first, so that rows that must be cut are known.

    Those are then done again.
    """
    texts, pairs = batch["text"], batch.get("text_pair")
    tokens = dict(tokenizer(texts, pairs, verbose=False))
    cut = [len(ids) > limit for ids in tokens["input_ids"]]
    if long := [index for index, is_long in enumerate(cut) if is_long]:
        some_pairs = None if pairs is None else [pairs[index] for index in long]
        again = tokenizer([texts[index] for index in long], some_pairs, truncation=True, max_length=limit)
        for name, values in again.items():
            for index, value in zip(long, values, strict=True):
                tokens[name][index] = value
    return {**tokens, "length": [len(ids) for ids in tokens["input_ids"]], "cut": cut}


def _window_batch(
    batch: dict[str, list[str]], tokenizer: PreTrainedTokenizerBase, limit: int, windows: Windows
) -> dict[str, list[object]]:
    """Windows of a batch.

    `held`: how many there were before some were left out, 0 for a text that fits.
    """
    texts, pairs = batch["text"], batch.get("text_pair")
    whole = dict(tokenizer(texts, pairs, verbose=False))
    features: dict[str, list[object]] = {name: [] for name in (*whole, "windows", "held", "length")}
    for index, ids in enumerate(whole["input_ids"]):
        parts = [{name: values[index] for name, values in whole.items()}]
        held = 0
        if len(ids) > limit:
            every = cut(tokenizer, texts[index], None if pairs is None else pairs[index], limit, windows.stride)
            held, parts = len(every), spread(every, windows.most)
        for name in whole:
            features[name].append([part[name] for part in parts])
        features["windows"].append(len(parts))
        features["held"].append(held)
        features["length"].append(sum(len(part["input_ids"]) for part in parts))
    return features


def _window_note(tokens: Dataset, split: str, limit: int, windows: Windows) -> str:
    held = [number for number in tokens["held"][:] if number]
    share = f"{len(held)} of {len(tokens)} texts ({len(held) / len(tokens):.1%})"
    note = f"{split}: {share} longer than {limit} tokens"
    if not held:
        return note
    note += f", read in {sum(held) / len(held):.1f} windows in the mean, {max(held)} at most"
    if lost := sum(number == 1 for number in held):
        note += f"; {lost} of them cut, as the shorter part of the pair fills the window"
    if windows.most is not None and (thinned := sum(number > windows.most for number in held)):
        note += f"; of {thinned} only {windows.most}, spread over the text (--max_windows)"
    return note
