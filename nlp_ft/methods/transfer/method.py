"""Steps of an `nlp-ft transfer` run."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import fields, replace
from pathlib import Path

from transformers import TrainingArguments

from nlp_ft.config import AugmentArguments, DataArguments, FitArguments, FreezeArguments
from nlp_ft.data import TextData, keys_of, load_data
from nlp_ft.errors import DataError
from nlp_ft.evaluation.baselines import Baseline
from nlp_ft.hub.push import push_if_asked
from nlp_ft.methods.transfer.arguments import TransferArguments
from nlp_ft.methods.transfer.gain import measure, start_from
from nlp_ft.models.checkpoint import check_directory
from nlp_ft.training import checkpointing, controls, fit, hyperparameters
from nlp_ft.training.cross_validation import arguments_for
from nlp_ft.training.job import cross_validated, make_job, read
from nlp_ft.training.run import piece_identity, restart
from nlp_ft.training.run_report import RunReport
from nlp_ft.training.settings import Settings
from nlp_ft.utils import log, warning

_TARGET_ONLY = (  # data flags for the location, splits, mixing and sampling of the target's rows
    *("validation_file", "test_file", "dataset_name", "dataset_config_name"),
    *("train_split_name", "validation_split_name", "test_split_name"),
    *("group_column", "time_column", "num_folds", "mixing"),
    *("max_train_samples", "max_eval_samples", "max_predict_samples"),
)


def run(*arguments: object, frames: Mapping[str, object] | None = None) -> RunReport:
    """Fit the sources, measure the gain on few target rows, and fit the target.

    The target starts from the best source, which is chosen on validation. Augmentation and the flags for layers
    apply to the target alone. arguments, frames: as in `finetune.run`; frames are those of the target.

    Raises: DataError if a text of the target's test split (with --num_folds: any of its texts) is among a source's training
    rows, unless --allow_leakage; ConfigError for a finished source of other settings or rows.
    """
    settings = Settings.of("transfer", arguments, TransferArguments)
    data = read(settings, frames)
    sources = _sources(settings, data)
    scores, best = measure(settings, data, sources, settings.method_arguments.transfer_shots)
    restart(settings.training)
    if len(sources) > 1:
        log(f"\nall target rows, from {best}")
    chosen = replace(settings, model=start_from(settings, sources[best]))

    def fit_one(
        part: TextData, fold_settings: Settings[TransferArguments], fold_scores: Mapping[str, float] | None
    ) -> RunReport:
        control_results: list[Baseline] = []
        if settings.fit.with_control and fold_scores is not None:
            job = make_job(part, replace(fold_settings, model=settings.model), silent=True)
            control_results.append(controls.run_control(job, "target_only", "the target alone"))
        job = make_job(part, fold_settings, silent=fold_scores is None)
        job.title, job.doing = "transferred", f"Transfer from {best}"
        return fit.fit(job, None if fold_scores is None else {**scores, **fold_scores}, control_results)

    return push_if_asked(cross_validated(data, chosen, fit_one), settings)


def _sources(settings: Settings[TransferArguments], data: TextData) -> dict[str, str]:
    """Return the directory of each source's model by name.

    Sources given as rows are fine-tuned first.
    """
    args = settings.method_arguments
    directories: dict[str, str] = {}
    for path in args.source_name_or_path or []:
        directories[_free_name(Path(path).name, directories)] = check_directory(path)
        log(f"source {path}: overlap of its training rows with the test split cannot be checked")
    for file in args.source_file or []:
        name = _free_name(Path(file).parent.name if Path(file).stem == "train" else Path(file).stem, directories)
        directories[name] = str(_fit_source(settings, data, name, file))
    return directories


def _free_name(name: str, taken: Mapping[str, str]) -> str:
    """Return the name, with a number appended if it is taken."""
    name = name or "source"
    return name if name not in taken else f"{name}-{sum(other.startswith(name) for other in taken) + 1}"


def _fit_source(settings: Settings[TransferArguments], target: TextData, name: str, file: str) -> Path:
    """Fine-tune on one source file, in `sources/<name>` of the output directory.

    A finished one is reused. Raises: ConfigError for a finished one with other settings or rows.
    """
    directory = Path(str(settings.training.output_dir)) / "sources" / name
    arguments = source_data(settings.data, settings.method_arguments, file)
    log(f"\nsource {name}")
    data = load_data(arguments, seed=settings.training.seed)
    log(*data.notes)
    _check_leakage(target, data, file, settings.data)
    source_training, source_fit = _source_arguments(settings, data, target)
    plain = replace(
        settings,
        data=arguments,
        augment=AugmentArguments(),
        freeze=FreezeArguments(),
        training=source_training,
        fit=source_fit,
        lora=replace(settings.lora, save_adapter_only=False),
    )
    groups = plain.to_dict(plain.training)
    del groups[plain.method]  # the other sources and --transfer_shots do not change this fit
    identity = piece_identity(groups, plain.explicit, plain.training.world_size)
    identity["data"] = data.fingerprint["sha256"]
    if checkpointing.finished(directory, identity):
        log(f"{directory} is finished and reused")
        return directory
    checkpointing.begin(directory, identity)
    fit.fit(make_job(data, replace(plain, training=arguments_for(source_training, directory))))
    return directory


def _source_arguments(
    settings: Settings[TransferArguments], source: TextData, target: TextData
) -> tuple[TrainingArguments, FitArguments]:
    """Return the arguments of a source, without those for the target's labels."""
    training, source_fit = copy.copy(settings.training), settings.fit
    if source.problem_type != target.problem_type:
        source_fit = replace(source_fit, threshold_metric=None)
        hyperparameters.adapt_to_problem(training, source.problem_type)
    names_labels = source_fit.class_weights not in (None, "balanced")
    if not source.labels or (names_labels and source.labels != target.labels):
        source_fit = replace(source_fit, class_weights=None)
    return training, source_fit


