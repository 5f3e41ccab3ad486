"""Command line and YAML to dataclasses: defaults < YAML < command line.

A YAML key is a flag; an unknown name is an error.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Sequence
from typing import Any, NoReturn

from nlp_ft.config.files import check_files
from nlp_ft.config.flags import Flag, flags_of, training_flags, unsupported_flags
from nlp_ft.config.names import check_hub_model, check_loggers, check_model
from nlp_ft.config.training_arguments import check_training
from nlp_ft.config.yaml_file import Setting, read_settings
from nlp_ft.errors import ConfigError

# What nlp_ft sets where the user does not; learning rate, epochs and batch size follow from model and data (recipe.py).
TRAINING_DEFAULTS: dict[str, object] = {
    "eval_strategy": "epoch",
    "save_strategy": "epoch",
    "save_total_limit": 2,
    "load_best_model_at_end": True,
    "logging_steps": 10,
    "logging_nan_inf_filter": False,  # the filter logs a nan loss as 0
    "per_device_eval_batch_size": 64,
    "train_sampling_strategy": "group_by_length",
    "warmup_steps": 0.1,
    "weight_decay": 0.01,
}


def parse(*classes: type, argv: Sequence[str] | None = None, with_files: bool = False) -> tuple[Any, ...]:
    """Parse into one instance of each class, TrainingArguments, and the names set.

    The last is a frozenset of the names that the user gave.

    argv: sys.argv[1:] where not given. with_files: whether data files and models must be there by now; a missing one is told
    before torch is imported. Raises: ConfigError for an unknown, replaced or refused name, a required flag that
    is missing, and a value that does not fit; a value out of a YAML file is reported with the name of the file.
    """
    flags = all_flags(classes)
    settings = read_settings(sys.argv[1:] if argv is None else argv, flags, unsupported_flags(classes))
    explicit = frozenset(setting.name for setting in settings)
    for flag in flags:
        if (flag.required or flag.name == "output_dir") and flag.name not in explicit:
            raise ConfigError(f"--{flag.name} is needed: {flag.help}")
    try:
        if with_files:
            check_files(name for setting in settings if _names_data(setting, flags) for name in setting.values)
            _check_names(settings)
        *instances, training = _instances(classes, [*_defaults(settings), *_precision(explicit), *settings])
        check_training(training, explicit)
    except ConfigError as error:
        raise ConfigError(_origin(str(error), settings) + str(error)) from None
    return (*instances, training, explicit)


def _check_names(settings: Sequence[Setting]) -> None:
    """Refuse models and trackers that are not there, before torch is imported. Raises: ConfigError, ModelError."""
    last = {setting.name: setting.values[-1] for setting in settings if setting.values}
    for setting in settings:
        if setting.name.endswith("_name_or_path"):
            for name in setting.values:
                check_model(name)
                revision = last.get("model_revision") if setting.name == "model_name_or_path" else None
                check_hub_model(name, revision, last.get("cache_dir"))
        elif setting.name == "report_to":
            check_loggers(setting.values)


def _names_data(setting: Setting, flags: Sequence[Flag]) -> bool:
    """Whether a flag names files of texts; --gguf_file is one of a checkpoint.

    A method with --text_file reads that in place of --train_file, which it refuses with its reason.
    """
    refused = setting.name == "train_file" and any(flag.name == "text_file" for flag in flags)
    return setting.name.endswith("_file") and setting.name != "gguf_file" and not refused


def all_flags(classes: Sequence[type]) -> list[Flag]:
    """The flags of these classes, then those of TrainingArguments."""
    return [*(flag for cls in classes for flag in flags_of(cls)), *training_flags()]


def _instances(classes: Sequence[type], settings: Sequence[Setting]) -> list[Any]:
    """Settings as typed by argparse and checked by each class, TrainingArguments last."""
    from transformers import HfArgumentParser, TrainingArguments

    class Parser(HfArgumentParser):
        def error(self, message: str) -> NoReturn:
            raise ConfigError(re.sub(r"^argument (--\w+)\S*: ", r"\1: ", message).rstrip(".") + ".")

    every: list[Any] = [*classes, TrainingArguments]
    parser = Parser(every, allow_abbrev=False)
    for setting in settings:
        if len(setting.values) > 1:  # of `str | list[str]` the parser sees the str alone
            next(a for a in parser._actions if a.dest == setting.name).nargs = "+"
    try:
        argv = [token for setting in settings for token in setting.tokens()]
        return list(parser.parse_args_into_dataclasses(argv, look_for_args_file=False))
    except ConfigError:
        raise
    except (ValueError, TypeError, OSError, ImportError, NotImplementedError) as error:
        raise ConfigError(" ".join(str(error).split())) from error


def _origin(message: str, settings: Sequence[Setting]) -> str:
    """`a.yaml: ` if the first flag a message names was last set there."""
    flag = re.search(r"--(\w+)", message)
    return next((s.where for s in reversed(settings) if flag and s.name == flag[1]), "")


def _defaults(settings: Sequence[Setting]) -> list[Setting]:
    """TRAINING_DEFAULTS, made to agree with what the user set: they go in front of it.

    Where only one of evaluating and saving is set to steps or epochs, the other follows, for the best checkpoint must be one
    that was measured; without evaluating or saving there is none to go back to.
    """
    explicit = {setting.name: setting.values[0] for setting in settings}
    chosen = dict(TRAINING_DEFAULTS)
    for kind, other in (("eval", "save"), ("save", "eval")):
        strategy = explicit.get(f"{kind}_strategy")
        if strategy in ("steps", "epoch"):
            chosen[f"{other}_strategy"] = strategy
            if f"{kind}_steps" in explicit:
                chosen[f"{other}_steps"] = explicit[f"{kind}_steps"]
    if "no" in (explicit.get("eval_strategy"), explicit.get("save_strategy")):
        chosen["load_best_model_at_end"] = False
    return [Setting(name, [str(value)]) for name, value in chosen.items() if name not in explicit]


def _precision(explicit: frozenset[str]) -> list[Setting]:
    """Turn on `--bf16` where the GPU has it and the user chose no precision.

    It takes half the memory and has the range of float32.
    """
    import torch

    on_cpu = os.environ.get("ACCELERATE_USE_CPU", "").lower() in ("1", "true")
    if on_cpu or explicit & {"bf16", "fp16", "use_cpu"}:
        return []
    return [Setting("bf16", ["true"])] if torch.cuda.is_available() and torch.cuda.is_bf16_supported() else []
