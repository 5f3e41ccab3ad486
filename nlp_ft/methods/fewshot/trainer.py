"""What few-shot fitting needs of torch: pairs drawn one by one, the cosine loss, and the trainers that end in a fitted head."""

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
from nlp_ft.training.trainer import ClassifierTrainer

ZERO_SHOT_SCALE = 20.0  # logit of a cosine of 1: the scale that sentence encoders are trained with (temperature .05)
_HEAD_ROWS = 4000  # more of them move a linear layer little
_TRIES = 100  # to find two rows without a common label

Draw = Callable[[np.random.Generator, int], tuple[int, int, float]]  # (chance, number) -> two rows, their similarity


class Pairs(TorchDataset[dict[str, Any]]):
    """Pairs of training rows with the similarity they are to have; none is kept, pair i follows from seed and i alone.

    Even pairs are alike, odd ones are not, and the classes take turns, so that every batch holds as many of each and a small
    class counts as much as a large one.

    - single-label: alike is the same class (1), else another one (0). The only row of a class is paired with itself: dropout
      makes two of it.
    - multi-label: alike is any common label (1), else none (0), as in SetFit's sampler. A row that shares a label with all
      others is in no odd pair, where another row can be found.
    - regression: the similarity is 1 less the distance of the two targets' ranks (as a share of all rows) for any two rows;
      ranks, for one far-off target would make all other rows alike. No pair is even or odd.
    """

    def __init__(self, rows: Dataset, problem_type: str, count: int, seed: int) -> None:
        """rows: tokenized, with `labels`; count: pairs. Raises: DataError where all rows are alike."""
        self.rows, self.count, self.seed = rows, count, seed
        self.columns = [name for name in rows.column_names if name not in ("labels", "length")]
        labels = np.asarray(rows["labels"][:])
        make = {SINGLE: _draw_classes, MULTI: _draw_label_sets, REGRESSION: _draw_ranks}[problem_type]
        self._draw = make(labels)

    def __len__(self) -> int:
        return self.count

    def draw(self, number: int) -> tuple[int, int, float]:
        """The places of two rows, and the cosine similarity that they are to have."""
        if not 0 <= number < self.count:
            raise IndexError(f"pair {number} of {self.count}")
        return self._draw(np.random.default_rng((self.seed, number)), number)

    def __getitem__(self, number: int) -> dict[str, Any]:
        first, second, similarity = self.draw(int(number))
        one, other = self.rows[first], self.rows[second]
        return {name: [one[name], other[name]] for name in self.columns} | {"labels": similarity}


def _draw_classes(labels: np.ndarray) -> Draw:
    order = np.argsort(labels, kind="stable")
    members = np.split(order, np.flatnonzero(np.diff(labels[order])) + 1)
    if len(members) < 2:
        raise DataError("pairs need rows of two classes; all training rows are of one.")

    def draw(rng: np.random.Generator, number: int) -> tuple[int, int, float]:
        turn = number // 2 % len(members)
        own = members[turn]
        place = rng.integers(len(own))
        if number % 2 == 0:
            other = (place + rng.integers(1, len(own))) % len(own) if len(own) > 1 else place
            return int(own[place]), int(own[other]), 1.0
        others = members[(turn + rng.integers(1, len(members))) % len(members)]
        return int(own[place]), int(rng.choice(others)), 0.0

    return draw


