"""Build one job from several tasks: a shared body, one loss, one sampler."""

from __future__ import annotations

import copy
import functools
import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from datasets import Dataset
from torch import nn
from transformers import PreTrainedModel, PreTrainedTokenizerBase, TrainingArguments

from nlp_ft.config.training_arguments import is_sharded
from nlp_ft.data import TextData
from nlp_ft.errors import ConfigError
from nlp_ft.evaluation.metrics import REGRESSION, SINGLE, compute_metrics
from nlp_ft.methods.multitask.arguments import MultitaskArguments
from nlp_ft.methods.multitask.data import SCORE, Task, mixed, scale, scores
from nlp_ft.methods.multitask.sampler import TaskSampler, exponent_of
from nlp_ft.methods.multitask.trainer import MultiTask, MultiTaskLoss, MultiTaskTrainer, UncertaintyLoss
from nlp_ft.models import classifier
from nlp_ft.models.layers import LayerwiseSchedule, reinitialise, top_layers
from nlp_ft.training import hyperparameters, setup
from nlp_ft.training.fit import Job
from nlp_ft.training.job import load_model, make_loss, make_rows, parameters_note, schedule_layers
from nlp_ft.training.run import rows_per_update
from nlp_ft.training.settings import Settings
from nlp_ft.utils import log


@dataclass
class Group:
    """All tasks, and the job that trains them together.

    `adapted`: the first classifier, with its adapters if there are any.
    """

    tasks: list[Task]
    job: Job
    sampler: TaskSampler
    adapted: nn.Module


def make_group(tasks: list[Task], settings: Settings[MultitaskArguments]) -> Group:
    """Prepare the tasks' classifiers on one body, and the job that trains them.

    Logs the notes.
    """
    _refuse(settings)
    training = copy.copy(settings.training)
    tokenizer = classifier.load_tokenizer(settings.model)
    held_out = [split for task in tasks for split in (task.data.validation, task.data.test)]
    for task in tasks:
        _prepare(task, tasks[0], tokenizer, training, held_out)
    notes = join_notes({task.name: task.notes for task in tasks})
    notes += _choose_schedule(training, settings, tasks)
    adapted, layerwise, body_notes = _adapt_body(tasks[0].model, settings, training.learning_rate)
    model = MultiTask(
        [task.model for task in tasks], uncertainty=settings.method_arguments.loss_weighting == "uncertainty"
    )
    notes += [*body_notes, parameters_note(model)]
    splits = {split: mixed(tasks, split) for split in ("train", "validation", "test")}
    sampler, sampler_notes = make_sampler(tasks, splits["train"], training, settings.method_arguments)
    notes += sampler_notes
    log(*notes)
    loss = _loss(tasks, settings.method_arguments, model)
    measure = functools.partial(scores, tasks, loss)
    job = Job(
        model=model,
        tokenizer=tokenizer,
        data=_all_data(tasks, splits),
        splits=splits,
        max_seq_length=max(task.limit for task in tasks),
        loss=loss,
        training=training,
        fit=settings.fit,
        settings=settings.to_dict(training),
        explicit=settings.explicit or (),
        notes=notes,
        layerwise=layerwise,
        trainer=functools.partial(MultiTaskTrainer, scores=measure, sampler=sampler, width=model.width),
        columns=("input_ids", "attention_mask", "token_type_ids"),
    )
    return Group(tasks, job, sampler, adapted)


def _adapt_body(
    first: PreTrainedModel, settings: Settings[MultitaskArguments], learning_rate: float
) -> tuple[nn.Module, LayerwiseSchedule | None, list[str]]:
    """Add adapters, freeze layers and plan the rates of the shared body.

    The first classifier is changed in place. Returns: it, the layers' schedule, and notes.
    """
    notes, adapted = [], first
    if settings.lora.use_peft:
        adapted = classifier.add_lora(
            first, settings.lora, full_modules=top_layers(first, settings.freeze.reinit_layers)
        )
        notes.append("LoRA: adapters in the shared body; every head trains in full")
    layerwise, layer_notes = schedule_layers(adapted, settings.freeze, learning_rate)
    return adapted, layerwise, [*notes, *layer_notes]


def _loss(tasks: Sequence[Task], multitask: MultitaskArguments, model: MultiTask) -> MultiTaskLoss:
    common = ([task.loss for task in tasks], [task.kind for task in tasks], [scale(task) for task in tasks])
    if model.log_variances is not None:
        return UncertaintyLoss(*common, model.log_variances)
    return MultiTaskLoss(*common, list(multitask.weights([task.name for task in tasks]).values()))


def _refuse(settings: Settings[MultitaskArguments]) -> None:
    if settings.augment.mixes:
        raise ConfigError("--augment mixup mixes rows of one task; these are several. Leave it out here.")
    if settings.lora.save_adapter_only:
        raise ConfigError(
            "--save_adapter_only: the adapters belong to all tasks, whose directories are saved merged. Leave it out."
        )
    if is_sharded(settings.training):
        raise ConfigError("FSDP and DeepSpeed cut up a body that several heads share; start plain processes instead.")


