"""Trainer with guards, deterministic order of rows, and plain progress lines."""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import torch
from datasets import Dataset
from torch.utils.data import Sampler
from transformers import (
    EarlyStoppingCallback,
    PrinterCallback,
    ProgressCallback,
    Trainer,
    TrainerCallback,
    TrainerControl,
    TrainerState,
    TrainingArguments,
)

from nlp_ft.config import FitArguments
from nlp_ft.errors import TrainingError
from nlp_ft.models.checkpoint import quiet
from nlp_ft.models.layers import LayerwiseSchedule
from nlp_ft.training.sampler import Clock, LengthGroups
from nlp_ft.utils import log

HEAD_RATE = 0.1  # of the adapters' learning rate


class CheckedTrainer(Trainer):
    """Trainer that refuses numbers that are not finite.

    It gives each layer its learning rate.


    Its rows come in an order that follows from seed and epoch; clock: the epoch, for others that draw by it.
    """

    layerwise: LayerwiseSchedule | None = None

    def __init__(self, *args: Any, clock: Clock | None = None, **kwargs: Any) -> None:
        self.clock = clock or Clock()
        super().__init__(*args, **kwargs)
        self.add_callback(self.clock)

    def _get_train_sampler(self, train_dataset: torch.utils.data.Dataset[object] | None = None) -> Sampler[int] | None:
        args, rows = self.args, self.train_dataset
        if args.train_sampling_strategy != "group_by_length" or not isinstance(rows, Dataset):
            return super()._get_train_sampler(train_dataset)
        per_update = args.train_batch_size * args.gradient_accumulation_steps * args.world_size
        seed = args.seed if args.data_seed is None else args.data_seed
        return LengthGroups(rows["length"][:], per_update, seed, self.clock)

    def init_hf_repo(self, token: str | None = None, private: bool | None = None) -> None:
        """Do nothing: a run pushes once, at its end, and never Trainer's own files."""

    def _push_from_checkpoint(self, checkpoint_folder: str) -> None:
        """Do nothing: checkpoints are not pushed."""

    def create_optimizer(self, model: torch.nn.Module | None = None) -> torch.optim.Optimizer:
        """Give each parameter its share of the learning rate.

        It depends on the layer, and with adapters on the kind.


        With adapters the head, which trains in full, goes at a share of their rate: they want about ten times the rate of full
        fine-tuning (see recipe.py), at which a dense layer of the head forgets what it held. On the movies, one epoch at the
        adapters' rate ended below the probe that it had started from.
        """
        optimizer = super().create_optimizer(model)
        adapters = {id(p) for name, p in self.model.named_parameters() if "lora_" in name}  # type: ignore[union-attr]

        def share(parameter: torch.nn.Parameter) -> float:
            rate = HEAD_RATE if adapters and id(parameter) not in adapters else 1.0
            return rate if self.layerwise is None else rate * self.layerwise.lr_factor(parameter)

        for group in list(optimizer.param_groups):
            by_share: dict[float, list[torch.nn.Parameter]] = {}
            for parameter in group["params"]:
                by_share.setdefault(share(parameter), []).append(parameter)
            (first, parameters), *others = by_share.items() or [(1.0, [])]
            rate = group["lr"]
            group["params"], group["lr"] = parameters, rate * first
            for more, parameters in others:
                optimizer.add_param_group({**group, "params": parameters, "lr": rate * more})
        return optimizer

    def training_step(
        self,
        model: torch.nn.Module,
        inputs: dict[str, torch.Tensor | Any],
        num_items_in_batch: torch.Tensor | int | None = None,
    ) -> torch.Tensor:
        """Refuse a loss that is not finite.

        Trainer would log it as 0 and save what it leads to.


        Layers that wait for gradual unfreezing lose their gradients here: they then neither move, nor decay, nor count in the
        clipping, and no process is left without a gradient to share.
        """
        loss = super().training_step(model, inputs, num_items_in_batch)
        if self.layerwise is not None:
            parameters = self.model.parameters()  # type: ignore[union-attr]
            for parameter in self.layerwise.frozen_at(parameters, self.state.global_step / self.state.max_steps):
                parameter.grad = None
        if not torch.isfinite(loss):
            raise TrainingError(
                f"the loss is {loss.item()} at step {self.state.global_step + 1}; nothing of it was saved. Lower "
                "--learning_rate, or train in float32 (no --fp16); earlier checkpoints are untouched."
            )
        return loss

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        """Refuse a gradient norm that is not finite, then log."""
        norm = logs.get("grad_norm")
        if norm is not None and not math.isfinite(norm) and not self.args.fp16:  # fp16 skips such steps itself
            raise TrainingError(
                f"the gradient norm is {norm} at step {self.state.global_step}; lower --learning_rate or --max_grad_norm."
            )
        super().log(logs, start_time)

    def save_model(self, output_dir: str | None = None, _internal_call: bool = False) -> None:
        """Save finite weights only; a gradient can spoil them in the saved step."""
        for name, parameter in self.model.named_parameters():  # type: ignore[union-attr]
            if parameter.requires_grad and not torch.isfinite(parameter).all():
                raise TrainingError(
                    f"{name} is not finite after step {self.state.global_step}, and was not saved. Lower --learning_rate, "
                    "or train in float32 (no --fp16); earlier checkpoints are untouched."
                )
        with quiet(), warnings.catch_warnings():
            # peft's doubts on a grown embedding, and on a base without config.json (GGUF): both are saved rightly
            warnings.filterwarnings("ignore", message=".*(embedding layer|config file).*")
            super().save_model(output_dir, _internal_call)

    def _save(self, output_dir: str | None = None, state_dict: dict[str, Any] | None = None) -> None:
        """Save a weight that modules share once, under its first name.

        Transformers does so for its own models alone; loading it fills all of its names.
        """
        model = self.accelerator.unwrap_model(self.model, keep_torch_compile=False)  # type: ignore[arg-type]
        if state_dict is None and not hasattr(model, "save_pretrained"):
            first = _first_names(model)
            state_dict = {name: tensor for name, tensor in model.state_dict().items() if name in first}
        super()._save(output_dir, state_dict)

    def _issue_warnings_after_load(self, load_result: Any) -> None:
        """Say nothing of the further names of shared weights, which `_save` left out."""
        first = _first_names(self.model)  # type: ignore[arg-type]
        missing = [name for name in load_result.missing_keys if name in first]
        if missing or load_result.unexpected_keys:
            super()._issue_warnings_after_load(type(load_result)(missing, load_result.unexpected_keys))


