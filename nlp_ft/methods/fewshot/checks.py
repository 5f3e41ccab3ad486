"""Refuse flags that conflict in few-shot or have no effect there."""

from __future__ import annotations

from collections.abc import Mapping

from nlp_ft.errors import ConfigError
from nlp_ft.methods.fewshot.arguments import FewshotArguments
from nlp_ft.training.settings import OPTIMIZATION_FLAGS, Settings

_FINETUNE_FLAGS = (  # no effect on training with pairs or on a fitted head
    *("class_weights", "early_stopping_patience", "early_stopping_threshold", "label_smoothing_factor"),
    *("metric_for_best_model", "head_start"),
)
_PAIR_FLAGS = ("num_iterations", "max_pairs")
_BODY_FLAGS = (  # flags of its training; no effect on a frozen body
    *("use_peft", "lora_r", "lora_alpha", "lora_dropout", "lora_target_modules", "use_dora", "use_rslora"),
    *("freeze_layers", "gradual_unfreezing", "layerwise_lr_decay", "reinit_layers"),
    *OPTIMIZATION_FLAGS,
)


def check(settings: Settings[FewshotArguments], frames: Mapping[str, object]) -> None:
    """Refuse conflicting flags before anything is read. Raises: ConfigError."""
    data = settings.data
    if data.train_file is None and data.dataset_name is None and "train" not in frames:
        raise ConfigError(
            "fewshot needs labelled rows (--train_file), or the class names alone (--labels) for zero-shot."
        )
    if data.num_folds is not None:
        raise ConfigError(
            "--num_folds: --approach auto cross-validates already; several --seed tell more than folds here."
        )
    approach, controlled = settings.method_arguments.approach, settings.fit.with_control
    if approach == "frozen" and settings.lora.use_peft:
        raise ConfigError("--use_peft: --approach frozen trains no body that adapters could change; leave it out.")
    if approach == "auto":
        settings.refuse(
            _FINETUNE_FLAGS,
            "has no effect on two of the three approaches that --approach auto compares; give --approach finetune with it, "
            "or leave it out.",
        )
    idle = {
        "contrastive": (*_FINETUNE_FLAGS, "train_sampling_strategy"),
        "frozen": (*_FINETUNE_FLAGS, *(() if controlled else (*_PAIR_FLAGS, *_BODY_FLAGS))),  # controls train theirs
        "finetune": () if controlled else _PAIR_FLAGS,
    }
    settings.refuse(idle.get(approach, ()), f"has no effect on --approach {approach}; leave it out.")


def check_zero_shot(settings: Settings[FewshotArguments], frames: Mapping[str, object]) -> None:
    """Refuse conflicting flags of a zero-shot run. Raises: ConfigError."""
    data = settings.data
    if data.train_file is not None or data.dataset_name is not None or "train" in frames:
        raise ConfigError(
            "--labels is for zero-shot, without training rows; with them the labels are those of the rows."
        )
    if data.problem_type not in (None, "single_label_classification"):
        raise ConfigError(f"--problem_type {data.problem_type}: zero-shot picks one of --labels for each text.")
    if data.text_pair_column_name is not None:
        raise ConfigError("--text_pair_column_name: zero-shot compares single texts with the templates.")
    settings.refuse(
        ("approach", "shots", "with_control", "num_folds", *_FINETUNE_FLAGS, *_PAIR_FLAGS, *_BODY_FLAGS),
        "has no effect on zero-shot (--labels), where nothing is trained; leave it out.",
    )