def source_data(target: DataArguments, args: TransferArguments, file: str) -> DataArguments:
    """Return the data arguments of a source file, read as those of the target."""
    defaults = {item.name: item.default for item in fields(DataArguments)}
    columns = {"label_column_name": args.source_label_column_name or target.label_column_name}
    if args.source_label_column_name:
        columns |= {"problem_type": None, "label_delimiter": None}
    if args.source_text_column_names:
        columns |= {"text_column_names": args.source_text_column_names, "text_pair_column_name": None}
    return replace(target, **{name: defaults[name] for name in _TARGET_ONLY}, **columns, train_file=[file])


def _check_leakage(target: TextData, source: TextData, file: str, args: DataArguments) -> None:
    """Check that no test text of the target is in a source.

    Validation texts give a warning. args: those of the target. With --num_folds every row is a test row once, except
    those of a given validation split. Raises: DataError, unless --allow_leakage.
    """
    source_keys = {*keys_of(source.train), *keys_of(source.validation)}

    def overlap(split: str) -> str | None:
        rows = getattr(target, split)
        indices = [index for index, key in enumerate(keys_of(rows)) if key in source_keys]
        first = f"{str(rows[indices[0]]['text'])[:60]!r}" if indices else ""
        message = f"{file}: {len(indices)} of the {len(rows)} {split} rows of the target are among its rows, the first {first}"
        return message if indices else None

    folded = () if args.num_folds is None else ("train", "validation")
    tested = ("test", *(split for split in folded if split == "train" or split not in target.given))
    for split in tested:
        if message := overlap(split):
            if split != "test":
                message += "; with --num_folds each of them is tested on once"
            if not args.allow_leakage:
                raise DataError(f"{message}; remove them from the source, or give --allow_leakage.")
            log(warning(message))
    if "validation" not in tested and (message := overlap("validation")):
        log(
            warning(
                f"{message}; these rows rank the sources and choose the checkpoint, which biases both towards this source"
            )
        )