def _first_names(model: torch.nn.Module) -> set[str]:
    """Names of parameters and buffers, one for each, however many modules share it."""
    return {name for name, _ in (*model.named_parameters(), *model.named_buffers())}


class ClassifierTrainer(CheckedTrainer):
    """Trainer of classifiers: loss divided by rows, predictions in row order."""

    columns: Sequence[str] = ()

    def _set_signature_columns_if_needed(self) -> None:
        """Keep the columns that compute_loss takes, besides those of the model's forward."""
        super()._set_signature_columns_if_needed()
        self._signature_columns = [*dict.fromkeys([*(self._signature_columns or []), *self.columns])]

    def get_batch_samples(
        self, epoch_iterator: Iterator[Any], num_batches: int, device: torch.device
    ) -> tuple[list[Any], torch.Tensor | int | None]:
        """Count rows, over which our loss is a sum.

        Trainer counts label cells other than -100: a regression target of -100.0 would not count, and a multi-label row would
        count once a label.
        """
        batches, counted = super().get_batch_samples(epoch_iterator, num_batches, device)
        if counted is None:
            return batches, counted
        rows = torch.tensor(sum(len(batch["labels"]) for batch in batches), device=device)
        if self.args.average_tokens_across_devices and self.args.world_size > 1:
            rows = torch.as_tensor(self.accelerator.gather(rows)).sum()
        return batches, rows / (self.get_tp_size() * self.get_cp_size() * self.get_sp_size())

    def prediction_step(
        self,
        model: torch.nn.Module,
        inputs: dict[str, torch.Tensor | Any],
        prediction_loss_only: bool,
        ignore_keys: list[str] | None = None,
    ) -> tuple[torch.Tensor | None, torch.Tensor | None, torch.Tensor | None]:
        """Return the logits alone: encoder-decoders give hidden states beside them."""
        loss, logits, labels = super().prediction_step(model, inputs, prediction_loss_only, ignore_keys)
        return loss, logits[0] if isinstance(logits, tuple) else logits, labels

    def predict_in_order(self, dataset: Dataset, prefix: str) -> tuple[np.ndarray, dict[str, float]]:
        """Logits (rows, classes) in the order of the dataset, and its metrics.

        With group_by_length Trainer shuffles what it predicts, too, and returns it so. Here rows are sorted by length, which
        wastes least on padding, read in that order, and put back.
        """
        order = np.argsort(dataset["length"][:], kind="stable")[::-1]
        strategy, self.args.train_sampling_strategy = self.args.train_sampling_strategy, "sequential"
        try:
            output = self.predict(dataset.select(order), metric_key_prefix=prefix)  # type: ignore[arg-type]
        finally:
            self.args.train_sampling_strategy = strategy
        logits = np.empty_like(output.predictions, dtype=np.float32)
        logits[order] = output.predictions
        return logits, dict(output.metrics or {})


class BarOnly(ProgressCallback):
    """Trainer's progress bar without the dictionaries it prints into it."""

    def on_log(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        logs: dict[str, float] | None = None,
        **kwargs: object,
    ) -> None:
        """Print nothing."""


class EvaluationLines(TrainerCallback):
    """Log a line for each evaluation: step, losses, and the selection metric."""

    def __init__(self, metric: str) -> None:
        self.metric = metric
        self.losses: list[float] = []

    def on_log(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        logs: dict[str, float] | None = None,
        **kwargs: object,
    ) -> None:
        """Collect the training losses in between."""
        if logs and "loss" in logs:
            self.losses.append(logs["loss"])

    def on_evaluate(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        metrics: dict[str, float] | None = None,
        **kwargs: object,
    ) -> None:
        """Log the line."""
        metrics = metrics or {}
        loss = f"train loss {np.mean(self.losses):.4f}, " if self.losses else ""
        self.losses = []
        score = metrics.get(f"eval_{self.metric}", math.nan)
        log(
            f"  epoch {state.epoch or 0:.4g} of {state.num_train_epochs:.4g}, step {state.global_step} of {state.max_steps}: "
            f"{loss}validation loss {metrics.get('eval_loss', math.nan):.4f}, {self.metric} {score:.4f}"
        )


def set_callbacks(trainer: Trainer, fit: FitArguments | None = None) -> None:
    """Replace Trainer's printing by a bar on terminals; add early stopping."""
    for callback in (PrinterCallback, ProgressCallback):
        trainer.remove_callback(callback)
    if not trainer.args.disable_tqdm:
        trainer.add_callback(BarOnly)
    if fit is not None and fit.early_stopping_patience is not None:
        trainer.add_callback(EarlyStoppingCallback(fit.early_stopping_patience, fit.early_stopping_threshold))
