"""The report of a run: tables, predictions and the model card."""

from __future__ import annotations

import csv
import dataclasses
import json
import shlex
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from datasets import Dataset

from nlp_ft.data import TextData, write_rejected
from nlp_ft.evaluation.baselines import Baseline
from nlp_ft.evaluation.confidence_intervals import intervals
from nlp_ft.evaluation.inference_config import InferenceConfig
from nlp_ft.evaluation.metrics import ClassScores, absent_note, compute_metrics, confusion_matrix, per_class_table
from nlp_ft.evaluation.probabilities import predicted, probabilities
from nlp_ft.evaluation.report.model_card import base_in_words, is_hub_name, write_card
from nlp_ft.evaluation.report.tables import format_confusion, format_per_class, format_table
from nlp_ft.models.adapters import loads_by_peft
from nlp_ft.utils import versions

_SHOWN = {
    "single_label_classification": ("accuracy", "f1_macro", "balanced_accuracy", "mcc", "auroc"),
    "multi_label_classification": ("f1_micro", "f1_macro", "subset_accuracy", "hamming_loss"),
    "regression": ("pearson", "spearman", "mae", "rmse", "r2"),
}


@dataclass
class RunReport:
    """Results of a run.

    `metrics`: as all_results.json has them; `test_logits`: (rows, classes), raw; `title`: its row in the table;
    `inference_config`: what `inference.json` says, by which test_predictions.csv answers as `load` will. `kept_step`: the
    update whose weights were kept, where it need not be the last. `held_out`: validation rows were not trained on.
    """

    output_dir: Path
    metrics: dict[str, float]
    verdict: str
    notes: list[str]
    settings: dict[str, Any]
    log_history: list[dict[str, float]] = field(default_factory=list)
    test_logits: np.ndarray = field(default_factory=lambda: np.empty((0, 0), np.float32))
    baselines: dict[str, Baseline] = field(default_factory=dict)
    title: str = "fine-tuned"
    inference_config: InferenceConfig = field(default_factory=InferenceConfig)
    kept_step: int | None = None
    held_out: bool = True


def write_report(report: RunReport, data: TextData) -> None:
    """Write the predictions, the rejected rows and the card into the output directory."""
    directory = report.output_dir
    logits = report.inference_config.applied(
        data.problem_type, report.test_logits, data.labels
    )  # as `load` will answer
    write_predictions(directory / "test_predictions.csv", data.test, logits, data.problem_type, data.labels)
    if data.rejected:
        write_rejected(directory / "rejected_rows.csv", data.rejected)
    write_card(directory, _card_facts(report, data))


def per_class(report: RunReport, data: TextData) -> list[ClassScores]:
    """Precision, recall, F1 and support of each class on the test rows."""
    return per_class_table(data.problem_type, report.test_logits, data.test["label"], data.labels)


def _card_facts(report: RunReport, data: TextData) -> dict[str, object]:
    return {
        "settings": report.settings,
        "metrics": report.metrics,
        "shown": _SHOWN[data.problem_type],
        "intervals": intervals(data.problem_type, report.test_logits, data.test["label"][:], data.labels),
        "notes": report.notes,
        "title": report.title,
        "baselines": [(baseline.title, baseline.metrics) for baseline in report.baselines.values()],
        "verdict": report.verdict,
        "labels": data.labels,
        "problem_type": data.problem_type,
        "fingerprint": data.fingerprint,
        "per_class": per_class(report, data),
        "versions": versions(),
        "log_history": report.log_history,
        "kept_step": report.kept_step,
        "text_pair": "text_pair" in data.test.column_names,
        "plain_peft": not report.settings["lora"]["save_adapter_only"] or loads_by_peft(report.output_dir),
    }


def write_predictions(path: Path, rows: Dataset, logits: np.ndarray, problem_type: str, labels: list[str]) -> None:
    """Write a CSV of text, label, prediction and a score column a class.

    Pairs have text_pair; multi-label names are joined by `;`.
    """
    scores = probabilities(problem_type, logits)
    chosen = predicted(problem_type, logits)
    pairs = ["text_pair"] if "text_pair" in rows.column_names else []
    heads = [f"score_{label}" for label in labels]
    part = path.with_name(path.name + ".part")
    with part.open("w", encoding="utf-8", newline="") as handle:
        writer = csv.writer(handle)
        writer.writerow(["text", *pairs, "label", "prediction", *heads])
        for i, row in enumerate(rows):
            assert isinstance(row, dict)
            cells = [f"{score:.6f}" for score in scores[i]] if labels else []
            texts = [row["text"], *(row[name] for name in pairs)]
            writer.writerow([*texts, named(row["label"], labels), named(chosen[i], labels), *cells])
    part.replace(path)


