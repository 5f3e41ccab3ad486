"""The student as a job that is ready to be trained: its layers, its rows with the teacher's answers, and its twin without."""

from __future__ import annotations

import copy
import hashlib
import math
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from datasets import Dataset
from transformers import set_seed
from transformers.trainer_utils import IntervalStrategy, SaveStrategy

from nlp_ft.data import TextData
from nlp_ft.inference.feature_cache import row_digests
from nlp_ft.methods.distill.teacher import Teacher, check_match, columns, read_unlabelled, taught, tested_on
from nlp_ft.methods.distill.trainer import LABELLED, LOGITS, Aims, DistillTrainer
from nlp_ft.models import student
from nlp_ft.models.classifier import trainable_share
from nlp_ft.models.layers import Plan
from nlp_ft.training import hyperparameters
from nlp_ft.training.augmentation.augment import augment_train
from nlp_ft.training.controls import discard
from nlp_ft.training.fit import Job
from nlp_ft.training.job import Settings, make_job
from nlp_ft.utils import log


def student_job(data: TextData, settings: Settings, teacher: Teacher) -> Job:
    """The student, with the teacher's answers beside its training rows. Says what was decided.

    Raises: as `jobs.make_job`, `student.start_directory`, `read_unlabelled` and `check_match`.
    """
    own, notes = settings.own, _doubts(teacher, data)
    extra = None
    if own.unlabelled_file:
        extra, said = read_unlabelled(own.unlabelled_file, data, settings.data)
        notes += said
    kinds = tuple(dict.fromkeys(own.match or ()))
    start = settings.model
    if "attention" in kinds:
        start = replace(start, attn_implementation="eager")
        teacher.classifier.model.set_attn_implementation("eager")
    folder = Path(str(settings.training.output_dir)) / "student"
    if own.student_layers is not None:
        start, said = student.start_directory(start, data.problem_type, data.labels, own.student_layers, folder)
        notes += said
    for note in notes:
        log(note)
    set_seed(settings.training.seed)  # the student starts as it would have without a teacher
    job = make_job(data, replace(settings, model=start))
    if not settings.lora.use_peft:  # adapters name it as their base
        discard(folder)
    if extra is not None:
        notes += _settle_again(job, settings, len(extra))
    aims = Aims(job.loss, own.alpha, own.temperature)
    if kinds:
        texts = columns(data.train)[0]
        layers = check_match(kinds, teacher, job.model, job.tokenizer, job.max_seq_length, texts)
        aims = replace(
            aims, match=kinds, match_weight=own.match_weight, teacher=teacher.classifier.model, layers=layers
        )
    rows = _grown(data, settings, job)
    tokens = taught(teacher, job.splits["train"], rows, extra, job.tokenizer, job.max_seq_length)
    if not kinds:
        teacher.classifier.model.to("cpu")  # its work is done
    return replace(
        job,
        data=_with_digests(data, teacher, extra),
        splits={**job.splits, "train": tokens},
        settings=settings.to_dict(job.training),
        trainer=partial(DistillTrainer, aims=aims),
        columns=(LOGITS, LABELLED),
        notes=[*job.notes, *notes],
        title="distilled",
        doing="Distillation",
    )


def control_job(job: Job, settings: Settings) -> Job:
    """The same student from the same start, for as many updates, with its own labels alone."""
    tokens, training = job.splits["train"], copy.copy(job.training)
    if LABELLED in tokens.column_names:
        updates = _updates_an_epoch(len(tokens), training)
        tokens = tokens.select([place for place, has in enumerate(tokens[LABELLED][:]) if has])
        if training.max_steps <= 0:
            training.max_steps = math.ceil(training.num_train_epochs * updates)
        if training.eval_strategy == IntervalStrategy.EPOCH:  # as often as the run itself
            training.eval_strategy, training.eval_steps = IntervalStrategy.STEPS, updates
        if training.save_strategy == SaveStrategy.EPOCH:
            training.save_strategy, training.save_steps = SaveStrategy.STEPS, updates
    model: Any = copy.deepcopy(job.model)
    return replace(
        job,
        model=model,
        splits={**job.splits, "train": tokens.remove_columns([c for c in job.columns if c in tokens.column_names])},
        training=training,
        plan=None if job.plan is None else Plan(model, settings.freeze),
        trainer=None,
        columns=(),
    )


def _updates_an_epoch(rows: int, training: Any) -> int:
    batches = math.ceil(rows / (training.per_device_train_batch_size * training.world_size))
    return math.ceil(batches / training.gradient_accumulation_steps)


def _settle_again(job: Job, settings: Settings, more: int) -> list[str]:
    """Batch size and epochs for all the rows, with the unlabelled ones. Returns: what to say, once said."""
    rows, parameters = len(job.splits["train"]) + more, trainable_share(job.model)[1]
    peft, problem = settings.lora.use_peft, job.data.problem_type
    notes = hyperparameters.settle(job.training, settings.given, rows, parameters, peft, problem)
    notes = [f"with the unlabelled rows, {note}" for note in notes]
    for note in notes:
        log(note)
    return notes


def _grown(data: TextData, settings: Settings, job: Job) -> Dataset:
    """The texts of the training split, those that augmentation made behind them, as `jobs.make_job` tokenized them."""
    if not settings.augment.row_operations:
        return data.train
    others, training = (data.validation, data.test), job.training
    return augment_train(data.train, settings.augment, training.seed, others=others, device=training.device)[0]


def _with_digests(data: TextData, teacher: Teacher, extra: Dataset | None) -> TextData:
    """The data, whose record tells the teacher and the unlabelled texts, too: a checkpoint belongs to them as to the rest."""
    digests = {**data.fingerprint["sha256"], "teacher": teacher.key}
    if extra is not None:
        digests["unlabelled"] = hashlib.sha256(b"".join(row_digests(*columns(extra)))).hexdigest()
    return replace(data, fingerprint={**data.fingerprint, "sha256": digests})


def _doubts(teacher: Teacher, data: TextData) -> list[str]:
    """What may be wrong with scoring the teacher on these test rows."""
    if tested_on(teacher.name, data) is not False:
        return []
    return [
        "warning: the teacher's own run was tested on other rows; if it was trained on some of these test rows, its figures "
        "here are too good"
    ]
