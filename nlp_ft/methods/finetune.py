"""Fine-tune a checkpoint on labelled texts, in full or with LoRA."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from nlp_ft.augment.arguments import AugmentArguments
from nlp_ft.config import DataArguments, FitArguments, LoraArguments, ModelArguments

if TYPE_CHECKING:
    from transformers import TrainingArguments

    from nlp_ft.data import TextData
    from nlp_ft.report import RunReport
    from nlp_ft.training import Job

ARGUMENTS = (ModelArguments, DataArguments, AugmentArguments, LoraArguments, FitArguments)


def run(
    model_args: ModelArguments,
    data_args: DataArguments,
    augment_args: AugmentArguments,
    lora_args: LoraArguments,
    fit_args: FitArguments,
    training_args: TrainingArguments,
    given: Collection[str] | None = None,
    frames: Mapping[str, Any] | None = None,
) -> RunReport:
    """Data and its check, cross-validation where it is asked for, checkpoint, head start, LoRA, training, report.

    given: the names the user set; learning rate, epochs and batch size follow from model and data where they are not among
    them. None: training_args holds for everything. frames: a data frame for train, validation or test, in place of its file.
    """
    from nlp_ft import preparing, training
    from nlp_ft.checks import doctor
    from nlp_ft.crossval import cross_validate
    from nlp_ft.data import load_data
    from nlp_ft.report import say

    preparing.prepare(training_args, given)
    data = load_data(data_args, seed=training_args.seed, frames=frames)
    for note in data.notes:
        say(note)
    say(doctor.summary(data))

    def fit_one(part: TextData, args: TrainingArguments, scores: Mapping[str, float] | None = None) -> RunReport:
        settings = (model_args, data_args, augment_args, lora_args, fit_args, args)
        return training.fit(_job(part, *settings, given, brief=scores is None), scores)

    scores = {}
    if data_args.num_folds is not None:
        scores = cross_validate(data, data_args.num_folds, data_args.validation_split_size, training_args, fit_one)
        preparing.start_afresh(training_args)
    return fit_one(data, training_args, scores)


def _job(
    data: TextData,
    model_args: ModelArguments,
    data_args: DataArguments,
    augment_args: AugmentArguments,
    lora_args: LoraArguments,
    fit_args: FitArguments,
    training_args: TrainingArguments,
    given: Collection[str] | None,
    *,
    brief: bool,
) -> Job:
    """A model that is ready to be trained on this data, and everything that goes with it."""
    from nlp_ft import losses, models, preparing, recipe, training
    from nlp_ft.augment.mixup import MixupLoss, check_batch
    from nlp_ft.augment.plan import augment_train
    from nlp_ft.report import say, settings_of

    tokenizer = models.load_tokenizer(model_args)
    model, notes, trained_head = models.load_classifier(model_args, tokenizer, data.problem_type, data.labels)
    limit = models.token_limit(model, tokenizer, data_args.max_seq_length)
    others, device = (data.validation, data.test), training_args.device
    grown, added = augment_train(data.train, augment_args, training_args.seed, others=others, device=device)
    splits, cut = preparing.tokenize_splits(
        replace(data, train=grown), tokenizer, limit, data_args.preprocessing_num_workers
    )
    weights = losses.class_weights(
        fit_args.class_weights, data.problem_type, data.labels, preparing.label_counts(data), len(data.train)
    )
    kinds = (data.problem_type, weights, training_args.label_smoothing_factor)
    mixed = augment_args.mixes
    loss = MixupLoss(*kinds, alpha=augment_args.mixup_alpha) if mixed else losses.ClassifierLoss(*kinds)
    _, parameters = models.trainable_share(model)
    notes += recipe.settle(training_args, given, len(grown), parameters, lora_args.use_peft, data.problem_type)
    preparing.check_metric_name(training_args, data.problem_type)
    if mixed:
        check_batch(training_args.per_device_train_batch_size)
    if not trained_head:
        original = splits["train"].select(range(len(data.train)))  # a copy of a held-out row would flatter the probe
        notes += preparing.start_head(model, model_args, data.problem_type, original, tokenizer, training_args)
    if lora_args.use_peft:
        model = models.add_lora(model, lora_args)
        notes.append(f"LoRA: the head trains in full, at {training.HEAD_RATE:g} of the adapters' learning rate")
    trained, parameters = models.trainable_share(model)
    notes.append(f"training {trained:,} of {parameters:,} parameters ({trained / parameters:.1%})")
    for note in () if brief else (*added, *cut, *notes):
        say(note)
    return training.Job(
        model=model,
        tokenizer=tokenizer,
        data=data,
        splits=splits,
        max_seq_length=limit,
        loss=loss,
        training=training_args,
        fit=fit_args,
        settings={
            **settings_of(
                model=model_args,
                data=data_args,
                augment=augment_args,
                lora=lora_args,
                fit=fit_args,
                training=training_args,
            ),
            "processes": training_args.world_size,
        },
        given=given or (),
        save_adapter_only=lora_args.save_adapter_only,
        notes=[*data.notes, *added, *cut, *notes],
        brief=brief,
    )
