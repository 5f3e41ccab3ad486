"""The order of training rows: the same in every process, in a run that is resumed, and for any number of processes."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import torch
from torch.utils.data import Sampler
from transformers import TrainerCallback

_STREAM = 2  # of chance; others hide tokens
_UPDATES_A_GROUP = 50  # from which texts of like length are put together


class Clock(TrainerCallback):
    """The epoch, in memory that the dataloader's workers see, too."""

    def __init__(self) -> None:
        self._epoch = torch.zeros(1, dtype=torch.int64).share_memory_()

    @property
    def epoch(self) -> int:
        """0 in the first."""
        return int(self._epoch[0])

    def on_epoch_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Set it: of a resumed run, the one in which it goes on."""
        self._epoch[0] = math.floor((state.epoch or 0) + 1e-6)


class LengthGroups(Sampler[int]):
    """Rows of like length side by side, in an order that follows from (seed, epoch) alone.

    Trainer's own draw from the chance of each process, which dropout moves on by other amounts: after the first epoch, two
    processes on CPUs read some rows twice and others not at all. And they go by the batch of one process, so that two would
    read other updates than one.
    """

    def __init__(self, lengths: Sequence[int], rows: int, seed: int, clock: Clock) -> None:
        """rows: of an update, over all processes."""
        self.lengths, self.rows, self.seed, self.clock = np.asarray(lengths), rows, seed, clock

    def __len__(self) -> int:
        return len(self.lengths)

    def __iter__(self) -> Iterator[int]:
        """Shuffled, sorted by length within groups of 50 updates, and the updates shuffled; an incomplete one comes last."""
        rng = np.random.default_rng([self.seed, _STREAM, self.clock.epoch])
        order = rng.permutation(len(self.lengths))
        group = self.rows * _UPDATES_A_GROUP
        parts = [order[start : start + group] for start in range(0, len(order), group)]
        order = np.concatenate([part[np.argsort(-self.lengths[part], kind="stable")] for part in parts])
        updates = [order[start : start + self.rows] for start in range(0, len(order), self.rows)]
        whole = len(order) // self.rows
        indices = [*rng.permutation(whole), *range(whole, len(updates))]
        return iter(np.concatenate([updates[place] for place in indices]).tolist())
