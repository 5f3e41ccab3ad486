"""Steps of an `nlp-ft fewshot` run."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
from datasets import Dataset, concatenate_datasets

from nlp_ft.data import TextData, load_data, sampled
from nlp_ft.errors import ConfigError, DataError
from nlp_ft.hub.push import push_if_asked
from nlp_ft.methods.fewshot import checks, select, zero_shot
from nlp_ft.methods.fewshot.arguments import SLOT, FewshotArguments
from nlp_ft.training import controls, fit
from nlp_ft.training.job import load, read
from nlp_ft.training.run import claim_directory
from nlp_ft.training.run_report import RunReport
from nlp_ft.training.settings import Settings
from nlp_ft.training.setup import label_counts
from nlp_ft.utils import log

_TEMPLATE = "This sentence is {label}."  # SetFit's


def run(*arguments: object, frames: Mapping[str, object] | None = None) -> RunReport:
    """Read the rows, choose an approach, train it and the controls, and report.

    With --labels the head is made of the labels' names instead, and nothing is trained.

    arguments: as `flags.parse(*ARGUMENTS)` returns them. frames: a data frame for train, validation or test.

    Without validation rows of the user's own everything is trained on: the training rows stand for validation, nothing is
    chosen by them, and the number of epochs is fixed. The test rows never choose anything.
    """
    settings = Settings.of("fewshot", arguments, FewshotArguments)
    frames = dict(frames or {})
    if settings.method_arguments.labels is not None:
        return _zero_shot(settings, frames)
    checks.check(settings, frames)
    data, selects = _rows(settings, frames)
    if settings.fit.early_stopping_patience is not None and not selects:
        raise ConfigError("--early_stopping_patience needs a --validation_file; no other rows may stop the training.")
    approach, notes, scores = settings.method_arguments.approach, [], {}
    if approach == "auto":
        approach, notes, scores = select.choose(data, settings, selects)
    others = [a for a in select.TITLES if a != approach and (a == "frozen" or settings.fit.with_control)]
    control_runs = [
        controls.run_control(
            select.job_for(a, data, settings, selects=selects, silent=True), a, select.title(a, settings)
        )
        for a in others
    ]
    job = select.job_for(approach, data, settings, selects=selects)
    job.notes += notes
    job.held_out = selects
    return push_if_asked(fit.fit(job, scores, control_runs), settings)


def _rows(settings: Settings[FewshotArguments], frames: Mapping[str, object]) -> tuple[TextData, bool]:
    """Read the data, draw the shots and add the templates.

    Returns: the data, and whether validation rows of the user's own may choose a checkpoint.
    """
    data = _read(settings, frames)
    logged, selects = len(data.notes), "validation" in data.given
    if not selects:  # some of the few rows were split off, and go back
        data = _with_train(data, concatenate_datasets([data.train, data.validation]), "with validation")
        if (most := settings.data.max_train_samples) is not None:
            data = _with_train(data, sampled(data, most, settings.training.seed).train, f"{most} of them")
    if settings.method_arguments.shots is not None:
        data = _draw_shots(data, settings.method_arguments.shots, settings.training.seed)
    if not selects:
        note = (
            f"validation: there is no file of it, so all {len(data.train)} rows are trained on, and stand for it: nothing is "
            "chosen by them, and their figures mean nothing"
        )
        data = replace(data, validation=data.train, notes=[*data.notes, note])
    if settings.method_arguments.templates is not None:
        data = _add_templates(data, settings.method_arguments.templates)
    log(*data.notes[logged:])
    return data, selects


def _read(settings: Settings[FewshotArguments], frames: Mapping[str, object]) -> TextData:
    """Read the data; rows too few to split validation off are all for training."""
    files = settings.data
    try:
        return read(settings, frames)
    except DataError:
        if files.validation_file is not None or files.dataset_name is not None or "validation" in frames:
            raise
    return load(settings, frames, split_off=("test",))  # what else is wrong is raised again


def _with_train(data: TextData, train: Dataset, change: str) -> TextData:
    """Replace the training rows, and change the fingerprint accordingly."""
    changed = replace(data, train=train)
    record = dict(data.fingerprint)
    record["rows"] = {**record["rows"], "train": len(train)}
    record["sha256"] = {**record["sha256"], "train": f"{record['sha256']['train']} {change}"}
    if data.labels:
        counts = dict(zip(data.labels, label_counts(changed), strict=True))
        record["classes"] = {**record["classes"], "train": counts}
    return replace(changed, fingerprint=record)


def _draw_shots(data: TextData, shots: int, seed: int) -> TextData:
    """Draw `shots` training rows of each class.

    Of multi-label rows as few are drawn as give each label that many. Raises: ConfigError for a regression.
    """
    if not data.labels:
        raise ConfigError("--shots draws rows of each class, and a regression has none; use --max_train_samples.")
    cells = np.asarray(data.train["label"][:])
    cells = np.eye(len(data.labels), dtype=bool)[cells] if cells.ndim == 1 else cells > 0
    order = np.random.default_rng(seed).permutation(len(cells))
    drawn = np.zeros(len(cells), dtype=bool)
    for label in np.argsort(cells.sum(axis=0), kind="stable"):  # the rarest first: its rows may carry others, too
        lacking = max(0, shots - int((cells[:, label] & drawn).sum()))
        drawn[[row for row in order if cells[row, label] and not drawn[row]][:lacking]] = True
    train = data.train.select(np.flatnonzero(drawn))
    few = [name for name, count in zip(data.labels, cells.sum(axis=0), strict=True) if count < shots]
    tail = f"; there are fewer of {', '.join(few)}" if few else ""
    note = f"train: {shots} rows a class, {len(train)} of {len(cells)} in all (--shots, seed {seed}){tail}"
    data = _with_train(data, train, f"{shots} shots, seed {seed}")
    return replace(data, notes=[*data.notes, note])


def _sentences(labels: list[str], templates: list[str]) -> list[tuple[str, int]]:
    """Put each label's name into each template; with the label's number."""
    return [
        (template.replace(SLOT, name.replace("_", " ")), number)
        for template in templates
        for number, name in enumerate(labels)
    ]


def _add_templates(data: TextData, templates: list[str]) -> TextData:
    """Add a training row for each template and label.

    Raises: ConfigError for regressions and pairs of texts.
    """
    if not data.labels:
        raise ConfigError("--templates put the names of classes in, and a regression has none; leave them out.")
    if "text_pair" in data.train.column_names:
        raise ConfigError("--templates are single texts, and these rows are pairs; leave them out.")
    made = _sentences(data.labels, templates)
    multi = data.problem_type == "multi_label_classification"
    cells = [[float(k == n) for k in range(len(data.labels))] if multi else n for _, n in made]
    columns = {name: [None] * len(made) for name in data.train.column_names}
    columns |= {"text": [text for text, _ in made], "label": cells}
    rows = Dataset.from_dict(columns, features=data.train.features)
    note = f"train: {len(made)} rows made of {len(templates)} templates (--templates)"
    data = _with_train(data, concatenate_datasets([data.train, rows]), f"and templates {templates}")
    return replace(data, notes=[*data.notes, note])


def _zero_shot(settings: Settings[FewshotArguments], frames: Mapping[str, object]) -> RunReport:
    """Make a head of the labels' names, and save it.

    It is evaluated where there are test rows. Raises: ConfigError.
    """
    checks.check_zero_shot(settings, frames)
    fewshot, files = settings.method_arguments, settings.data
    assert fewshot.labels is not None
    text, label = files.text_column_names or "text", files.label_column_name or "label"
    sentences = _sentences(fewshot.labels, fewshot.templates or [_TEMPLATE])
    made = [{text: sentence, label: fewshot.labels[n]} for sentence, n in sentences]
    has_test_rows = files.test_file is not None or "test" in frames
    columns = replace(files, problem_type="single_label_classification", allow_leakage=True)
    claim_directory(settings.training, settings.explicit)
    data = load_data(columns, settings.training.seed, {**frames, "train": made}, split_off=())
    log(*data.notes)
    job = zero_shot.zero_shot_job(data, settings, has_test_rows)
    fitted = zero_shot.without_validation(fit.train(job))
    return push_if_asked(fit.finish(job, fitted) if has_test_rows else zero_shot.save_unmeasured(job, fitted), settings)
