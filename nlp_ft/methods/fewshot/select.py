"""The approaches to few-shot training as jobs, and the choice of one.

The training rows alone, or validation rows of the user's own, choose it.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike
from transformers import TrainingArguments
from transformers.trainer_utils import IntervalStrategy, SaveStrategy

from nlp_ft.config import FreezeArguments, LoraArguments
from nlp_ft.data import TextData, fold_rows, keys_of
from nlp_ft.errors import DataError
from nlp_ft.evaluation.metrics import SELECTION_METRIC, selection_score
from nlp_ft.evaluation.probabilities import REGRESSION, SINGLE, predicted
from nlp_ft.methods.fewshot.arguments import FewshotArguments
from nlp_ft.methods.fewshot.trainer import HeadTrainer, PairTrainer
from nlp_ft.models.linear_probe import probe_obstacle
from nlp_ft.training import hyperparameters
from nlp_ft.training.controls import discard
from nlp_ft.training.fit import Job, train
from nlp_ft.training.job import make_job
from nlp_ft.training.settings import Settings
from nlp_ft.utils import log, without_topic

TITLES = {  # the cheapest first: no pass back, 20 passes over the rows at most, 40 pairs (80 texts) a row
    "frozen": "frozen encoder + linear head",
    "finetune": "full fine-tuning",
    "contrastive": "contrastive + linear head",
}
_DOING = {"frozen": "Fitting a head", "contrastive": "Contrastive fine-tuning", "finetune": "Fine-tuning"}
_BODY_RATE, _LORA_BODY_RATE = 2e-5, 2e-4
_PAIRS_A_STEP = 16
_FOLDS = 4
_FEWEST_VALIDATION_ROWS = 50
_RESAMPLES = 500


def job_for(
    approach: str, data: TextData, settings: Settings[FewshotArguments], *, selects: bool = False, silent: bool = False
) -> Job:
    """Make the job of one approach, ready for training.fit.

    selects: whether validation rows of the user's own may pick the best checkpoint; elsewhere nothing picks, and the number of
    epochs is fixed. silent: one of several fits, which logs nothing.
    """
    args, model = copy.copy(settings.training), settings.model
    fewshot, explicit = settings.method_arguments, settings.explicit
    if approach != "finetune":
        model = replace(model, head_start="random")  # it is fitted at the end
    approach_notes = []
    if approach != "finetune" or not selects:
        if {"eval_strategy", "load_best_model_at_end"} & set(explicit or ()):
            approach_notes.append(
                "no evaluation on the way, and no best checkpoint: nothing of this run may be chosen by it"
            )
        args.eval_strategy, args.load_best_model_at_end = IntervalStrategy.NO, False
        explicit = None if explicit is None else {*explicit, "metric_for_best_model"}
        settings = replace(settings, fit=replace(settings.fit, early_stopping_patience=None))
    if approach == "frozen":
        args.resume_from_checkpoint = None
        settings = replace(settings, lora=LoraArguments(), freeze=FreezeArguments())
    pairs = min(2 * fewshot.num_iterations * len(data.train), fewshot.max_pairs)
    if approach == "contrastive":
        approach_notes.append(_choose_for_pairs(args, settings, pairs, len(data.train)))
    if approach != "finetune" and explicit is not None:
        names = ("learning_rate", "num_train_epochs", "per_device_train_batch_size")
        explicit = {*explicit, *names}
    job = make_job(data, replace(settings, model=model, training=args, explicit=explicit), silent=True)
    notes = job.notes[len(data.notes) :]
    if approach == "frozen":
        notes = without_topic(notes, "parameters")
    if not silent:
        log(*notes, *approach_notes)
    job.settings["model"]["head_start"] = settings.model.head_start
    job.title, job.doing, job.notes = (
        title(approach, settings),
        _DOING[approach],
        [*data.notes, *notes, *approach_notes],
    )
    job.explicit, job.silent = settings.explicit or (), silent
    job.trainer = {"frozen": HeadTrainer, "contrastive": partial(PairTrainer, pairs=pairs), "finetune": None}[approach]
    return job


def title(approach: str, settings: Settings[FewshotArguments]) -> str:
    """Name an approach for the report."""
    if settings.lora.use_peft and approach != "frozen":
        return {"finetune": "LoRA fine-tuning", "contrastive": "contrastive (LoRA) + linear head"}[approach]
    return TITLES[approach]


def _choose_for_pairs(args: TrainingArguments, settings: Settings[FewshotArguments], pairs: int, rows: int) -> str:
    """Choose batch size, rate and epochs for pairs, where the user set none.

    args is changed in place. Returns: a note.
    """
    fewshot, choices = settings.method_arguments, hyperparameters.Choices(args, settings.explicit)
    choices.batch(_PAIRS_A_STEP)
    choices.rate(_LORA_BODY_RATE if settings.lora.use_peft else _BODY_RATE)
    choices.epochs(lambda _: 1, pairs)
    wanted = 2 * fewshot.num_iterations * rows
    cap = f", not the {wanted} of --num_iterations {fewshot.num_iterations} (--max_pairs)" if pairs < wanted else ""
    return (
        f"pairs: {pairs} of {rows} rows{cap}, {args.num_train_epochs:g} times, "
        f"{args.per_device_train_batch_size} a step and process, learning rate {args.learning_rate:g}"
    )


@dataclass(frozen=True)
class Trial:
    """Predictions of one approach for held-out rows.

    `logits`: of the rows of all parts, in order; `parts`: its score in each part.
    """

    logits: np.ndarray
    parts: list[float]


def choose(
    data: TextData, settings: Settings[FewshotArguments], selects: bool
) -> tuple[str, list[str], dict[str, float]]:
    """Choose the best approach, or the cheapest of those not worse than it.

    Not worse: the difference is within two standard errors. Judged by metrics.SELECTION_METRIC on the user's own validation
    rows where there are 50, else by stratified cross-validation on the training rows: 4 folds, or as many as the rarest
    class has texts. The test rows take no part.

    Returns: the approach, notes, and `choice_<approach>_<metric>` for the results.
    """
    parts = _parts(data, selects)
    if not parts:
        line = "approach: frozen, the cheapest; a class has too few texts to hold one out and compare approaches on"
        log(line)
        return "frozen", [line], {}
    compared_on = (
        f"the {len(data.validation)} validation rows"
        if selects and len(data.validation) >= _FEWEST_VALIDATION_ROWS
        else f"{len(parts)} folds of the {len(data.train)} training rows"
    )
    log(f"approach: comparing {', '.join(TITLES)} on {compared_on}")
    trials = {approach: _trial(approach, parts, settings) for approach in TITLES}
    labels = np.concatenate([np.asarray(part.test["label"][:]) for part in parts])
    labels = labels if data.problem_type == REGRESSION else labels.astype(np.int64)
    name, greater = SELECTION_METRIC[data.problem_type]
    draws = {a: _resampled(data.problem_type, trial.logits, labels) for a, trial in trials.items()}
    spreads = {a: np.std(t.parts, ddof=1) if len(parts) > 1 else draws[a].std() for a, t in trials.items()}
    best, reason = _decision(trials, draws, name, greater)
    kind = "standard deviation over the folds" if len(parts) > 1 else "standard error"
    lines = [f"  {a:<12}{name} {np.mean(t.parts):.3f}, {kind} {spreads[a]:.3f}" for a, t in trials.items()]
    lines.append(f"approach: {best}, {reason}")
    log(*lines)
    metrics = {f"choice_{a}_{name}": float(np.mean(trial.parts)) for a, trial in trials.items()}
    metrics |= {f"choice_{a}_{name}_spread": float(spread) for a, spread in spreads.items()}
    return best, lines, metrics


def _parts(data: TextData, selects: bool) -> list[TextData]:
    """Split the data into parts to fit and score each approach on.

    In each part test holds the rows that are scored, and so does validation, which chooses nothing.
    """
    if selects and len(data.validation) >= _FEWEST_VALIDATION_ROWS:
        return [replace(data, test=data.validation)]
    train = data.train
    keys = keys_of(train)
    labels = train["label"][:]
    groups = list(train["group"]) if "group" in train.column_names else None
    for folds in range(min(_FOLDS, _rarest(keys, labels, data.problem_type)), 1, -1):
        try:
            folds_held_out = fold_rows(keys, list(labels), data.problem_type, folds, 0, groups=groups)
        except DataError:
            continue
        parts = [*_fold_data(data, folds_held_out)]
        outputs = max(len(data.labels), 1)
        if not any(probe_obstacle(np.asarray(part.train["label"][:]), data.problem_type, outputs) for part in parts):
            return parts
    return []


def _rarest(keys: Sequence[bytes], labels: ArrayLike, problem_type: str) -> int:
    """Number of different texts of the class with the fewest.

    For a regression half of all different texts.
    """
    if problem_type == REGRESSION:
        return len(set(keys)) // 2
    cells = np.asarray(labels)
    masks = [cells == label for label in np.unique(cells)] if problem_type == SINGLE else [c > 0 for c in cells.T]
    return min(len({keys[row] for row in np.flatnonzero(mask).tolist()}) for mask in masks)


def _fold_data(data: TextData, held_out: Sequence[Sequence[int]]) -> Iterator[TextData]:
    for indices in held_out:
        scored_indices = set(indices)
        rest = [row for row in range(len(data.train)) if row not in scored_indices]
        scored = data.train.select(indices)
        yield replace(data, train=data.train.select(rest), validation=scored, test=scored)


def _trial(approach: str, parts: Sequence[TextData], settings: Settings[FewshotArguments]) -> Trial:
    """Fit one approach on each part and score it.

    No checkpoint is kept, and nothing is chosen by the rows that are scored.
    """
    args = copy.copy(settings.training)
    args.output_dir = str(Path(str(args.output_dir)) / "choice")
    args.save_strategy, args.resume_from_checkpoint = SaveStrategy.NO, None
    logits, scores = [], []
    for part in parts:
        job = job_for(approach, part, replace(settings, training=args), silent=True)
        fitted = train(job)
        logits.append(fitted.logits["test"])
        scores.append(fitted.metrics[f"test_{SELECTION_METRIC[part.problem_type][0]}"])
    discard(Path(args.output_dir))
    return Trial(np.concatenate(logits), scores)


def _resampled(problem_type: str, logits: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Score 500 resamples of the rows.

    Every call draws the same resamples, so that differences of two approaches are paired.
    """
    chosen, rng = predicted(problem_type, logits), np.random.default_rng(0)
    classes = logits.shape[-1]
    drawn = (rng.integers(len(labels), size=len(labels)) for _ in range(_RESAMPLES))
    return np.array([selection_score(problem_type, chosen[rows], labels[rows], classes) for rows in drawn])


def _decision(trials: dict[str, Trial], draws: dict[str, np.ndarray], name: str, greater: bool) -> tuple[str, str]:
    """Choose an approach, with the reason.

    A difference counts when it is more than two standard errors.
    """
    sign = 1 if greater else -1
    means = {approach: float(np.mean(trial.parts)) for approach, trial in trials.items()}
    best = max(means, key=lambda approach: sign * means[approach])
    for approach in trials:
        ahead, error = abs(means[best] - means[approach]), float((draws[best] - draws[approach]).std())
        if approach == best:
            cheapest = approach == next(iter(trials))
            return best, f"the best by {name}" + (
                ", and the cheapest"
                if cheapest
                else "; those that cost less are more than two standard errors behind it"
            )
        if ahead <= 2 * error:
            return approach, (
                f"which costs less than {best}, the best: that is ahead by {ahead:.3f} {name}, and with a standard error of "
                f"{error:.3f} on {len(trials[best].logits)} rows the two cannot be told apart"
            )
    raise AssertionError("the best approach is among them")
