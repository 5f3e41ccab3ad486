"""`fit`: the only train, resume, evaluate, merge, save, card of nlp_ft. Methods bring a model, data and a loss."""

from __future__ import annotations

import math
import time
import warnings
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from datasets import Dataset
from transformers import (
    DataCollatorWithPadding,
    EarlyStoppingCallback,
    PrinterCallback,
    ProgressCallback,
    Trainer,
    TrainerCallback,
    TrainingArguments,
)

from nlp_ft import checkpoints
from nlp_ft.baselines import Baseline, baselines, verdict
from nlp_ft.config import FitArguments
from nlp_ft.data import TextData
from nlp_ft.errors import TrainingError
from nlp_ft.losses import ClassifierLoss
from nlp_ft.metrics import compute_metrics
from nlp_ft.opening import quiet
from nlp_ft.report import RunReport, describe, say, source_metrics, texts_of, write_report
from nlp_ft.saving import save_and_verify

HEAD_RATE = 0.1  # of the adapters' learning rate


@dataclass
class Job:
    """What a method hands to `fit`.

    `settings`: every resolved argument by group, for run.json; `given`: the names the user set; `notes`: what was decided.
    `brief`: one of several fits of a run, which says one line.
    """

    model: Any
    tokenizer: Any
    data: TextData
    splits: Mapping[str, Dataset]
    max_seq_length: int
    loss: ClassifierLoss
    training: TrainingArguments
    fit: FitArguments
    settings: dict[str, Any]
    given: Collection[str] = ()
    save_adapter_only: bool = False
    notes: list[str] = field(default_factory=list)
    brief: bool = False


class ClassifierTrainer(Trainer):
    """Trainer whose loss is divided by rows, and which stops at the first number that is not finite."""

    def get_batch_samples(self, epoch_iterator: Any, num_batches: int, device: torch.device) -> tuple[list[Any], Any]:
        """Count rows, over which our loss is a sum.

        Trainer counts label cells other than -100: a regression target of -100.0 would not count, and a multi-label row would
        count once a label.
        """
        batches, counted = super().get_batch_samples(epoch_iterator, num_batches, device)
        if counted is None:
            return batches, counted
        rows = torch.tensor(sum(len(batch["labels"]) for batch in batches), device=device)
        if self.args.average_tokens_across_devices and self.args.world_size > 1:
            gathered: Any = self.accelerator.gather(rows)
            rows = gathered.sum()
        return batches, rows / (self.get_tp_size() * self.get_cp_size() * self.get_sp_size())

    def create_optimizer(self, model: Any = None) -> torch.optim.Optimizer:
        """With adapters: the head, which trains in full, goes at a share of their rate.

        Adapters want about ten times the rate of full fine-tuning (see recipe.py), at which a dense layer of the head forgets
        what it held: on the movies, one epoch at the adapters' rate ended below the probe that it had started from.
        """
        optimizer = super().create_optimizer(model)
        adapters = {id(p) for name, p in self.model.named_parameters() if "lora_" in name}  # type: ignore[union-attr]
        if adapters:
            for group in list(optimizer.param_groups):
                head = [p for p in group["params"] if id(p) not in adapters]
                group["params"] = [p for p in group["params"] if id(p) in adapters]
                if head:
                    optimizer.add_param_group({**group, "params": head, "lr": group["lr"] * HEAD_RATE})
        return optimizer

    def training_step(self, *args: Any, **kwargs: Any) -> torch.Tensor:
        """Stop at a loss that is not finite: Trainer would log it as 0 and save what it leads to."""
        loss = super().training_step(*args, **kwargs)
        if not torch.isfinite(loss):
            raise TrainingError(
                f"the loss is {loss.item()} at step {self.state.global_step + 1}; nothing of it was saved. Lower "
                "--learning_rate, or train in float32 (no --fp16); earlier checkpoints are untouched."
            )
        return loss

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

    def save_model(self, output_dir: str | None = None, _internal_call: bool = False) -> None:
        """Save finite weights only: a gradient can spoil them in the very step that is saved."""
        model: Any = self.model
        for name, parameter in model.named_parameters():
            if parameter.requires_grad and not torch.isfinite(parameter).all():
                raise TrainingError(
                    f"{name} is not finite after step {self.state.global_step}, and was not saved. Lower --learning_rate, "
                    "or train in float32 (no --fp16); earlier checkpoints are untouched."
                )
        with quiet(), warnings.catch_warnings():
            # peft's doubts on a grown embedding, and on a base without config.json (GGUF): both are saved rightly
            warnings.filterwarnings("ignore", message=".*(embedding layer|config file).*")
            super().save_model(output_dir, _internal_call)


