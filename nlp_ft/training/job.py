"""Arguments in, a job that is ready to be trained out.

What every method that fits a classifier has in common.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Generic, NamedTuple, TypeVar

from datasets import Dataset
from torch import nn
from transformers import PreTrainedModel, PreTrainedTokenizerBase, TrainingArguments, set_seed

from nlp_ft.config import (
    DataArguments,
    FitArguments,
    FreezeArguments,
    HubArguments,
    LongTextArguments,
    LoraArguments,
    ModelArguments,
)
from nlp_ft.config.augmentation import AugmentArguments
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
from nlp_ft.training.run_report import RunReport, settings_of
from nlp_ft.training.trainer import HEAD_RATE
from nlp_ft.utils import Note, log

_GROUPS = {
    "model": ModelArguments,
    "data": DataArguments,
    "long_texts": LongTextArguments,
    "augment": AugmentArguments,
    "lora": LoraArguments,
    "freeze": FreezeArguments,
    "fit": FitArguments,
    "hub": HubArguments,
    "training": TrainingArguments,
}

_HINT = " (--long_documents window reads such texts whole)"


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

        arguments: instances in any order, and the names the user set.


        A group that is not among them has its defaults. kind: the type of the method's own arguments; NoneType for a method
        that has none. Raises: ConfigError for --push_to_hub where the method does not end in one classifier.
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


def read(settings: Settings, frames: Mapping[str, Any] | None = None) -> TextData:
    """Read the rows in three splits, and log the decisions and the data check.

    The output directory is claimed before.


    frames: a data frame for train, validation or test, in place of its file.
    Raises: ConfigError, DataError.
    """
    run.claim_directory(settings.training, settings.explicit)
    data = load_data(settings.data, seed=settings.training.seed, frames=frames)
    for note in data.notes:
        log(note)
    summary = run_checks.summary(data)
    log(summary)
    data.notes.append(summary)
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
    for note in () if silent else notes:
        log(note)
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
    limit = classifier.token_limit(model, tokenizer, settings.data.max_seq_length)
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


def make_loss(data: TextData, settings: Settings) -> losses.ClassifierLoss:
    """Build the loss, with class weights, smoothing and mixup as asked for.

    Raises: ConfigError.
    """
    check_thresholds(data, settings.fit)
    weights = losses.class_weights(
        settings.fit.class_weights, data.problem_type, data.labels, setup.label_counts(data), len(data.train)
    )
    kinds = (data.problem_type, weights, settings.training.label_smoothing_factor)
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
    setup.check_metric_name(training, data.problem_type)
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
    """How many weights train."""
    trained, parameters = classifier.count_parameters(model)
    return Note(f"training {trained:,} of {parameters:,} parameters ({trained / parameters:.1%})", "parameters")


def _windows(args: LongTextArguments | None, tokenizer: Any, limit: int, data: TextData) -> Windows | None:
    """Windows for long texts, or None where they are cut.

    Raises: ConfigError for windows that hold nothing new.
    """
    if args is None or args.long_documents == "truncate":
        return None
    pair = "text_pair" in data.train.column_names
    if limit <= tokenizer.num_special_tokens_to_add(pair=pair):
        raise ConfigError(f"--max_seq_length {limit}: special tokens alone fill such a window.")
    check_stride(tokenizer, limit, args.window_stride, pair=pair)
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


def control_settings(settings: Settings, **groups: Any) -> Settings:
    """Settings of a control: the same but for some groups.

    Raises: ConfigError if nothing differs.
    """
    changed = replace(settings, **groups)
    if changed == settings:
        raise ConfigError("--with_control: this run is its own control; nothing that could be measured was asked for.")
    return changed
