"""Measure the gain of transfer on few target rows, with and without the source."""

from __future__ import annotations

import copy
import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from accelerate import PartialState
from transformers import TrainingArguments
from transformers.trainer_utils import IntervalStrategy, SaveStrategy

from nlp_ft.config import ModelArguments
from nlp_ft.data import TextData, sampled, texts_or_pairs
from nlp_ft.errors import ConfigError, ModelError
from nlp_ft.evaluation.baselines import compare
from nlp_ft.evaluation.metrics import compute_metrics
from nlp_ft.inference.load import load
from nlp_ft.methods.transfer.arguments import TransferArguments
from nlp_ft.training import checkpointing
from nlp_ft.training.fit import Job, job_identity, train
from nlp_ft.training.job import make_job
from nlp_ft.training.settings import Settings
from nlp_ft.utils import log

ALONE = "target alone"
Logits = dict[str, np.ndarray]  # (rows, classes) of "validation" and "test"


def start_from(settings: Settings[TransferArguments], directory: str) -> ModelArguments:
    """Return model arguments that start from a source's directory."""
    return replace(
        settings.model,
        model_name_or_path=directory,
        config_name=None,
        tokenizer_name=None,
        gguf_file=None,
        model_revision="main",
    )


def measure(
    settings: Settings[TransferArguments], data: TextData, sources: Mapping[str, str], numbers: Sequence[int]
) -> tuple[dict[str, float], str]:
    """Fit on few target rows, with each source and without, and log a table.

    sources: directory by name; numbers: of target rows. All fits of one number have the same rows and as many updates. No
    checkpoint is chosen by validation, which a user with so few rows would not have; validation only ranks the sources.

    Returns: the test metrics, and the name of the best source. Raises: ConfigError if several sources cannot be ranked.
    """
    usable = [number for number in numbers if number < len(data.train)]
    if len(sources) > 1 and not usable:
        raise ConfigError("several sources are ranked by --transfer_shots; give a number below the target's rows.")
    models = {ALONE: settings.model} | {name: start_from(settings, directory) for name, directory in sources.items()}
    logits = {0: {name: untrained for name, directory in sources.items() if (untrained := _zero_shot(directory, data))}}
    for shots in usable:
        part, logits[shots] = sampled(data, shots, settings.training.seed), {}
        for name, model in models.items():
            log(f"{shots} target rows, {name if name == ALONE else f'from {name}'}")
            short = replace(settings, model=model, training=_brief(settings.training))
            logits[shots][name] = _fit_and_predict(
                make_job(part, short, silent=True), f"{shots}-{name.replace(' ', '-')}"
            )
    scores = _score(logits, data)
    best = next(iter(sources))
    if len(sources) > 1:
        ranks = {name: sum(scores[shots][name]["validation"] for shots in usable) / len(usable) for name in sources}
        best = max(ranks, key=lambda name: ranks[name])
        ranked = ", ".join(f"{name} {ranks[name]:.3f}" for name in sorted(ranks, key=lambda name: -ranks[name]))
        log(f"\nsources, by {_metric(data)} on validation, mean over {', '.join(map(str, usable))} rows: {ranked}")
    log(_table(scores, logits, data, [*sources]))
    metrics = {
        f"transfer_{shots}_{'target_only' if name == ALONE else name}": splits["test"]
        for shots, row in scores.items()
        for name, splits in row.items()
    }
    return metrics, best


def _metric(data: TextData) -> str:
    return {"regression": "pearson", "multi_label_classification": "f1_micro"}.get(data.problem_type, "f1_macro")


def _score(logits: Mapping[int, Mapping[str, Logits]], data: TextData) -> dict[int, dict[str, dict[str, float]]]:
    def score(predicted: np.ndarray, split: str) -> float:
        labels = getattr(data, split)["label"]
        value = compute_metrics(data.problem_type, predicted, labels, data.labels).get(_metric(data))
        return 0.0 if value is None else value  # a constant prediction has no correlation

    return {
        shots: {
            name: {split: score(predicted, split) for split, predicted in by_split.items()}
            for name, by_split in row.items()
        }
        for shots, row in logits.items()
    }


def _brief(args: TrainingArguments) -> TrainingArguments:
    """Return TrainingArguments of a fit without evaluation and checkpoints."""
    args = copy.copy(args)
    args.eval_strategy, args.save_strategy = IntervalStrategy.NO, SaveStrategy.NO
    args.load_best_model_at_end, args.resume_from_checkpoint = False, None
    return args


def _fit_and_predict(job: Job, name: str) -> Logits:
    """Train, and return the logits of validation and test.

    A resumed run reads them from `shots/`. The file name has a digest of settings, rows (test rows too) and initial weights, so
    that no other fit is reused.
    """
    test, start = job.data.fingerprint["sha256"]["test"], job.settings["model"]["model_name_or_path"]
    made_with = {**job_identity(job), "test": test, "weights": checkpointing.weights_of(start)}
    settings = hashlib.sha256(json.dumps(made_with, sort_keys=True, default=str).encode()).hexdigest()[:8]
    path = Path(str(job.training.output_dir)) / "shots" / f"{name}-{settings}.npz"
    if path.exists():
        with np.load(path, allow_pickle=False) as saved:
            return dict(saved)
    logits = train(job).logits
    if PartialState().is_main_process:
        path.parent.mkdir(parents=True, exist_ok=True)
        part = path.with_suffix(".part.npz")
        np.savez(part, validation=logits["validation"], test=logits["test"])
        part.replace(path)
    PartialState().wait_for_everyone()
    return logits


def _zero_shot(directory: str, data: TextData) -> Logits:
    """Return the logits of a source's model as it is; empty if it has other labels."""
    try:
        model = load(directory)
    except ModelError:  # a checkpoint without a classification head
        return {}
    if model.problem_type != data.problem_type or sorted(model.labels) != sorted(data.labels):
        return {}
    order = [model.labels.index(label) for label in data.labels] or [0]
    return {split: model.logits(texts_or_pairs(getattr(data, split)))[:, order] for split in ("validation", "test")}


def _table(
    scores: Mapping[int, Mapping[str, Mapping[str, float]]],
    logits: Mapping[int, Mapping[str, Logits]],
    data: TextData,
    sources: Sequence[str],
) -> str:
    """Format the gain by number of target rows and source.

    Each has the standard error of the paired difference.
    """
    labels = np.asarray(data.test["label"][:])

    def correlation(predicted: np.ndarray, truth: np.ndarray) -> float:
        return float(np.corrcoef(np.ravel(predicted), np.ravel(truth))[0, 1]) if np.ptp(predicted) > 0 else 0.0

    score = correlation if data.problem_type == "regression" else None
    lines = [
        f"\ntest {_metric(data)} by target rows",
        f"{'rows':>6}  {ALONE:>12}  " + "  ".join(f"{name:>24}" for name in sources),
    ]
    for shots, row in scores.items():
        cells = []
        for name in sources:
            if name not in row:
                cells.append(f"{'-':>24}")
                continue
            cell = f"{row[name]['test']:.3f}"
            if ALONE in row:
                pair = logits[shots][name]["test"], logits[shots][ALONE]["test"]
                error = compare(data.problem_type, *pair, labels, score)[2]
                cell += f" ({row[name]['test'] - row[ALONE]['test']:+.3f} ± {error:.3f})"
            cells.append(f"{cell:>24}")
        alone = f"{row[ALONE]['test']:.3f}" if ALONE in row else "-"
        lines.append(f"{shots:>6}  {alone:>12}  " + "  ".join(cells))
    return "\n".join(lines)
