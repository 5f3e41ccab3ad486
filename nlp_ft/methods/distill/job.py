"""The jobs of the student and of its control."""

from __future__ import annotations

import copy
import hashlib
import math
from dataclasses import replace
from functools import partial
from pathlib import Path

from datasets import Dataset
from transformers import TrainingArguments
from transformers.trainer_utils import IntervalStrategy, SaveStrategy

from nlp_ft.data import TextData, text_columns
from nlp_ft.inference.feature_cache import row_digests
from nlp_ft.methods.distill.arguments import DistillArguments
from nlp_ft.methods.distill.teacher import (
    Teacher,
    check_match,
    read_unlabelled,
    warn_of_test_rows,
    with_teacher_logits,
)
from nlp_ft.methods.distill.trainer import LABELLED, LOGITS, DistillationLoss, DistillTrainer
from nlp_ft.models import student
from nlp_ft.models.layers import LayerwiseSchedule, unwrapped
from nlp_ft.training.augmentation.augment import augment_train
from nlp_ft.training.controls import discard
from nlp_ft.training.fit import Job
from nlp_ft.training.job import choose_schedule, make_job
from nlp_ft.training.settings import Settings
from nlp_ft.utils import log


def student_job(data: TextData, settings: Settings[DistillArguments], teacher: Teacher) -> Job:
    """Prepare the student with the teacher's logits in its training rows.

    Raises: as `job.make_job`, `student.write_student`, `read_unlabelled` and `check_match`.
    """
    args, notes = settings.method_arguments, warn_of_test_rows(teacher.name, data)
    extra = None
    if args.unlabelled_file:
        extra, unlabelled_notes = read_unlabelled(args.unlabelled_file, data, settings.data)
        notes += unlabelled_notes
    kinds = tuple(dict.fromkeys(args.match or ()))
    start = settings.model
    if "attention" in kinds:
        start = replace(start, attn_implementation="eager")
        teacher.classifier.model.set_attn_implementation("eager")
    folder = Path(str(settings.training.output_dir)) / "student"
    if args.student_layers is not None:
        start, added = student.write_student(start, data.problem_type, data.labels, args.student_layers, folder)
        notes += added
    log(*notes)
    job = make_job(data, replace(settings, model=start))
    if not settings.lora.use_peft:  # adapters keep it as their base
        discard(folder)
    if extra is not None:
        count = len(job.splits["train"]) + len(extra)
        chosen = choose_schedule(data, settings, unwrapped(job.model), count, job.training)
        chosen = [f"with the unlabelled rows, {note}" for note in chosen]
        log(*chosen)
        notes += chosen
    loss = DistillationLoss(job.loss, args.alpha, args.temperature)
    if kinds:
        texts = data.train["text"][:]
        layers = check_match(kinds, teacher, job.model, job.tokenizer, job.max_seq_length, texts)
        loss = replace(
            loss, match=kinds, match_weight=args.match_weight, teacher=teacher.classifier.model, layers=layers
        )
    rows = _augmented(data, settings, job)
    tokens = with_teacher_logits(teacher, job.splits["train"], rows, extra, job.tokenizer, job.max_seq_length)
    if not kinds:
        teacher.classifier.model.to("cpu")  # not needed any more
    return replace(
        job,
        data=_with_digests(data, teacher, extra),
        splits={**job.splits, "train": tokens},
        settings=settings.to_dict(job.training),
        trainer=partial(DistillTrainer, distillation=loss),
        columns=(LOGITS, LABELLED),
        notes=[*job.notes, *notes],
        title="distilled",
        doing="Distillation",
    )


def control_job(job: Job, settings: Settings[DistillArguments]) -> Job:
    """Prepare the same student, for as many updates, with the labels alone."""
    tokens, training = job.splits["train"], copy.copy(job.training)
    if LABELLED in tokens.column_names:
        updates = _updates_per_epoch(len(tokens), training)
        tokens = tokens.select([index for index, labelled in enumerate(tokens[LABELLED][:]) if labelled])
        if training.max_steps <= 0:
            training.max_steps = math.ceil(training.num_train_epochs * updates)
        if training.eval_strategy == IntervalStrategy.EPOCH:  # as often as in the run
            training.eval_strategy, training.eval_steps = IntervalStrategy.STEPS, updates
        if training.save_strategy == SaveStrategy.EPOCH:
            training.save_strategy, training.save_steps = SaveStrategy.STEPS, updates
    model = copy.deepcopy(job.model)
    return replace(
        job,
        model=model,
        splits={
            **job.splits,
            "train": tokens.remove_columns([name for name in job.columns if name in tokens.column_names]),
        },
        training=training,
        layerwise=None if job.layerwise is None else LayerwiseSchedule(model, settings.freeze),
        trainer=None,
        columns=(),
    )


def _updates_per_epoch(rows: int, training: TrainingArguments) -> int:
    batches = math.ceil(rows / (training.per_device_train_batch_size * training.world_size))
    return math.ceil(batches / training.gradient_accumulation_steps)


def _augmented(data: TextData, settings: Settings[DistillArguments], job: Job) -> Dataset:
    """Return the training texts in the order of `job.make_job`, augmented ones last."""
    if not settings.augment.row_operations:
        return data.train
    others, training = (data.validation, data.test), job.training
    return augment_train(data.train, settings.augment, training.seed, others=others, device=training.device)[0]


def _with_digests(data: TextData, teacher: Teacher, extra: Dataset | None) -> TextData:
    """Add the teacher and the unlabelled texts to the fingerprint.

    A resumed run compares it.
    """
    digests = {**data.fingerprint["sha256"], "teacher": teacher.key}
    if extra is not None:
        digests["unlabelled"] = hashlib.sha256(b"".join(row_digests(*text_columns(extra)))).hexdigest()
    return replace(data, fingerprint={**data.fingerprint, "sha256": digests})
