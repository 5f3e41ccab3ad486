"""Masks and labels of the tokens to predict.

A text's mask follows from (seed, epoch, index of the text) alone, whichever process and batch it is read in.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from datasets import Dataset
from numpy.typing import NDArray
from transformers import PreTrainedTokenizerBase

from nlp_ft.errors import ConfigError, DataError
from nlp_ft.training.sampler import Clock

IGNORED = -100  # the label of a token that is not to be predicted
_TRAIN, _HELD_OUT = 0, 1  # random streams
_MASKED, _RANDOM = 0.8, 0.1  # of the chosen tokens; the rest stay as they are

Ids = NDArray[np.int64]
Row = dict[str, Any]  # input_ids, place (the index of the text), and words or labels where it has them


@dataclass(frozen=True)
class Masking:
    """Masking of tokens (Devlin et al. 2019, arXiv:1810.04805, section 3.1).

    probability: the share of tokens (of words, where the rows hold `words`) that is chosen. mask: the id of the mask token.
    special: ids never chosen. ordinary: ids that a random token is drawn from.
    """

    probability: float
    mask: int
    special: Ids
    ordinary: Ids

    @classmethod
    def of(cls, tokenizer: PreTrainedTokenizerBase, probability: float) -> Masking:
        """Masking by a tokenizer's mask token. Raises: ConfigError if it has none."""
        if tokenizer.mask_token_id is None:
            raise ConfigError("this encoder's tokenizer has no mask token, which pre-training hides words behind.")
        special = np.array(sorted(set(tokenizer.all_special_ids)), np.int64)
        ordinary = np.setdiff1d(np.arange(len(tokenizer)), special)
        mask: Any = tokenizer.mask_token_id  # transformers types it as any special token
        return cls(probability, mask, special, ordinary)

    def draw(self, ids: Ids, words: Ids | None, rng: np.random.Generator) -> tuple[Ids, Ids]:
        """Inputs and labels of a text: the ids of the chosen tokens, IGNORED elsewhere.

        ids: (tokens,). words: (tokens,) the word of each token, or None to choose single tokens. The number chosen is the
        share of all, rounded up or down at random so that its mean is that share. Of the chosen 80 % become the mask token,
        10 % a random one, 10 % stay; the tokens of a word are treated alike. transformers' collator masks whole words
        without the last two, and draws from the generator of the process.
        """
        units = np.arange(len(ids)) if words is None else words.copy()
        units[np.isin(ids, self.special)] = -1
        candidates = np.unique(units[units >= 0])
        count = int(self.probability * len(candidates) + rng.random())
        chosen = rng.choice(candidates, size=count, replace=False)
        outcomes = np.full(max(units.max(initial=-1), 0) + 2, 2.0)  # the last is that of units of -1
        outcomes[chosen] = rng.random(count)
        outcome = outcomes[units]
        inputs, labels = ids.copy(), np.where(outcome < 1, ids, IGNORED)
        inputs[outcome < _MASKED] = self.mask
        swapped = (outcome >= _MASKED) & (outcome < _MASKED + _RANDOM)
        inputs[swapped] = rng.choice(self.ordinary, size=int(swapped.sum()))
        return inputs, labels


class Collator:
    """Collate rows of token ids to batches of input_ids, attention_mask and labels.

    Rows are padded, and the labels of padding are IGNORED. Masked: rows of the training set get the masks of this epoch; rows
    that have labels already keep them. Causal (masking is None): each token but the first is a label, at its own position, as
    in transformers.
    """

    def __init__(self, pad: int, masking: Masking | None, seed: int, clock: Clock, multiple: int = 1) -> None:
        """multiple: the length of a batch is a multiple of it."""
        self.pad, self.masking, self.seed, self.clock, self.multiple = pad, masking, seed, clock, multiple

    def __call__(self, rows: Sequence[Row]) -> dict[str, torch.Tensor]:
        """Collate a batch."""
        examples = [self._example(row) for row in rows]
        width = -(-max(len(ids) for ids, _ in examples) // self.multiple) * self.multiple
        shape = (len(examples), width)
        inputs, labels = np.full(shape, self.pad), np.full(shape, IGNORED)
        mask = np.zeros(shape, np.int64)
        for row, (ids, targets) in enumerate(examples):
            inputs[row, : len(ids)], labels[row, : len(ids)], mask[row, : len(ids)] = ids, targets, 1
        batch = {"input_ids": inputs, "attention_mask": mask, "labels": labels}
        return {name: torch.from_numpy(values) for name, values in batch.items()}

    def _example(self, row: Row) -> tuple[Ids, Ids]:
        ids = np.asarray(row["input_ids"], np.int64)
        if "labels" in row:
            return ids, np.asarray(row["labels"], np.int64)
        if self.masking is not None:
            rng = np.random.default_rng([self.seed, _TRAIN, self.clock.epoch, row["place"]])
            return self.masking.draw(ids, _words(row), rng)
        return ids, np.concatenate([[IGNORED], ids[1:]])


def _words(row: Row) -> Ids | None:
    return np.asarray(row["words"], np.int64) if "words" in row else None


def with_fixed_masks(rows: Dataset, masking: Masking, seed: int) -> Dataset:
    """Mask held-out rows once, so that every evaluation predicts the same tokens.

    Raises: DataError if no token is masked.
    """

    def mask(row: Row) -> Row:
        rng = np.random.default_rng([seed, _HELD_OUT, row["place"]])
        inputs, labels = masking.draw(np.asarray(row["input_ids"], np.int64), _words(row), rng)
        return {"input_ids": inputs, "labels": labels, "masked": int((labels != IGNORED).sum())}

    rows = rows.map(mask, desc="Masking validation")
    if not sum(rows["masked"]):
        raise DataError("validation: not one of its tokens is masked; hold out more (--validation_split_size).")
    return rows.remove_columns("masked")
