"""Fine-tune a checkpoint on labelled texts, in full or with LoRA."""

from __future__ import annotations

from collections.abc import Collection
from typing import TYPE_CHECKING

from nlp_ft.config import DataArguments, FitArguments, LoraArguments, ModelArguments

if TYPE_CHECKING:
    from transformers import TrainingArguments

    from nlp_ft.report import RunReport

ARGUMENTS = (ModelArguments, DataArguments, LoraArguments, FitArguments)


def run(
    model_args: ModelArguments,
    data_args: DataArguments,
    lora_args: LoraArguments,
    fit_args: FitArguments,
    training_args: TrainingArguments,
    given: Collection[str] | None = None,
) -> RunReport:
    """Data, checkpoint, head start, LoRA, training, report.

    given: the names the user set; learning rate, epochs and batch size follow from model and data where they are not among
    them. None: training_args holds for everything.
    """
    from nlp_ft import losses, models, preparing, recipe, training
    from nlp_ft.data import load_data
    from nlp_ft.report import say, settings_of

    preparing.prepare(training_args, given)
    data = load_data(data_args, seed=training_args.seed)
    for note in data.notes:
        say(note)
    tokenizer = models.load_tokenizer(model_args)
    model, notes, trained_head = models.load_classifier(model_args, tokenizer, data.problem_type, data.labels)
    limit = models.token_limit(model, tokenizer, data_args.max_seq_length)
    splits, cut = preparing.tokenize_splits(data, tokenizer, limit, data_args.preprocessing_num_workers)
    weights = losses.class_weights(
        fit_args.class_weights, data.problem_type, data.labels, preparing.label_counts(data), len(data.train)
    )
    loss = losses.ClassifierLoss(data.problem_type, weights, training_args.label_smoothing_factor)
    _, parameters = models.trainable_share(model)
    notes += recipe.settle(training_args, given, len(data.train), parameters, lora_args.use_peft, data.problem_type)
    preparing.check_metric_name(training_args, data.problem_type)
    if not trained_head:
        notes += preparing.start_head(model, model_args, data.problem_type, splits["train"], tokenizer, training_args)
    if lora_args.use_peft:
        model = models.add_lora(model, lora_args)
        notes.append(f"LoRA: the head trains in full, at {training.HEAD_RATE:g} of the adapters' learning rate")
    trained, parameters = models.trainable_share(model)
    notes.append(f"training {trained:,} of {parameters:,} parameters ({trained / parameters:.1%})")
    for note in (*cut, *notes):
        say(note)
    return training.fit(
        training.Job(
            model=model,
            tokenizer=tokenizer,
            data=data,
            splits=splits,
            max_seq_length=limit,
            loss=loss,
            training=training_args,
            fit=fit_args,
            settings={
                **settings_of(model=model_args, data=data_args, lora=lora_args, fit=fit_args, training=training_args),
                "processes": training_args.world_size,
            },
            given=given or (),
            save_adapter_only=lora_args.save_adapter_only,
            notes=[*data.notes, *cut, *notes],
        )
    )
