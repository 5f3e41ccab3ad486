"""Arguments of `nlp-ft multitask`."""

from __future__ import annotations

import math
import re
import types
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar, Literal, Union, get_args, get_origin, get_type_hints

from nlp_ft.config import DataArguments, HubArguments, LongTextArguments
from nlp_ft.config.yaml_file import read_mapping
from nlp_ft.errors import ConfigError, NlpFtError, did_you_mean

_NAME = re.compile(r"[A-Za-z0-9][\w-]*")  # it becomes a directory
_RESERVED = ("body", "controls")
_NOT_PER_TASK = ("num_folds",)


@dataclass(kw_only=True)
class MultitaskArguments:
    """Tasks: the data of each, its share of the batches, its weight in the loss."""

    unsupported: ClassVar = {
        HubArguments: "a run leaves several classifiers here; nlp-ft push takes the directory of one",
        LongTextArguments: "long texts are cut here; finetune and transfer read them in windows",
    }

    tasks: str = field(
        metadata={
            "help": "The tasks by name, each with its own data flags (train_file, label_column_name, problem_type, ...): a "
            "mapping under this key of the YAML file, JSON, or the path of a YAML file. A data flag given outside holds for "
            "each task that does not say otherwise."
        }
    )
    sampling: Literal["proportional", "temperature", "annealed", "uniform"] = field(
        default="proportional",
        metadata={
            "help": "How often a task of N rows is drawn, an epoch being as many rows as there are: proportional (each row "
            "once), temperature (N to the power 1 / --sampling_temperature), uniform (all tasks alike), or annealed, from "
            "proportional in the first epoch to the power 0.2 in the last (Stickland & Murray 2019)."
        },
    )
    sampling_temperature: float = field(
        default=2.0,
        metadata={"help": "Of --sampling temperature: 1 is proportional, large values draw all tasks alike."},
    )
    task_weights: str | None = field(
        default=None,
        metadata={
            "help": "What the rows of a task weigh in the loss, as JSON such as '{\"movies\": 2}'; others weigh 1."
        },
    )
    loss_weighting: Literal["fixed", "uncertainty"] = field(
        default="fixed",
        metadata={
            "help": "Weights of the tasks' losses: fixed, or learned with the model, by how uncertain each task's answers are "
            "(Kendall et al. 2018)."
        },
    )

    def __post_init__(self) -> None:
        """Check the values. Raises: ConfigError."""
        if not 1 <= self.sampling_temperature < math.inf:
            raise ConfigError(f"--sampling_temperature must be at least 1 and finite, got {self.sampling_temperature}.")
        if self.task_weights is not None and self.loss_weighting == "uncertainty":
            raise ConfigError(
                "--loss_weighting uncertainty learns the weights, --task_weights fixes them; give one of the two."
            )
        names = list(self.fields())
        for name, weight in self.weights(names).items():
            if isinstance(weight, bool) or not isinstance(weight, int | float) or not 0 < weight < math.inf:
                raise ConfigError(f"--task_weights: the weight of {name} must be a positive number, got {weight!r}.")

    def fields(self) -> dict[str, dict[str, Any]]:
        """Read and check the data flags of each task. Raises: ConfigError."""
        tasks, source = read_mapping(self.tasks, "tasks")
        if len(tasks) < 2:
            raise ConfigError(
                f"{source}: wanted two tasks or more, got {', '.join(tasks) or 'none'}; finetune trains one."
            )
        for name, values in tasks.items():
            if not _NAME.fullmatch(name) or name in _RESERVED or name.startswith("checkpoint-"):
                raise ConfigError(
                    f"{source}: {name!r} cannot name a task: wanted letters, digits, - and _ (it becomes a directory), and not "
                    f"{', '.join(_RESERVED)} or checkpoint-..."
                )
            if not isinstance(values, dict):
                raise ConfigError(f"{source}: task {name} needs a mapping of data flags, such as train_file: a.csv.")
            for key, value in values.items():
                values[key] = _checked(key, value, f"{source}: task {name}")
        return tasks

    def data_of(self, common: DataArguments) -> dict[str, DataArguments]:
        """Merge the data flags of each task with the common ones. Raises: ConfigError."""
        if common.num_folds is not None:
            raise ConfigError(
                "--num_folds: there is no cross-validation of several tasks; nlp-ft finetune has it for one."
            )
        arguments = {}
        for name, values in self.fields().items():
            try:
                arguments[name] = replace(common, **values)
            except NlpFtError as error:
                raise ConfigError(f"--tasks: task {name}: {error}") from None
        return arguments

    def weights(self, names: list[str]) -> dict[str, float]:
        """Read the fixed weight of each task. Raises: ConfigError for an unknown task."""
        weights = {} if self.task_weights is None else read_mapping(self.task_weights, "task_weights")[0]
        for name in weights:
            if name not in names:
                raise ConfigError(
                    f"--task_weights names '{name}', which is no task ({', '.join(names)}).{did_you_mean(name, names)}"
                )
        return {name: weights.get(name, 1.0) for name in names}


def _checked(key: str, value: object, task: str) -> object:
    """Convert the value of a data flag to the type of its field.

    null is the default. task: its source and name, for messages. Raises: ConfigError.
    """
    hints = get_type_hints(DataArguments)
    if key in _NOT_PER_TASK:
        raise ConfigError(f"{task}: {key} is not for a single task.")
    if key not in hints:
        raise ConfigError(f"{task}: unknown key '{key}'.{did_you_mean(key, hints)}")
    if value is None:
        return DataArguments.__dataclass_fields__[key].default
    kinds = get_args(hints[key]) if get_origin(hints[key]) in (Union, types.UnionType) else (hints[key],)
    kind = next(kind for kind in kinds if kind is not types.NoneType)
    if get_origin(kind) is Literal:
        if value in get_args(kind):
            return value
        wanted = ", ".join(get_args(kind))
    elif get_origin(kind) is list:
        return [str(item) for item in value] if isinstance(value, list) else [str(value)]
    elif kind is str:
        if not isinstance(value, bool | list | dict):
            return str(value)
        wanted = "text"
    else:
        wanted = {bool: "true or false", int: "a whole number", float: "a number"}[kind]
        if isinstance(value, bool) == (kind is bool) and isinstance(value, (int, float) if kind is float else kind):
            return value
    raise ConfigError(f"{task}: {key} must be {wanted}, got {value!r}.")
