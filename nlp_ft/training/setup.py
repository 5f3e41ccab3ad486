"""Preparation between data and training.

Token ids, the start of the head, the metric name.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from datasets import Dataset
from torch import nn
from transformers import PreTrainedModel, PreTrainedTokenizerBase, SchedulerType, TrainingArguments

from nlp_ft.config import ModelArguments
from nlp_ft.data import TextData, tokenize
from nlp_ft.data.windows import Windows
from nlp_ft.errors import ConfigError, did_you_mean
from nlp_ft.evaluation.metrics import compute_metrics, greater_is_better
from nlp_ft.models.heads import final_linear, fit_probe, layer_inputs, probe_rows, start_from_probe
from nlp_ft.models.pooling import choose_pooling, set_pooling
from nlp_ft.training.long_texts import COUNTS
from nlp_ft.utils import Note

_PROBE_ROWS = 4000  # more rows change a linear layer little
_PROBE_BATCH = 64

# Labels of two rows by problem type, to compute the names of its metrics.
_EXAMPLE: dict[str, list[int] | list[float] | list[list[float]]] = {
    "single_label_classification": [0, 1],
    "multi_label_classification": [[0.0, 1.0], [1.0, 0.0]],
    "regression": [0.0, 1.0],
}


def check_metric_name(args: TrainingArguments, problem_type: str, explicit: Collection[str] | None = None) -> None:
    """Check --metric_for_best_model against the metrics of the problem, and set its direction.

    Raises: ConfigError.
    """
    blank = np.zeros((2, 2 if problem_type != "regression" else 1))
    check_measured(args, [*compute_metrics(problem_type, blank, _EXAMPLE[problem_type], ["a", "b"]), "loss"], explicit)


def check_measured(args: TrainingArguments, metrics: Sequence[str], explicit: Collection[str] | None = None) -> str:
    """Return the name of --metric_for_best_model, and set its direction in place.

    transformers takes every metric but a loss for one of which more is better, and a plateau for one of the loss.
    explicit: the names the user set. Raises: ConfigError if it is not among the metrics, or a flag contradicts its direction.
    """
    name = (args.metric_for_best_model or "loss").removeprefix("eval_")
    if name not in metrics:
        raise ConfigError(
            f"--metric_for_best_model {name} is not measured here; it can be {', '.join(metrics[:-1])} or {metrics[-1]}."
            f"{did_you_mean(name, metrics)}"
        )
    if args.metric_for_best_model is not None:
        _set_direction(args, name, explicit or ())
    return name


def _set_direction(args: TrainingArguments, name: str, explicit: Collection[str]) -> None:
    greater = greater_is_better(name)
    better = f"--metric_for_best_model {name}, of which {'more' if greater else 'less'} is better; leave it out."
    if "greater_is_better" in explicit and args.greater_is_better is not greater:
        raise ConfigError(f"--greater_is_better {args.greater_is_better} contradicts {better}")
    args.greater_is_better = greater
    if SchedulerType(args.lr_scheduler_type) == SchedulerType.REDUCE_ON_PLATEAU:
        mode, options = "max" if greater else "min", args.lr_scheduler_kwargs
        options = options if isinstance(options, dict) else {}
        if options.get("mode", mode) != mode:
            raise ConfigError(f"--lr_scheduler_kwargs: mode {options['mode']} contradicts {better}")
        args.lr_scheduler_kwargs = {**options, "mode": mode}


def tokenize_splits(
    data: TextData,
    tokenizer: PreTrainedTokenizerBase,
    limit: int,
    workers: int | None,
    *,
    windows: Windows | None = None,
    hint: str = "",
) -> tuple[dict[str, Dataset], list[str]]:
    """Tokenize the three splits.

    Returns: token ids by split, and notes on truncated texts.

    windows: windows of long texts in place of truncation; the maximum per document applies to training rows alone. If no text
    is long, the rows have no windows. hint: appended to the first note on truncation.

    Raises: DataError for texts without tokens.
    """
    splits: dict[str, Dataset] = {}
    notes: list[str] = []
    for name in ("train", "validation", "test"):
        split_windows = replace(windows, most=None) if windows is not None and name != "train" else windows
        text = "" if any(getattr(note, "topic", None) == "cut texts" for note in notes) else hint
        splits[name], note = tokenize(
            getattr(data, name), tokenizer, limit, split=name, num_proc=workers, windows=split_windows, hint=text
        )
        notes.append(note)
    if windows is not None and all(max(rows["length"][:], default=0) <= limit for rows in splits.values()):
        return tokenize_splits(data, tokenizer, limit, workers)
    return splits, notes


def label_counts(data: TextData) -> list[int]:
    """Return the number of training rows with each label, in label order.

    It is [] for regression.
    """
    labels = np.asarray(data.train["label"][:])
    if data.problem_type == "multi_label_classification":
        return labels.sum(axis=0).astype(int).tolist()
    return np.bincount(labels.astype(int), minlength=len(data.labels)).tolist() if data.labels else []


def start_pooling(model: PreTrainedModel, args: ModelArguments) -> str:
    """Set the pooling of a classifier, in place. Returns: a note."""
    options = {"revision": args.model_revision, "cache_dir": args.cache_dir}
    pooling, reason = choose_pooling(args.pooling, model, args.model_name_or_path, **options)
    set_pooling(model, pooling)
    return f"pooling: {pooling}, {reason}"


def start_head(
    model: PreTrainedModel,
    args: ModelArguments,
    problem_type: str,
    rows: Dataset,
    tokenizer: PreTrainedTokenizerBase,
    training: TrainingArguments,
) -> list[str]:
    """Set the pooling, then fit the last layer as a linear probe, in place.

    The features are frozen.

    rows: the tokenized training split. In a resumed run the checkpoint overwrites these weights. Returns: notes.
    """
    notes = [start_pooling(model, args)]
    if args.head_start == "random":
        return notes
    labels = np.asarray(rows["labels"][:])
    chosen = rows.select(probe_rows(labels, problem_type, _PROBE_ROWS, training.seed))
    chosen = chosen.select(np.argsort(chosen["length"][:], kind="stable"))
    model.to(training.device)  # type: ignore[arg-type]
    labels = np.asarray(chosen["labels"][:])
    of = " rows"
    if COUNTS in chosen.column_names:
        report, of = (
            _start_from_windows(model, chosen, tokenizer, labels, problem_type),
            " rows, the mean of their windows",
        )
    else:
        batches = _batches(chosen, tokenizer)
        report = start_from_probe(model, batches, labels, problem_type, max_rows=_PROBE_ROWS)
    if not report["fitted"]:
        return [*notes, Note(f"head: starts at random; a probe cannot be fitted because {report['reason']}", "head")]
    score = "R2" if problem_type == "regression" else "accuracy"
    held_out = report["held_out_score"]
    noise = ", dropout on: without it the fit would not survive training" if report["dropout"] else ""
    tail = "" if held_out is None else f" ({score} {held_out:.3f} on held-out training rows, the encoder frozen{noise})"
    return [*notes, Note(f"head: starts from a linear probe on {report['rows']}{of}{tail}", "head")]


def _start_from_windows(
    model: PreTrainedModel, rows: Dataset, tokenizer: PreTrainedTokenizerBase, labels: np.ndarray, problem_type: str
) -> dict[str, object]:
    """`heads.start_from_probe` on documents in windows.

    The mean of features gives the mean of logits, as the layer is linear.
    """
    _, linear = final_linear(model)

    def read(indices: np.ndarray, dropout: bool) -> np.ndarray:
        parts = rows.select(indices).iter(_PROBE_BATCH)
        return np.concatenate([_mean_features(model, linear, part, tokenizer, dropout) for part in parts])

    return fit_probe(linear, read, labels, problem_type)


def _mean_features(
    model: PreTrainedModel, linear: nn.Linear, part: Any, tokenizer: PreTrainedTokenizerBase, dropout: bool
) -> np.ndarray:
    """Return the inputs of the last layer, (documents, width).

    They are averaged over the windows of a document.
    """
    names = [name for name in part if name in tokenizer.model_input_names]
    windows = {name: [window for document in part[name] for window in document] for name in names}
    count = len(windows["input_ids"])
    batches = (
        dict(tokenizer.pad({name: windows[name][i : i + _PROBE_BATCH] for name in names}, return_tensors="pt"))
        for i in range(0, count, _PROBE_BATCH)
    )
    features = torch.cat([*layer_inputs(model, linear, batches, dropout=dropout)]).float().cpu()
    return torch.stack([windows.mean(dim=0) for windows in features.split(part[COUNTS])]).numpy()


def _batches(rows: Dataset, tokenizer: PreTrainedTokenizerBase) -> Iterator[dict[str, torch.Tensor]]:
    """Yield padded batches of token ids, without labels, in the order of the rows."""
    names = [name for name in rows.column_names if name in tokenizer.model_input_names]
    for start in range(0, len(rows), _PROBE_BATCH):
        part = rows[start : start + _PROBE_BATCH]
        yield dict(tokenizer.pad({name: part[name] for name in names}, return_tensors="pt"))
