"""Tasks of meta-learning: data sets with classes, and episodes drawn from them.

An episode follows from a seed and its number.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from math import comb
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from datasets import Dataset
from torch import Tensor
from transformers import PreTrainedTokenizerBase

from nlp_ft.config import DataArguments
from nlp_ft.data import BadRow, counted, read_rows, tokenize
from nlp_ft.errors import ConfigError, DataError, did_you_mean
from nlp_ft.methods.meta.arguments import MetaArguments

META_TRAIN, META_TEST = 0, 1  # the two random streams
_SHOWN = 3


@dataclass(frozen=True)
class Pool:
    """A data set as classes with rows.

    labels: its classes. indices: the rows of each class, in the order of labels. rows: columns text, (text_pair,) label; of
    equal texts only the first is in a class. keys: 8 bytes a row, equal for equal texts. locate: a row's position in its
    file, for messages.
    """

    name: str
    labels: list[str]
    indices: list[np.ndarray]
    rows: Dataset
    keys: list[bytes]
    locate: Callable[[int], str]

    def only(self, labels: Collection[str]) -> Pool:
        """The same data set with some of the classes."""
        kept = [i for i, label in enumerate(self.labels) if label in labels]
        return replace(self, labels=[self.labels[i] for i in kept], indices=[self.indices[i] for i in kept])

    def ways(self, requested: int) -> int:
        """Number of classes in an episode: the requested number, or all there are."""
        return min(requested, len(self.labels))


class Tasks(NamedTuple):
    """The data sets to learn from, those to test on, notes, and malformed rows."""

    train: list[Pool]
    test: list[Pool]
    notes: list[str]
    rejected: list[BadRow]


class Drawn(NamedTuple):
    """Indices of an episode.

    pool: of its data set. classes: (ways,), in that pool. support, query: rows, (ways, shots) and (ways, query).
    """

    pool: int
    classes: np.ndarray
    support: np.ndarray
    query: np.ndarray


def read_tasks(arguments: MetaArguments, data: DataArguments) -> Tasks:
    """Read every data set, and split them into those to learn from and the test.

    The test is of the --meta_test_file, or of the --meta_test_classes of all data sets. Classes with fewer rows than an episode
    needs are left out, with a note.

    Raises: DataError for a data set without two classes of enough rows, and for texts on both sides; ConfigError for classes
    that no data set has, and for a file on both sides.
    """
    notes: list[str] = []
    rejected: list[BadRow] = []
    _check_files(arguments.meta_train_file, arguments.meta_test_file or ())
    train = [_read(file, data, notes, rejected) for file in arguments.meta_train_file]
    if arguments.meta_test_file:
        test = [_read(file, data, notes, rejected) for file in arguments.meta_test_file]
    else:
        train, test = _by_class(train, arguments.meta_test_classes or ())
    rows = arguments.shots + arguments.query
    train, test = ([_large_enough(pool, rows, notes) for pool in pools] for pools in (train, test))
    refuse_shared_texts(train, test)
    for side, pools in (("meta-train", train), ("meta-test", test)):
        tasks = sum(comb(len(pool.labels), pool.ways(arguments.ways)) for pool in pools)
        names = ", ".join(f"{len(pool.labels)} classes of {pool.name}" for pool in pools)
        notes.append(
            f"{side}: {counted(tasks, 'task')} of {arguments.ways} classes{_fewer(pools, arguments.ways)}, out of {names}"
        )
    return Tasks(train, test, notes, rejected)


def _fewer(pools: Sequence[Pool], ways: int) -> str:
    """Suffix of a note where a data set has fewer classes than an episode wants."""
    return " (or all there are)" if any(len(pool.labels) < ways for pool in pools) else ""


def _read(file: str, data: DataArguments, notes: list[str], rejected: list[BadRow]) -> Pool:
    """Read a data set, every text once. Raises: DataError unless a row has a class."""
    result = read_rows(replace(data, train_file=[file]))
    notes.append(f"{file}: {'; '.join(note.removeprefix('train: ') for note in result.notes)}")
    rejected += result.tables["train"].rejected
    if result.problem != "single_label_classification":
        raise DataError(
            f"{file}: tasks are made of classes, one a row, and this is a {result.problem}; numbers that are classes become so "
            "by --problem_type single_label_classification, others can be cut into bands as recipes/data/score_bands.py does."
        )
    rows, table = result.rows["train"], result.tables["train"]
    first: dict[bytes, int] = {}
    for index, key in enumerate(rows.keys):
        first.setdefault(key, index)
    if repeated := len(rows) - len(first):
        notes.append(f"{file}: {counted(repeated, 'row')} left out, of a text that stands there before")
    labels = np.asarray(rows.labels)
    indices = np.fromiter(first.values(), dtype=np.int64)
    by_class = [indices[labels[indices] == number] for number in range(len(result.labels))]
    return Pool(file, result.labels, by_class, rows.data, rows.keys, table.where)


def _check_files(train_files: Sequence[str], test_files: Sequence[str]) -> None:
    known = {Path(file).resolve() for file in train_files}
    for file in test_files:
        if Path(file).resolve() in known:
            raise ConfigError(
                f"--meta_test_file {file} is a --meta_train_file too; the test must be of tasks that were never trained on."
            )


def _by_class(pools: list[Pool], held_out: Sequence[str]) -> tuple[list[Pool], list[Pool]]:
    known = list(dict.fromkeys(label for pool in pools for label in pool.labels))
    for label in held_out:
        if label not in known:
            raise ConfigError(
                f"--meta_test_classes {label}: no data set has this class; there are {', '.join(known[:20])}."
                f"{did_you_mean(label, known)}"
            )
    if len(set(held_out)) < 2:
        raise ConfigError("without a --meta_test_file, --meta_test_classes must name two classes or more to hold out.")
    test = [pool.only(held_out) for pool in pools if set(held_out) & set(pool.labels)]
    return [pool.only(set(pool.labels) - set(held_out)) for pool in pools], test


def _large_enough(pool: Pool, rows: int, notes: list[str]) -> Pool:
    counts = dict(zip(pool.labels, map(len, pool.indices), strict=True))
    small = [f"{label} ({count})" for label, count in counts.items() if count < rows]
    if small:
        notes.append(f"{pool.name}: left out, with fewer than the {rows} rows of an episode: {', '.join(small[:20])}")
    kept = pool.only([label for label, count in counts.items() if count >= rows])
    if len(kept.labels) < 2:
        raise DataError(
            f"{pool.name}: {counted(len(kept.labels), 'class')} with {rows} rows (--shots and --query together) or more to "
            "draw tasks from; wanted two at least."
        )
    return kept


def refuse_shared_texts(train: Sequence[Pool], test: Sequence[Pool]) -> None:
    """Check that meta-train and meta-test share no text. Raises: DataError."""
    seen: dict[bytes, str] = {}
    for pool in train:
        for index in np.concatenate(pool.indices):
            seen.setdefault(pool.keys[index], pool.locate(int(index)))
    for pool in test:
        indices = [int(index) for index in np.sort(np.concatenate(pool.indices))]
        if shared := [index for index in indices if pool.keys[index] in seen]:
            shown = ", ".join(f"{pool.locate(index)} = {seen[pool.keys[index]]}" for index in shared[:_SHOWN])
            raise DataError(
                f"{pool.name}: {counted(len(shared), 'text')} of meta-test {'is' if len(shared) == 1 else 'are'} in "
                f"meta-train too ({shown}{', ...' if len(shared) > _SHOWN else ''}), so its figures would flatter the "
                "initialisation; take them out of one of the two."
            )


def fingerprint(pools: Iterable[Pool]) -> list[dict[str, object]]:
    """Name, rows of each class and sha256 of the texts' digests, of each data set."""
    entries: list[dict[str, object]] = []
    for pool in pools:
        digest = hashlib.sha256()
        for label, indices in zip(pool.labels, pool.indices, strict=True):
            digest.update(label.encode() + b"\0" + b"".join(pool.keys[index] for index in indices))
        counts = dict(zip(pool.labels, map(len, pool.indices), strict=True))
        entries.append({"name": pool.name, "classes": counts, "sha256": digest.hexdigest()})
    return entries


