"""Texts as the numbers that a classifier's last layer reads: one frozen pass, sorted by length, kept by weights and text."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from accelerate import PartialState
from accelerate.utils import reduce
from datasets import Dataset, are_progress_bars_disabled
from torch import nn
from tqdm import tqdm
from transformers import PreTrainedModel

from nlp_ft.errors import DataError
from nlp_ft.inference.feature_cache import cached_rows, row_digests, weights_key
from nlp_ft.models.classifier import capacity
from nlp_ft.models.heads import final_linear, inputs_of
from nlp_ft.models.layers import unwrapped
from nlp_ft.models.pooling import POOLINGS, last_hidden_states, only_first_token, pool_every_way

_TOKENS_A_BATCH = {"cpu": 1024}  # padding included; measured: larger ones leave the processor's cache
_TOKENS_ELSEWHERE = 32_768


def encode(
    model: PreTrainedModel,
    tokenizer: Any,
    rows: Dataset | Sequence[str] | Sequence[tuple[str, str]],
    *,
    max_length: int | None = None,
    at: nn.Linear | None = None,
    poolings: bool = False,
    tokens_a_batch: int | None = None,
) -> np.ndarray:
    """What the last linear layer gets for each row, in evaluation mode: float32 (rows, features), in the order of the rows.

    Rows of like length share a batch. Under several processes each takes its share of the batches, and all get all rows.

    Args:
        model: a stock *ForSequenceClassification, with adapters or without, on the device it is to run on; it is left in the
            mode it was in.
        tokenizer: its own.
        rows: what data.tokenize gives (input_ids, attention_mask, ...), or texts, or (text, pair) tuples.
        max_length: tokens after which texts (not token ids) are cut; what model and tokenizer hold where not given.
        at: another linear layer to read at, which gets one vector a row: the dense layer of a head, say.
        poolings: puts the encoder's own last layer beside it, pooled in each way of pooling.POOLINGS.
        tokens_a_batch: rows times the tokens of the longest one, at most; a longer row goes alone.

    Raises: DataError for a text without a single token, and for features that are not finite.
    """
    plain: PreTrainedModel = unwrapped(model)
    linear = at if at is not None else final_linear(plain)[1]
    columns = _columns(tokenizer, rows, max_length or capacity(plain, tokenizer))
    lengths = [len(ids) for ids in columns["input_ids"]]
    if lengths and not min(lengths):
        raise DataError(f"row {lengths.index(0) + 1} has no token; this tokenizer adds none to a blank text.")
    width = linear.in_features + poolings * len(POOLINGS) * plain.config.get_text_config().hidden_size
    out = np.zeros((len(lengths), width), dtype=np.float32)
    budget = tokens_a_batch or _TOKENS_A_BATCH.get(plain.device.type, _TOKENS_ELSEWHERE)
    state = PartialState()
    mine = batches_by_length(lengths, budget)[state.process_index :: state.num_processes]
    hidden = last_hidden_states(plain) if poolings else only_first_token(plain)
    bar = tqdm(total=sum(map(len, mine)), desc="Encoding", unit=" texts", leave=False, disable=_no_bar(state))
    with bar, hidden as states:
        for indices, found in zip(mine, _read(plain, linear, tokenizer, columns, mine, states), strict=True):
            out[indices] = found.float().cpu().numpy()
            bar.update(len(indices))
    out = _gathered(out, state)
    if not np.isfinite(out).all():
        raise DataError("the encoder's features of some rows are not finite; is the checkpoint intact?")
    return out


def encode_cached(
    model: PreTrainedModel,
    tokenizer: Any,
    texts: Sequence[Any],
    tokens: Dataset,
    max_length: int,
    *,
    at: nn.Linear | None = None,
    poolings: bool = False,
) -> np.ndarray:
    """`encode`, but rows that were encoded before are read from the cache.

    texts, tokens: the same rows as strings or (text, pair) tuples, and as token ids, cut to max_length. The layer that is read
    at and the last one may change their weights: what they get stays the same.
    """
    last = final_linear(unwrapped(model))[1]
    read = last if at is None else at
    name = next(name for name, module in unwrapped(model).named_modules() if module is read)
    key = weights_key(model, tokenizer, max_length, name, poolings, without=[read, last])
    pairs = None if not texts or isinstance(texts[0], str) else [pair for _, pair in texts]
    digests = row_digests(list(texts) if pairs is None else [text for text, _ in texts], pairs)
    return cached_rows(
        "features",
        key,
        digests,
        lambda indices: encode(model, tokenizer, tokens.select(indices), at=at, poolings=poolings),
    )


def batches_by_length(lengths: Sequence[int], budget: int) -> list[list[int]]:
    """Places of all rows, longest first, in batches of at most `budget` tokens, padding included (one row at least)."""
    batches: list[list[int]] = []
    for place in sorted(range(len(lengths)), key=lambda i: -lengths[i]):
        if batches and lengths[batches[-1][0]] * (len(batches[-1]) + 1) <= budget:
            batches[-1].append(place)
        else:
            batches.append([place])
    return batches


def _columns(tokenizer: Any, rows: Any, max_length: int) -> dict[str, list[list[int]]]:
    """Token ids and what goes with them by name, not padded."""
    if isinstance(rows, Dataset):
        return {name: rows[name][:] for name in rows.column_names if name in tokenizer.model_input_names}
    texts = list(rows)
    if not texts:
        return {"input_ids": []}
    pairs = None if isinstance(texts[0], str) else [pair for _, pair in texts]
    firsts = texts if pairs is None else [text for text, _ in texts]
    return dict(tokenizer(firsts, pairs, truncation=True, max_length=max_length))


def _read(
    model: PreTrainedModel,
    linear: nn.Linear,
    tokenizer: Any,
    columns: Mapping[str, list[list[int]]],
    batches: Sequence[Sequence[int]],
    states: list[torch.Tensor] | None,
) -> Iterator[torch.Tensor]:
    """What is to be kept of each batch: what `linear` gets and, where states are collected, those pooled in every way."""
    masks: list[torch.Tensor] = []

    def padded() -> Iterator[dict[str, torch.Tensor]]:
        for indices in batches:
            batch = tokenizer.pad(
                {k: [column[i] for i in indices] for k, column in columns.items()}, return_tensors="pt"
            )
            masks.append(batch["attention_mask"])
            yield dict(batch)

    for features in inputs_of(model, linear, padded()):
        mask = masks.pop()
        if states is not None:
            features = torch.cat([features, pool_every_way(states.pop(), mask.to(features.device))], dim=1)
        yield features


def _gathered(out: np.ndarray, state: PartialState) -> np.ndarray:
    """The rows of all processes: each holds zeros where the others hold theirs."""
    if state.num_processes == 1:
        return out
    total: Any = reduce(torch.from_numpy(out).to(state.device), "sum")
    return total.cpu().numpy()


def _no_bar(state: PartialState) -> bool:
    return not state.is_main_process or not sys.stderr.isatty() or are_progress_bars_disabled()
