"""Load, train and save the encoder of meta-learning."""

from __future__ import annotations

import copy
import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import NamedTuple

from torch import nn
from transformers import (
    PreTrainedModel,
    PreTrainedTokenizerBase,
    TrainerCallback,
    TrainerControl,
    TrainerState,
    TrainingArguments,
    set_seed,
)

from nlp_ft.errors import TrainingError
from nlp_ft.methods.meta.arguments import MetaArguments
from nlp_ft.methods.meta.episodes import META_TEST, META_TRAIN, EpisodeDataset, Tasks, as_batch, fingerprint
from nlp_ft.models import classifier
from nlp_ft.models.checkpoint import open_classifier
from nlp_ft.models.compare import compute_logits
from nlp_ft.models.heads import final_linear
from nlp_ft.models.layers import freeze
from nlp_ft.models.lora import merged
from nlp_ft.models.tokenizer import save_tokenizer
from nlp_ft.training import hyperparameters
from nlp_ft.training.job import parameters_note
from nlp_ft.training.run import TrainerRun, identity, rows_per_update, run_trainer
from nlp_ft.training.save import save_verified
from nlp_ft.training.settings import Settings
from nlp_ft.training.setup import start_pooling
from nlp_ft.training.trainer import CheckedTrainer
from nlp_ft.utils import log, without_topic

_KIND = "single_label_classification"
_LABELS = ["LABEL_0", "LABEL_1"]  # as transformers has them where nobody named any
UPDATES, EPISODES = 100, 4  # defaults: outer steps, and episodes in each


class Start(NamedTuple):
    """An encoder that returns features as logits, with its tokenizer.

    width: of the features. limit: of tokens. notes: to log.
    """

    encoder: nn.Module
    width: int
    tokenizer: PreTrainedTokenizerBase
    limit: int
    notes: list[str]


def make_encoder(settings: Settings[MetaArguments], tasks: Tasks) -> Start:
    """Load the checkpoint as a classifier whose last layer is the identity.

    Layers are frozen and adapters added by the settings. The result is the same for the same seed, so that a control starts
    from the same weights.
    """
    set_seed(settings.training.seed)
    args = settings.model
    if settings.method_arguments.algorithm == "maml":
        args = replace(args, attn_implementation="eager")
    tokenizer = classifier.load_tokenizer(args)
    model, notes, _ = classifier.load_classifier(args, tokenizer, _KIND, _LABELS)
    notes = without_topic(notes, "head")  # there is none
    pooling_note = start_pooling(model, args)
    pair = any("text_pair" in pool.rows.column_names for pool in (*tasks.train, *tasks.test))
    limit = classifier.token_limit(model, tokenizer, settings.data.max_seq_length, pair=pair)
    width = without_last_layer(model)
    encoder: nn.Module = classifier.add_lora(model, settings.lora) if settings.lora.use_peft else model
    freeze_notes = freeze(encoder, settings.freeze.freeze_layers)
    return Start(encoder, width, tokenizer, limit, [*notes, pooling_note, *freeze_notes, parameters_note(encoder)])


def without_last_layer(model: PreTrainedModel) -> int:
    """Replace the last layer by the identity, in place. Returns: its input width."""
    name, linear = final_linear(model)
    model.set_submodule(name, nn.Identity())
    return linear.in_features


def choose_schedule(settings: Settings[MetaArguments], encoder: nn.Module) -> tuple[TrainingArguments, list[str]]:
    """Copy the training arguments and adapt them to episodes. Returns: it, and notes."""
    args, explicit = copy.copy(settings.training), settings.explicit
    choices = hyperparameters.Choices(args, explicit)
    choices.batch(EPISODES, "episodes")
    choices.rate(hyperparameters.learning_rate(classifier.count_parameters(encoder)[1], settings.lora.use_peft))
    if args.max_steps <= 0:
        args.max_steps = UPDATES
        choices.made.append(f"{UPDATES} updates")
    if explicit is None or "save_steps" not in explicit:
        args.save_steps = math.ceil(args.max_steps / 5)
    args.load_best_model_at_end = False
    notes = [f"chosen: {', '.join(choices.made)}"] if choices.made else []
    if explicit and "eval_strategy" in explicit and args.eval_strategy != "no":
        notes.append("--eval_strategy does nothing here: the test is made before training and after it")
    args.eval_strategy = "no"
    if args.save_strategy == "epoch":
        args.save_strategy = "steps"
    args.train_sampling_strategy = "sequential"  # the episodes are random already
    args.remove_unused_columns = False
    return args, notes


