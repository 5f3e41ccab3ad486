"""Hyper-parameters that follow from model and data where the user sets none.

Sources: the figures in recipes/README.md ("Defaults"); enough updates on small sets after Mosbach et al. 2021
(arXiv:2006.04884) and Zhang et al. 2021 (arXiv:2006.05987); LoRA's rate, about ten times full fine-tuning's, after Schulman
et al. 2025, "LoRA Without Regret".
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection

from transformers import TrainingArguments

from nlp_ft.evaluation.metrics import SELECTION_METRIC
from nlp_ft.evaluation.probabilities import REGRESSION, SINGLE

_SMALL_MODEL = 50_000_000
_LARGE_MODEL = 1_000_000_000
_SGD_RATE = 2e-2
_MOST_EPOCHS, _FEWEST_EPOCHS = 20, 2
_UPDATES_WANTED = (
    250  # a small set is seen again until it has given about this many; 192 reached the plateau at 500 rows
)


def learning_rate(parameters: int, use_peft: bool) -> float:
    """The peak rate of AdamW for a model of this size."""
    if use_peft:
        return 1e-3 if parameters < _LARGE_MODEL else 2e-4
    return 1e-4 if parameters < _SMALL_MODEL else 2e-5


def batch_rows(rows: int) -> int:
    """Rows an update, over all processes and accumulation steps."""
    return 16 if rows < 2000 else 32


def epochs(updates: int, problem_type: str, use_peft: bool = False) -> int:
    """Passes over the data: enough for about 250 updates, and 2 to 20.

    updates: of one pass.
    Regression and LoRA go on gaining: at least 3.
    """
    fewest = _FEWEST_EPOCHS + (problem_type == REGRESSION or use_peft)
    return min(_MOST_EPOCHS, max(fewest, round(_UPDATES_WANTED / updates)))


class Choices:
    """Values set in place where the user left them open; `made` lists them.

    explicit: the names the user set; None: the caller chose everything, and nothing is set.
    """

    def __init__(self, args: TrainingArguments, explicit: Collection[str] | None) -> None:
        self.args, self.explicit = args, explicit
        self.made: list[str] = []

    def open(self, *names: str) -> bool:
        """Whether the user set none of these."""
        return self.explicit is not None and not {*names} & {*self.explicit}

    def batch(self, rows: int, unit: str = "rows") -> None:
        """Rows (or another unit) of an update, over all processes."""
        if self.open("per_device_train_batch_size", "gradient_accumulation_steps"):
            self.args.per_device_train_batch_size = max(1, rows // self.args.world_size)
            self.made.append(f"{self.args.per_device_train_batch_size} {unit} a step and process")

    def rate(self, rate: float) -> None:
        """The peak learning rate."""
        if self.open("learning_rate"):
            self.args.learning_rate = rate
            self.made.append(f"learning rate {rate:g}")

    def epochs(self, count: Callable[[int], int], rows: int) -> None:
        """Passes over so many rows; count: from updates an epoch."""
        if self.open("num_train_epochs", "max_steps"):
            args = self.args
            per_update = args.per_device_train_batch_size * args.gradient_accumulation_steps * args.world_size
            args.num_train_epochs = float(count(max(1, math.ceil(rows / per_update))))
            self.made.append(f"{args.num_train_epochs:g} epochs")

    def notes(self, parameters: int, rows: int) -> list[str]:
        """One line, or none where nothing was chosen."""
        size = f"{parameters / 1e6:.1f}M" if parameters < 1e9 else f"{parameters / 1e9:.1f}B"
        line = f"chosen for a model of {size} parameters and {rows} rows: {', '.join(self.made)}"
        return [line] if self.made else []


def choose(
    args: TrainingArguments,
    explicit: Collection[str] | None,
    rows: int,
    parameters: int,
    use_peft: bool,
    problem_type: str,
) -> list[str]:
    """Set in place what the user left open for a classifier. Returns: notes."""
    choices = Choices(args, explicit)
    choices.batch(batch_rows(rows))
    optimizer = str(getattr(args.optim, "value", args.optim))
    if optimizer == "sgd" and choices.open("optim_args"):
        args.optim_args = "momentum=0.9"
        choices.made.append("momentum 0.9")
    if optimizer == "sgd" or "adam" in optimizer:
        choices.rate(_SGD_RATE if optimizer == "sgd" else learning_rate(parameters, use_peft))
    choices.epochs(lambda updates: epochs(updates, problem_type, use_peft), rows)
    if choices.open("metric_for_best_model"):
        args.metric_for_best_model, greater = SELECTION_METRIC[problem_type]
        args.greater_is_better = greater if choices.open("greater_is_better") else args.greater_is_better
        choices.made.append(f"best checkpoint by {args.metric_for_best_model} on validation")
    return choices.notes(parameters, rows)


def adapt_to_problem(args: TrainingArguments, problem_type: str) -> None:
    """Adapt arguments for one kind of problem to another, in place.

    The metric of the best checkpoint changes, and only classes are smoothed.
    """
    args.metric_for_best_model, args.greater_is_better = SELECTION_METRIC[problem_type]
    if problem_type != SINGLE:
        args.label_smoothing_factor = 0.0
