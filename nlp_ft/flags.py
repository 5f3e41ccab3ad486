"""Command line and YAML to dataclasses. A YAML key is a flag; defaults < YAML < command line; an unknown name is an error.

Names are checked and `--help` is written without importing torch or transformers: the flags of TrainingArguments are read off
its source, so that they are always those of the installed version.
"""

from __future__ import annotations

import argparse
import ast
import dataclasses
import functools
import importlib.util
import json
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from nlp_ft.errors import ConfigError, did_you_mean

# What nlp_ft sets where the user does not; learning rate, epochs and batch size follow from model and data (recipe.py).
TRAINING_DEFAULTS: dict[str, Any] = {
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

# Flags users know from elsewhere, and what to write instead.
REPLACED = {
    "warmup_ratio": "--warmup_steps (a value below 1 is a share of all steps)",
    "group_by_length": "--train_sampling_strategy group_by_length (the default here)",
    "logging_dir": "the environment variable TENSORBOARD_LOGGING_DIR",
    "overwrite_output_dir": "another --output_dir, or remove the directory yourself; nothing is ever written over",
    "evaluation_strategy": "--eval_strategy",
    "no_cuda": "--use_cpu",
    "tokenizer": "--tokenizer_name",
    "torch_dtype": "--bf16 or --fp16 (weights are loaded in float32)",
    "save_safetensors": "nothing: weights are always saved as safetensors",
    "fp16_full_eval_backend": "--fp16_full_eval",
    "do_regression": "--problem_type regression",
    "metric_name": "--metric_for_best_model; every metric is reported",
    "pad_to_max_length": "nothing: a batch is padded to its longest row",
    "use_fast_tokenizer": "nothing: the fast tokenizer is used where there is one",
    "shuffle_train_dataset": "nothing: training rows are shuffled; --seed sets the order",
    "overwrite_cache": "nothing: no cache of tokenized rows is kept",
    "text_column_delimiter": "--text_column_names a,b, which passes the two columns as a sentence pair",
}

# Flags that are refused, and why.
REFUSED = {
    "token": "would leave a secret in the shell's history and in logs; set the environment variable HF_TOKEN",
    "hub_token": "would be saved in clear text with the run; set the environment variable HF_TOKEN",
    "use_auth_token": "would leave a secret in logs; set the environment variable HF_TOKEN",
    "trust_remote_code": "would run code out of the checkpoint; nlp_ft loads stock architectures only",
    "auto_find_batch_size": "restarts with another batch size without a word and cannot be resumed; set "
    "--per_device_train_batch_size and keep the effective batch with --gradient_accumulation_steps",
    "push_to_hub": "is not there yet; the output directory holds nothing secret, so `hf upload me/model OUTPUT_DIR` does it",
}


class Flag(NamedTuple):
    """One flag as `--help` shows it."""

    name: str
    type: str
    default: str
    help: str


@functools.cache
def training_flags() -> tuple[Flag, ...]:
    """The fields of transformers.TrainingArguments, read off its source: importing it would take seconds."""
    spec = importlib.util.find_spec("transformers")
    if spec is None or spec.origin is None:
        raise ConfigError("transformers is not installed; run `pip install nlp_ft` again.")
    tree = ast.parse(Path(spec.origin).with_name("training_args.py").read_text(encoding="utf-8"))
    body = next(n.body for n in tree.body if isinstance(n, ast.ClassDef) and n.name == "TrainingArguments")
    found = []
    for node in body:
        if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            name = node.target.id
            if not name.startswith("_") and "ClassVar" not in ast.unparse(node.annotation):
                found.append(_flag_from_source(name, node))
    return tuple(found)


def _flag_from_source(name: str, node: ast.AnnAssign) -> Flag:
    keywords: dict[str, Any] = {}
    if isinstance(node.value, ast.Call):
        keywords = {k.arg: k.value for k in node.value.keywords}
    elif node.value is not None:
        keywords = {"default": node.value}
    default = ast.unparse(keywords["default"]) if "default" in keywords else "None"
    text = ""
    if isinstance(metadata := keywords.get("metadata"), ast.Dict):
        for key, value in zip(metadata.keys, metadata.values, strict=True):
            if isinstance(key, ast.Constant) and key.value == "help" and isinstance(value, ast.Constant):
                text = " ".join(str(value.value).split())
    return Flag(name, ast.unparse(node.annotation).strip("'\""), default, text)


def flags_of(arguments: type) -> tuple[Flag, ...]:
    """The flags of one of our own argument dataclasses."""
    found = []
    for field in dataclasses.fields(arguments):
        if field.default is not dataclasses.MISSING:
            default = repr(field.default)
        elif field.default_factory is not dataclasses.MISSING:
            default = repr(field.default_factory())
        else:
            default = "required"
        found.append(Flag(field.name, str(field.type), default, field.metadata["help"]))
    return tuple(found)


def help_text(command: str, about: str, classes: Sequence[type]) -> str:
    """The grouped `--help` of a method: one group for each argument class, TrainingArguments last."""
    parser = argparse.ArgumentParser(
        prog=f"nlp-ft {command}",
        usage=f"nlp-ft {command} [--config FILE.yaml] [flags]; a key in the YAML file is a flag, and later flags win",
        description=about,
        add_help=False,
        formatter_class=lambda prog: argparse.HelpFormatter(prog, max_help_position=34, width=118),
    )
    parser.add_argument("--config", metavar="FILE.yaml", help="flat YAML of flags, read before the other flags")
    parser.add_argument("-h", "--help", action="store_true", help="this text")
    for cls in classes:
        _add_group(parser, cls.__name__, (cls.__doc__ or "").partition("\n")[0], flags_of(cls))
    about_training = (
        "transformers.TrainingArguments, passed through untouched; [default] marks what nlp_ft sets otherwise."
    )
    _add_group(parser, "TrainingArguments", about_training, training_flags())
    return parser.format_help()


def _add_group(parser: argparse.ArgumentParser, title: str, about: str, flags: Iterable[Flag]) -> None:
    group = parser.add_argument_group(title, about)
    chosen = ("learning_rate", "num_train_epochs", "per_device_train_batch_size", "metric_for_best_model")
    for flag in flags:
        default = f"[default {TRAINING_DEFAULTS[flag.name]}]" if flag.name in TRAINING_DEFAULTS else f"({flag.default})"
        if title == "TrainingArguments" and flag.name in chosen:
            default = "[default follows from model and data, and is said]"
        if flag.name in REFUSED:
            default = "[refused by nlp_ft]"
        metavar = flag.type.replace(" | None", "").replace(" | str", "").split(".")[-1]
        metavar = metavar.upper() if metavar in ("int", "float", "str", "bool", "dict") else metavar
        group.add_argument(f"--{flag.name}", metavar=metavar, help=f"{flag.help} {default}".replace("%", "%%"))


def check_name(name: str, known: Iterable[str], where: str, written: str) -> None:
    """Refuse a flag or YAML key that is replaced, refused or unknown. Raises: ConfigError naming what to write."""
    if name in REPLACED:
        raise ConfigError(f"{where}{written} is not used any more; write {REPLACED[name]}.")
    if name in REFUSED:
        raise ConfigError(f"{where}{written} is refused: it {REFUSED[name]}.")
    if name not in known:
        kind = "flag" if written.startswith("--") else "key"
        hint = did_you_mean(name, known).replace("'", "'--", 1) if kind == "flag" else did_you_mean(name, known)
        raise ConfigError(f"{where}unknown {kind} '{written}'.{hint}")


class _UniqueKeys(yaml.SafeLoader):
    """A safe loader that refuses a key given twice, where YAML would silently take the second."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen: set[str] = set()
        for key_node, _ in node.value:
            if key_node.value in seen:
                raise yaml.constructor.ConstructorError(
                    None, None, f"key '{key_node.value}' twice", key_node.start_mark
                )
            seen.add(key_node.value)
        return super().construct_mapping(node, deep)


def yaml_argv(path: str, known: Iterable[str]) -> list[str]:
    """The flags a YAML file stands for. argparse then types every value: `2e-5`, a str to YAML, is a float to it.

    Raises: ConfigError if there is no such file, it is no flat mapping, or a key is unknown.
    """
    try:
        loaded = yaml.load(Path(path).read_text(encoding="utf-8"), _UniqueKeys)  # a SafeLoader
    except OSError as error:
        raise ConfigError(f"--config {path}: {error.strerror or error}.") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: not valid YAML: {' '.join(str(error).split())}.") from None
    if not isinstance(loaded, dict):
        raise ConfigError(f"{path}: wanted `flag: value` lines, got {type(loaded).__name__}.")
    argv: list[str] = []
    for key, value in loaded.items():
        check_name(str(key), known, f"{path}: ", str(key))
        if value is None:
            continue  # `key:` and `key: null` mean the default
        argv.append(f"--{key}")
        if isinstance(value, list):
            argv += [str(item) for item in value]
        else:
            argv.append(json.dumps(value) if isinstance(value, dict) else str(value))
    return argv


def expand(argv: Sequence[str], known: Iterable[str]) -> list[str]:
    """Put the flags of each `--config FILE` in front of the others, and check every name."""
    known = frozenset(known)
    from_yaml: list[str] = []
    rest: list[str] = []
    tokens = iter(argv)
    for token in tokens:
        name, equals, value = token.partition("=")
        if name == "--config":
            path = value if equals else next(tokens, None)
            if not path:
                raise ConfigError("--config needs the path of a YAML file.")
            from_yaml += yaml_argv(path, known)
            continue
        if token.startswith("--"):
            plain = name[2:].replace("-", "_")
            check_name(
                plain.removeprefix("no_") if plain not in known and plain not in REPLACED else plain, known, "", name
            )
        rest.append(token)
    return from_yaml + rest


def given_names(argv: Sequence[str]) -> frozenset[str]:
    """The names of the flags in an expanded argv."""
    names = (token[2:].partition("=")[0].replace("-", "_") for token in argv if token.startswith("--"))
    return frozenset(n for name in names for n in (name, name.removeprefix("no_")))


def _value(argv: Sequence[str], name: str) -> str | None:
    """The last value an argv gives a flag."""
    found = None
    for i, token in enumerate(argv):
        flag, equals, value = token.partition("=")
        if flag.startswith("--") and flag[2:].replace("-", "_") == name:
            found = value if equals else argv[i + 1] if i + 1 < len(argv) else None
    return found


def default_argv(argv: Sequence[str]) -> list[str]:
    """The flags nlp_ft puts in front of the user's: TRAINING_DEFAULTS, made to agree with what the user set.

    Saving follows evaluating where only one of the two is set, and without evaluation no checkpoint is the best one.
    """
    given = given_names(argv)
    chosen = dict(TRAINING_DEFAULTS)
    for one, other in (("eval", "save"), ("save", "eval")):
        strategy = _value(argv, f"{one}_strategy")
        if strategy in ("no", "steps", "epoch") and f"{other}_strategy" not in given:
            chosen[f"{other}_strategy"] = strategy
            steps = _value(argv, f"{one}_steps")
            if strategy == "steps" and steps and f"{other}_steps" not in given:
                chosen[f"{other}_steps"] = steps
    if "no" in (_value(argv, "eval_strategy"), _value(argv, "save_strategy")):
        chosen["load_best_model_at_end"] = False
    return [token for name, value in chosen.items() if name not in given for token in (f"--{name}", str(value))]


def parse(*classes: type, argv: Sequence[str] | None = None) -> tuple[Any, ...]:
    """One instance of each class, then TrainingArguments, then the names the user gave (a frozenset).

    Raises: ConfigError for an unknown, replaced or refused name and for a value that does not fit.
    """
    known = [flag.name for cls in classes for flag in flags_of(cls)] + [flag.name for flag in training_flags()]
    argv = expand(sys.argv[1:] if argv is None else argv, known)
    given = given_names(argv)
    for required in ("model_name_or_path", "output_dir"):
        if required in known and required not in given:
            raise ConfigError(f"--{required} is needed.")
    from transformers import HfArgumentParser, TrainingArguments

    class Parser(HfArgumentParser):
        def error(self, message: str) -> Any:
            raise ConfigError(f"{message.removeprefix('argument ')}.")

    parser = Parser((*classes, TrainingArguments), allow_abbrev=False)
    try:
        *instances, left = parser.parse_args_into_dataclasses(
            default_argv(argv) + _precision(given) + argv, return_remaining_strings=True, look_for_args_file=False
        )
    except ConfigError:
        raise
    except (ValueError, TypeError, OSError, ImportError) as error:
        raise ConfigError(" ".join(str(error).split())) from None
    if left:
        raise ConfigError(f"unexpected argument '{left[0]}'; a flag starts with --.")
    return (*instances, given)


def _precision(given: frozenset[str]) -> list[str]:
    """`--bf16` where the GPU has it and the user said nothing of precision: half the memory, float32's range."""
    import torch

    chosen = given & {"bf16", "fp16", "use_cpu"}
    return ["--bf16"] if not chosen and torch.cuda.is_available() and torch.cuda.is_bf16_supported() else []