def episodes(
    tasks: Tasks, start: Start, settings: Settings[MetaArguments], args: TrainingArguments
) -> tuple[EpisodeDataset, EpisodeDataset]:
    """Episodes to learn from, as many as the updates take, and those of the test."""
    arguments = settings.method_arguments
    make = partial(
        EpisodeDataset,
        tokenizer=start.tokenizer,
        max_length=start.limit,
        sizes=(arguments.ways, arguments.shots, arguments.query),
        seed=args.seed,
        workers=settings.data.preprocessing_num_workers,
    )
    learning = make(tasks.train, stream=META_TRAIN, length=args.max_steps * rows_per_update(args))
    return learning, make(tasks.test, stream=META_TEST, length=arguments.test_episodes)


def episode_identity(settings: Settings[MetaArguments], args: TrainingArguments, tasks: Tasks) -> dict[str, object]:
    """Identity of the run; it counts episodes, not rows."""
    return identity(
        settings.to_dict(args),
        args,
        data=[pool["sha256"] for pool in fingerprint(tasks.train)],
        max_seq_length=settings.data.max_seq_length,
        groups=("freeze",),
        ignored=("test_episodes",),
        episodes_per_update=rows_per_update(args),
    )


class UpdateLines(TrainerCallback):
    """Log the progress and the loss at every logging step."""

    def on_log(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        logs: dict[str, float] | None = None,
        **kwargs: object,
    ) -> None:
        """Log a line."""
        if logs and "loss" in logs:
            log(f"  update {state.global_step} of {state.max_steps}: loss {logs['loss']:.4f}")


def train(
    learner: nn.Module, episodes: EpisodeDataset, args: TrainingArguments, identity: Mapping[str, object]
) -> TrainerRun:
    """Train in place on the episodes in their order, as `run_trainer`."""
    trainer = CheckedTrainer(
        model=learner,
        args=args,
        train_dataset=episodes,
        data_collator=as_batch,  # type: ignore[arg-type]
        callbacks=[UpdateLines()],
    )
    return run_trainer(trainer, identity)


def save_body(start: Start, directory: Path, texts: Sequence[str]) -> None:
    """Save encoder and tokenizer as a checkpoint without a last layer.

    A fresh load must repeat its features. Adapters are merged (the encoder itself is, by this). Where layers with weights
    stand between the body and the last layer, as in RoBERTa, they are saved with it: they were trained to be adapted, too.
    The pooling is saved in config.json.

    Raises: TrainingError if a weight is not finite, anything but the last layer is missing on reload, or the features differ
    by more than rounding.
    """

    def write(stage: Path) -> None:
        model = merged(start.encoder)
        outside = [name for name, _ in model.named_parameters() if not name.startswith(f"{model.base_model_prefix}.")]
        (model if outside else model.base_model).save_pretrained(stage)  # type: ignore[operator]
        save_tokenizer(start.tokenizer, stage, start.limit)

    save_verified(
        directory,
        start.encoder,
        start.tokenizer,
        write=write,
        load=_load_encoder,
        outputs=lambda module, tokenizer: compute_logits(module, tokenizer, list(texts), None, start.limit),
        compared="encoder's features",
    )


def _load_encoder(directory: Path) -> nn.Module:
    model, info = open_classifier(str(directory))
    name, _ = final_linear(model)
    if missing := [key for key in info["missing_keys"] if not key.startswith(f"{name}.")]:
        raise TrainingError(f"{directory}: the saved encoder lacks {missing[0]}; do not use it, and report this.")
    without_last_layer(model)
    return model
