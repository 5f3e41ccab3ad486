"""Pairs of training rows, the cosine loss, and the few-shot trainers.

Each trainer ends by fitting the head.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from datasets import Dataset
from scipy.stats import rankdata
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.data import DataLoader
from torch.utils.data import Dataset as TorchDataset
from transformers import PreTrainedTokenizerBase
from transformers.trainer_utils import TrainOutput

from nlp_ft.errors import DataError
from nlp_ft.evaluation.probabilities import MULTI, REGRESSION, SINGLE
from nlp_ft.inference.encode import encode
from nlp_ft.models.heads import final_linear, pooled, probe_rows, write_linear
from nlp_ft.models.layers import unwrapped
from nlp_ft.models.linear_probe import fit_linear, probe_obstacle
from nlp_ft.training.losses import mean_loss
from nlp_ft.training.trainer import ClassifierTrainer

ZERO_SHOT_SCALE = 20.0  # logit of a cosine of 1: the scale that sentence encoders are trained with (temperature .05)
_HEAD_ROWS = 4000  # more of them move a linear layer little
_MAX_DRAWS = 100  # of two rows, until they have no common label

# (rng, number) -> indices of two rows, their similarity
Draw = Callable[[np.random.Generator, int], tuple[int, int, float]]


class Pairs(TorchDataset[Mapping[str, object]]):
    """Pairs of training rows with their target similarity.

    No pair is stored: pair i follows from seed and i alone. Even pairs are alike, odd ones are not, and the classes take
    turns, so that every batch holds as many of each and a small class counts as much as a large one.

    - single-label: alike is the same class (1), else another one (0). The only row of a class is paired with itself: dropout
      makes two of it.
    - multi-label: alike is any common label (1), else none (0), as in SetFit's sampler. A row that shares a label with all
      others is in no odd pair, where another row can be found.
    - regression: the similarity is 1 less the distance of the two targets' ranks (as a share of all rows) for any two rows;
      ranks, for one far-off target would make all other rows alike. No pair is even or odd.
    """

    def __init__(self, rows: Dataset, problem_type: str, count: int, seed: int) -> None:
        """Prepare `count` pairs of tokenized rows, which have `labels`.

        Raises: DataError where all rows are alike.
        """
        self.rows, self.count, self.seed = rows, count, seed
        self.columns = [name for name in rows.column_names if name not in ("labels", "length")]
        labels = np.asarray(rows["labels"][:])
        make = {SINGLE: _draw_classes, MULTI: _draw_label_sets, REGRESSION: _draw_ranks}[problem_type]
        self._draw = make(labels)

    def __len__(self) -> int:
        return self.count

    def draw(self, number: int) -> tuple[int, int, float]:
        """Draw a pair: the indices of two rows, and their target similarity."""
        if not 0 <= number < self.count:
            raise IndexError(f"pair {number} of {self.count}")
        return self._draw(np.random.default_rng((self.seed, number)), number)

    def __getitem__(self, number: int) -> Mapping[str, object]:
        first, second, similarity = self.draw(int(number))
        left, right = self.rows[first], self.rows[second]
        return {name: [left[name], right[name]] for name in self.columns} | {"labels": similarity}


def _draw_classes(labels: np.ndarray) -> Draw:
    order = np.argsort(labels, kind="stable")
    members = np.split(order, np.flatnonzero(np.diff(labels[order])) + 1)
    if len(members) < 2:
        raise DataError("pairs need rows of two classes; all training rows are of one.")

    def draw(rng: np.random.Generator, number: int) -> tuple[int, int, float]:
        turn = number // 2 % len(members)
        rows = members[turn]
        first = rng.integers(len(rows))
        if number % 2 == 0:
            second = (first + rng.integers(1, len(rows))) % len(rows) if len(rows) > 1 else first
            return int(rows[first]), int(rows[second]), 1.0
        other_rows = members[(turn + rng.integers(1, len(members))) % len(members)]
        return int(rows[first]), int(rng.choice(other_rows)), 0.0

    return draw


def _draw_label_sets(labels: np.ndarray) -> Draw:
    cells = labels > 0
    members = [rows for rows in map(np.flatnonzero, cells.T) if len(rows)]

    def draw(rng: np.random.Generator, number: int) -> tuple[int, int, float]:
        rows = members[number // 2 % len(members)]
        first, second = (int(row) for row in rng.choice(rows, 2, replace=len(rows) < 2))
        for _ in range(_MAX_DRAWS if number % 2 else 0):
            first, second = int(rng.choice(rows)), int(rng.integers(len(cells)))
            if not (cells[first] & cells[second]).any():
                break
        return first, second, float((cells[first] & cells[second]).any())

    if not members or all(draw(np.random.default_rng(number), number)[2] for number in range(1, 2 * _MAX_DRAWS, 2)):
        raise DataError("pairs need rows without a common label; all training rows share one, or have none.")
    return draw


def _draw_ranks(labels: np.ndarray) -> Draw:
    if len(labels) < 2 or np.ptp(labels) == 0:
        raise DataError("pairs need rows with different targets; all training rows have one.")
    ranks = (rankdata(labels) - 1) / (len(labels) - 1)

    def draw(rng: np.random.Generator, number: int) -> tuple[int, int, float]:
        first = int(rng.integers(len(ranks)))
        second = int((first + rng.integers(1, len(ranks))) % len(ranks))
        return first, second, float(1 - abs(ranks[first] - ranks[second]))

    return draw


def collate_pairs(
    collate: Callable[[list[dict[str, object]]], Mapping[str, Tensor]], pairs: Sequence[Mapping[str, Any]]
) -> dict[str, Tensor]:
    """Collate pairs into one batch of twice as many rows.

    The first rows of all pairs stand before the second ones; `labels` has one similarity a pair.
    """
    names = [name for name in pairs[0] if name != "labels"]
    batch = dict(collate([{name: pair[name][side] for name in names} for side in (0, 1) for pair in pairs]))
    return {**batch, "labels": torch.tensor([pair["labels"] for pair in pairs], dtype=torch.float32)}


def cosine_loss(features: Tensor, similarities: Tensor, items: Tensor | int | None = None) -> Tensor:
    """Squared error of the cosine similarity of rows i and i + n, a scalar.

    The sum over the pairs / items, or their mean where items is None. features: (2 n, width); similarities: (n,), each 0 to
    1. The loss of Reimers & Gurevych 2019 (arXiv:1908.10084, section 3) for regression, which SetFit (Tunstall et al. 2022,
    arXiv:2209.11055, section 3) trains with.
    """
    first, second = features.float().chunk(2)
    return mean_loss((functional.cosine_similarity(first, second) - similarities.float()).square(), items)


class HeadTrainer(ClassifierTrainer):
    """Trainer that fits the last layer alone, by logistic or ridge regression.

    It reads the features of the training rows; the body stays as it is.
    """

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.rows: Dataset = kwargs["train_dataset"]
        self.classifier = unwrapped(self.model)  # type: ignore[arg-type]
        self.last_layer = final_linear(self.classifier)[1]
        self.problem_type = str(self.classifier.config.problem_type)
        self.tokenizer: PreTrainedTokenizerBase = kwargs["processing_class"]

    def train(self, *args: object, **kwargs: object) -> TrainOutput:
        """Fit the head; there is no step, and nothing to resume."""
        self.fit_head()
        return TrainOutput(0, 0.0, {})

    def fit_head(self) -> None:
        """Fit the last layer by cross-validated regression (see linear_probe.py).

        Raises: DataError where it cannot be fitted.
        """
        labels = np.asarray(self.rows["labels"][:])
        indices = probe_rows(labels, self.problem_type, _HEAD_ROWS, self.args.seed)
        if reason := probe_obstacle(labels[indices], self.problem_type, self.last_layer.out_features):
            raise DataError(f"the head cannot be fitted: {reason}.")
        features = encode(self.classifier, self.tokenizer, self.rows.select(indices))
        weight, bias, _ = fit_linear(features, labels[indices], self.problem_type, self.last_layer.bias is not None)
        write_linear(self.last_layer, weight, bias)


class PairTrainer(HeadTrainer):
    """Trainer of the body on pairs; the head is fitted afterwards.

    The loss compares the cosine of two rows' inputs to the last layer with their target similarity.
    """

    loss_is_scaled_for_ga = True

    def __init__(self, *, pairs: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        seed = self.args.seed if self.args.data_seed is None else self.args.data_seed
        self.train_dataset: TorchDataset = Pairs(self.rows, self.problem_type, pairs, seed)
        self.args.train_sampling_strategy = "sequential"  # the pairs are in random order
        self._head_inputs: list[Tensor] = []

    def train(self, *args: Any, **kwargs: Any) -> TrainOutput:
        """Train the body with the last layer frozen, then fit that layer."""
        self.last_layer.requires_grad_(False)
        hook = self.last_layer.register_forward_pre_hook(lambda _, inputs: self._head_inputs.append(inputs[0]))
        try:
            result = super(HeadTrainer, self).train(*args, **kwargs)
        finally:
            hook.remove()
        self.last_layer.requires_grad_(True)
        self.fit_head()
        return result

    def get_train_dataloader(self) -> DataLoader:
        """Collate pairs in training; held-out rows keep the plain collator."""
        plain = self.data_collator
        self.data_collator = lambda pairs: collate_pairs(plain, pairs)
        try:
            return super().get_train_dataloader()
        finally:
            self.data_collator = plain

    def compute_loss(
        self,
        model: nn.Module,
        inputs: dict[str, Any],
        return_outputs: bool = False,
        num_items_in_batch: Tensor | int | None = None,
    ) -> Tensor | tuple[Tensor, Mapping[str, Tensor]]:
        """Compute the cosine loss of pairs, or the classifier's of held-out rows.

        The head's own dropout is off: it would hide a part of the features, another one on each side.
        """
        if not model.training:
            return super().compute_loss(model, inputs, return_outputs, num_items_in_batch)
        for name, module in self.classifier.named_modules():
            if isinstance(module, nn.Dropout) and not name.startswith(f"{self.classifier.base_model_prefix}."):
                module.eval()
        similarities = inputs.pop("labels")
        self._head_inputs.clear()
        outputs = model(**inputs)
        features = pooled(self._head_inputs.pop(), inputs["input_ids"], self.classifier)
        loss = cosine_loss(features, similarities, num_items_in_batch)
        if self.args.average_tokens_across_devices and num_items_in_batch is not None:
            loss = loss * self.accelerator.num_processes  # whose gradients are averaged
        return (loss, outputs) if return_outputs else loss


class TemplateTrainer(HeadTrainer):
    """Zero-shot trainer that makes the last layer of class centroids.

    Its training rows are the templates with the labels put in.
    """

    def fit_head(self) -> None:
        """Write the centroids as weights, and zero as bias."""
        features = encode(self.classifier, self.tokenizer, self.rows)
        weight = centroid_weights(features, np.asarray(self.rows["labels"][:]))
        write_linear(self.last_layer, weight, np.zeros(len(weight)))


def centroid_weights(features: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Mean direction of each class's features, (classes, width).

    Its length is such that a logit is about 20 times the cosine. features: (rows, width), labels: (rows,), a row of each
    class at least. A linear layer cannot divide by the length of what it reads, so the mean length of these features stands
    for it: the order of the classes is that of the cosines for every text, and its probabilities are a little sharper the
    longer its vector is.
    """
    lengths = np.linalg.norm(features, axis=1, keepdims=True)
    directions = features / np.maximum(lengths, 1e-12)
    centroids = np.stack([directions[labels == label].mean(axis=0) for label in range(int(labels.max()) + 1)])
    centroids /= np.maximum(np.linalg.norm(centroids, axis=1, keepdims=True), 1e-12)
    return centroids * ZERO_SHOT_SCALE / max(float(lengths.mean()), 1e-12)
