"""From arguments to a job that is ready to be trained: what every method that fits a classifier has in common."""

from __future__ import annotations

import copy
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from transformers import TrainingArguments, set_seed

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
from nlp_ft.evaluation.probabilities import MULTI
from nlp_ft.models import classifier
from nlp_ft.models.layers import Plan, freeze, reinitialise, top_layers
from nlp_ft.training import hyperparameters, losses, setup
from nlp_ft.training.augmentation.augment import augment_train
from nlp_ft.training.augmentation.mixup import MixupLoss, check_batch
from nlp_ft.training.cross_validation import cross_validate
from nlp_ft.training.fit import Job, asked
from nlp_ft.training.long_texts import add_attention, has_windows, read_windows
from nlp_ft.training.run_report import RunReport, settings_of
from nlp_ft.training.trainer import HEAD_RATE
from nlp_ft.utils import log

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


@dataclass(frozen=True)
class Settings:
    """Everything a run was asked, by group.

    `own`: the method's own arguments, or None. `long_texts`: None for a method that cannot read windows. `given`: the names
    the user set, from which follows what is chosen for him; None: the arguments hold as they are.
    """

    method: str
    model: ModelArguments
    training: TrainingArguments
    data: DataArguments = field(default_factory=DataArguments)
    long_texts: LongTextArguments | None = None
    augment: AugmentArguments = field(default_factory=AugmentArguments)
    lora: LoraArguments = field(default_factory=LoraArguments)
    freeze: FreezeArguments = field(default_factory=FreezeArguments)
    fit: FitArguments = field(default_factory=FitArguments)
    hub: HubArguments = field(default_factory=HubArguments)
    own: Any = None
    given: Collection[str] | None = None

    @classmethod
    def of(cls, method: str, arguments: Sequence[Any]) -> Settings:
        """From what `flags.parse(*ARGUMENTS)` returned: instances in any order, and the names the user gave.

        A group that is not among them has its defaults; the one that is not a common group is the method's own.
        Raises: ConfigError for --push_to_hub where the method does not end in one classifier.
        """
        held: dict[str, Any] = {}
        for argument in arguments:
            names = [name for name, group in _GROUPS.items() if isinstance(argument, group)]
            is_given = argument is None or isinstance(argument, Collection)
            held[names[0] if names else "given" if is_given else "own"] = argument
        if held["training"].push_to_hub and "hub" not in held:
            raise ConfigError(
                f"--push_to_hub: {method} does not end in one classifier; fine-tune from what it leaves and push that, or push "
                "one of its directories by nlp-ft push."
            )
        return cls(method=method, **held)

    def to_dict(self, training: TrainingArguments) -> dict[str, Any]:
        """For run.json: every resolved argument by group; training: the arguments as they came to be."""
        groups = {
            name: getattr(self, name) for name in _GROUPS if name != "training" and getattr(self, name) is not None
        }
        own = {} if self.own is None else {self.method: self.own}
        return {
            "method": {"name": self.method},
            **settings_of(**groups, **own, training=training),
            "processes": training.world_size,
        }