class BarOnly(ProgressCallback):
    """Trainer's progress bar without the dictionaries it prints into it."""

    def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **kwargs: Any) -> None:
        """Print nothing."""


class EvaluationLines(TrainerCallback):
    """One line an evaluation: where training stands, the loss since the last one, and the metric that counts."""

    def __init__(self, metric: str) -> None:
        self.metric = metric
        self.losses: list[float] = []

    def on_log(self, args: Any, state: Any, control: Any, logs: dict[str, float] | None = None, **kwargs: Any) -> None:
        """Collect the training losses in between; refuse a gradient norm that is not finite."""
        logs = logs or {}
        if "loss" in logs:
            self.losses.append(logs["loss"])
        norm = logs.get("grad_norm")
        if norm is not None and not math.isfinite(norm) and not args.fp16:  # fp16 skips such steps itself
            raise TrainingError(
                f"the gradient norm is {norm} at step {state.global_step}; lower --learning_rate or --max_grad_norm."
            )

    def on_evaluate(
        self, args: Any, state: Any, control: Any, metrics: dict[str, float] | None = None, **kwargs: Any
    ) -> None:
        """Say it."""
        metrics = metrics or {}
        loss = f"train loss {np.mean(self.losses):.4f}, " if self.losses else ""
        self.losses = []
        score = metrics.get(f"eval_{self.metric}", math.nan)
        say(
            f"  epoch {state.epoch or 0:.4g} of {state.num_train_epochs:.4g}, step {state.global_step} of {state.max_steps}: "
            f"{loss}validation loss {metrics.get('eval_loss', math.nan):.4f}, {self.metric} {score:.4f}"
        )


def fit(job: Job, scores: Mapping[str, float] | None = None) -> RunReport:
    """Resume, train, evaluate, merge, save, reload and compare, write the report. Returns: what was reported.

    scores: metrics found elsewhere (in cross-validation), to be reported with the rest.
    Raises: TrainingError if a loss, gradient or weight is not finite, or the saved model does not repeat its logits;
    ConfigError if the checkpoint to resume from is not of this run.
    """
    identity = _identity(job)
    resume = _resume(job, identity)
    trainer = _trainer(job, identity)
    started = time.monotonic()
    result = trainer.train(resume_from_checkpoint=resume)
    metrics: dict[str, float] = {f"train_{k.removeprefix('train_')}": v for k, v in result.metrics.items()}
    metrics["train_minutes"] = (time.monotonic() - started) / 60
    logits = {}
    for prefix, split in (("eval", "validation"), ("test", "test")):
        logits[split], found = trainer.predict_in_order(job.splits[split], prefix)
        metrics |= found
    metrics |= source_metrics(job.data.test, logits["test"], job.data.problem_type, job.data.labels)
    metrics |= scores or {}
    references = _baselines(job)
    for name, baseline in references.items():
        metrics |= {f"baseline_{name}_{key}": value for key, value in baseline.metrics.items()}
    verdict_line = verdict(job.data.problem_type, logits["test"], job.data.test["label"], references)
    output_dir = Path(str(job.training.output_dir))
    if trainer.is_world_process_zero():
        save_and_verify(
            trainer.model, job.tokenizer, output_dir, job.data.validation, job.max_seq_length, job.save_adapter_only
        )
    trainer.accelerator.wait_for_everyone()
    report = RunReport(
        output_dir=output_dir,
        metrics=metrics,
        baselines=references,
        verdict=verdict_line,
        notes=job.notes,
        settings=job.settings,
        log_history=trainer.state.log_history,
        test_logits=logits["test"],
    )
    if trainer.is_world_process_zero():
        write_report(report, job.data)
        checkpoints.remove_finished(output_dir, given=job.given)
    trainer.accelerator.wait_for_everyone()
    say(describe(report, job.data, brief=job.brief))
    return report