def named(value: Any, labels: list[str]) -> str:
    """A label as its file has it: a class name, names joined by `;`, or a number."""
    if not labels:
        return f"{float(value):.6g}"
    if np.ndim(value):
        return ";".join(label for label, on in zip(labels, value, strict=True) if on > 0.5)
    return labels[int(value)]


def describe(report: RunReport, data: TextData, *, silent: bool = False) -> str:
    """Format the report: metrics beside the baselines', classes, confusions.

    silent: the test metrics alone, in one line.
    """
    shown = [name for name in _SHOWN[data.problem_type] if f"test_{name}" in report.metrics]
    if silent:
        return "  test: " + ", ".join(f"{name} {report.metrics[f'test_{name}']:.3f}" for name in shown)
    rows = [["", *shown], [f"{report.title}, test", *(_cell(report.metrics[f"test_{name}"]) for name in shown)]]
    for source, count in _sources(data.test).items():
        cells = (_cell(report.metrics.get(f"test_{name}@{source}")) for name in shown)
        rows.append([f"  its {count} rows of {source}", *cells])
    if report.held_out:
        rows.append([f"{report.title}, validation", *(_cell(report.metrics.get(f"eval_{name}")) for name in shown)])
    if "cv_folds" in report.metrics:
        spreads = ((report.metrics.get(f"cv_{name}"), report.metrics.get(f"cv_{name}_std")) for name in shown)
        cells = ["-" if mean is None else f"{mean:.3f} \u00b1 {spread:.3f}" for mean, spread in spreads]
        rows.append([f"mean \u00b1 sd of {report.metrics['cv_folds']:.0f} folds", *cells])
    for baseline in report.baselines.values():
        rows.append([f"{baseline.title}, test", *(_cell(baseline.metrics.get(name)) for name in shown)])
    blocks = [format_table(rows)]
    if data.labels and report.held_out and (absent := absent_note(_supports(data.validation, data), "validation")):
        blocks.append(absent)
    if data.labels:
        blocks.append(format_per_class(per_class(report, data)))
    if data.problem_type == "single_label_classification":
        matrix = confusion_matrix(report.test_logits, data.test["label"], data.labels)
        blocks.append(format_confusion(matrix, data.labels))
    pair = ' --text_pair "..."' if "text_pair" in data.test.column_names else ""
    try_it = f'Try it: nlp-ft predict --model {shlex.quote(str(report.output_dir))} --text "..."{pair}'
    blocks.append(f"{report.verdict}\n{saved_line(report)}\n{try_it}")
    return "\n\n" + "\n\n".join(blocks)


def _supports(rows: Dataset, data: TextData) -> list[int]:
    """Rows of each class."""
    cells = np.asarray(rows["label"][:])
    counts = np.bincount(cells, minlength=len(data.labels)) if cells.ndim == 1 else (cells > 0).sum(axis=0)
    return counts.tolist()


def saved_line(report: RunReport, repeated: str = "logits") -> str:
    """A line on the saved and verified model.

    repeated: the outputs compared.
    """
    minutes = report.metrics.get("train_minutes")
    trained = "" if minutes is None else f"Trained in {minutes:.1f} minutes. "
    return f"{trained}Saved in {report.output_dir}, and checked: a fresh load repeats its {repeated}."


def base_model(name: str) -> tuple[str | None, str]:
    """Name the checkpoint that a card is based on.

    Returns: its name on the Hub, None for a local directory; and the name to show, in Markdown.
    """
    return (name if is_hub_name(name) else None), base_in_words(name)


def _sources(rows: Dataset) -> dict[str, int]:
    """Rows of each source, where the split has several."""
    counts = Counter(rows["source"]) if "source" in rows.column_names else Counter()
    return dict(counts) if len(counts) > 1 else {}


def source_metrics(rows: Dataset, logits: np.ndarray, problem_type: str, labels: list[str]) -> dict[str, float]:
    """Metrics by source of the test rows, such as `test_accuracy@movies`."""
    by_source = {}
    for source in _sources(rows):
        indices = [index for index, name in enumerate(rows["source"]) if name == source]
        cells = rows.select(indices)["label"][:]
        metrics = compute_metrics(problem_type, logits[indices], cells, labels)
        by_source |= {f"test_{name}@{source}": value for name, value in metrics.items()}
    return by_source


def _cell(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"


def settings_of(**groups: Any) -> dict[str, Any]:
    """Resolved arguments by group, as JSON can hold them, without tokens."""
    settings: dict[str, dict[str, object]] = {}
    for group, arguments in groups.items():
        held = arguments.to_dict() if hasattr(arguments, "to_dict") else dataclasses.asdict(arguments)
        settings[group] = {
            k: v for k, v in json.loads(json.dumps(held, default=str)).items() if not k.endswith("token")
        }
    return settings
