"""Arguments in, a job that is ready to be trained out.

What every method that fits a classifier has in common.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import NamedTuple

from datasets import Dataset
from torch import nn
from transformers import PreTrainedModel, PreTrainedTokenizerBase, TrainingArguments, set_seed

from nlp_ft.config import FitArguments, FreezeArguments, LongTextArguments
from nlp_ft.data import TextData, load_data
from nlp_ft.data.checks import run_checks
from nlp_ft.data.windows import Windows, check_stride
from nlp_ft.errors import ConfigError
from nlp_ft.evaluation.inference_config import LongDocuments
from nlp_ft.evaluation.probabilities import MULTI
from nlp_ft.models import classifier
from nlp_ft.models.layers import LayerwiseSchedule, freeze, reinitialise, top_layers
from nlp_ft.training import hyperparameters, losses, run, setup
from nlp_ft.training.augmentation.augment import augment_train
from nlp_ft.training.augmentation.mixup import MixupLoss, check_batch
from nlp_ft.training.cross_validation import cross_validate
from nlp_ft.training.fit import Job
from nlp_ft.training.long_texts import add_attention, has_windows, read_windows
from nlp_ft.training.run_report import RunReport
from nlp_ft.training.settings import Settings
from nlp_ft.training.trainer import HEAD_RATE
from nlp_ft.utils import Note, log

_HINT = " (--long_documents window reads such texts whole)"


def read(settings: Settings, frames: Mapping[str, object] | None = None) -> TextData:
    """Claim the output directory, and read the rows in three splits.

    Logs the decisions and the data check. frames: a data frame for train, validation or test, in place of its file.
    Raises: ConfigError, DataError.
    """
    run.claim_directory(settings.training, settings.explicit)
    return load(settings, frames)


def load(
    settings: Settings, frames: Mapping[str, object] | None = None, split_off: Sequence[str] = ("validation", "test")
) -> TextData:
    """Read the rows as `read` does, in a directory that is claimed already.

    split_off: the splits that are taken from the training rows where they are not given.
    """
    data = load_data(settings.data, settings.training.seed, frames, split_off=split_off)
    data.notes.append(run_checks.summary(data))
    log(*data.notes)
    return data


def cross_validated(
    data: TextData,
    settings: Settings,
    fit_one: Callable[[TextData, Settings, Mapping[str, float] | None], RunReport],
) -> RunReport:
    """Fit once, after one fit a fold where --num_folds asks for it.

    scores: what the folds found; None in the fits of the folds themselves, which are to be brief.
    """
    scores: dict[str, float] = {}
    folds = settings.data.num_folds
    if folds is not None:
        share = settings.data.validation_split_size
        scores = cross_validate(
            data,
            folds,
            share,
            settings.training,
            lambda part, training: fit_one(part, replace(settings, training=training), None),
            run.piece_identity(settings.to_dict(settings.training), settings.explicit, settings.training.world_size),
        )
        run.restart(settings.training)
    return fit_one(data, settings, scores)


def make_job(data: TextData, settings: Settings, *, silent: bool = False) -> Job:
    """Build a classifier that is ready to be trained; log what was decided.

    silent: one of several fits of a run, which logs nothing. The arguments given are not changed: the job has its own copy.
    """
    training = copy.copy(settings.training)
    set_seed(training.seed)  # a control, a fold and a run that is resumed start as the run itself would
    loaded = load_model(data, settings)
    rows = make_rows(data, settings, loaded, training)
    loss = make_loss(data, settings)
    schedule = choose_schedule(data, settings, loaded.model, len(rows.train), training)
    started = start_training(data, settings, loaded, rows, training)
    notes = [*rows.notes, *loaded.notes, *schedule, *started.notes]
    if not silent:
        log(*notes)
    return Job(
        model=started.model,
        tokenizer=loaded.tokenizer,
        data=data,
        splits=rows.splits,
        max_seq_length=loaded.max_seq_length,
        loss=loss,
        training=training,
        fit=settings.fit,
        settings=settings.to_dict(training),
        explicit=settings.explicit or (),
        save_adapter_only=settings.lora.save_adapter_only,
        notes=[*data.notes, *notes],
        silent=silent,
        layerwise=started.layerwise,
        long_documents=started.long_documents,
    )


class LoadedModel(NamedTuple):
    """A checkpoint as a classifier of the data's labels.

    trained_head: its head goes on training, and needs no start.
    """

    model: PreTrainedModel
    tokenizer: PreTrainedTokenizerBase
    max_seq_length: int
    trained_head: bool
    notes: list[str]


def load_model(data: TextData, settings: Settings, tokenizer: PreTrainedTokenizerBase | None = None) -> LoadedModel:
    """Load the checkpoint with a head for the data's labels.

    tokenizer: where several classifiers share one.
    """
    tokenizer = tokenizer or classifier.load_tokenizer(settings.model)
    model, notes, trained_head = classifier.load_classifier(settings.model, tokenizer, data.problem_type, data.labels)
    pair = "text_pair" in data.train.column_names
    limit = classifier.token_limit(model, tokenizer, settings.data.max_seq_length, pair=pair)
    return LoadedModel(model, tokenizer, limit, trained_head, notes)


class Rows(NamedTuple):
    """Token ids of the three splits.

    The first `original` training rows are as they were read, the others augmented.
    """

    splits: dict[str, Dataset]
    original: int
    notes: list[str]

    @property
    def train(self) -> Dataset:
        """The training rows, augmented ones at the end."""
        return self.splits["train"]

    @property
    def unaugmented(self) -> Dataset:
        """The training rows as they were read."""
        return self.train.select(range(self.original))


def make_rows(
    data: TextData,
    settings: Settings,
    loaded: LoadedModel,
    training: TrainingArguments,
    held_out: Sequence[Dataset] | None = None,
) -> Rows:
    """Augment the training split and tokenize all three.

    held_out: splits whose texts no augmented row may repeat; where not given, the data's validation and test.
    """
    others = (data.validation, data.test) if held_out is None else held_out
    grown, added = augment_train(data.train, settings.augment, training.seed, others=others, device=training.device)
    splits, cut = setup.tokenize_splits(
        replace(data, train=grown),
        loaded.tokenizer,
        loaded.max_seq_length,
        settings.data.preprocessing_num_workers,
        windows=_windows(settings.long_texts, loaded.tokenizer, loaded.max_seq_length, data),
        hint=_HINT if settings.long_texts is not None else "",
    )
    return Rows(splits, len(data.train), [*added, *cut])


def make_loss(data: TextData, settings: Settings, label_smoothing: float | None = None) -> losses.ClassifierLoss:
    """Build the loss of the settings: class weights, smoothing and mixup.

    label_smoothing: in place of that of the settings. Raises: ConfigError.
    """
    check_thresholds(data, settings.fit)
    weights = losses.class_weights(
        settings.fit.class_weights, data.problem_type, data.labels, setup.label_counts(data), len(data.train)
    )
    smoothing = settings.training.label_smoothing_factor if label_smoothing is None else label_smoothing
    kinds = (data.problem_type, weights, smoothing)
    if settings.augment.mixes:
        return MixupLoss(*kinds, alpha=settings.augment.mixup_alpha)
    return losses.ClassifierLoss(*kinds)


def check_thresholds(data: TextData, fit: FitArguments) -> None:
    """Refuse --threshold_metric where there are no thresholds. Raises: ConfigError."""
    if fit.threshold_metric is not None and data.problem_type != MULTI:
        raise ConfigError(
            f"--threshold_metric: only multi-label problems have thresholds; this is a {data.problem_type}."
        )


def choose_schedule(
    data: TextData, settings: Settings, model: PreTrainedModel, rows: int, training: TrainingArguments
) -> list[str]:
    """Set batch size, rate, epochs and metric where the user left them open.

    Returns: notes. Raises: ConfigError.
    """
    parameters = classifier.count_parameters(model)[1]
    use_peft = settings.lora.use_peft
    notes = hyperparameters.choose(training, settings.explicit, rows, parameters, use_peft, data.problem_type)
    setup.check_metric_name(training, data.problem_type, settings.explicit)
    if settings.augment.mixes:
        check_batch(training.per_device_train_batch_size)
    return notes


class Started(NamedTuple):
    """A model whose head, adapters and layers stand as training starts from them."""

    model: nn.Module
    layerwise: LayerwiseSchedule | None
    long_documents: LongDocuments | None
    notes: list[str]


def start_training(
    data: TextData, settings: Settings, loaded: LoadedModel, rows: Rows, training: TrainingArguments
) -> Started:
    """Start the head, add adapters, freeze layers, in this order.

    The schedule must be set: rates by layer depend on it.
    """
    freezing = settings.freeze
    model = loaded.model
    adapted: nn.Module = model
    notes = reinitialise(model, freezing.reinit_layers)
    if not loaded.trained_head:  # a copy of a held-out row would flatter the probe
        notes += setup.start_head(
            model, settings.model, data.problem_type, rows.unaugmented, loaded.tokenizer, training
        )
    long_documents, attention_notes = add_attention(model, settings.long_texts, training, rows.splits)
    notes += attention_notes
    if settings.lora.use_peft:
        adapted = classifier.add_lora(model, settings.lora, full_modules=top_layers(model, freezing.reinit_layers))
        notes.append(f"LoRA: the head trains in full, at {HEAD_RATE:g} of the adapters' learning rate")
    if long_documents is not None and has_windows(rows.splits):
        read_windows(adapted, long_documents.pooling, training)
    layerwise, layer_notes = schedule_layers(adapted, freezing, training.learning_rate)
    return Started(adapted, layerwise, long_documents, [*notes, *layer_notes, parameters_note(adapted)])


def parameters_note(model: nn.Module) -> Note:
    """Number of weights that train."""
    trained, parameters = classifier.count_parameters(model)
    return Note(f"training {trained:,} of {parameters:,} parameters ({trained / parameters:.1%})", "parameters")


def _windows(
    args: LongTextArguments | None, tokenizer: PreTrainedTokenizerBase, limit: int, data: TextData
) -> Windows | None:
    """Windows for long texts, or None where they are cut.

    Raises: ConfigError for windows that hold nothing new.
    """
    if args is None or args.long_documents == "truncate":
        return None
    check_stride(tokenizer, limit, args.window_stride, pair="text_pair" in data.train.column_names)
    return Windows(args.window_stride, args.max_windows)


def schedule_layers(
    model: nn.Module, args: FreezeArguments, learning_rate: float
) -> tuple[LayerwiseSchedule | None, list[str]]:
    """Freeze what is to be frozen; how the rest is to train, and notes."""
    notes = freeze(model, args.freeze_layers)
    if args.gradual_unfreezing is None and args.layerwise_lr_decay == 1:
        return None, notes
    schedule = LayerwiseSchedule(model, args)
    return schedule, [*notes, *schedule.notes(learning_rate)]