def draw(pools: Sequence[Pool], ways: int, shots: int, query: int, *, seed: int, stream: int, number: int) -> Drawn:
    """Draw episode `number` of a stream.

    A data set, each as likely as the other; classes in random order; rows of each. The episode follows from the arguments
    alone, so every process and every arm of a comparison draws the same.
    """
    rng = np.random.default_rng([seed, stream, number])
    chosen = int(rng.integers(len(pools)))
    pool = pools[chosen]
    classes = rng.permutation(len(pool.labels))[: pool.ways(ways)]
    rows = np.stack([rng.choice(pool.indices[i], shots + query, replace=False) for i in classes])
    return Drawn(chosen, classes, rows[:, :shots], rows[:, shots:])


class EpisodeDataset(torch.utils.data.Dataset[dict[str, Any]]):
    """Episodes of a stream, tokenized and padded for MetaLearner.

    Item i is the episode of (seed, stream, i). length: their number. sizes: ways, shots, query.
    """

    def __init__(
        self,
        pools: Sequence[Pool],
        tokenizer: PreTrainedTokenizerBase,
        max_length: int,
        sizes: tuple[int, int, int],
        *,
        seed: int,
        stream: int,
        length: int,
        workers: int | None = None,
    ) -> None:
        self.pools, self.sizes, self.seed, self.stream, self.length = pools, sizes, seed, stream, length
        self.tokenizer = tokenizer
        side = ("meta-train", "meta-test")[stream]
        splits = [
            tokenize(p.rows, tokenizer, max_length, split=f"{side} {Path(p.name).stem}", num_proc=workers)
            for p in pools
        ]
        self.tokens = [tokens for tokens, _ in splits]
        self.notes = [note for _, note in splits]

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, number: int) -> dict[str, Any]:
        if not 0 <= number < self.length:
            raise IndexError(number)
        drawn = self.drawn(number)
        parts = {"support": drawn.support, "query": drawn.query}
        item: dict[str, Any] = {name: self._padded(drawn.pool, rows) for name, rows in parts.items()}
        for name, rows in parts.items():
            item[f"{name}_labels"] = torch.arange(len(rows)).repeat_interleave(rows.shape[1])
        return {**item, "pool": drawn.pool, "classes": torch.from_numpy(drawn.classes)}

    def drawn(self, number: int) -> Drawn:
        """Indices of episode `number`."""
        return draw(self.pools, *self.sizes, seed=self.seed, stream=self.stream, number=number)

    def named(self, number: int) -> dict[str, object]:
        """Names of the data set and the classes of episode `number`."""
        drawn = self.drawn(number)
        pool = self.pools[drawn.pool]
        return {"data": pool.name, "classes": [pool.labels[i] for i in drawn.classes]}

    def _padded(self, pool: int, rows: np.ndarray) -> dict[str, Tensor]:
        tokens = self.tokens[pool][rows.ravel().tolist()]
        names = [name for name in tokens if name in self.tokenizer.model_input_names]
        return dict(self.tokenizer.pad({name: tokens[name] for name in names}, return_tensors="pt"))


def as_batch(episodes: list[Mapping[str, object]]) -> dict[str, object]:
    """Collate episodes to a list, the argument of `forward`; they differ in shape."""
    return {"episodes": episodes}
