"""Training, evaluation, saving and report of a classifier.

Methods bring a model, data and a loss as a `Job`.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from accelerate import PartialState
from datasets import Dataset
from torch import nn
from transformers import DataCollatorWithPadding, EvalPrediction, PreTrainedTokenizerBase, TrainingArguments

from nlp_ft.config import FitArguments
from nlp_ft.config.training_arguments import is_sharded
from nlp_ft.data import TextData, texts_or_pairs
from nlp_ft.errors import ConfigError
from nlp_ft.evaluation.baselines import Baseline, against_control, baselines, verdict
from nlp_ft.evaluation.calibration import calibrate
from nlp_ft.evaluation.inference_config import InferenceConfig, LongDocuments
from nlp_ft.evaluation.metrics import compute_metrics
from nlp_ft.models.layers import LayerwiseSchedule
from nlp_ft.training import run
from nlp_ft.training.long_texts import WindowCollator, detach_attention, has_windows
from nlp_ft.training.losses import ClassifierLoss
from nlp_ft.training.run_report import RunReport, describe, per_class, source_metrics, write_report
from nlp_ft.training.save import save_and_verify
from nlp_ft.training.trainer import ClassifierTrainer, EvaluationLines
from nlp_ft.utils import log


@dataclass
class Job:
    """Input of `train` and `finish`, made by a method.

    `settings`: every resolved argument by group, for run.json; `explicit`: the names the user set; `notes`: what was decided.
    `silent`: one of several fits of a run, which logs one line. `layerwise`: learning rates by layer, and gradual unfreezing.
    `trainer`: a subclass of ClassifierTrainer, or something that makes one of Trainer's keyword arguments; `columns`: further
    columns of the training split that its compute_loss takes out of `inputs`. `title`: the model's row in the report;
    `doing`: the subject of its verdict. `long_documents`: how texts are read that are longer; None: they are cut.
    `held_out`: validation rows were not trained on, so that a calibration can be fitted on them.
    """

    model: nn.Module
    tokenizer: PreTrainedTokenizerBase
    data: TextData
    splits: Mapping[str, Dataset]
    max_seq_length: int
    loss: ClassifierLoss
    training: TrainingArguments
    fit: FitArguments
    settings: dict[str, Any]
    explicit: Collection[str] = ()
    save_adapter_only: bool = False
    notes: list[str] = field(default_factory=list)
    silent: bool = False
    layerwise: LayerwiseSchedule | None = None
    trainer: Callable[..., ClassifierTrainer] | None = None
    columns: Sequence[str] = ()
    title: str = "fine-tuned"
    doing: str = "Fine-tuning"
    long_documents: LongDocuments | None = None
    held_out: bool = True


@dataclass
class Fitted:
    """A trained model with its logits on the held-out splits.

    `logits`: (rows, classes) of "validation" and "test", in the order of their rows.


    `metrics`: train_*, eval_* and test_*, as all_results.json has them. `long_documents`: for `inference.json`. `kept_step`:
    the update whose weights were kept, where it need not be the last.
    """

    model: nn.Module
    logits: dict[str, np.ndarray]
    metrics: dict[str, float]
    log_history: list[dict[str, float]] = field(default_factory=list)
    long_documents: LongDocuments = field(default_factory=LongDocuments)
    kept_step: int | None = None


def fit(job: Job, scores: Mapping[str, float] | None = None, controls: Sequence[Baseline] = ()) -> RunReport:
    """Train a job, evaluate it, save and verify the model, write the report."""
    return finish(job, train(job), scores, controls)


def train(job: Job) -> Fitted:
    """Resume where asked, train, and answer both held-out splits.

    Raises: TrainingError if a loss, gradient or weight is not finite; ConfigError if the checkpoint to resume from is not of
    this run.
    """
    trainer = _trainer(job)
    trained = run.run_trainer(trainer, job_identity(job), job.fit)
    metrics, logits = dict(trained.metrics), {}
    for prefix, split in (("eval", "validation"), ("test", "test")):
        logits[split], split_metrics = trainer.predict_in_order(job.splits[split], prefix)
        metrics |= split_metrics
    long_documents = detach_attention(trainer.model, job.long_documents)  # type: ignore[arg-type]
    assert trainer.model is not None
    return Fitted(trainer.model, logits, metrics, trained.log_history, long_documents, trained.kept_step)


def finish(
    job: Job,
    fitted: Fitted,
    scores: Mapping[str, float] | None = None,
    controls: Sequence[Baseline] = (),
    measure: Callable[[RunReport], tuple[Mapping[str, float], Sequence[str]]] | None = None,
) -> RunReport:
    """Compare with baselines and controls, save and verify, write the report.

    scores: metrics found elsewhere (in cross-validation), to be reported with the rest. controls: other ways to answer the
    same test rows, each with a row and a sentence of its own. measure: further metrics and sentences about the saved
    directory; every process calls it, and rank 0 alone records what it returns.

    Raises: TrainingError if a weight is not finite, or the saved model does not repeat its logits.
    """
    data, state, output_dir = job.data, PartialState(), Path(str(job.training.output_dir))
    metrics, answers = dict(fitted.metrics), fitted.logits["test"]
    metrics |= source_metrics(data.test, answers, data.problem_type, data.labels)
    metrics |= scores or {}
    references = _baselines(job)
    for kind, answered in (("baseline", references.values()), ("control", controls)):
        for reference in answered:
            metrics |= {f"{kind}_{reference.name}_{key}": value for key, value in reference.metrics.items()}
    truth = data.test["label"]
    sentences = [verdict(data.problem_type, answers, truth, references, job.doing)]
    sentences += [against_control(data.problem_type, answers, truth, control, job.doing) for control in controls]
    inference_config, calibrated, calibration_lines = _calibrate(job, fitted)
    metrics |= calibrated
    sentences += calibration_lines
    if state.is_main_process:
        output_dir.mkdir(parents=True, exist_ok=True)
        save_and_verify(
            fitted.model,
            job.tokenizer,
            output_dir,
            data.validation,
            job.max_seq_length,
            job.save_adapter_only,
            replace(inference_config, long_documents=fitted.long_documents),
        )
    state.wait_for_everyone()
    report = RunReport(
        output_dir=output_dir,
        metrics=metrics,
        baselines=references | {control.name: control for control in controls},
        verdict="\n".join(sentences),
        notes=job.notes,
        settings=job.settings,
        log_history=fitted.log_history,
        test_logits=answers,
        title=job.title,
        inference_config=inference_config,
        kept_step=fitted.kept_step,
        held_out=job.held_out,
    )
    if measure is not None:
        more, lines = measure(report)
        report.metrics |= more
        report.verdict = "\n".join([report.verdict, *lines])
    if state.is_main_process:
        write_report(report, data)
        run.complete(report, job.explicit, data=data.fingerprint, per_class=per_class(report, data))
    state.wait_for_everyone()
    log(describe(report, data, silent=job.silent))
    return report


def _calibrate(job: Job, fitted: Fitted) -> tuple[InferenceConfig, dict[str, float], list[str]]:
    """Calibrate as `calibration.calibrate`, if rows were held out for it."""
    if not job.held_out:
        return InferenceConfig(), {}, []
    held_out, test = (
        (fitted.logits[name], rows["label"][:])
        for name, rows in (("validation", job.data.validation), ("test", job.data.test))
    )
    return calibrate(job.data.problem_type, held_out, test, job.data.labels, job.fit.threshold_metric)


def job_identity(job: Job) -> dict[str, object]:
    """Identity of a job, which a checkpoint shares with the run that resumes it.

    The test rows decide no weight, and are left out.
    """
    return run.identity(
        job.settings,
        job.training,
        data={split: digest for split, digest in job.data.fingerprint["sha256"].items() if split != "test"},
        max_seq_length=job.max_seq_length,
    ) | {"class_weights": job.fit.class_weights, "labels": job.data.labels}


def _trainer(job: Job) -> ClassifierTrainer:
    args, problem_type, labels = job.training, job.data.problem_type, job.data.labels

    def scores(prediction: EvalPrediction) -> dict[str, float]:
        metrics = compute_metrics(problem_type, prediction.predictions, prediction.label_ids, labels)
        # Trainer's own mean counts the rows twice with which several processes fill up their last batches
        loss = job.loss.row_losses(
            torch.as_tensor(prediction.predictions), torch.as_tensor(prediction.label_ids)
        ).mean()
        return {**metrics, "loss": loss.item()}

    args.remove_unused_columns = True
    collate = DataCollatorWithPadding(job.tokenizer, pad_to_multiple_of=8 if args.bf16 or args.fp16 else None)
    if job.layerwise is not None and is_sharded(args):
        flag = "layerwise_lr_decay" if job.layerwise.unfreezing_share is None else "gradual_unfreezing"
        raise ConfigError(f"--{flag} does not go with FSDP or DeepSpeed, which cut layers up; leave it out.")
    trainer = (job.trainer or ClassifierTrainer)(
        model=job.model,
        args=args,
        train_dataset=job.splits["train"],  # type: ignore[arg-type]
        eval_dataset=job.splits["validation"],  # type: ignore[arg-type]
        processing_class=job.tokenizer,
        data_collator=WindowCollator(job.tokenizer.model_input_names, collate) if has_windows(job.splits) else collate,
        compute_metrics=scores,
        compute_loss_func=job.loss,
        callbacks=[EvaluationLines((args.metric_for_best_model or "loss").removeprefix("eval_"))],
    )
    trainer.layerwise, trainer.columns = job.layerwise, job.columns
    return trainer


def _baselines(job: Job) -> dict[str, Baseline]:
    train, test = job.data.train, job.data.test
    return baselines(
        job.data.problem_type,
        texts_or_pairs(train),
        train["label"][:],
        texts_or_pairs(test),
        test["label"][:],
        job.data.labels,
    )
