"""Fine-tune on a source domain first, then on the target; measures what that gained over the target alone."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nlp_ft.augment.arguments import AugmentArguments
from nlp_ft.config import (
    DataArguments,
    FitArguments,
    FreezeArguments,
    HubArguments,
    LongTextArguments,
    LoraArguments,
    ModelArguments,
)
from nlp_ft.errors import ConfigError, DataError

if TYPE_CHECKING:
    from nlp_ft.baselines import Baseline
    from nlp_ft.data import TextData
    from nlp_ft.jobs import Settings
    from nlp_ft.report import RunReport


@dataclass(kw_only=True)
class TransferArguments:
    """Transfer: where the source knowledge comes from, and how its gain is measured."""

    source_file: list[str] | None = field(
        default=None,
        metadata={"help": "Labelled rows of a source domain to fine-tune on first; of several, each is a source."},
    )
    source_name_or_path: list[str] | None = field(
        default=None, metadata={"help": "Checkpoints already fine-tuned on a source, instead of its rows or besides."}
    )
    source_text_column_names: str | None = field(
        default=None, metadata={"help": "Text column of the source files, where it is not the target's."}
    )
    source_label_column_name: str | None = field(
        default=None, metadata={"help": "Label column of the source files, where it is not the target's."}
    )
    transfer_shots: list[int] = field(
        default_factory=lambda: [16, 64, 256],
        metadata={
            "help": "Also measures the gain on so many target rows each, with and without the source; 0: not at all. Several "
            "sources are ranked by it."
        },
    )

    def __post_init__(self) -> None:
        """Check the values. Raises: ConfigError."""
        if not self.source_file and not self.source_name_or_path:
            raise ConfigError("--source_file or --source_name_or_path is needed: what to transfer from.")
        if any(shots < 0 for shots in self.transfer_shots):
            raise ConfigError(f"--transfer_shots must be at least 0, got {min(self.transfer_shots)}.")
        self.transfer_shots = sorted({shots for shots in self.transfer_shots if shots})


ARGUMENTS = (
    ModelArguments,
    DataArguments,
    LongTextArguments,
    AugmentArguments,
    LoraArguments,
    FreezeArguments,
    FitArguments,
    HubArguments,
    TransferArguments,
)


def run(*arguments: Any, frames: Mapping[str, Any] | None = None) -> RunReport:
    """The sources' models, the gain at few target rows, the best source by validation, the target in full, the report.

    arguments, frames: as in `finetune.run`; frames are the target's. Augmentation and the flags for layers hold for the
    target alone.

    Raises: DataError if a text of the target's test split is among a source's training rows, unless --allow_leakage.
    """
    from nlp_ft import controls, jobs, preparing, training
    from nlp_ft.methods._transfer import measure, start_from
    from nlp_ft.report import say

    settings = jobs.Settings.of("transfer", arguments)
    data = jobs.read(settings, frames)
    sources = _sources(settings, data)
    scores, best = measure(settings, data, sources, settings.own.transfer_shots)
    preparing.start_afresh(settings.training)
    if len(sources) > 1:
        say(f"\nthe target in full, from {best}")
    chosen = replace(settings, model=start_from(settings, sources[best]))

    def fit_one(part: TextData, own: Settings, found: Mapping[str, float] | None) -> RunReport:
        twins: list[Baseline] = []
        if settings.fit.with_control and found is not None:
            job = jobs.make_job(part, replace(own, model=settings.model), brief=True)
            twins.append(controls.run_control(job, "target_only", "the target alone"))
        job = jobs.make_job(part, own, brief=found is None)
        job.title, job.doing = "transferred", f"Transfer from {best}"
        return training.fit(job, None if found is None else {**scores, **found}, twins)

    return jobs.publish(jobs.cross_validated(data, chosen, fit_one), settings)


def _sources(settings: Settings, data: TextData) -> dict[str, str]:
    """The directory of each source's model by its name; those that come as rows are fine-tuned first."""
    from nlp_ft import models
    from nlp_ft.report import say

    own: TransferArguments = settings.own
    found: dict[str, str] = {}
    for path in own.source_name_or_path or []:
        found[_free(Path(path).name, found)] = models.check_directory(path)
        say(f"source {path}: whether texts of the test split were among its training rows cannot be told")
    for file in own.source_file or []:
        name = _free(Path(file).parent.name if Path(file).stem == "train" else Path(file).stem, found)
        found[name] = str(_fit_source(settings, data, name, file))
    return found


def _free(name: str, taken: Mapping[str, str]) -> str:
    """The name, or with a number behind it."""
    name = name or "source"
    return name if name not in taken else f"{name}-{sum(other.startswith(name) for other in taken) + 1}"


def _fit_source(settings: Settings, target: TextData, name: str, file: str) -> Path:
    """Fine-tune on one source file, into `sources/<name>`, a run directory of its own; a finished one is taken as it is."""
    from nlp_ft import jobs, training
    from nlp_ft.crossval import arguments_for
    from nlp_ft.data import load_data
    from nlp_ft.report import say

    own: TransferArguments = settings.own
    directory = Path(str(settings.training.output_dir)) / "sources" / name
    arguments = replace(
        settings.data,
        train_file=[file],
        validation_file=None,
        test_file=None,
        dataset_name=None,
        num_folds=None,
        max_train_samples=None,
        text_column_names=own.source_text_column_names or settings.data.text_column_names,
        label_column_name=own.source_label_column_name or settings.data.label_column_name,
        problem_type=None if own.source_label_column_name else settings.data.problem_type,
    )
    say(f"\nsource {name}")
    data = load_data(arguments, seed=settings.training.seed)
    for note in data.notes:
        say(note)
    _refuse_leak(target, data, file, settings.data.allow_leakage)
    if (directory / "run.json").exists():
        say(f"{directory} is finished and taken as it is")
        return directory
    plain = replace(
        settings,
        data=arguments,
        augment=AugmentArguments(),
        freeze=FreezeArguments(),
        lora=replace(settings.lora, save_adapter_only=False),
        training=arguments_for(settings.training, directory),
    )
    training.fit(jobs.make_job(data, plain))
    return directory


def _refuse_leak(target: TextData, source: TextData, file: str, allow: bool) -> None:
    """A source that holds texts of the target's test split would show them to the model. Raises: DataError."""
    from nlp_ft.data import keys_of
    from nlp_ft.report import say

    shown = {*keys_of(source.train), *keys_of(source.validation)}
    places = [place for place, key in enumerate(keys_of(target.test)) if key in shown]
    if not places:
        return
    said = (
        f"{file}: {len(places)} of the {len(target.test)} test rows of the target are among its rows, the first "
        f"{str(target.test[places[0]]['text'])[:60]!r}"
    )
    if not allow:
        raise DataError(f"{said}; remove them from the source, or give --allow_leakage.")
    say(f"warning: {said}")
