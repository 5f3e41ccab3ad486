"""Inputs of a classifier's last layer as features: one frozen pass, cached.

Rows are sorted by length; the cache is keyed by weights and text.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import torch
from accelerate import PartialState
from accelerate.utils import reduce
from datasets import Dataset, are_progress_bars_disabled
from torch import nn
from tqdm import tqdm
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from nlp_ft.errors import DataError
from nlp_ft.inference.feature_cache import cached_rows, row_digests, weights_key
from nlp_ft.models.classifier import capacity
from nlp_ft.models.heads import final_linear, layer_inputs
from nlp_ft.models.layers import unwrapped
from nlp_ft.models.pooling import POOLINGS, last_hidden_states, only_first_token, pool_all_ways

_TOKENS_PER_BATCH = {"cpu": 1024}  # padding included; measured: larger ones exceed the processor's cache
_TOKENS_PER_BATCH_DEFAULT = 32_768


def encode(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    rows: Dataset | Sequence[str] | Sequence[tuple[str, str]],
    *,
    max_length: int | None = None,
    layer: nn.Linear | None = None,
    poolings: bool = False,
    tokens_a_batch: int | None = None,
) -> np.ndarray:
    """Inputs of the last linear layer in evaluation mode: float32 (rows, features).

    Features are in the order of the rows; rows of like length share a batch. Under several processes each takes its share of
    the batches, and all get all rows.

    Args:
        model: a stock *ForSequenceClassification, with adapters or without, on its device; its mode is restored.
        tokenizer: the model's.
        rows: the rows of data.tokenize (input_ids, attention_mask, ...), or texts, or (text, pair) tuples.
        max_length: tokens at which texts (not token ids) are truncated; the capacity of model and tokenizer where None.
        layer: another linear layer whose inputs are taken, one vector a row: the dense layer of a head, for instance.
        poolings: adds the encoder's last hidden states, pooled in each way of pooling.POOLINGS.
        tokens_a_batch: rows times the tokens of the longest one, at most; a longer row goes alone.

    Raises: DataError for a text without a single token, and for features that are not finite.
    """
    plain: PreTrainedModel = unwrapped(model)
    linear = layer if layer is not None else final_linear(plain)[1]
    columns = _columns(tokenizer, rows, max_length or capacity(plain, tokenizer))
    lengths = [len(ids) for ids in columns["input_ids"]]
    if lengths and not min(lengths):
        raise DataError(f"row {lengths.index(0) + 1} has no token; this tokenizer adds none to a blank text.")
    width = linear.in_features + poolings * len(POOLINGS) * plain.config.get_text_config().hidden_size
    out = np.zeros((len(lengths), width), dtype=np.float32)
    budget = tokens_a_batch or _TOKENS_PER_BATCH.get(plain.device.type, _TOKENS_PER_BATCH_DEFAULT)
    state = PartialState()
    batches = batches_by_length(lengths, budget)[state.process_index :: state.num_processes]
    hidden = last_hidden_states(plain) if poolings else only_first_token(plain)
    bar = tqdm(total=sum(map(len, batches)), desc="Encoding", unit=" texts", leave=False, disable=_no_bar(state))
    with bar, hidden as states:
        for indices, features in zip(batches, _read(plain, linear, tokenizer, columns, batches, states), strict=True):
            out[indices] = features.float().cpu().numpy()
            bar.update(len(indices))
    out = _gathered(out, state)
    if not np.isfinite(out).all():
        raise DataError("the encoder's features of some rows are not finite; is the checkpoint intact?")
    return out


def encode_cached(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    texts: Sequence[str] | Sequence[tuple[str, str]],
    tokens: Dataset,
    max_length: int,
    *,
    layer: nn.Linear | None = None,
    poolings: bool = False,
) -> np.ndarray:
    """As `encode`, but rows that were encoded before are read from the cache.

    texts, tokens: the same rows as strings or (text, pair) tuples, and as token ids, truncated to max_length. The weights of
    the layer whose inputs are taken, and of the last one, may change: their inputs stay the same.
    """
    last = final_linear(unwrapped(model))[1]
    features_layer = last if layer is None else layer
    name = next(name for name, module in unwrapped(model).named_modules() if module is features_layer)
    key = weights_key(model, tokenizer, max_length, name, poolings, without=[features_layer, last])
    digests = row_digests(*_split_pairs(texts))
    return cached_rows(
        "features",
        key,
        digests,
        lambda indices: encode(model, tokenizer, tokens.select(indices), layer=layer, poolings=poolings),
    )


def batches_by_length(lengths: Sequence[int], budget: int) -> list[list[int]]:
    """Batches of row indices, longest rows first, of at most `budget` tokens.

    Padding is included; a batch has at least one row.
    """
    batches: list[list[int]] = []
    for index in sorted(range(len(lengths)), key=lambda i: -lengths[i]):
        if batches and lengths[batches[-1][0]] * (len(batches[-1]) + 1) <= budget:
            batches[-1].append(index)
        else:
            batches.append([index])
    return batches


def _split_pairs(texts: Sequence[str] | Sequence[tuple[str, str]]) -> tuple[list[str], list[str] | None]:
    """First texts, and second texts where the rows are pairs."""
    firsts: list[str] = []
    seconds: list[str] = []
    for row in texts:
        if isinstance(row, str):
            firsts.append(row)
        else:
            first, second = row
            firsts.append(first)
            seconds.append(second)
    return firsts, seconds or None


def _columns(
    tokenizer: PreTrainedTokenizerBase, rows: Dataset | Sequence[str] | Sequence[tuple[str, str]], max_length: int
) -> dict[str, list[list[int]]]:
    """Token ids and the other inputs of the model by name, not padded."""
    if isinstance(rows, Dataset):
        return {name: rows[name][:] for name in rows.column_names if name in tokenizer.model_input_names}
    firsts, pairs = _split_pairs(rows)
    if not firsts:
        return {"input_ids": []}
    return dict(tokenizer(firsts, pairs, truncation=True, max_length=max_length))


def _read(
    model: PreTrainedModel,
    linear: nn.Linear,
    tokenizer: PreTrainedTokenizerBase,
    columns: Mapping[str, list[list[int]]],
    batches: Sequence[Sequence[int]],
    states: list[torch.Tensor] | None,
) -> Iterator[torch.Tensor]:
    """Features of each batch: inputs of `linear` and, with states, their poolings."""
    masks: list[torch.Tensor] = []

    def padded() -> Iterator[dict[str, torch.Tensor]]:
        for indices in batches:
            batch = tokenizer.pad(
                {k: [column[i] for i in indices] for k, column in columns.items()}, return_tensors="pt"
            )
            masks.append(batch["attention_mask"])
            yield dict(batch)

    for features in layer_inputs(model, linear, padded()):
        mask = masks.pop()
        if states is not None:
            features = torch.cat([features, pool_all_ways(states.pop(), mask.to(features.device))], dim=1)
        yield features


def _gathered(out: np.ndarray, state: PartialState) -> np.ndarray:
    """Sum the rows of all processes.

    Each process holds zeros for the rows of the others.
    """
    if state.num_processes == 1:
        return out
    total = reduce(torch.from_numpy(out).to(state.device), "sum")
    assert isinstance(total, torch.Tensor)
    return total.cpu().numpy()


def _no_bar(state: PartialState) -> bool:
    return not state.is_main_process or not sys.stderr.isatty() or are_progress_bars_disabled()
