"""The text of `nlp-ft METHOD --help`, made without torch or transformers."""

from __future__ import annotations

import argparse
import re
from collections.abc import Iterable, Mapping, Sequence

from nlp_ft.config.flags import REFUSED, Flag, flags_of, training_flags
from nlp_ft.config.parser import TRAINING_DEFAULTS

# Flags of TrainingArguments that recipe.py chooses where the user does not.
_CHOSEN = ("per_device_train_batch_size", "num_train_epochs", "learning_rate", "metric_for_best_model")
# Flags of TrainingArguments that do nothing here, or have another name now.
_HIDDEN = {*REFUSED, "do_train", "do_eval", "do_predict", "local_rank"}


def help_text(command: str, about: str, classes: Sequence[type]) -> str:
    """The grouped help of a method.

    A class's docstring begins with the group's title and what it is about.
    """
    parser = argparse.ArgumentParser(
        prog=f"nlp-ft {command}",
        usage=f"nlp-ft {command} [--config FILE.yaml ...] [flags]",
        description=f"{about} A key in a YAML file is a flag; later files win over earlier ones, flags over files. "
        "What is shown without a value is switched on by its name, and off by --no_NAME (in YAML: true, false).",
        add_help=False,
        formatter_class=lambda prog: argparse.HelpFormatter(prog, max_help_position=34, width=118),
    )
    parser.add_argument("--config", metavar="FILE.yaml", help="flat YAML of flags, read before the other flags")
    parser.add_argument("-h", "--help", action="store_true", help="this text")
    for cls in classes:
        title, _, what = (cls.__doc__ or "").partition("\n")[0].partition(": ")
        _add_group(parser, title, what, flags_of(cls), {})
    shown = [flag._replace(required=flag.name == "output_dir") for flag in training_flags() if flag.name not in _HIDDEN]
    changed = {**TRAINING_DEFAULTS, **dict.fromkeys(_CHOSEN, "chosen for model and data")}
    changed["bf16"] = "on where the GPU has it"
    _add_group(parser, "Training", "those of transformers.TrainingArguments, passed through untouched.", shown, changed)
    return parser.format_help()


def _add_group(
    parser: argparse.ArgumentParser, title: str, about: str, flags: Iterable[Flag], changed: Mapping[str, object]
) -> None:
    group = parser.add_argument_group(title, about[:1].upper() + about[1:])
    for flag in flags:
        text = f"{flag.help} {_default(flag, changed)}".strip().replace("%", "%%")
        if flag.is_bool:
            group.add_argument(f"--{flag.name}", action="store_true", help=text)
        else:
            group.add_argument(f"--{flag.name}", metavar=_shape(flag), help=text)


def _default(flag: Flag, changed: Mapping[str, object]) -> str:
    """`(default 16)`; nothing for None, and for a switch that is off."""
    if flag.required:
        return "(required)"
    value = changed.get(flag.name, flag.default)
    if value is None or value is False or value == "":
        return ""
    text = " ".join(map(str, value)) if isinstance(value, list) else "on" if value is True else str(value)
    return f"(default {text})"


def _shape(flag: Flag) -> str:
    """The form of a value: {a,b} for a choice, else INT, FLOAT, STR, JSON.

    `...` where there may be several.
    """
    if flag.type.startswith("Literal["):
        return "{" + ",".join(re.findall(r"['\"](\w+)['\"]", flag.type)) + "}"
    first = next(part for part in flag.type.split(" | ") if part != "None").partition("[")
    if first[0] == "list":
        return first[2].rstrip("]").upper() + " ..."
    names = {"int": "INT", "float": "FLOAT", "dict": "JSON"}
    return names.get(first[0], "STR") + (" ..." if flag.is_list else "")
