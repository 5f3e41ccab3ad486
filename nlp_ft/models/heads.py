"""The classifier head: its layers, and a start from a linear probe (LP-FT).

Linear probing first, fine-tuning second: from a random last layer the first updates are mostly noise that distorts the
encoder's features, most of all on few rows (Kumar et al. 2022, arXiv:2202.10054). The probe is fitted on the actual inputs of
the last linear layer, so it serves every architecture and costs one pass over a capped sample.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn
from transformers import PreTrainedModel

from nlp_ft.errors import DataError, ModelError
from nlp_ft.models.linear_probe import fit_linear, probe_obstacle

_DROPOUT_ROWS = 256  # rows on which a probe is evaluated with dropout
_MAX_LOSS_RATIO = 2.0  # of the loss of a constant prediction; sampling noise on small data stays below


def final_linear(model: PreTrainedModel) -> tuple[str, nn.Linear]:
    """Dotted name and module of the layer that yields the logits.

    It is the last linear layer outside the encoder with num_labels outputs.

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
    """Dotted names of every module with weights between encoder and logits.

    They must train and be saved in full: the children that are not the encoder, and the encoder's own `pooler` (BERT, ALBERT:
    part of the head by its function; random in checkpoints that were pretrained without it). peft matches `modules_to_save` by
    the end of a name.
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
    """Fit the last linear layer, in place, by regression on its inputs.

    (Multinomial) logistic regression for labels, ridge regression for numbers.

    The features are those of evaluation mode, as long as the fit holds up under dropout (`fit_probe`); they
    are standardised for the fit and the scaling is folded back into weight and bias. A layer without bias (decoders' `score`)
    is fitted without intercept. The penalty is that with the highest likelihood of held-out rows (ridge: least squared error).
    Everything is deterministic, so under several processes each rank may run it on the same rows; wrapping in DDP then copies
    rank 0's weights to all.

    Args:
        model: a stock *ForSequenceClassification, on the device it is to run on; not wrapped by peft.
        batches: collated batches without labels, in the order of `labels`, all rows of them.
        labels: (rows,) class numbers; (rows, labels) of 0 and 1 for multi-label; (rows,) targets for regression.
        problem_type: as in the configuration of transformers.
        max_rows: rows used at most: a seeded sample, stratified by class.
        seed: of that sample.

    Returns: a report, ready for JSON: {"fitted": True, "rows", "dropout", "penalty", "train_score", "held_out_score",
    "held_out_rows"} (dropout: whether it was on; scores: accuracy, its mean over labels, or R2; held_out_score is None where
    no row could be held out), or {"fitted": False, "reason"} with the model as it was.

    Raises: DataError if batches and labels differ in rows, or the features are not finite.
    """
    labels = np.asarray(labels)
    _, linear = final_linear(model)
    rows = probe_rows(labels, problem_type, max_rows, seed)
    chosen = list(_select_rows(batches, rows, len(labels)))

    def read_features(indices: np.ndarray, dropout: bool) -> np.ndarray:
        selected = _select_rows(chosen, indices, len(rows))
        return torch.cat([*layer_inputs(model, linear, selected, dropout=dropout)]).cpu().numpy()

    return fit_probe(linear, read_features, labels[rows], problem_type, seed=seed)


def fit_probe(
    linear: nn.Linear,
    read: Callable[[np.ndarray, bool], np.ndarray],
    labels: np.ndarray,
    problem_type: str,
    *,
    seed: int = 0,
) -> dict[str, Any]:
    """Fit a linear layer, in place, on its inputs.

    Where features vary little between rows, the weights are large, and the noise of the encoder's dropout dominates: the first
    token of all-MiniLM-L6-v2 gave a squared error of 62 in training for 1.6 in evaluation. So a fit that is far worse under
    dropout than a constant prediction is repeated on features with dropout.

    Args:
        linear: the layer.
        read: (indices, dropout) -> the layer's inputs, (len(indices), width), for the rows of these indices.
        labels: of all rows, as in `start_from_probe`.
        problem_type: likewise.
        seed: of the dropout.

    Returns: as `start_from_probe`. Raises: DataError if the features are not finite.
    """
    labels = np.asarray(labels)
    if reason := probe_obstacle(labels, problem_type, linear.out_features):
        return {"fitted": False, "reason": reason}
    indices = np.arange(len(labels))

    def fit(dropout: bool) -> tuple[np.ndarray, np.ndarray, dict[str, Any]]:
        features = read(indices, dropout)
        if not np.isfinite(features).all():
            raise DataError("the encoder's features of some training rows are not finite; is the checkpoint intact?")
        weight, bias, report = fit_linear(features, labels, problem_type, linear.bias is not None)
        return weight, bias, {"fitted": True, "rows": len(labels), "dropout": dropout, **report}

    weight, bias, report = fit(False)
    sample = indices[:: len(indices) // _DROPOUT_ROWS + 1]
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        noisy_loss = _loss(read(sample, True) @ weight.T + bias, labels[sample], problem_type)
        if noisy_loss > _MAX_LOSS_RATIO * _loss_of_a_constant(labels, problem_type):
            weight, bias, report = fit(True)
    write_linear(linear, weight, bias)
    return report


def _loss(logits: np.ndarray, labels: np.ndarray, problem_type: str) -> float:
    """Mean loss of logits (rows, outputs).

    Squared error, or cross-entropy in nats per row (multi-label: per label).
    """
    predictions, targets = torch.from_numpy(logits).double(), torch.from_numpy(labels)
    if problem_type == "regression":
        return F.mse_loss(predictions, targets.double().reshape(predictions.shape)).item()
    if targets.ndim == 1:
        return F.cross_entropy(predictions, targets.long()).item()
    return F.binary_cross_entropy_with_logits(predictions, targets.double()).item()


def _loss_of_a_constant(labels: np.ndarray, problem_type: str) -> float:
    """Least mean loss of a constant prediction: variance, or entropy of the labels."""
    if problem_type == "regression":
        return float(np.var(labels, axis=0).mean())
    if labels.ndim == 1:
        return torch.special.entr(torch.from_numpy(np.bincount(labels) / len(labels))).sum().item()
    rates = torch.from_numpy(labels.astype(float)).mean(dim=0)
    return (torch.special.entr(rates) + torch.special.entr(1 - rates)).mean().item()


def probe_rows(labels: np.ndarray, problem_type: str, max_rows: int, seed: int) -> np.ndarray:
    """Sorted indices of a seeded sample.

    Single-label problems are sampled in proportion to the classes, with at least one row of each.
    """
    generator = np.random.default_rng(seed)
    order = generator.permutation(len(labels))
    if problem_type == "single_label_classification":
        share = np.empty(len(labels))
        for label in np.unique(labels):
            members = order[labels[order] == label]
            share[members] = np.arange(len(members)) / len(members)  # 0 for the first of each class: it comes first
        order = order[np.argsort(share[order], kind="stable")]
    return np.sort(order[:max_rows])


@torch.inference_mode()
def layer_inputs(
    model: PreTrainedModel, linear: nn.Linear, batches: Iterable[Mapping[str, torch.Tensor]], *, dropout: bool = False
) -> Iterator[torch.Tensor]:
    """Inputs of `linear` for the rows of each batch, with dropout or without.

    Yields (rows, features), on the model's device.
    """
    inputs_seen: list[torch.Tensor] = []
    hook = linear.register_forward_pre_hook(lambda _, inputs: inputs_seen.append(inputs[0]))
    training = model.training
    model.train(dropout)
    try:
        for batch in batches:
            on_device = {name: tensor.to(model.device) for name, tensor in batch.items()}
            model(**on_device)
            yield pooled(inputs_seen.pop(), on_device["input_ids"], model)
    finally:
        hook.remove()
        model.train(training)


def _select_rows(
    batches: Iterable[Mapping[str, torch.Tensor]], rows: np.ndarray, total: int
) -> Iterator[dict[str, torch.Tensor]]:
    """Select the given rows out of batches.

    Raises: DataError if there are not `total` rows in all.
    """
    start = 0
    for batch in batches:
        end = start + len(batch["input_ids"])
        indices = torch.from_numpy(rows[(rows >= start) & (rows < end)] - start)
        start = end
        if len(indices):
            yield {name: tensor[indices] for name, tensor in batch.items()}
    if start != total:
        raise DataError(f"the probe got {total} labels for {start} rows.")


def pooled(features: torch.Tensor, input_ids: torch.Tensor, model: PreTrainedModel) -> torch.Tensor:
    """Features of the last position that is no pad token, as decoders pool.

    Decoders apply `score` to every position and then choose that one; the same choice is made here before `score`. Features
    that are pooled already, (rows, width), are returned as they are.
    """
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
    """Copy a fit into a layer, in place.

    A layer without bias takes the weight alone.
    """
    linear.weight.copy_(torch.from_numpy(weight))
    if linear.bias is not None:
        linear.bias.copy_(torch.from_numpy(bias))
