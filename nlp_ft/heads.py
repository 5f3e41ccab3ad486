"""The classifier head: where it is, and a start for it fitted on the frozen encoder (LP-FT).

Linear probing first, fine-tuning second: from a random last layer the first updates are mostly noise that distorts the
encoder's features, most of all on few rows (Kumar et al. 2022, arXiv:2202.10054). The probe is fitted on what the last linear
layer really gets, whatever stands before it, so it serves every architecture and costs one pass over a capped sample.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import numpy as np
import torch
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression, RidgeCV
from sklearn.metrics import log_loss
from sklearn.model_selection import StratifiedKFold
from torch import nn
from transformers import PreTrainedModel

from nlp_ft.errors import DataError, ModelError

# Inverse strengths of the L2 penalty on standardised features, from which the likelihood of held-out rows picks one.
_GRID = (1e-4, 1e-3, 1e-2, 1e-1, 1.0)
_RIDGE_GRID = (1e-2, 1e-1, 0.3, 1.0, 3.0, 10.0)  # L2 penalty per row; leave-one-out error picks one
_NO_CHOICE = 1e-2  # where a class has one row only, and nothing can be held out
_FOLDS = 5
_ROWS_FOR_FOLDS = 1000  # above this, one split of 80 to 20 stands in for five folds


def final_linear(model: PreTrainedModel) -> tuple[str, nn.Linear]:
    """The layer that yields the logits, with its dotted name: the last linear one outside the encoder with num_labels outputs.

    Raises: ModelError if there is none.
    """
    body = model.base_model_prefix + "."
    for name, module in reversed(list(model.named_modules())):
        if (
            isinstance(module, nn.Linear)
            and not name.startswith(body)
            and module.out_features == model.config.num_labels
        ):
            return name, module
    raise ModelError(
        f"{type(model).__name__} has no linear layer with {model.config.num_labels} outputs after its encoder."
    )


def head_modules(model: PreTrainedModel) -> list[str]:
    """Dotted names of every module with weights between the encoder and the logits: what must train and be saved in full.

    These are the children that are not the encoder, and the encoder's own `pooler` (BERT, ALBERT: part of the head in all but
    place; random in checkpoints that were pretrained without it). peft matches `modules_to_save` by the end of a name.
    """
    prefix = model.base_model_prefix
    names = [name for name, child in model.named_children() if name != prefix and any(True for _ in child.parameters())]
    pooler = getattr(getattr(model, prefix, None), "pooler", None)
    if isinstance(pooler, nn.Module) and any(True for _ in pooler.parameters()):
        names.append(f"{prefix}.pooler")
    return names


def start_from_probe(
    model: PreTrainedModel,
    batches: Iterable[Mapping[str, torch.Tensor]],
    labels: np.ndarray,
    problem_type: str,
    *,
    max_rows: int = 4000,
    seed: int = 0,
) -> dict[str, Any]:
    """Fit the last linear layer, in place, by (multinomial) logistic or ridge regression on its inputs.

    The features are those of evaluation mode; they are standardised for the fit and the scaling is folded back into weight
    and bias. A layer without bias (decoders' `score`) is fitted without intercept. The penalty is the one under which
    held-out rows are likeliest (ridge: least squared error). Everything is deterministic, so under several processes each
    rank may run it on the same rows; wrapping in DDP then hands rank 0's weights to all.

    Args:
        model: a stock *ForSequenceClassification, on the device it is to run on; not wrapped by peft.
        batches: collated batches without labels, in the order of `labels`, all rows of them.
        labels: (rows,) class numbers; (rows, labels) of 0 and 1 for multi-label; (rows,) targets for regression.
        problem_type: as in the configuration of transformers.
        max_rows: rows used at most: a seeded sample, stratified by class.
        seed: of that sample.

    Returns: what was done, ready for JSON: {"fitted": True, "rows", "penalty", "train_score", "held_out_score"} (accuracy,
    its mean over labels, or R2; held_out_score is None where no row could be held out), or {"fitted": False, "reason"}
    with the model as it was.

    Raises: DataError if batches and labels differ in rows, or the features are not finite.
    """
    labels = np.asarray(labels)
    _, linear = final_linear(model)
    rows = probe_rows(labels, problem_type, max_rows, seed)
    reason = no_probe(labels[rows], problem_type, linear.out_features)
    if reason:
        return {"fitted": False, "reason": reason}
    features = torch.cat([*inputs_of(model, linear, _chosen(batches, rows, len(labels)))]).cpu().numpy()
    if not np.isfinite(features).all():
        raise DataError("the encoder's features of some training rows are not finite; is the checkpoint intact?")
    weight, bias, report = fit_linear(features, labels[rows], problem_type, linear.bias is not None)
    write_linear(linear, weight, bias)
    return {"fitted": True, "rows": len(rows), **report}


def fit_linear(
    features: np.ndarray, labels: np.ndarray, problem_type: str, intercept: bool = True
) -> tuple[np.ndarray, np.ndarray, dict[str, Any]]:
    """Weight (outputs, features), bias (outputs,) and report of the regression that suits the problem.

    The features are standardised for the fit and the scaling is folded back. Labels and report as in `start_from_probe`.
    """
    features = features.astype(np.float64)
    scale = features.std(axis=0)
    scale[scale < 1e-6] = 1.0  # a constant feature
    centre = features.mean(axis=0) if intercept else np.zeros_like(scale)
    fit = _ridge if problem_type == "regression" else _logistic_each if labels.ndim > 1 else _logistic
    weight, bias, report = fit((features - centre) / scale, labels, intercept)
    weight = weight / scale
    return weight, bias - weight @ centre, report


def probe_rows(labels: np.ndarray, problem_type: str, max_rows: int, seed: int) -> np.ndarray:
    """Sorted indices of a seeded sample; of single-label problems in proportion, and with one row of each class at least."""
    generator = np.random.default_rng(seed)
    order = generator.permutation(len(labels))
    if problem_type == "single_label_classification":
        share = np.empty(len(labels))
        for label in np.unique(labels):
            members = order[labels[order] == label]
            share[members] = np.arange(len(members)) / len(members)  # 0 for the first of each class: it comes first
        order = order[np.argsort(share[order], kind="stable")]
    return np.sort(order[:max_rows])


def no_probe(labels: np.ndarray, problem_type: str, outputs: int) -> str:
    """Why no probe can be fitted on these labels, or an empty string."""
    if problem_type == "regression":
        return "" if np.ptp(labels, axis=0).min() > 0 else "all training targets are the same"
    counts = np.bincount(labels, minlength=outputs) if labels.ndim == 1 else labels.sum(axis=0)
    if labels.ndim == 1:
        lacking = np.flatnonzero(counts == 0)
        return f"class {lacking[0]} has no training row" if len(lacking) else ""
    lacking = np.flatnonzero((counts == 0) | (counts == len(labels)))
    return f"label {lacking[0]} is the same in all training rows" if len(lacking) else ""


@torch.inference_mode()
def inputs_of(
    model: PreTrainedModel, linear: nn.Linear, batches: Iterable[Mapping[str, torch.Tensor]]
) -> Iterator[torch.Tensor]:
    """What `linear` gets for the rows of each batch in evaluation mode: (rows, features), on the model's device."""
    caught: list[torch.Tensor] = []
    hook = linear.register_forward_pre_hook(lambda _, inputs: caught.append(inputs[0]))
    training = model.training
    model.eval()
    try:
        for batch in batches:
            part = {name: tensor.to(model.device) for name, tensor in batch.items()}
            model(**part)
            yield _pooled(caught.pop(), part["input_ids"], model)
    finally:
        hook.remove()
        model.train(training)


def _chosen(
    batches: Iterable[Mapping[str, torch.Tensor]], rows: np.ndarray, total: int
) -> Iterator[dict[str, torch.Tensor]]:
    """Of each batch the rows that are wanted. Raises: DataError if there are not `total` rows in all."""
    start = 0
    for batch in batches:
        end = start + len(batch["input_ids"])
        wanted = torch.from_numpy(rows[(rows >= start) & (rows < end)] - start)
        start = end
        if len(wanted):
            yield {name: tensor[wanted] for name, tensor in batch.items()}
    if start != total:
        raise DataError(f"the probe got {total} labels for {start} rows.")


def _pooled(features: torch.Tensor, input_ids: torch.Tensor, model: PreTrainedModel) -> torch.Tensor:
    """Decoders apply `score` to every position and keep the last one that is no pad token: the same choice, before it."""
    if features.ndim == 2:
        return features
    pad = model.config.get_text_config().pad_token_id
    if pad is None:
        return features[:, -1]
    positions = torch.arange(input_ids.shape[1], device=input_ids.device)
    last = (positions * (input_ids != pad)).argmax(dim=-1)
    return features[torch.arange(len(features), device=features.device), last]


@torch.no_grad()
def write_linear(linear: nn.Linear, weight: np.ndarray, bias: np.ndarray) -> None:
    """Copy a fit into a layer, in place; a layer without bias takes the weight alone."""
    linear.weight.copy_(torch.from_numpy(weight))
    if linear.bias is not None:
        linear.bias.copy_(torch.from_numpy(bias))


def _logistic(
    features: np.ndarray, labels: np.ndarray, intercept: bool
) -> tuple[np.ndarray, np.ndarray, dict[str, Any]]:
    """Weight (classes, features), bias (classes,) and report. Two classes: half the decision function each way."""

    def model(c: float) -> LogisticRegression:
        return LogisticRegression(C=c, fit_intercept=intercept, max_iter=300)

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # an unfinished fit is a fair start all the same
        warnings.filterwarnings("ignore", "The least populated class")  # each fold's fit sees every class even so
        held_out = {c: _held_out(model(c), features, labels) for c in _GRID}
        scored = {c: score for c, score in held_out.items() if score is not None}
        chosen = min(scored, key=lambda c: scored[c][0]) if scored else _NO_CHOICE
        fitted = model(chosen).fit(features, labels)
    weight, bias = fitted.coef_, np.broadcast_to(fitted.intercept_, len(fitted.coef_))
    if len(weight) == 1:
        weight, bias = np.concatenate([-weight, weight]) / 2, np.concatenate([-bias, bias]) / 2
    return (
        weight,
        bias,
        {
            "penalty": 1 / chosen,
            "train_score": float(fitted.score(features, labels)),
            "held_out_score": scored[chosen][1] if scored else None,
        },
    )


def _held_out(model: LogisticRegression, features: np.ndarray, labels: np.ndarray) -> tuple[float, float] | None:
    """(Mean negative log-likelihood in nats, accuracy) on rows left out of the fit; None where a class has one row only."""
    counts = np.bincount(labels)
    if counts.min() < 2:
        return None
    folds = list(StratifiedKFold(min(_FOLDS, counts.max()), shuffle=True, random_state=0).split(features, labels))
    probabilities, left = [], []
    for kept, out in folds[:1] if len(labels) > _ROWS_FOR_FOLDS else folds:
        probabilities.append(model.fit(features[kept], labels[kept]).predict_proba(features[out]))
        left.append(labels[out])
    guesses, truth = np.concatenate(probabilities), np.concatenate(left)
    likelihood = log_loss(truth, guesses, labels=np.arange(len(counts)))
    return float(likelihood), float((guesses.argmax(axis=1) == truth).mean())


def _logistic_each(
    features: np.ndarray, labels: np.ndarray, intercept: bool
) -> tuple[np.ndarray, np.ndarray, dict[str, Any]]:
    """One logistic regression a label: weight (labels, features), bias (labels,), scores averaged over labels."""
    weights, biases, reports = [], [], []
    for column in labels.astype(int).T:
        weight, bias, report = _logistic(features, column, intercept)
        weights.append(weight[1] - weight[0])
        biases.append(bias[1] - bias[0])
        reports.append(report)
    held_out = [report["held_out_score"] for report in reports if report["held_out_score"] is not None]
    return (
        np.stack(weights),
        np.stack(biases),
        {
            "penalty": [report["penalty"] for report in reports],
            "train_score": float(np.mean([report["train_score"] for report in reports])),
            "held_out_score": float(np.mean(held_out)) if held_out else None,
        },
    )


def _ridge(features: np.ndarray, targets: np.ndarray, intercept: bool) -> tuple[np.ndarray, np.ndarray, dict[str, Any]]:
    """Weight (outputs, features), bias (outputs,) and report; the penalty by leave-one-out error, in closed form."""
    alphas = [len(targets) * strength for strength in _RIDGE_GRID]
    fitted: Any = RidgeCV(alphas=alphas, fit_intercept=intercept, scoring="neg_mean_squared_error").fit(
        features, targets
    )
    weight = np.atleast_2d(fitted.coef_)
    return (
        weight,
        np.broadcast_to(fitted.intercept_, len(weight)),
        {
            "penalty": float(fitted.alpha_),
            "train_score": float(fitted.score(features, targets)),
            "held_out_score": float(1 + fitted.best_score_ / np.var(targets)),
        },
    )