def _identity(job: Job) -> dict[str, Any]:
    """What a checkpoint must have in common with the run that goes on from it."""
    args, training = job.training, job.settings["training"]
    return {
        **{k: v for k, v in job.settings["model"].items() if k != "cache_dir"},
        **job.settings["augment"],
        **job.settings["lora"],
        **{k: training[k] for k in ("optim", "optim_args", "lr_scheduler_type", "weight_decay", "max_steps")},
        "class_weights": job.fit.class_weights,
        "labels": job.data.labels,
        "data": {split: job.data.fingerprint["sha256"][split] for split in ("train", "validation")},
        "max_seq_length": job.max_seq_length,
        "seed": args.seed,
        "learning_rate": args.learning_rate,
        "num_train_epochs": args.num_train_epochs,
        "rows_per_update": args.per_device_train_batch_size * args.gradient_accumulation_steps * args.world_size,
    }


def _resume(job: Job, identity: Mapping[str, Any]) -> str | None:
    if not job.training.resume_from_checkpoint:
        return None
    path, warnings = checkpoints.choose(
        str(job.training.resume_from_checkpoint), Path(str(job.training.output_dir)), identity
    )
    for warning in warnings:
        say(f"warning: {warning}")
    say(f"resuming from {path}")
    return str(path)


def _trainer(job: Job, identity: Mapping[str, Any]) -> ClassifierTrainer:
    args, problem_type, labels = job.training, job.data.problem_type, job.data.labels

    def scores(prediction: Any) -> dict[str, float]:
        found = compute_metrics(problem_type, prediction.predictions, prediction.label_ids, labels)
        # Trainer's own mean counts the rows twice with which several processes fill up their last batches
        loss = job.loss.row_losses(
            torch.as_tensor(prediction.predictions), torch.as_tensor(prediction.label_ids)
        ).mean()
        return {**found, "loss": loss.item()}

    args.remove_unused_columns = True
    trainer = ClassifierTrainer(
        model=job.model,
        args=args,
        train_dataset=job.splits["train"],  # type: ignore[arg-type]
        eval_dataset=job.splits["validation"],  # type: ignore[arg-type]
        processing_class=job.tokenizer,
        data_collator=DataCollatorWithPadding(job.tokenizer, pad_to_multiple_of=8 if args.bf16 or args.fp16 else None),
        compute_metrics=scores,
        compute_loss_func=job.loss,
        callbacks=[
            checkpoints.ManifestCallback(identity),
            EvaluationLines((args.metric_for_best_model or "loss").removeprefix("eval_")),
        ],
    )
    for callback in (PrinterCallback, ProgressCallback):
        trainer.remove_callback(callback)
    if not args.disable_tqdm:
        trainer.add_callback(BarOnly)
    if job.fit.early_stopping_patience is not None:
        trainer.add_callback(EarlyStoppingCallback(job.fit.early_stopping_patience, job.fit.early_stopping_threshold))
    return trainer


def _baselines(job: Job) -> dict[str, Baseline]:
    train, test = job.data.train, job.data.test
    return baselines(
        job.data.problem_type, texts_of(train), train["label"][:], texts_of(test), test["label"][:], job.data.labels
    )