def _prepare(
    task: Task,
    first: Task,
    tokenizer: PreTrainedTokenizerBase,
    training: TrainingArguments,
    held_out: Sequence[Dataset],
) -> None:
    """Set the classifier, tokens and loss of one task, in place.

    The bodies of all tasks are equal, as every head is fitted to the same one.
    """
    data, settings = task.data, task.settings
    loaded = load_model(data, settings, tokenizer)
    model, notes = loaded.model, loaded.notes
    if task is first:
        notes += reinitialise(model, settings.freeze.reinit_layers)
    else:  # what the checkpoint lacks is random, and must be so in one way; a mean-pooling layer is added below
        model.base_model.load_state_dict(first.model.base_model.state_dict(), strict=False)
    rows = make_rows(data, settings, loaded, training, held_out)
    task.loss = make_loss(data, settings, training.label_smoothing_factor if data.problem_type == SINGLE else 0.0)
    if not loaded.trained_head:
        notes += setup.start_head(model, settings.model, data.problem_type, rows.unaugmented, tokenizer, training)
    if task is not first and not same_weights(model.base_model, first.model.base_model):
        raise ConfigError(
            f"tasks {first.name} and {task.name} would pool in two ways, as one of them goes on with the checkpoint's own "
            "head; give --pooling stock."
        )
    task.model, task.splits, task.limit = model, rows.splits, loaded.max_seq_length
    task.notes = [*rows.notes, *notes]


def same_weights(first: nn.Module, second: nn.Module) -> bool:
    """Compare the weights of two modules, by name."""
    weights, others = first.state_dict(), second.state_dict()
    return weights.keys() == others.keys() and all(
        torch.equal(weight.cpu(), others[name].cpu()) for name, weight in weights.items()
    )


def join_notes(notes: Mapping[str, Sequence[str]]) -> list[str]:
    """Join the notes of several tasks.

    A note that all tasks have stands once; the others have their task in front.
    """
    common = [
        note
        for note in dict.fromkeys(n for task_notes in notes.values() for n in task_notes)
        if all(note in task_notes for task_notes in notes.values())
    ]
    return [
        *common,
        *(f"{name}: {note}" for name, task_notes in notes.items() for note in task_notes if note not in common),
    ]


def _choose_schedule(
    training: TrainingArguments, settings: Settings[MultitaskArguments], tasks: Sequence[Task]
) -> list[str]:
    """Choose rate, epochs, batch and selection metric where the user set none.

    training is changed in place. Returns: notes. Raises: ConfigError.
    """
    explicit: Collection[str] | None = settings.explicit
    rows = sum(len(task.splits["train"]) for task in tasks)
    _, parameters = classifier.count_parameters(tasks[0].model)
    kind = REGRESSION if any(task.data.problem_type == REGRESSION for task in tasks) else SINGLE
    notes = []
    if explicit is not None and "metric_for_best_model" not in explicit:
        training.metric_for_best_model = "mean"
        scores = ", ".join(f"{SCORE[task.data.problem_type]} of {task.name}" for task in tasks)
        notes.append(f"best checkpoint by the mean of {scores} on validation")
        explicit = {*explicit, "metric_for_best_model"}
    notes += hyperparameters.choose(training, explicit, rows, parameters, settings.lora.use_peft, kind)
    setup.check_measured(training, _metric_names(tasks), explicit)
    if training.activation_checkpointing and training.ddp_find_unused_parameters is None:
        training.ddp_find_unused_parameters = False  # as Trainer does for plain classifiers; the two do not go together
    return notes


def _metric_names(tasks: Sequence[Task]) -> list[str]:
    """Names of all metrics that are measured on validation."""
    known = ["mean", "loss"]
    for task in tasks:
        blank = np.zeros((len(task.data.validation), task.kind.outputs))
        metrics = compute_metrics(task.data.problem_type, blank, task.data.validation["label"][:], task.data.labels)
        known += [f"{task.name}_{metric}" for metric in (*metrics, "loss")]
    return known


def make_sampler(
    tasks: Sequence[Task], rows: Dataset, training: TrainingArguments, multitask: MultitaskArguments
) -> tuple[TaskSampler, list[str]]:
    """Make the sampler of the run, with a note on its rows."""
    per_update = rows_per_update(training)
    epochs = math.ceil(training.num_train_epochs)
    if training.max_steps > 0:
        epochs = math.ceil(training.max_steps / math.ceil(len(rows) / per_update))
    strategy = str(getattr(training.train_sampling_strategy, "value", training.train_sampling_strategy))
    sampler = TaskSampler(
        [len(task.splits["train"]) for task in tasks],
        exponent_of(multitask.sampling, multitask.sampling_temperature, epochs),
        training.seed if training.data_seed is None else training.data_seed,
        lengths=rows["length"][:] if strategy == "group_by_length" else None,
        per_update=per_update,
        in_order=strategy == "sequential",
    )
    row_counts = [sampler.counts(epoch) for epoch in (0, epochs - 1)]
    shares = [
        f"{task.name} {first}" + (f" to {last}" if last != first else "")
        for task, first, last in zip(tasks, *row_counts, strict=True)
    ]
    return sampler, [f"sampling: {multitask.sampling}; rows an epoch: {', '.join(shares)}"]


def _all_data(tasks: Sequence[Task], splits: Mapping[str, Dataset]) -> TextData:
    """Combine the tasks' data into one record, which identifies checkpoints."""
    digests = {split: {task.name: task.data.fingerprint["sha256"][split] for task in tasks} for split in splits}
    return TextData(
        train=splits["train"],
        validation=splits["validation"],
        test=splits["test"],
        problem_type="several tasks",
        labels=[f"{task.name}: {label}" for task in tasks for label in task.data.labels],
        notes=[],
        fingerprint={"sha256": digests},
    )
