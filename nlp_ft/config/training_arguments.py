"""Refusal of TrainingArguments that no run can carry out.

They are refused before anything is read, where they would end in a traceback.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable
from typing import TYPE_CHECKING, TypeVar

from nlp_ft.errors import ConfigError

if TYPE_CHECKING:
    from transformers import TrainingArguments

_Made = TypeVar("_Made")
_LEAST = {
    **dict.fromkeys(("per_device_train_batch_size", "per_device_eval_batch_size", "gradient_accumulation_steps"), 1),
    **dict.fromkeys(("learning_rate", "weight_decay", "max_grad_norm", "warmup_steps"), 0),
    **dict.fromkeys(("eval_delay", "dataloader_num_workers", "seed"), 0),
}


def is_sharded(args: TrainingArguments) -> bool:
    """Whether FSDP or DeepSpeed shard the parameters.

    By a flag, or by accelerate's configuration file.
    """
    by_file = ("ACCELERATE_USE_FSDP", "ACCELERATE_USE_DEEPSPEED")
    return bool(args.fsdp or args.deepspeed) or any(
        os.environ.get(name, "").lower() in ("1", "true") for name in by_file
    )


def check_training(args: TrainingArguments, explicit: frozenset[str]) -> None:
    """Check numbers, trackers, early stopping, optimizer and scheduler.

    explicit: the names the user set.

    Raises: ConfigError.
    """
    for name, least in _LEAST.items():
        value = getattr(args, name)
        if not least <= value < math.inf:  # also catches nan
            raise ConfigError(f"--{name} must be at least {least}, got {value}.")
    if not args.num_train_epochs > 0 and args.max_steps <= 0:
        raise ConfigError(f"--num_train_epochs must be above 0, got {args.num_train_epochs}.")
    for name in ("do_train", "do_eval", "do_predict"):
        if name in explicit and not getattr(args, name):
            raise ConfigError(f"--{name} false: a run always trains, validates and tests.")
    if "early_stopping_patience" in explicit and not args.load_best_model_at_end:
        raise ConfigError("--early_stopping_patience needs an --eval_strategy, and --load_best_model_at_end.")
    if args.fsdp and args.parallel_mode.value != "distributed":
        raise ConfigError("--fsdp needs several processes; start them with accelerate launch.")
    _check_trackers(args)
    _check_push(args, explicit)
    if explicit & {"optim", "optim_args", "adam_beta1", "adam_beta2", "adam_epsilon"} and not args.optim_target_modules:
        _check_optimizer(args)
    if explicit & {"lr_scheduler_type", "lr_scheduler_kwargs"}:
        _check_scheduler(args)


def _check_trackers(args: TrainingArguments) -> None:
    from transformers.integrations.integration_utils import get_available_reporting_integrations

    installed = get_available_reporting_integrations()
    for name in args.report_to or ():
        if name not in installed:
            raise ConfigError(f"--report_to {name}: not installed; there is {', '.join(installed) or 'none'}.")


def _check_push(args: TrainingArguments, explicit: frozenset[str]) -> None:
    """Refuse a push that could only fail hours later, when the model is trained."""
    if args.push_to_hub:
        check_destination(args.hub_model_id)
    elif idle := sorted(explicit & {"hub_model_id", "hub_private_repo", "hub_revision"}):
        raise ConfigError(f"--{idle[0]} says where a push goes, and needs --push_to_hub.")


def check_destination(repo: str | None) -> None:
    """Check that a push to this name on the Hub can begin, without asking the Hub.

    It needs owner/name, a token and a network. Raises: ConfigError.
    """
    from huggingface_hub import constants, get_token
    from huggingface_hub.utils import HFValidationError, validate_repo_id

    if not repo:
        raise ConfigError("--hub_model_id is needed for a push: the model's name on the Hub, as owner/name.")
    try:
        validate_repo_id(repo)
    except HFValidationError as error:
        raise ConfigError(f"--hub_model_id {repo!r}: {' '.join(str(error).split())}") from None
    if repo.count("/") != 1:
        raise ConfigError(f"--hub_model_id {repo!r}: wanted owner/name, such as me/reviews.")
    if constants.is_offline_mode():
        raise ConfigError("a push needs the network, and HF_HUB_OFFLINE forbids it; unset it, or leave the push out.")
    if not get_token():
        raise ConfigError(
            "a push needs a token that may write: set the environment variable HF_TOKEN, or run `hf auth login`."
        )


def _check_optimizer(args: TrainingArguments) -> None:
    """Refuse an argument that the optimizer would drop without a word."""
    import torch
    from transformers import Trainer
    from transformers.training_args import OptimizerNames

    name = OptimizerNames(args.optim).value
    wanted = [part.partition("=") for part in (args.optim_args or "").replace(" ", "").split(",") if part]
    if bad := [key for key, equals, _ in wanted if not equals]:
        raise ConfigError(f"--optim_args {bad[0]}: wanted name=value, several with commas between.")
    optimizer, taken = _tried(f"--optim {name}", lambda: Trainer.get_optimizer_cls_and_kwargs(args))
    if unknown := [key for key, _, _ in wanted if key not in taken]:
        raise ConfigError(f"--optim_args {unknown[0]}: --optim {name} takes no such argument.")
    if optimizer.__module__.startswith("torch.optim"):
        _tried(f"--optim {name}", lambda: optimizer([torch.zeros(1, requires_grad=True)], **taken))


def _check_scheduler(args: TrainingArguments) -> None:
    import torch
    from transformers import SchedulerType, get_scheduler

    name = SchedulerType(args.lr_scheduler_type)
    optimizer = torch.optim.SGD([torch.zeros(1)], lr=1.0)
    options = args.lr_scheduler_kwargs if isinstance(args.lr_scheduler_kwargs, dict) else {}
    _tried(
        f"--lr_scheduler_type {name.value}, --lr_scheduler_kwargs",
        lambda: get_scheduler(name, optimizer, 1, 10, scheduler_specific_kwargs=dict(options)),
    )


def _tried(flags: str, make: Callable[[], _Made]) -> _Made:
    try:
        return make()
    except (ImportError, TypeError, ValueError) as error:
        raise ConfigError(f"{flags}: {' '.join(str(error).split())}") from error
