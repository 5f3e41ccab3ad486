"""The classifier head: where it is, and a start for it fitted on the frozen encoder (LP-FT).

Linear probing first, fine-tuning second: from a random last layer the first updates are mostly noise that distorts the
encoder's features, most of all on few rows (Kumar et al. 2022, arXiv:2202.10054). The probe is fitted on what the last linear
layer really gets, whatever stands before it, so it serves every architecture and costs one pass over a capped sample.
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
from nlp_ft.models.linear_probe import fit_linear, no_probe

_DROPOUT_ROWS = 256  # on which a probe is tried with dropout on
_DROWNED = 2.0  # times a constant answer's loss: chance on a sample of small data stays below


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

    The features are those of evaluation mode, as long as the fit survives dropout (`fit_probe`); they
    are standardised for the fit and the scaling is folded back into weight and bias. A layer without bias (decoders' `score`)
    is fitted without intercept. The penalty is the one under which held-out rows are likeliest (ridge: least squared error).
    Everything is deterministic, so under several processes each rank may run it on the same rows; wrapping in DDP then hands
    rank 0's weights to all.

    Args:
        model: a stock *ForSequenceClassification, on the device it is to run on; not wrapped by peft.
        batches: collated batches without labels, in the order of `labels`, all rows of them.
        labels: (rows,) class numbers; (rows, labels) of 0 and 1 for multi-label; (rows,) targets for regression.
        problem_type: as in the configuration of transformers.
        max_rows: rows used at most: a seeded sample, stratified by class.
        seed: of that sample.

    Returns: what was done, ready for JSON: {"fitted": True, "rows", "dropout", "penalty", "train_score", "held_out_score",
    "held_out_rows"} (dropout: whether it was on; accuracy, its mean over labels, or R2; held_out_score is None where no row
    could be held out), or {"fitted": False, "reason"} with the model as it was.

    Raises: DataError if batches and labels differ in rows, or the features are not finite.
    """
    labels = np.asarray(labels)
    _, linear = final_linear(model)
    rows = probe_rows(labels, problem_type, max_rows, seed)
    chosen = list(_chosen(batches, rows, len(labels)))

    def read(indices: np.ndarray, dropout: bool) -> np.ndarray:
        wanted = _chosen(chosen, indices, len(rows))
        return torch.cat([*inputs_of(model, linear, wanted, dropout=dropout)]).cpu().numpy()

    return fit_probe(linear, read, labels[rows], problem_type, seed=seed)


def fit_probe(
    linear: nn.Linear,
    read: Callable[[np.ndarray, bool], np.ndarray],
    labels: np.ndarray,
    problem_type: str,
    *,
    seed: int = 0,
) -> dict[str, Any]:
    """Fit a linear layer, in place, on what it reads.

    Where rows vary little in their features, the weights are large, and the noise of the encoder's dropout drowns them: the
    first token of all-MiniLM-L6-v2 gave a squared error of 62 in training for 1.6 in evaluation. So a fit that dropout makes
    far worse than a constant answer is made again on features with dropout on, which keeps only what survives it.

    Args:
        linear: the layer.
        read: (places, dropout) -> the layer's inputs, (len(places), width), of the rows in these places.
        labels: of all rows, as in `start_from_probe`.
        problem_type: likewise.
        seed: of the dropout.

    Returns: as `start_from_probe`. Raises: DataError if the features are not finite.
    """
    labels = np.asarray(labels)
    if reason := no_probe(labels, problem_type, linear.out_features):
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
        noisy = _loss(read(sample, True) @ weight.T + bias, labels[sample], problem_type)
        if noisy > _DROWNED * _loss_of_a_constant(labels, problem_type):
            weight, bias, report = fit(True)
    write_linear(linear, weight, bias)
    return report


def _loss(logits: np.ndarray, labels: np.ndarray, problem_type: str) -> float:
    """Mean loss of logits (rows, outputs): squared error, or nats a row (multi-label: a label)."""
    given, truth = torch.from_numpy(logits).double(), torch.from_numpy(labels)
    if problem_type == "regression":
        return F.mse_loss(given, truth.double().reshape(given.shape)).item()
    if truth.ndim == 1:
        return F.cross_entropy(given, truth.long()).item()
    return F.binary_cross_entropy_with_logits(given, truth.double()).item()


def _loss_of_a_constant(labels: np.ndarray, problem_type: str) -> float:
    """The least mean loss of an answer that is the same for all rows: the variance, or the entropy of the labels."""
    if problem_type == "regression":
        return float(np.var(labels, axis=0).mean())
    if labels.ndim == 1:
        return torch.special.entr(torch.from_numpy(np.bincount(labels) / len(labels))).sum().item()
    rates = torch.from_numpy(labels.astype(float)).mean(dim=0)
    return (torch.special.entr(rates) + torch.special.entr(1 - rates)).mean().item()


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


@torch.inference_mode()
def inputs_of(
    model: PreTrainedModel, linear: nn.Linear, batches: Iterable[Mapping[str, torch.Tensor]], *, dropout: bool = False
) -> Iterator[torch.Tensor]:
    """What `linear` gets for the rows of each batch, with dropout or without: (rows, features), on the model's device."""
    caught: list[torch.Tensor] = []
    hook = linear.register_forward_pre_hook(lambda _, inputs: caught.append(inputs[0]))
    training = model.training
    model.train(dropout)
    try:
        for batch in batches:
            part = {name: tensor.to(model.device) for name, tensor in batch.items()}
            model(**part)
            yield pooled(caught.pop(), part["input_ids"], model)
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


def pooled(features: torch.Tensor, input_ids: torch.Tensor, model: PreTrainedModel) -> torch.Tensor:
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
