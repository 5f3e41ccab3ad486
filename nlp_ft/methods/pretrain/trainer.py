"""Trainer of language models.

Its losses are exact means over tokens, whatever the batches and processes.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from datasets import Dataset
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from transformers import EvalPrediction, PreTrainedTokenizerBase, TrainingArguments

from nlp_ft.config import FitArguments
from nlp_ft.methods.pretrain.masking import IGNORED, Collator, Masking
from nlp_ft.training import hyperparameters
from nlp_ft.training.run import TrainerRun, run_trainer
from nlp_ft.training.sampler import Clock
from nlp_ft.training.setup import check_measured
from nlp_ft.training.trainer import CheckedTrainer, EvaluationLines

_SMALL_MODEL = 50_000_000
_UPDATES_WANTED, _MOST_EPOCHS = 1500, 50
_METRICS = ("loss", "perplexity")


@dataclass
class Task:
    """A language model and the data and arguments to train it with.

    model: with adapters or without. masking: None for a model that predicts the next token. identity: of the run, which a
    checkpoint must share to be resumed. max_seq_length: tokens after which texts are cut.
    """

    model: nn.Module
    tokenizer: PreTrainedTokenizerBase
    masking: Masking | None
    splits: Mapping[str, Dataset]
    training: TrainingArguments
    fit: FitArguments
    identity: Mapping[str, object]
    max_seq_length: int


@contextmanager
def only_at(body: nn.Module, chosen: Tensor) -> Iterator[None]:
    """Pass only the body's vectors of the chosen tokens to the head, as a single row.

    chosen: (rows, tokens), boolean. A masked language model uses 15 % of its logits, and for a small encoder they are most of
    the work.
    """

    def select(_: nn.Module, __: object, output: Any) -> Any:
        vectors = output[0][chosen][None]
        if isinstance(output, tuple):
            return vectors, *output[1:]
        output["last_hidden_state"] = vectors
        return output

    hook = body.register_forward_hook(select)
    try:
        yield
    finally:
        hook.remove()


def token_losses(
    model: nn.Module, body: nn.Module, inputs: Mapping[str, Tensor], causal: bool, smoothing: float = 0.0
) -> tuple[Tensor, Tensor]:
    """Losses in nats and the row of each, both (tokens to predict,).

    model: it, or what wraps it; body: its base model. inputs: a batch with `labels`; causal: those of the next position.
    """
    labels = inputs["labels"]
    if causal:
        labels = torch.cat([labels[:, 1:], torch.full_like(labels[:, :1], IGNORED)], dim=1)
    chosen = labels != IGNORED
    with only_at(body, chosen):
        logits = model(**{name: value for name, value in inputs.items() if name != "labels"}).logits
    losses = cross_entropy(logits[0].float(), labels[chosen], reduction="none", label_smoothing=smoothing)
    return losses, chosen.nonzero()[:, 0]


class LanguageTrainer(CheckedTrainer):
    """CheckedTrainer whose loss is a mean over all predicted tokens of an update.

    The tokens of all processes count.
    """

    loss_is_scaled_for_ga = True
    causal: bool

    @property
    def body(self) -> nn.Module:
        """The base model without its wrappers."""
        model: Any = self.model
        plain = model.get_base_model() if hasattr(model, "get_base_model") else model
        return plain.base_model

    def _get_num_items_in_batch(self, batch_samples: list[dict[str, Tensor]], device: torch.device) -> Tensor | None:
        """Count the tokens to predict in an update, on all processes.

        The first token of a causal text has no label.
        """
        if not batch_samples:
            return None
        count: Any = sum((batch["labels"] != IGNORED).sum() for batch in batch_samples).to(device)  # type: ignore[union-attr]
        if self.args.world_size > 1:
            gathered: Any = self.accelerator.gather(count)
            count = gathered.sum()
        return count.clamp(min=1)

    def compute_loss(
        self,
        model: nn.Module,
        inputs: dict[str, Any],
        return_outputs: bool = False,
        num_items_in_batch: Tensor | int | None = None,
    ) -> Tensor:
        """The batch's share of the update's mean loss.

        DDP averages over processes where a sum is wanted, so the share is multiplied by their number.
        """
        assert num_items_in_batch is not None
        losses, _ = token_losses(model, self.body, inputs, self.causal, self.args.label_smoothing_factor)
        return losses.sum() / num_items_in_batch * self.accelerator.num_processes

    def prediction_step(
        self, model: nn.Module, inputs: dict[str, Any], *args: object, **kwargs: object
    ) -> tuple[None, Tensor, Tensor]:
        """The summed loss of each row, and its number of predicted tokens.

        Logits would fill the memory, and are not returned.
        """
        inputs = self._prepare_inputs(inputs)
        with torch.no_grad(), self.compute_loss_context_manager():
            losses, rows = token_losses(model, self.body, inputs, self.causal)
        sums = losses.new_zeros(len(inputs["labels"])).index_add(0, rows, losses)
        return None, sums, torch.bincount(rows, minlength=len(sums))


def scores(prediction: EvalPrediction) -> dict[str, float]:
    """Mean loss over tokens in nats, and its exponential.

    prediction: summed losses and numbers of tokens, both (rows,).
    """
    sums, counts = np.asarray(prediction.predictions), np.asarray(prediction.label_ids)
    loss = float(sums.astype("float64").sum() / counts.sum())
    return {"loss": loss, "perplexity": math.exp(loss)}


def choose_schedule(
    args: TrainingArguments, explicit: Collection[str] | None, rows: int, parameters: int, use_peft: bool
) -> list[str]:
    """Set in place the arguments that the user left open. Returns: notes.

    Raises: ConfigError for a --metric_for_best_model that is not measured here.
    """
    args.metric_for_best_model = check_measured(args, _METRICS, explicit)
    choices = hyperparameters.Choices(args, explicit)
    choices.batch(hyperparameters.batch_rows(rows))
    if "adam" in str(getattr(args.optim, "value", args.optim)):
        full = 1e-4 if parameters < _SMALL_MODEL else 5e-5
        choices.rate(hyperparameters.learning_rate(parameters, True) if use_peft else full)
    choices.epochs(lambda updates: min(_MOST_EPOCHS, max(1, round(_UPDATES_WANTED / updates))), rows)
    if args.load_best_model_at_end and explicit is not None:
        choices.made.append(f"best checkpoint by held-out {args.metric_for_best_model}")
    return choices.notes(parameters, rows)


def train(task: Task) -> TrainerRun:
    """Measure, train and measure again, as `run_trainer`.

    Its metrics are train_*, eval_* and, of the checkpoint before training, eval_loss_before and eval_perplexity_before.
    """
    trainer = _trainer(task)
    trained = run_trainer(trainer, task.identity, task.fit, evaluate_first=True)
    first = next(entry for entry in trained.log_history if "eval_loss" in entry)
    trained.metrics |= {f"eval_{name}_before": first[f"eval_{name}"] for name in _METRICS}
    validation: Any = task.splits["validation"]
    trained.metrics |= trainer.predict(validation, metric_key_prefix="eval").metrics or {}
    return trained


def _trainer(task: Task) -> LanguageTrainer:
    args, clock = task.training, Clock()
    args.remove_unused_columns = False  # the collator reads `place` and `words`
    multiple = 8 if args.bf16 or args.fp16 else 1
    trainer = LanguageTrainer(
        model=task.model,
        args=args,
        train_dataset=task.splits["train"],  # type: ignore[arg-type]
        eval_dataset=task.splits["validation"],  # type: ignore[arg-type]
        processing_class=task.tokenizer,
        data_collator=Collator(task.tokenizer.pad_token_id, task.masking, args.seed, clock, multiple),  # type: ignore[arg-type]
        compute_metrics=scores,
        clock=clock,
        callbacks=[EvaluationLines("perplexity")],
    )
    trainer.causal = task.masking is None
    return trainer
