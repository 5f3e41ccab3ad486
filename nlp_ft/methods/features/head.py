"""The classification head, fitted on frozen features by scikit-learn."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import Any, TypedDict

import numpy as np
import torch
from sklearn.exceptions import ConvergenceWarning
from sklearn.neural_network import MLPClassifier, MLPRegressor
from torch import nn
from transformers import PreTrainedModel

from nlp_ft.errors import ConfigError, DataError
from nlp_ft.models.heads import final_linear, write_linear
from nlp_ft.models.linear_probe import fit_linear, probe_obstacle
from nlp_ft.models.pooling import dense_of

_ACTIVATIONS = {"distilbert": "relu"}  # of the dense layer of a head; tanh elsewhere
_HELD_OUT = 0.1  # share of the training rows, for early stopping of an MLP
_MLP_PENALTY = 10.0  # scikit-learn's alpha; movies, validation, one seed: r .680; at 1e-4 .634, at 100 .654
_EPOCHS = 30  # without early stopping, if no row can be held out


class HeadReport(TypedDict):
    """Figures of a fit; held_out_score: None if no row could be held out."""

    held_out_score: float | None
    held_out_rows: int
    penalty: object


@dataclass(frozen=True)
class Head:
    """The last layer, and the dense layer before it (BERT) or None.

    `fits_dense`: the dense layer is fitted, too.
    """

    last: nn.Linear
    dense: nn.Linear | None
    activation: str
    fits_dense: bool

    @property
    def first(self) -> nn.Linear:
        """The layer that reads the features; both heads share its cache."""
        return self.last if self.dense is None else self.dense

    @torch.inference_mode()
    def before_last(self, features: np.ndarray) -> np.ndarray:
        """Inputs of the last layer, (rows, its width), for features (rows, width)."""
        if self.dense is None:
            return features
        hidden = self.dense(torch.tensor(features, device=self.dense.weight.device))
        return (hidden.tanh() if self.activation == "tanh" else hidden.relu()).cpu().numpy()

    @torch.inference_mode()
    def __call__(self, features: np.ndarray) -> np.ndarray:
        """Return the logits (rows, outputs) of features (rows, width)."""
        inputs = torch.tensor(self.before_last(features), device=self.last.weight.device)
        return self.last(inputs).cpu().numpy()


def classifier_head(model: PreTrainedModel, kind: str) -> Head:
    """Return the layers to fit. Raises: ConfigError if `mlp` cannot be fitted."""
    name, last = final_linear(model)
    dense = dense_of(model)
    if kind == "mlp" and dense is None:
        form = (
            "one linear layer"
            if name == "score"
            else "of another form than one dense layer, tanh or ReLU, and the last"
        )
        raise ConfigError(f"--head mlp: the head of {type(model).__name__} is {form}; use --head linear.")
    return Head(last, dense, _ACTIVATIONS.get(model.config.model_type, "tanh"), kind == "mlp")


def check_labels(labels: np.ndarray, kind: str, outputs: int) -> None:
    """Check that a head can be fitted on the labels. Raises: DataError."""
    if labels.ndim == 1 and (reason := probe_obstacle(labels, kind, outputs)):
        raise DataError(f"no head can be fitted: {reason}.")


def fit_head(
    head: Head, features: np.ndarray, labels: np.ndarray, kind: str, weights: np.ndarray | None, seed: int
) -> HeadReport:
    """Fit the head and write it into the layers, in place.

    features: (rows, width); labels: (rows,) classes or targets, or (rows, labels) of 0 and 1; weights: of the classes, or None.
    A label that never varies gets its smoothed log odds as a constant logit. Raises: DataError, ConfigError.
    """
    check_labels(labels, kind, head.last.out_features)
    if head.dense is not None and head.fits_dense:
        return _fit_mlp(head, head.dense, features, labels, kind, weights, seed)
    features, intercept = head.before_last(features), head.last.bias is not None
    report: HeadReport = {"held_out_score": None, "held_out_rows": 0, "penalty": None}
    if labels.ndim == 1:
        weight, bias, report = fit_linear(features, labels, kind, intercept, weights)
    else:
        varied = np.flatnonzero(np.ptp(labels, axis=0) > 0)
        carried = labels.sum(axis=0)
        weight = np.zeros((labels.shape[1], features.shape[1]))
        bias = np.log((carried + 0.5) / (len(labels) - carried + 0.5))
        if len(varied):
            chosen = None if weights is None else weights[varied]
            weight[varied], bias[varied], report = fit_linear(features, labels[:, varied], kind, intercept, chosen)
    write_linear(head.last, weight, bias)
    return report


def _fit_mlp(
    head: Head,
    dense: nn.Linear,
    features: np.ndarray,
    labels: np.ndarray,
    kind: str,
    weights: np.ndarray | None,
    seed: int,
) -> HeadReport:
    """Fit one hidden layer of the architecture's width, with early stopping."""
    if weights is not None and labels.ndim > 1:
        raise ConfigError("--class_weights: --head mlp takes no weights of labels; use --head linear.")
    centre, scale = features.mean(axis=0), features.std(axis=0)
    scale[scale < 1e-6] = 1.0
    settings: dict[str, Any] = {
        "hidden_layer_sizes": (dense.out_features,),
        "activation": head.activation,
        "random_state": seed,
        "alpha": _MLP_PENALTY,
        "validation_fraction": _HELD_OUT,
        "early_stopping": _can_stop(labels, kind),
    }
    if not settings["early_stopping"]:
        settings["max_iter"] = _EPOCHS
    middle, spread = (labels.mean(), labels.std()) if kind == "regression" else (0.0, 1.0)
    fitted: Any = MLPRegressor(**settings) if kind == "regression" else MLPClassifier(**settings)
    targets = (labels - middle) / spread if kind == "regression" else labels.astype(int)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        fitted.fit((features - centre) / scale, targets, None if weights is None else weights[labels])
    (first, last), (shift, offset) = fitted.coefs_, fitted.intercepts_
    write_linear(dense, first.T / scale, shift - (centre / scale) @ first)
    weight, bias = last.T * spread, offset * spread + middle
    if kind == "single_label_classification" and len(weight) == 1:
        weight, bias = np.concatenate([-weight, weight]) / 2, np.concatenate([-bias, bias]) / 2
    write_linear(head.last, weight, bias)
    if not settings["early_stopping"]:
        return {"held_out_score": None, "held_out_rows": 0, "penalty": None}
    held_out = round(_HELD_OUT * len(labels))
    return {"held_out_score": float(fitted.best_validation_score_), "held_out_rows": held_out, "penalty": None}


def _can_stop(labels: np.ndarray, kind: str) -> bool:
    """Whether a tenth of the rows can be held out, with each class on both sides."""
    if kind != "single_label_classification":
        return len(labels) >= 2 / _HELD_OUT
    counts = np.bincount(labels)
    return counts.min() >= 2 and _HELD_OUT * len(labels) >= len(counts)
