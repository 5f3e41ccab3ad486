"""Steps of an `nlp-ft meta` run."""

from __future__ import annotations

from collections.abc import Mapping

from torch import nn
from transformers import TrainingArguments

from nlp_ft.errors import ConfigError
from nlp_ft.methods.meta import report, trainer
from nlp_ft.methods.meta.arguments import MetaArguments
from nlp_ft.methods.meta.episodes import EpisodeDataset, Tasks, read_tasks
from nlp_ft.methods.meta.learner import MetaLearner, MultiTask
from nlp_ft.training.controls import control_arguments
from nlp_ft.training.run import claim_directory
from nlp_ft.training.run_report import RunReport
from nlp_ft.training.settings import Settings
from nlp_ft.utils import log

_FILES = "data sets are named by --meta_train_file and --meta_test_file"
_UPDATES = "--max_steps counts the updates, and the last one is saved: nothing is chosen by a validation split"
_TWICE = "the inner steps are differentiated, which it does not go with"
_HEAD = "every episode has a head of its own, which starts at zero"
_MEANINGLESS = {
    **dict.fromkeys(("train_file", "validation_file", "test_file", "dataset_name", "dataset_config_name"), _FILES),
    **dict.fromkeys(("train_split_name", "validation_split_name", "test_split_name", "mixing"), _FILES),
    **dict.fromkeys(("validation_split_size", "test_split_size", "num_folds", "group_column", "time_column"), _FILES),
    **dict.fromkeys(("max_train_samples", "max_eval_samples", "max_predict_samples"), "episodes draw their rows"),
    "allow_leakage": "held-out tasks whose texts were trained on would show nothing",
    **dict.fromkeys(("num_train_epochs", "load_best_model_at_end", "metric_for_best_model"), _UPDATES),
    **dict.fromkeys(("early_stopping_patience", "early_stopping_threshold"), _UPDATES),
    **dict.fromkeys(
        ("class_weights", "label_smoothing_factor"), "an episode has as many rows of one class as of another"
    ),
    "threshold_metric": "only multi-label problems have thresholds, and a row of an episode is of one class",
    "data_seed": "episodes are drawn by --seed",
    "head_start": _HEAD,
    **dict.fromkeys(("gradual_unfreezing", "layerwise_lr_decay", "reinit_layers"), "all layers learn at one rate"),
    "save_adapter_only": "the result is a checkpoint to start from, adapters merged",
    **dict.fromkeys(("gradient_checkpointing", "activation_checkpointing", "torch_compile", "fp16", "fsdp"), _TWICE),
}


def run(*arguments: object, frames: Mapping[str, object] | None = None) -> RunReport:
    """Meta-train an initialisation, and test it on held-out tasks.

    The plain checkpoint is tested before, and a control after, under --with_control.

    arguments: as `flags.parse(*ARGUMENTS)` returns them. frames: not taken; tasks are read from files.
    """
    settings = Settings.of("meta", arguments, MetaArguments)
    _check(settings, frames)
    claim_directory(settings.training, settings.explicit)
    method_arguments = settings.method_arguments
    tasks = read_tasks(method_arguments, settings.data)
    start = trainer.make_encoder(settings, tasks)
    args, chosen = trainer.choose_schedule(settings, start.encoder)
    learning, test = trainer.episodes(tasks, start, settings, args)
    notes = [*tasks.notes, *learning.notes, *test.notes, *start.notes, *chosen]
    log(*notes)
    learner = _learner(start.encoder, method_arguments)
    log(f"meta-test of the plain checkpoint: {method_arguments.test_episodes} episodes")
    plain = report.measure(learner, test, args.device)
    trained = trainer.train(learner, learning, args, trainer.episode_identity(settings, args, tasks))
    log(f"meta-test of the initialisation: {method_arguments.test_episodes} episodes")
    arms = [
        report.Arm("meta", f"meta-learned ({method_arguments.algorithm})", report.measure(learner, test, args.device)),
        report.Arm("plain", "the plain checkpoint", plain),
    ]
    if settings.fit.with_control:
        arms.append(_control(settings, tasks, learning, test, args))
    explicit = settings.explicit or ()
    return report.report_test(start, trained, arms, test, settings.to_dict(args), notes, tasks, explicit)


def _learner(encoder: nn.Module, arguments: MetaArguments) -> MetaLearner:
    return MetaLearner(
        encoder, arguments.algorithm, arguments.inner_steps, arguments.inner_learning_rate, arguments.head_learning_rate
    )


def _control(
    settings: Settings[MetaArguments],
    tasks: Tasks,
    learning: EpisodeDataset,
    test: EpisodeDataset,
    args: TrainingArguments,
) -> report.Arm:
    """Train on the same rows as ordinary multi-task learning, and run the same test."""
    method_arguments = settings.method_arguments
    log("control: multi-task training on the same rows, a linear head for each data set")
    start = trainer.make_encoder(settings, tasks)
    control = MultiTask(start.encoder, start.width, [len(pool.labels) for pool in tasks.train])
    with control_arguments(args, "multitask") as control_args:
        trainer.train(control, learning, control_args, trainer.episode_identity(settings, args, tasks))
    log(f"meta-test of the control: {method_arguments.test_episodes} episodes")
    accuracies = report.measure(_learner(start.encoder, method_arguments), test, args.device)
    return report.Arm("multitask", "multi-task training", accuracies)


def _check(settings: Settings[MetaArguments], frames: Mapping[str, object] | None) -> None:
    """Refuse arguments without a meaning in this method. Raises: ConfigError."""
    if frames is not None:
        raise ConfigError("meta takes no data frames; name files by --meta_train_file and --meta_test_file.")
    for name, reason in sorted(_MEANINGLESS.items()):
        settings.refuse([name], f"means nothing to meta: {reason}.")
    order = settings.training.train_sampling_strategy
    if "train_sampling_strategy" in (settings.explicit or ()) and order != "sequential":
        raise ConfigError(
            "--train_sampling_strategy means nothing to meta: episodes are drawn by --seed, in one order."
        )
    attention = settings.model.attn_implementation
    if settings.method_arguments.algorithm == "maml" and attention not in (None, "eager"):
        raise ConfigError(
            f"--attn_implementation {attention}: --algorithm maml differentiates twice, which only eager attention can; "
            "leave the flag out."
        )
