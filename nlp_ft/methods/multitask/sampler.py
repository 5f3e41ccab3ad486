"""Sampler of the rows of all tasks: the share of each, and the order."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import numpy as np
from torch.utils.data import Sampler

from nlp_ft.training.sampler import Clock

_POOL = 50  # updates whose rows are sorted by length together, as in Trainer's own sampler


class TaskSampler(Sampler[int]):
    """Sampler of a share of each task's rows an epoch.

    Rows are shuffled, or sorted by length within 50 updates; their order follows from seed and epoch.

    The rows stand task after task. A task of which an epoch takes fewer rows than it has goes on in the next epoch where it
    stopped, and a task of which it takes more begins anew, in another order: all rows of a task are seen equally often, give
    or take one. Every process draws the same, and a run that is resumed goes on as it would have.

    Args:
        sizes: rows of each task.
        exponent: of each epoch: a task of N rows is drawn in proportion to N ** exponent.
        lengths: tokens of each row, to sort by; None: rows stand at random; `in_order`: as they come, task after task.
        per_update: rows that share an update.
    """

    def __init__(
        self,
        sizes: Sequence[int],
        exponent: Callable[[int], float],
        seed: int,
        *,
        lengths: Sequence[int] | None = None,
        per_update: int = 1,
        in_order: bool = False,
    ) -> None:
        self.sizes, self.exponent, self.seed = list(sizes), exponent, seed
        self.lengths = None if lengths is None else np.asarray(lengths)
        self.per_update, self.in_order = per_update, in_order
        self.clock = Clock()

    def __len__(self) -> int:
        return sum(self.sizes)

    def counts(self, epoch: int) -> list[int]:
        """Count the rows of each task in an epoch.

        In proportion to N ** exponent, as many in all as there are rows; the largest remainders are rounded up.
        """
        weights = np.asarray(self.sizes, dtype=np.float64) ** self.exponent(epoch)
        shares = len(self) * weights / weights.sum()
        counts = np.floor(shares).astype(int)
        short = len(self) - counts.sum()
        counts[np.argsort(counts - shares, kind="stable")[:short]] += 1
        return counts.tolist()

    def __iter__(self) -> Iterator[int]:
        now = self.clock.epoch
        done = sum((np.asarray(self.counts(epoch)) for epoch in range(now)), np.zeros(len(self.sizes), int))
        firsts = np.cumsum([0, *self.sizes[:-1]])
        drawn = [
            first + self._slice(task, start, count)
            for task, (first, start, count) in enumerate(zip(firsts, done, self.counts(now), strict=True))
        ]
        rows = np.concatenate(drawn)
        if not self.in_order:
            rng = np.random.default_rng([self.seed, 0, now])
            rows = rng.permutation(rows)
            rows = rows if self.lengths is None else self._by_length(rows, rng)
        return iter(rows.tolist())

    def _slice(self, task: int, start: int, count: int) -> np.ndarray:
        """Rows start to start + count of a task's repeated permutations."""
        size = self.sizes[task]
        parts = [np.zeros(0, int)]
        for repetition in range(start // size, -(-(start + count) // size)):
            rng = np.random.default_rng([self.seed, task + 1, repetition])
            order = np.arange(size) if self.in_order else rng.permutation(size)
            parts.append(order[max(start - repetition * size, 0) : start + count - repetition * size])
        return np.concatenate(parts)

    def _by_length(self, rows: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Put rows of like length into one update.

        The rest, less than an update, stays last.
        """
        assert self.lengths is not None
        updates = []
        for start in range(0, len(rows), _POOL * self.per_update):
            pool = rows[start : start + _POOL * self.per_update]
            pool = pool[np.argsort(-self.lengths[pool], kind="stable")]
            whole = len(pool) // self.per_update
            cut = pool[: whole * self.per_update].reshape(whole, self.per_update)
            updates += [*rng.permutation(cut), pool[whole * self.per_update :]]
        return np.concatenate(updates)


def exponent_of(sampling: str, temperature: float, epochs: int) -> Callable[[int], float]:
    """Exponent of a task's number of rows, as a function of the epoch from 0.

    1 draws in proportion to the rows, 0 draws all tasks alike. annealed: 1 - 0.8 * e / (E - 1) for e = 0 ... E - 1
    (Stickland & Murray 2019, arXiv:1902.02671, section 3.3).
    """
    if sampling == "annealed":
        return lambda epoch: 1 - 0.8 * epoch / max(1, epochs - 1)
    fixed = {"proportional": 1.0, "uniform": 0.0, "temperature": 1 / temperature}[sampling]
    return lambda epoch: fixed