def _draw_label_sets(labels: np.ndarray) -> Draw:
    cells = labels > 0
    members = [held for held in map(np.flatnonzero, cells.T) if len(held)]

    def draw(rng: np.random.Generator, number: int) -> tuple[int, int, float]:
        own = members[number // 2 % len(members)]
        first, second = (int(row) for row in rng.choice(own, 2, replace=len(own) < 2))
        for _ in range(_TRIES if number % 2 else 0):
            first, second = int(rng.choice(own)), int(rng.integers(len(cells)))
            if not (cells[first] & cells[second]).any():
                break
        return first, second, float((cells[first] & cells[second]).any())

    if not members or all(draw(np.random.default_rng(number), number)[2] for number in range(1, 2 * _TRIES, 2)):
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


def collate_pairs(collate: Callable[[list[Any]], Any], pairs: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """One batch of twice as many rows, all first ones before all second ones, with a label a pair."""
    names = [name for name in pairs[0] if name != "labels"]
    batch = dict(collate([{name: pair[name][side] for name in names} for side in (0, 1) for pair in pairs]))
    return {**batch, "labels": torch.tensor([pair["labels"] for pair in pairs], dtype=torch.float32)}


def cosine_loss(features: Tensor, similarities: Tensor, items: Tensor | int | None = None) -> Tensor:
    """Squared error of the cosine similarity of rows i and i + n: their sum / items, or their mean; a scalar.

    features: (2 n, width); similarities: (n,), each 0 to 1. The loss of Reimers & Gurevych 2019 (arXiv:1908.10084, section 3)
    for regression, which SetFit (Tunstall et al. 2022, arXiv:2209.11055, section 3) trains with.
    """
    first, second = features.float().chunk(2)
    errors = (functional.cosine_similarity(first, second) - similarities.float()).square()
    if items is None:
        return errors.mean()
    return errors.sum() / (items.to(errors.device) if isinstance(items, Tensor) else items)


class HeadTrainer(ClassifierTrainer):
    """Fits the last layer on the features of the training rows by logistic or ridge regression; the body stays as it is."""

    problem_type: str
    rows: Dataset

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.rows = kwargs["train_dataset"]
        self.classifier = unwrapped(self.model)  # type: ignore[arg-type]
        self.last_layer = final_linear(self.classifier)[1]
        self.problem_type = str(self.classifier.config.problem_type)
        self.tokenizer: PreTrainedTokenizerBase = kwargs["processing_class"]

    def train(self, *args: Any, **kwargs: Any) -> TrainOutput:
        """Fit the head; there is no step, and nothing to resume."""
        self.fit_head()
        return TrainOutput(0, 0.0, {})

    def fit_head(self) -> None:
        """By cross-validated logistic regression (see heads.py). Raises: DataError where it cannot be fitted."""
        labels = np.asarray(self.rows["labels"][:])
        chosen = probe_rows(labels, self.problem_type, _HEAD_ROWS, self.args.seed)
        if reason := probe_obstacle(labels[chosen], self.problem_type, self.last_layer.out_features):
            raise DataError(f"the head cannot be fitted: {reason}.")
        features = encode(self.classifier, self.tokenizer, self.rows.select(chosen))
        weight, bias, _ = fit_linear(features, labels[chosen], self.problem_type, self.last_layer.bias is not None)
        write_linear(self.last_layer, weight, bias)


class PairTrainer(HeadTrainer):
    """Trains the body on pairs by the cosine of what the last layer gets, then fits that layer."""

    loss_is_scaled_for_ga = True

    def __init__(self, *, pairs: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        seed = self.args.seed if self.args.data_seed is None else self.args.data_seed
        self.train_dataset: Any = Pairs(self.rows, self.problem_type, pairs, seed)
        self.args.train_sampling_strategy = "sequential"  # the pairs are in random order
        self._caught: list[Tensor] = []

    def train(self, *args: Any, **kwargs: Any) -> TrainOutput:
        """The last layer takes no part in the first phase, and is fitted after it."""
        for parameter in self.last_layer.parameters():
            parameter.requires_grad_(False)
        hook = self.last_layer.register_forward_pre_hook(lambda _, inputs: self._caught.append(inputs[0]))
        try:
            result = super(HeadTrainer, self).train(*args, **kwargs)
        finally:
            hook.remove()
        for parameter in self.last_layer.parameters():
            parameter.requires_grad_(True)
        self.fit_head()
        return result

    def get_train_dataloader(self) -> DataLoader:
        """Pairs are collated as such; held-out rows, which are no pairs, as ever."""
        plain = self.data_collator
        self.data_collator = lambda pairs: collate_pairs(plain, pairs)
        try:
            return super().get_train_dataloader()
        finally:
            self.data_collator = plain

    def compute_loss(
        self, model: nn.Module, inputs: dict[str, Any], return_outputs: bool = False, num_items_in_batch: Any = None
    ) -> Any:
        """The cosine loss of a batch of pairs; of held-out rows that of the classifier.

        The head's own dropout is off: it would hide a part of the features, another one on each side.
        """
        if not model.training:
            return super().compute_loss(model, inputs, return_outputs, num_items_in_batch)
        for name, module in self.classifier.named_modules():
            if isinstance(module, nn.Dropout) and not name.startswith(f"{self.classifier.base_model_prefix}."):
                module.eval()
        similarities = inputs.pop("labels")
        self._caught.clear()
        outputs = model(**inputs)
        features = pooled(self._caught.pop(), inputs["input_ids"], self.classifier)
        loss = cosine_loss(features, similarities, num_items_in_batch)
        if self.args.average_tokens_across_devices and num_items_in_batch is not None:
            loss = loss * self.accelerator.num_processes  # whose gradients are averaged
        return (loss, outputs) if return_outputs else loss


class TemplateTrainer(HeadTrainer):
    """Makes the last layer of the sentences' centroids: zero-shot, the training rows are templates with labels put in."""

    def fit_head(self) -> None:
        """Weights are the centroids; no bias."""
        features = encode(self.classifier, self.tokenizer, self.rows)
        weight = centroid_weights(features, np.asarray(self.rows["labels"][:]))
        write_linear(self.last_layer, weight, np.zeros(len(weight)))


def centroid_weights(features: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """(classes, width): the mean direction of each class's features, so long that a logit is about 20 times the cosine.

    features: (rows, width), labels: (rows,), a row of each class at least. A linear layer cannot divide by the length of what
    it reads, so the mean length of these features stands for it: the order of the classes is that of the cosines for every
    text, and its probabilities are a little sharper the longer its vector is.
    """
    lengths = np.linalg.norm(features, axis=1, keepdims=True)
    directions = features / np.maximum(lengths, 1e-12)
    centroids = np.stack([directions[labels == label].mean(axis=0) for label in range(int(labels.max()) + 1)])
    centroids /= np.maximum(np.linalg.norm(centroids, axis=1, keepdims=True), 1e-12)
    return centroids * ZERO_SHOT_SCALE / max(float(lengths.mean()), 1e-12)
