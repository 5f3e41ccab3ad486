"""The loss: sum of the row losses / number of rows.

The rows are those of the whole accumulated, distributed batch.

The heads of transformers return the mean of each micro-batch and ignore `num_items_in_batch`, while Trainer assumes that they
divide by it: the loss is then too large by accumulation steps x processes (huggingface/transformers#47688).
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor
from torch.nn import functional

from nlp_ft.errors import ConfigError, did_you_mean

Outputs = Mapping[str, Tensor] | Sequence[Tensor]  # of a forward pass: by name, or a tuple


class ClassifierLoss:
    """Loss by problem type, for Trainer's `compute_loss_func`.

    Cross-entropy (single-label), binary cross-entropy (multi-label) or squared error (regression).

    Args:
        problem_type: one of config.PROBLEM_TYPES.
        class_weights: (classes,), positive, or None. Cross-entropy: a row counts by its label's weight. Multi-label: the
            positive term of each label does (pos_weight). With a mean of 1 over the training rows the sum of row losses over
            the number of rows estimates the weighted mean without bias, and stays exact under accumulation.
        label_smoothing: share of the target spread evenly over the classes (Szegedy et al. 2016, section 7); single-label.
    """

    def __init__(
        self, problem_type: str, class_weights: Sequence[float] | None = None, label_smoothing: float = 0.0
    ) -> None:
        if label_smoothing and problem_type != "single_label_classification":
            raise ConfigError(f"--label_smoothing_factor fits single-label problems only; this one is {problem_type}.")
        if not 0 <= label_smoothing < 1:
            raise ConfigError(f"--label_smoothing_factor must be at least 0 and below 1, got {label_smoothing}.")
        self.problem_type = problem_type
        self.label_smoothing = label_smoothing
        self.class_weights = None if class_weights is None else torch.tensor(list(class_weights), dtype=torch.float32)

    def row_losses(self, logits: Tensor, labels: Tensor) -> Tensor:
        """Return the loss of each row, shape (batch,).

        Units: nats; of regression, squared units of the target.

        logits: (batch, classes), or (batch, 1) for regression. labels: (batch,) integers, (batch, classes) 0/1 floats, or
        (batch,) floats. Multi-label: the mean over the labels of a row.
        """
        logits = logits.float()
        weights = None if self.class_weights is None else self.class_weights.to(logits.device)
        if self.problem_type == "regression":
            return (logits.reshape(len(labels)) - labels.float().reshape(len(labels))).square()
        if self.problem_type == "multi_label_classification":
            cells = functional.binary_cross_entropy_with_logits(
                logits, labels.float(), pos_weight=weights, reduction="none"
            )
            return cells.mean(dim=-1)
        if weights is None or not self.label_smoothing:
            return functional.cross_entropy(
                logits, labels, weight=weights, label_smoothing=self.label_smoothing, reduction="none"
            )
        # torch weights each smoothed class by its own weight; here a row has the weight of its label.
        smoothed = functional.cross_entropy(logits, labels, label_smoothing=self.label_smoothing, reduction="none")
        return smoothed * weights[labels]

    def __call__(self, outputs: Outputs, labels: Tensor, num_items_in_batch: Tensor | int | None = None) -> Tensor:
        """Sum of the row losses / num_items_in_batch (rows).

        Their mean if that is None, as in evaluation.
        """
        return mean_loss(self.row_losses(logits_of(outputs), labels), num_items_in_batch)


def mean_loss(losses: Tensor, num_items_in_batch: Tensor | int | None) -> Tensor:
    """Sum of the losses / num_items_in_batch; their mean if that is None.

    As in `ClassifierLoss`.
    """
    if num_items_in_batch is None:
        return losses.mean()
    items = num_items_in_batch
    return losses.sum() / (items.to(losses.device) if isinstance(items, Tensor) else items)


def logits_of(outputs: Outputs) -> Tensor:
    """Return the logits of a forward pass; a tuple has them at index 1."""
    return outputs["logits"] if isinstance(outputs, Mapping) else outputs[1]


def class_weights(
    spec: str | None, problem_type: str, label_names: Sequence[str], row_counts: Sequence[float], rows: int
) -> list[float] | None:
    """Return class weights in label order; None if spec is None.

    spec: `balanced`, or a JSON object of label: weight.

    row_counts: training rows that carry each label; rows: all training rows. Single-label: `balanced` is
    rows / (classes * count), as in scikit-learn, so that every class adds the same to the loss; all weights are scaled to a
    mean of 1 over the training rows. Multi-label: `balanced` is negatives / positives of each label, and nothing is scaled.
    A label that the JSON leaves out weighs 1 before scaling.

    Raises: ConfigError for bad JSON, an unknown label or a weight that is not positive and finite.
    """
    if spec is None:
        return None
    if problem_type == "regression":
        raise ConfigError("--class_weights fits classes; this problem is a regression.")
    multi = problem_type == "multi_label_classification"
    if spec == "balanced":
        raw = [((rows - n) / n if multi else 1 / n) if n else 1.0 for n in row_counts]
    else:
        raw = _weights_from_json(spec, label_names)
    mean = 1.0 if multi else sum(w * n for w, n in zip(raw, row_counts, strict=True)) / rows
    return [w / mean for w in raw]


def _weights_from_json(spec: str, label_names: Sequence[str]) -> list[float]:
    try:
        weights = json.loads(spec)
    except json.JSONDecodeError:
        weights = None
    if not isinstance(weights, dict):
        raise ConfigError(f"--class_weights takes 'balanced' or a JSON object such as '{{\"a\": 2}}', got '{spec}'.")
    for name, weight in weights.items():
        if name not in label_names:
            labels = ", ".join(label_names)
            hint = did_you_mean(name, label_names)
            raise ConfigError(f"--class_weights names the label '{name}', which is not in the data ({labels}).{hint}")
        if isinstance(weight, bool) or not isinstance(weight, int | float) or not 0 < weight < math.inf:
            raise ConfigError(f"--class_weights: the weight of '{name}' must be a positive number, got {weight!r}.")
    return [float(weights.get(name, 1.0)) for name in label_names]
