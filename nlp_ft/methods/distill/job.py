"""The jobs of the student and of its control: layers, training rows with the teacher's logits."""

from __future__ import annotations

import copy
import hashlib
import math
from dataclasses import replace
from functools import partial
from pathlib import Path

from datasets import Dataset
from transformers import TrainingArguments, set_seed
from transformers.trainer_utils import IntervalStrategy, SaveStrategy

from nlp_ft.data import TextData
from nlp_ft.inference.feature_cache import row_digests
from nlp_ft.methods.distill.arguments import DistillArguments
from nlp_ft.methods.distill.teacher import (
    Teacher,
    check_match,
    columns,
    read_unlabelled,
    tested_on,
    with_teacher_logits,
)
from nlp_ft.methods.distill.trainer import LABELLED, LOGITS, DistillationLoss, DistillTrainer
from nlp_ft.models import student
from nlp_ft.models.classifier import count_parameters
from nlp_ft.models.layers import LayerwiseSchedule
from nlp_ft.training import hyperparameters
from nlp_ft.training.augmentation.augment import augment_train
from nlp_ft.training.controls import discard
from nlp_ft.training.fit import Job
from nlp_ft.training.job import make_job
from nlp_ft.training.settings import Settings
from nlp_ft.utils import log


def student_job(data: TextData, settings: Settings[DistillArguments], teacher: Teacher) -> Job:
    """Prepare the student with the teacher's logits in its training rows, and log the decisions.

    Raises: as `job.make_job`, `student.write_student`, `read_unlabelled` and `check_match`.
    """
    args, notes = settings.method_arguments, _test_rows_warning(teacher, data)
    extra = None
    if args.unlabelled_file:
        extra, read_notes = read_unlabelled(args.unlabelled_file, data, settings.data)
        notes += read_notes
    kinds = tuple(dict.fromkeys(args.match or ()))
    start = settings.model
    if "attention" in kinds:
        start = replace(start, attn_implementation="eager")
        teacher.classifier.model.set_attn_implementation("eager")
    folder = Path(str(settings.training.output_dir)) / "student"
    if args.student_layers is not None:
        start, added = student.write_student(start, data.problem_type, data.labels, args.student_layers, folder)
        notes += added
    for note in notes:
        log(note)
    set_seed(settings.training.seed)  # the student starts as it would without a teacher
    job = make_job(data, replace(settings, model=start))
    if not settings.lora.use_peft:  # adapters keep it as their base
        discard(folder)
    if extra is not None:
        notes += _choose_again(job, settings, len(extra))
    loss = DistillationLoss(job.loss, args.alpha, args.temperature)
    if kinds:
        texts = columns(data.train)[0]
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
    """Prepare the same student from the same start, for as many updates, with the labels alone."""
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


def _choose_again(job: Job, settings: Settings[DistillArguments], more: int) -> list[str]:
    """Choose batch size and epochs for all rows, with the unlabelled ones. Returns: the notes, logged."""
    rows, parameters = len(job.splits["train"]) + more, count_parameters(job.model)[1]
    peft, problem = settings.lora.use_peft, job.data.problem_type
    notes = hyperparameters.choose(job.training, settings.explicit, rows, parameters, peft, problem)
    notes = [f"with the unlabelled rows, {note}" for note in notes]
    for note in notes:
        log(note)
    return notes


def _augmented(data: TextData, settings: Settings[DistillArguments], job: Job) -> Dataset:
    """Return the training texts, augmented ones last, in the order in which `job.make_job` tokenizes them."""
    if not settings.augment.row_operations:
        return data.train
    others, training = (data.validation, data.test), job.training
    return augment_train(data.train, settings.augment, training.seed, others=others, device=training.device)[0]


def _with_digests(data: TextData, teacher: Teacher, extra: Dataset | None) -> TextData:
    """Add the teacher and the unlabelled texts to the fingerprint, which a resumed run compares."""
    digests = {**data.fingerprint["sha256"], "teacher": teacher.key}
    if extra is not None:
        digests["unlabelled"] = hashlib.sha256(b"".join(row_digests(*columns(extra)))).hexdigest()
    return replace(data, fingerprint={**data.fingerprint, "sha256": digests})


def _test_rows_warning(teacher: Teacher, data: TextData) -> list[str]:
    """Return a warning if the teacher may have been trained on these test rows."""
    if tested_on(teacher.name, data) is not False:
        return []
    return [
        "warning: the teacher's own run was tested on other rows; if it was trained on some of these test rows, its metrics "
        "here are too high"
    ]
