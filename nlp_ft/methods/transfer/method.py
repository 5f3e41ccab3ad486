"""The run of `nlp-ft transfer`, step by step."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nlp_ft.config import (
    DataArguments,
    FitArguments,
    FreezeArguments,
)
from nlp_ft.config.augmentation import AugmentArguments
from nlp_ft.errors import DataError
from nlp_ft.methods.transfer.arguments import TransferArguments

if TYPE_CHECKING:
    from transformers import TrainingArguments

    from nlp_ft.data import TextData
    from nlp_ft.evaluation.baselines import Baseline
    from nlp_ft.training.job import Settings
    from nlp_ft.training.run_report import RunReport


_OF_THE_TARGET = (  # data flags that say where its rows are, how they are split, mixed and sampled: not a source's
    *("validation_file", "test_file", "dataset_name", "dataset_config_name"),
    *("train_split_name", "validation_split_name", "test_split_name"),
    *("group_column", "time_column", "num_folds", "mixing"),
    *("max_train_samples", "max_eval_samples", "max_predict_samples"),
)


def run(*arguments: Any, frames: Mapping[str, Any] | None = None) -> RunReport:
    """The sources' models, the gain at few target rows, the best source by validation, the target in full, the report.

    arguments, frames: as in `finetune.run`; frames are the target's. Augmentation and the flags for layers hold for the
    target alone.

    Raises: DataError if a text of the target's test split (with --num_folds: any of its texts) is among a source's training
    rows, unless --allow_leakage; ConfigError for a finished source of other settings or rows.
    """
    from nlp_ft.hub.push import push_if_asked
    from nlp_ft.methods.transfer.gain import measure, start_from
    from nlp_ft.training import controls
    from nlp_ft.training.fit import fit
    from nlp_ft.training.job import Settings, cross_validated, make_job, read
    from nlp_ft.training.run import restart
    from nlp_ft.utils import log

    settings = Settings.of("transfer", arguments, TransferArguments)
    data = read(settings, frames)
    sources = _sources(settings, data)
    scores, best = measure(settings, data, sources, settings.method_arguments.transfer_shots)
    restart(settings.training)
    if len(sources) > 1:
        log(f"\nthe target in full, from {best}")
    chosen = replace(settings, model=start_from(settings, sources[best]))

    def fit_one(part: TextData, own: Settings[TransferArguments], found: Mapping[str, float] | None) -> RunReport:
        control_results: list[Baseline] = []
        if settings.fit.with_control and found is not None:
            job = make_job(part, replace(own, model=settings.model), silent=True)
            control_results.append(controls.run_control(job, "target_only", "the target alone"))
        job = make_job(part, own, silent=found is None)
        job.title, job.doing = "transferred", f"Transfer from {best}"
        return fit(job, None if found is None else {**scores, **found}, control_results)

    return push_if_asked(cross_validated(data, chosen, fit_one), settings)


def _sources(settings: Settings[TransferArguments], data: TextData) -> dict[str, str]:
    """The directory of each source's model by its name; those that come as rows are fine-tuned first."""
    from nlp_ft.models import classifier
    from nlp_ft.utils import log

    own: TransferArguments = settings.method_arguments
    found: dict[str, str] = {}
    for path in own.source_name_or_path or []:
        found[_free(Path(path).name, found)] = classifier.check_directory(path)
        log(f"source {path}: whether texts of the test split were among its training rows cannot be told")
    for file in own.source_file or []:
        name = _free(Path(file).parent.name if Path(file).stem == "train" else Path(file).stem, found)
        found[name] = str(_fit_source(settings, data, name, file))
    return found


def _free(name: str, taken: Mapping[str, str]) -> str:
    """The name, or with a number behind it."""
    name = name or "source"
    return name if name not in taken else f"{name}-{sum(other.startswith(name) for other in taken) + 1}"