def read(settings: Settings, frames: Mapping[str, Any] | None = None) -> TextData:
    """The rows in three splits, everything decided and the data check said; the output directory is checked before.

    frames: a data frame for train, validation or test, in place of its file.
    Raises: ConfigError, DataError.
    """
    setup.prepare(settings.training, settings.given)
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
    """fit_one(data, settings, scores), after one fit a fold where --num_folds asks for it.

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
            asked(settings.to_dict(settings.training), settings.given),
        )
        setup.start_afresh(settings.training)
    return fit_one(data, settings, scores)


def make_job(data: TextData, settings: Settings, *, silent: bool = False) -> Job:
    """A classifier that is ready to be trained on this data, and everything that goes with it; says what was decided.

    brief: one of several fits of a run, which says nothing. The arguments given are not changed: the job has its own copy.
    """
    training = copy.copy(settings.training)
    set_seed(training.seed)  # a control, a fold and a run that is resumed start as the run itself would
    tokenizer = classifier.load_tokenizer(settings.model)
    model, notes, trained_head = classifier.load_classifier(settings.model, tokenizer, data.problem_type, data.labels)
    limit = classifier.token_limit(model, tokenizer, settings.data.max_seq_length)
    others, device = (data.validation, data.test), training.device
    grown, added = augment_train(data.train, settings.augment, training.seed, others=others, device=device)
    workers = settings.data.preprocessing_num_workers
    splits, cut = setup.tokenize_splits(
        replace(data, train=grown),
        tokenizer,
        limit,
        workers,
        windows=_windows(settings.long_texts, tokenizer, limit, data),
        hint=_HINT if settings.long_texts is not None else "",
    )
    loss = _loss(data, settings)
    use_peft = settings.lora.use_peft
    _, parameters = classifier.trainable_share(model)
    notes += hyperparameters.settle(training, settings.given, len(grown), parameters, use_peft, data.problem_type)
    setup.check_metric_name(training, data.problem_type)
    if settings.augment.mixes:
        check_batch(training.per_device_train_batch_size)
    notes += reinitialise(model, settings.freeze.reinit_layers)
    if not trained_head:
        original = splits["train"].select(range(len(data.train)))  # a copy of a held-out row would flatter the probe
        notes += setup.start_head(model, settings.model, data.problem_type, original, tokenizer, training)
    long_documents, said = add_attention(model, settings.long_texts, training, splits)
    notes += said
    if use_peft:
        model = classifier.add_lora(model, settings.lora, whole=top_layers(model, settings.freeze.reinit_layers))
        notes.append(f"LoRA: the head trains in full, at {HEAD_RATE:g} of the adapters' learning rate")
    if long_documents is not None and has_windows(splits):
        read_windows(model, long_documents.pooling, training)
    plan, said = _plan(model, settings.freeze, training.learning_rate)
    trained, parameters = classifier.trainable_share(model)
    notes += [*said, f"training {trained:,} of {parameters:,} parameters ({trained / parameters:.1%})"]
    for note in () if silent else (*added, *cut, *notes):
        log(note)
    return Job(
        model=model,
        tokenizer=tokenizer,
        data=data,
        splits=splits,
        max_seq_length=limit,
        loss=loss,
        training=training,
        fit=settings.fit,
        settings=settings.to_dict(training),
        given=settings.given or (),
        save_adapter_only=settings.lora.save_adapter_only,
        notes=[*data.notes, *added, *cut, *notes],
        silent=silent,
        plan=plan,
        long_documents=long_documents,
    )


def _windows(args: LongTextArguments | None, tokenizer: Any, limit: int, data: TextData) -> Windows | None:
    """How to read long texts in place of cutting them, or None. Raises: ConfigError for windows that hold nothing new."""
    if args is None or args.long_documents == "truncate":
        return None
    pair = "text_pair" in data.train.column_names
    if limit <= tokenizer.num_special_tokens_to_add(pair=pair):
        raise ConfigError(f"--max_seq_length {limit}: special tokens alone fill such a window.")
    check_stride(tokenizer, limit, args.window_stride, pair=pair)
    return Windows(args.window_stride, args.max_windows)


def _loss(data: TextData, settings: Settings) -> losses.ClassifierLoss:
    if settings.fit.threshold_metric is not None and data.problem_type != MULTI:
        raise ConfigError(
            f"--threshold_metric: only multi-label problems have thresholds; this is a {data.problem_type}."
        )
    weights = losses.class_weights(
        settings.fit.class_weights, data.problem_type, data.labels, setup.label_counts(data), len(data.train)
    )
    kinds = (data.problem_type, weights, settings.training.label_smoothing_factor)
    if settings.augment.mixes:
        return MixupLoss(*kinds, alpha=settings.augment.mixup_alpha)
    return losses.ClassifierLoss(*kinds)


def _plan(model: Any, args: FreezeArguments, learning_rate: float) -> tuple[Plan | None, list[str]]:
    """Freeze what is to be frozen; how the rest is to train, and what to say of it."""
    said = freeze(model, args.freeze_layers)
    if args.gradual_unfreezing is None and args.layerwise_lr_decay == 1:
        return None, said
    plan = Plan(model, args)
    return plan, [*said, *plan.notes(learning_rate)]


def control_settings(settings: Settings, **groups: Any) -> Settings:
    """The same settings but for some groups: what a control is made of. Raises: ConfigError if nothing differs."""
    changed = replace(settings, **groups)
    if changed == settings:
        raise ConfigError("--with_control: this run is its own control; nothing that could be measured was asked for.")
    return changed
