"""The flags by name, without importing torch or transformers.

Which names of elsewhere are refused, and why.
"""

from __future__ import annotations

import ast
import dataclasses
import functools
import importlib.util
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from nlp_ft.errors import ConfigError, did_you_mean

# Names that users know from transformers 4, run_classification.py or TRL, and what to do instead.
REPLACED = {
    "warmup_ratio": "use --warmup_steps (a value below 1 is a share of all steps)",
    "group_by_length": "use --train_sampling_strategy group_by_length (the default here)",
    "logging_dir": "set the environment variable TENSORBOARD_LOGGING_DIR",
    "overwrite_output_dir": "name another --output_dir, or remove that directory; nothing is ever written over",
    "evaluation_strategy": "use --eval_strategy",
    "no_cuda": "use --use_cpu",
    "use_mps_device": "leave it out; the device there is gets used",
    "save_safetensors": "leave it out; weights are always saved as safetensors",
    "include_inputs_for_metrics": "leave it out; every metric is reported",
    "torch_dtype": "use --bf16 or --fp16 (weights themselves are kept in float32)",
    "dtype": "use --bf16 or --fp16 (weights themselves are kept in float32)",
    "do_regression": "use --problem_type regression",
    "metric_name": "use --metric_for_best_model; every metric is reported",
    "remove_columns": "leave it out; only the text and label columns are read",
    "remove_splits": "leave it out; the splits are named by --train_split_name and its like",
    "pad_to_max_length": "leave it out; a batch is padded to its longest row",
    "shuffle_train_dataset": "leave it out; training rows are shuffled, and --seed sets the order",
    "shuffle_seed": "use --seed",
    "overwrite_cache": "leave it out; no cache of tokenized rows is kept",
    "use_fast_tokenizer": "leave it out; the fast tokenizer is used where there is one",
    "lora_modules_to_save": "leave it out; the whole head is trained and saved",
    "lora_task_type": "leave it out; it is always SEQ_CLS",
}

_ONE_PUSH = "has no effect: a run pushes once, when its report is written (--push_to_hub --hub_model_id me/model)"
_ON_HALF = "would leave the model in half precision, and save it so; --bf16 or --fp16 alone make training fast"

# Flags that would cost a secret, a result or the run.
REFUSED = {
    "token": "would leave a secret in the shell's history and in logs; set the environment variable HF_TOKEN",
    "hub_token": "would be saved in clear text with the run; set the environment variable HF_TOKEN",
    "use_auth_token": "would leave a secret in logs; set the environment variable HF_TOKEN",
    "trust_remote_code": "would run code out of the checkpoint; only architectures of transformers itself are loaded",
    "auto_find_batch_size": "restarts with another batch size without a word and cannot be resumed; set "
    "--per_device_train_batch_size, and keep the rows an update with --gradient_accumulation_steps",
    **dict.fromkeys(("hub_strategy", "hub_always_push"), _ONE_PUSH),
    **dict.fromkeys(("fp16_full_eval", "bf16_full_eval"), _ON_HALF),
    "label_names": "names inputs of the model, not classes; those come from the column --label_column_name",
    "remove_unused_columns": "has no effect: only what the model reads is kept",
    "prediction_loss_only": "would leave no predictions to measure",
    "batch_eval_metrics": "would measure each batch by itself, and F1 of batches is not F1 of the rows",
    "include_for_metrics": "has no effect: the metrics need labels and predictions alone",
    "eval_do_concat_batches": "would leave predictions in pieces that no metric can read",
    "dataloader_drop_last": "would drop rows from validation and test, too",
    "parallelism_config": "cannot be given on a command line; accelerate's own configuration file holds it",
}


class Flag(NamedTuple):
    """A flag: its annotation as written, its default, its help.

    The default is None also where it is computed.
    """

    name: str
    type: str
    default: object
    help: str
    required: bool = False

    @property
    def is_bool(self) -> bool:
        """Whether `--flag` alone means true."""
        return self.type.split(" | ")[0] == "bool"

    @property
    def is_list(self) -> bool:
        """Whether it takes several values."""
        return "list[" in self.type


@functools.cache
def training_flags() -> tuple[Flag, ...]:
    """The fields of transformers.TrainingArguments, read off its source.

    Importing it would take seconds.
    """
    spec = importlib.util.find_spec("transformers")
    if spec is None or spec.origin is None:
        raise ConfigError("transformers is not installed; install nlp_ft again, with what it needs.")
    tree = ast.parse(Path(spec.origin).with_name("training_args.py").read_text(encoding="utf-8"))
    body = next(n.body for n in tree.body if isinstance(n, ast.ClassDef) and n.name == "TrainingArguments")
    fields = [n for n in body if isinstance(n, ast.AnnAssign) and "ClassVar" not in ast.unparse(n.annotation)]
    flags = (_flag_in_source(node.target.id, node) for node in fields if isinstance(node.target, ast.Name))
    return tuple(flag for flag in flags if not flag.name.startswith("_"))


def _flag_in_source(name: str, node: ast.AnnAssign) -> Flag:
    keywords = {"default": node.value}
    if isinstance(node.value, ast.Call):
        keywords = {k.arg or "": k.value for k in node.value.keywords}
    metadata = _literal(keywords.get("metadata")) or {}
    text = " ".join(str(metadata.get("help", "")).split()).replace("%%", "%")
    return Flag(name, ast.unparse(node.annotation).strip("'\""), _literal(keywords.get("default")), text)


def _literal(node: ast.expr | None) -> Any:
    """The value of a literal, None of anything else."""
    try:
        return None if node is None else ast.literal_eval(node)
    except ValueError:
        return None


def flags_of(arguments: type) -> tuple[Flag, ...]:
    """The flags of one of our own argument dataclasses.

    Its module must postpone the evaluation of annotations.
    """
    types = {
        name: kind for cls in reversed(arguments.__mro__) for name, kind in vars(cls).get("__annotations__", {}).items()
    }
    flags = []
    for field in dataclasses.fields(arguments):
        made = field.default_factory() if field.default_factory is not dataclasses.MISSING else field.default
        required = made is dataclasses.MISSING
        flags.append(Flag(field.name, types[field.name], None if required else made, field.metadata["help"], required))
    return tuple(flags)


def unsupported_flags(classes: Iterable[type]) -> dict[str, str]:
    """Flags that a method does not support, each with the reason.

    Its argument classes declare them group by group in their class variable `unsupported`.
    """
    reasons = {group: reason for cls in classes for group, reason in getattr(cls, "unsupported", {}).items()}
    return {flag.name: reason for group, reason in reasons.items() for flag in flags_of(group)}


def check_name(name: str, known: Iterable[str], where: str, written: str, unsupported: Mapping[str, str]) -> None:
    """Refuse a flag or YAML key that is replaced, refused, unsupported or unknown.

    where: `a.yaml: ` or nothing; written: the name as it stands there; unsupported: as `unsupported_flags` gives it.
    Raises: ConfigError that says what to do instead.
    """
    if name in REPLACED:
        raise ConfigError(f"{where}{written} is no flag any more: {REPLACED[name]}.")
    if name in REFUSED:
        raise ConfigError(f"{where}{written} is refused: it {REFUSED[name]}.")
    if name in unsupported:
        raise ConfigError(f"{where}{written}: {unsupported[name]}.")
    if name not in known:
        dashes = "--" if written.startswith("--") else ""
        hint = did_you_mean(name, [other for other in known if other not in REFUSED])
        raise ConfigError(
            f"{where}unknown {'flag' if dashes else 'key'} '{written}'.{hint.replace(chr(39), chr(39) + dashes, 1)}"
        )
