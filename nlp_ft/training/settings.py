"""Settings of a run: every argument by group."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Generic, TypeVar

from transformers import TrainingArguments

from nlp_ft.config import (
    GROUPS,
    AugmentArguments,
    DataArguments,
    FitArguments,
    FreezeArguments,
    HubArguments,
    LongTextArguments,
    LoraArguments,
    ModelArguments,
)
from nlp_ft.errors import ConfigError
from nlp_ft.training.run_report import settings_of

_GROUPS = {**GROUPS, "training": TrainingArguments}
# What decides the training of a body, besides its adapters and layers; without effect where no body is trained.
OPTIMIZATION_FLAGS = (
    *("learning_rate", "num_train_epochs", "max_steps", "per_device_train_batch_size", "gradient_accumulation_steps"),
    *("train_sampling_strategy", "data_seed", "optim", "optim_args", "adam_beta1", "adam_beta2", "adam_epsilon"),
    *("weight_decay", "max_grad_norm", "lr_scheduler_type", "lr_scheduler_kwargs", "warmup_steps"),
    *("neftune_noise_alpha", "gradient_checkpointing"),
)

Method = TypeVar("Method", covariant=True)
Kind = TypeVar("Kind")


@dataclass(frozen=True)
class Settings(Generic[Method]):
    """Everything a run was asked for, by group.

    `method_arguments`: the method's own arguments, or None. `long_texts`: None for a method that cannot read windows.
    `explicit`: the names the user set, from which follows what is chosen for him; None: the arguments hold as they are.
    """

    method: str
    model: ModelArguments
    training: TrainingArguments
    method_arguments: Method
    data: DataArguments = field(default_factory=DataArguments)
    long_texts: LongTextArguments | None = None
    augment: AugmentArguments = field(default_factory=AugmentArguments)
    lora: LoraArguments = field(default_factory=LoraArguments)
    freeze: FreezeArguments = field(default_factory=FreezeArguments)
    fit: FitArguments = field(default_factory=FitArguments)
    hub: HubArguments = field(default_factory=HubArguments)
    explicit: Collection[str] | None = None

    @classmethod
    def of(cls, method: str, arguments: Sequence[object], kind: type[Kind]) -> Settings[Kind]:
        """Settings from the result of `parse(*ARGUMENTS)`.

        arguments: instances in any order, and the names the user set. A group that is not among them has its
        defaults. kind: the type of the method's own arguments; NoneType for a method that has none. Raises: ConfigError for
        --push_to_hub where the method does not end in one classifier.
        """
        held: dict[str, Any] = {"method_arguments": None}
        for argument in arguments:
            names = [name for name, group in _GROUPS.items() if isinstance(argument, group)]
            if names:
                held[names[0]] = argument
            elif isinstance(argument, kind) and argument is not None:
                held["method_arguments"] = argument
            else:
                held["explicit"] = argument
        if held["training"].push_to_hub and "hub" not in held:
            raise ConfigError(
                f"--push_to_hub: {method} does not end in one classifier; fine-tune from what it leaves and push that, or push "
                "one of its directories by nlp-ft push."
            )
        return Settings(method=method, **held)

    def refuse(self, names: Iterable[str], reason: str) -> None:
        """Refuse flags that the user set. Raises: ConfigError."""
        for name in names:
            if name in (self.explicit or ()):
                raise ConfigError(f"--{name} {reason}")

    def to_dict(self, training: TrainingArguments) -> dict[str, Any]:
        """Every resolved argument by group, for run.json.

        training: the arguments as they came to be.
        """
        groups = {
            name: getattr(self, name) for name in _GROUPS if name != "training" and getattr(self, name) is not None
        }
        method = {} if self.method_arguments is None else {self.method: self.method_arguments}
        return {
            "method": {"name": self.method},
            **settings_of(**groups, **method, training=training),
            "processes": training.world_size,
        }


def control_settings(settings: Settings, **groups: object) -> Settings:
    """Settings of a control: the same but for some groups.

    Raises: ConfigError if nothing differs.
    """
    changed = replace(settings, **groups)
    if changed == settings:
        raise ConfigError("--with_control: this run is its own control; nothing that could be measured was asked for.")
    return changed
