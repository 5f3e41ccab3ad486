"""The order of training rows.

It is equal in every process, in a resumed run, and for any number of processes.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import numpy as np
import torch
from torch.utils.data import Sampler
from transformers import TrainerCallback, TrainerState

_STREAM = 2  # of random numbers; masking has others
_UPDATES_PER_GROUP = 50  # a group is sorted by length


class Clock(TrainerCallback):
    """The current epoch, in memory shared with the workers of the dataloader."""

    def __init__(self) -> None:
        self._epoch = torch.zeros(1, dtype=torch.int64).share_memory_()

    @property
    def epoch(self) -> int:
        """Index of the epoch, from 0."""
        return int(self._epoch[0])

    def on_epoch_begin(self, args: object, state: TrainerState, control: object, **kwargs: object) -> None:
        """Set the epoch; in a resumed run that of the checkpoint."""
        self._epoch[0] = math.floor((state.epoch or 0) + 1e-6)


class LengthGroups(Sampler[int]):
    """Sampler of batches of similar length, by (seed, epoch) alone.

    The sampler of Trainer uses the generator of each process, which dropout advances by different amounts: after the first
    epoch, two processes on CPUs read some rows twice and others not at all. It also groups by the batch of one process, so
    that two processes would have other updates than one.
    """

    def __init__(self, lengths: Sequence[int], rows: int, seed: int, clock: Clock) -> None:
        """rows: per update, over all processes."""
        self.lengths, self.rows, self.seed, self.clock = np.asarray(lengths), rows, seed, clock

    def __len__(self) -> int:
        return len(self.lengths)

    def __iter__(self) -> Iterator[int]:
        """Yield rows shuffled, and sorted by length within groups of 50 updates.

        The updates are shuffled then.
        An incomplete update is the last.
        """
        rng = np.random.default_rng([self.seed, _STREAM, self.clock.epoch])
        order = rng.permutation(len(self.lengths))
        group = self.rows * _UPDATES_PER_GROUP
        parts = [order[start : start + group] for start in range(0, len(order), group)]
        order = np.concatenate([part[np.argsort(-self.lengths[part], kind="stable")] for part in parts])
        updates = [order[start : start + self.rows] for start in range(0, len(order), self.rows)]
        full = len(order) // self.rows
        indices = [*rng.permutation(full), *range(full, len(updates))]
        return iter(np.concatenate([updates[index] for index in indices]).tolist())
