"""The job of frozen features: encode the texts, fit the head and score it."""

from __future__ import annotations

import copy
import time
from dataclasses import dataclass

import numpy as np
import torch
from datasets import concatenate_datasets

from nlp_ft.data import TextData, text_columns, texts_or_pairs
from nlp_ft.errors import TrainingError
from nlp_ft.evaluation.metrics import compute_metrics
from nlp_ft.evaluation.probabilities import MULTI, REGRESSION, SINGLE
from nlp_ft.inference import feature_cache
from nlp_ft.inference.encode import encode_cached
from nlp_ft.methods.features.arguments import FeaturesArguments
from nlp_ft.methods.features.compare_poolings import compare_poolings
from nlp_ft.methods.features.head import Head, fit_head
from nlp_ft.models.compare import ROWS_COMPARED, compute_logits, largest_difference
from nlp_ft.models.layers import unwrapped
from nlp_ft.training import setup
from nlp_ft.training.fit import Fitted, Job
from nlp_ft.training.job import load_model, make_loss, make_rows
from nlp_ft.training.settings import OPTIMIZATION_FLAGS, Settings
from nlp_ft.utils import log, without_topic

_SPLITS: tuple[str, ...] = ("train", "validation", "test")
_SCORES = {SINGLE: "accuracy", MULTI: "mean accuracy of the labels", REGRESSION: "R2"}
_UNUSED = (  # flags of every method that have no effect here
    "head_start",
    *OPTIMIZATION_FLAGS,
    *("eval_strategy", "eval_steps", "save_strategy", "save_steps", "load_best_model_at_end"),
    *("label_smoothing_factor", "early_stopping_patience", "early_stopping_threshold", "metric_for_best_model"),
    *("with_control", "resume_from_checkpoint"),
)


def make_job(data: TextData, settings: Settings[FeaturesArguments], *, silent: bool = False) -> Job:
    """Load the checkpoint as a classifier, set its pooling and tokenize the splits."""
    loss = make_loss(data, settings, label_smoothing=0.0)
    training = copy.copy(settings.training)
    loaded = load_model(data, settings)
    rows = make_rows(data, settings, loaded, training)
    notes = [*rows.notes, *without_topic(loaded.notes, "head"), setup.start_pooling(loaded.model, settings.model)]
    if unused := [f"--{name}" for name in _UNUSED if name in (settings.explicit or ())]:
        notes.append(
            f"without effect, as the encoder is frozen and the head is fitted in one step: {', '.join(unused)}"
        )
    if not silent:
        log(*notes)
    return Job(
        model=loaded.model.to(training.device),  # type: ignore[arg-type]
        tokenizer=loaded.tokenizer,
        data=data,
        splits=rows.splits,
        max_seq_length=loaded.max_seq_length,
        loss=loss,
        training=training,
        fit=settings.fit,
        settings=settings.to_dict(training),
        explicit=settings.explicit or (),
        notes=[*data.notes, *notes],
        silent=silent,
        title="frozen features",
        doing=f"A {settings.method_arguments.head} head on frozen features",
    )


@dataclass
class Features:
    """Encoded splits.

    `rows`: inputs of the head by split, (rows, width); `poolings`: of the training rows, (rows, 4 * width), or None; `seconds`:
    encoding time.
    """

    rows: dict[str, np.ndarray]
    poolings: np.ndarray | None
    seconds: float


def encode_splits(job: Job, head: Head, *, poolings: bool) -> Features:
    """Encode the texts of all splits in one pass, or read them from the cache."""
    started = time.monotonic()
    texts = [text for split in _SPLITS for text in texts_or_pairs(getattr(job.data, split))]
    tokens = concatenate_datasets([job.splits[split].remove_columns("labels") for split in _SPLITS])
    features = encode_cached(
        unwrapped(job.model), job.tokenizer, texts, tokens, job.max_seq_length, layer=head.first, poolings=poolings
    )
    seconds = time.monotonic() - started
    _note(job, f"encoding: {seconds:.1f} s for {len(texts):,} texts (earlier ones come from the cache)")
    ends = np.cumsum([len(job.splits[split]) for split in _SPLITS])
    width = head.first.in_features
    rows = dict(zip(_SPLITS, np.split(features[:, :width], ends[:-1]), strict=True))
    return Features(rows, features[: ends[0], width:] if poolings else None, seconds)


def log_poolings(job: Job, features: Features, requested: str) -> None:
    """Log a comparison of the poolings on held-out training rows."""
    assert features.poolings is not None
    labels = np.asarray(job.splits["train"]["labels"][:])
    _note(
        job,
        *compare_poolings(
            features.poolings, labels, unwrapped(job.model), requested, job.data.problem_type, _weights(job)
        ),
    )


def fit_and_score(job: Job, head: Head, features: Features) -> Fitted:
    """Fit the head on the training rows, in place, and score the other splits.

    Raises: DataError if no head can be fitted on these labels; TrainingError if the model does not repeat the logits.
    """
    started = time.monotonic()
    kind = job.data.problem_type
    labels = np.asarray(job.splits["train"]["labels"][:])
    report = fit_head(head, features.rows["train"], labels, kind, _weights(job), job.training.seed)
    seconds = time.monotonic() - started
    score, value = _SCORES[kind], report["held_out_score"]
    if kind == MULTI and head.fits_dense:
        score = "accuracy of whole rows"
    held_out = "" if value is None else f"; {score} {value:.3f} on {report['held_out_rows']} held-out training rows"
    penalty = report["penalty"]
    chosen = f", penalty {penalty:.4g}" if isinstance(penalty, float) else ""
    _note(job, f"head: fitted on {len(labels):,} rows in {seconds:.1f} s{chosen}{held_out}")
    logits = {split: head(features.rows[split]) for split in ("validation", "test")}
    _check(job, logits["validation"])
    metrics = {
        "train_encode_seconds": features.seconds,
        "train_head_seconds": seconds,
        "train_minutes": (features.seconds + seconds) / 60,
    }
    if value is not None:
        metrics["train_held_out_score"] = value
    for prefix, split in (("eval", "validation"), ("test", "test")):
        metrics |= {f"{prefix}_{name}": number for name, number in _scores(job, split, logits[split]).items()}
    return Fitted(job.model, logits, metrics)


def _scores(job: Job, split: str, logits: np.ndarray) -> dict[str, float]:
    truth = job.splits[split]["labels"][:]
    loss = job.loss.row_losses(torch.from_numpy(logits), torch.as_tensor(truth)).mean().item()
    return {**compute_metrics(job.data.problem_type, logits, truth, job.data.labels), "loss": loss}


def _note(job: Job, *lines: str) -> None:
    """Add the lines to the notes, and log them unless the job is silent."""
    job.notes += lines
    if not job.silent:
        log(*lines)


def _weights(job: Job) -> np.ndarray | None:
    return None if job.loss.class_weights is None else job.loss.class_weights.numpy()


def _check(job: Job, logits: np.ndarray) -> None:
    """Compare logits of cached features with the model's. Raises: TrainingError."""
    rows = job.data.validation.select(range(min(ROWS_COMPARED, len(logits))))
    expected = compute_logits(job.model, job.tokenizer, *text_columns(rows), job.max_seq_length).numpy()
    difference, bound = largest_difference(expected, logits[: len(expected)])
    if not difference <= bound:
        raise TrainingError(
            f"the features in {feature_cache.cache_directory()} do not belong to this model (its logits differ by "
            f"{difference:.3g}); remove that folder and run again."
        )
