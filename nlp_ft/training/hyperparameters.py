"""The hyper-parameters that follow from model and data where the user sets none: measured, and said aloud.

Sources: the figures in README.md ("Defaults, and what they rest on"); enough updates on small sets after Mosbach et al. 2021
(arXiv:2006.04884) and Zhang et al. 2021 (arXiv:2006.05987); LoRA's rate, about ten times full fine-tuning's, after Schulman
et al. 2025, "LoRA Without Regret".
"""

from __future__ import annotations

import math
from collections.abc import Collection

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


def epochs(rows: int, rows_per_update: int, problem_type: str, use_peft: bool = False) -> int:
    """Passes over the data: enough for about 250 updates, between 2 (regression and LoRA, which go on gaining: 3) and 20."""
    fewest = _FEWEST_EPOCHS + (problem_type == REGRESSION or use_peft)
    updates = max(1, math.ceil(rows / rows_per_update))
    return min(_MOST_EPOCHS, max(fewest, round(_UPDATES_WANTED / updates)))


def choose(
    args: TrainingArguments,
    given: Collection[str] | None,
    rows: int,
    parameters: int,
    use_peft: bool,
    problem_type: str,
) -> list[str]:
    """Set in place what the user did not give; given None: the caller chose everything. Returns: what to say about it."""
    if given is None:
        return []
    said = []
    if not {"per_device_train_batch_size", "gradient_accumulation_steps"} & set(given):
        args.per_device_train_batch_size = max(1, batch_rows(rows) // args.world_size)
        said.append(f"{args.per_device_train_batch_size} rows a step and process")
    optimizer = str(getattr(args.optim, "value", args.optim))
    if optimizer == "sgd" and "optim_args" not in given:
        args.optim_args = "momentum=0.9"
        said.append("momentum 0.9")
    if "learning_rate" not in given and (optimizer == "sgd" or "adam" in optimizer):
        args.learning_rate = _SGD_RATE if optimizer == "sgd" else learning_rate(parameters, use_peft)
        said.append(f"learning rate {args.learning_rate:g}")
    if not {"num_train_epochs", "max_steps"} & set(given):
        per_update = args.per_device_train_batch_size * args.gradient_accumulation_steps * args.world_size
        args.num_train_epochs = float(epochs(rows, per_update, problem_type, use_peft))
        said.append(f"{args.num_train_epochs:g} epochs")
    if "metric_for_best_model" not in given:
        args.metric_for_best_model, args.greater_is_better = SELECTION_METRIC[problem_type]
        said.append(f"best checkpoint by {args.metric_for_best_model} on validation")
    if not said:
        return []
    size = f"{parameters / 1e6:.1f}M" if parameters < 1e9 else f"{parameters / 1e9:.1f}B"
    return [f"chosen for a model of {size} parameters and {rows} rows: {', '.join(said)}"]


def adapt_to_problem(args: TrainingArguments, problem_type: str) -> None:
    """Set in place what arguments meant for one kind of problem must be for another: how the best is told, no smoothing."""
    args.metric_for_best_model, args.greater_is_better = SELECTION_METRIC[problem_type]
    if problem_type != SINGLE:
        args.label_smoothing_factor = 0.0