def _fit_source(settings: Settings[TransferArguments], target: TextData, name: str, file: str) -> Path:
    """Fine-tune on one source file, into `sources/<name>`, a run directory of its own; a finished one is taken as it is.

    Raises: ConfigError for a finished one of other settings or rows.
    """
    from nlp_ft.data import load_data
    from nlp_ft.training import checkpointing
    from nlp_ft.training.cross_validation import arguments_for
    from nlp_ft.training.fit import fit
    from nlp_ft.training.job import make_job
    from nlp_ft.training.run import piece_identity
    from nlp_ft.utils import log

    directory = Path(str(settings.training.output_dir)) / "sources" / name
    arguments = source_data(settings.data, settings.method_arguments, file)
    log(f"\nsource {name}")
    data = load_data(arguments, seed=settings.training.seed)
    for note in data.notes:
        log(note)
    _refuse_leak(target, data, file, settings.data)
    own_training, own_fit = _suited(settings, data, target)
    plain = replace(
        settings,
        data=arguments,
        augment=AugmentArguments(),
        freeze=FreezeArguments(),
        training=own_training,
        fit=own_fit,
        lora=replace(settings.lora, save_adapter_only=False),
    )
    groups = plain.to_dict(plain.training)
    del groups[plain.method]  # which other sources there are, and on how many rows they are compared
    identity = piece_identity(groups, plain.explicit, plain.training.world_size)
    identity["data"] = data.fingerprint["sha256"]
    if checkpointing.finished(directory, identity):
        log(f"{directory} is finished and taken as it is")
        return directory
    checkpointing.begin(directory, identity)
    fit(make_job(data, replace(plain, training=arguments_for(own_training, directory))))
    return directory


def _suited(
    settings: Settings[TransferArguments], source: TextData, target: TextData
) -> tuple[TrainingArguments, FitArguments]:
    """The arguments of a source: without what is meant for the target's kind of problem, or names its labels."""
    from nlp_ft.training import hyperparameters

    training, fit = copy.copy(settings.training), settings.fit
    if source.problem_type != target.problem_type:
        fit = replace(fit, threshold_metric=None)
        hyperparameters.adapt_to_problem(training, source.problem_type)
    by_name = fit.class_weights not in (None, "balanced")
    if not source.labels or (by_name and source.labels != target.labels):
        fit = replace(fit, class_weights=None)
    return training, fit


def source_data(target: DataArguments, own: TransferArguments, file: str) -> DataArguments:
    """The data arguments of a source file: what says how files are read holds for it, what says which rows does not."""
    defaults = {one.name: one.default for one in fields(DataArguments)}
    columns = {"label_column_name": own.source_label_column_name or target.label_column_name}
    if own.source_label_column_name:
        columns["problem_type"] = None
    if own.source_text_column_names:
        columns |= {"text_column_names": own.source_text_column_names, "text_pair_column_name": None}
    return replace(target, **{name: defaults[name] for name in _OF_THE_TARGET}, **columns, train_file=[file])


def _refuse_leak(target: TextData, source: TextData, file: str, args: DataArguments) -> None:
    """A source that holds texts the target is tested on would show them to the model; those of validation are told.

    args: the target's. With --num_folds every row is tested on once, but for those of a validation split that was given.
    Raises: DataError, unless --allow_leakage.
    """
    from nlp_ft.data import keys_of
    from nlp_ft.utils import log

    shown = {*keys_of(source.train), *keys_of(source.validation)}

    def found(split: str) -> str | None:
        rows = getattr(target, split)
        indices = [place for place, key in enumerate(keys_of(rows)) if key in shown]
        first = f"{str(rows[indices[0]]['text'])[:60]!r}" if indices else ""
        told = f"{file}: {len(indices)} of the {len(rows)} {split} rows of the target are among its rows, the first {first}"
        return told if indices else None

    folded = () if args.num_folds is None else ("train", "validation")
    tested = ("test", *(split for split in folded if split == "train" or split not in target.given))
    for split in tested:
        if said := found(split):
            if split != "test":
                said += "; with --num_folds each of them is tested on once"
            if not args.allow_leakage:
                raise DataError(f"{said}; remove them from the source, or give --allow_leakage.")
            log(f"warning: {said}")
    if "validation" not in tested and (said := found("validation")):
        log(
            f"warning: {said}; by these rows sources are ranked and the checkpoint is chosen, which flatters this source"
        )
