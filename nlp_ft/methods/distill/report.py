"""Compare student and teacher: metrics, agreement, size and speed."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
from accelerate import PartialState

from nlp_ft.data import TextData, texts_or_pairs
from nlp_ft.evaluation.probabilities import MULTI, REGRESSION, SINGLE, predicted
from nlp_ft.inference.classifier import Classifier
from nlp_ft.inference.load import load
from nlp_ft.methods.distill.arguments import DistillArguments
from nlp_ft.models.classifier import count_parameters
from nlp_ft.training.run_report import RunReport
from nlp_ft.training.settings import Settings

# Metrics for the ratio student / teacher: those whose zero is chance level or no correlation.
_RETAINED = {
    SINGLE: {"accuracy": "accuracy", "f1_macro": "macro-F1"},
    MULTI: {"f1_micro": "micro-F1", "f1_macro": "macro-F1"},
    REGRESSION: {"pearson": "Pearson r"},
}
BATCHES = (1, 32)
_PASSES = 5  # of each model, in turn; their median is robust to other processes
_SECONDS = 2.0  # longest pass of the slower model
_TEXTS = {1: 64, 32: 256}


def agreement(problem_type: str, student: np.ndarray, teacher: np.ndarray) -> float:
    """Share of rows with equal predictions; regression: Pearson correlation.

    Multi-label predictions are equal if all labels are. student, teacher: logits (rows, classes).
    """
    ours, theirs = predicted(problem_type, student), predicted(problem_type, teacher)
    if problem_type == REGRESSION:
        flat = np.ptp(ours) == 0 or np.ptp(theirs) == 0
        return 0.0 if flat else float(np.corrcoef(ours, theirs)[0, 1])
    same = ours == theirs
    return float((same.all(axis=1) if same.ndim > 1 else same).mean())


def retention(problem_type: str, student: Mapping[str, float], teacher: Mapping[str, float]) -> dict[str, float]:
    """Ratio student / teacher by metric, without metrics that are 0 for the teacher."""
    return {name: student[f"test_{name}"] / teacher[name] for name in _RETAINED[problem_type] if teacher[name] > 0}


def seconds_per_text(
    models: Sequence[Classifier], texts: Sequence[str | tuple[str, str]], batch_size: int
) -> list[float]:
    """Median seconds per text of each model, with tokenization, after a warm-up."""

    def seconds(model: Classifier, sample: Sequence[str | tuple[str, str]]) -> float:
        started = time.perf_counter()
        model.logits(sample, batch_size)
        return (time.perf_counter() - started) / len(sample)

    warm_up = texts[:batch_size]
    for model in models:
        model.logits(warm_up, batch_size)
    slowest = max(seconds(model, warm_up) for model in models)
    limit = max(batch_size, int(_SECONDS / max(slowest, 1e-9)))
    sample = texts[: min(_TEXTS[batch_size], limit)]
    passes = [[seconds(model, sample) for model in models] for _ in range(_PASSES)]
    return [statistics.median(times) for times in zip(*passes, strict=True)]


def costs(
    student: Classifier, teacher: Classifier, directory: Path, texts: Sequence[str | tuple[str, str]]
) -> dict[str, float]:
    """Measure size and milliseconds per text of both models as `distill_*`.

    directory: of the saved student; the files at its root count. The megabytes of the teacher are those of its weights.
    """
    metrics: dict[str, float] = {}
    for name, classifier in (("student", student), ("teacher", teacher)):
        metrics[f"distill_{name}_parameters"] = count_parameters(classifier.model)[1]
        weights = {tensor.data_ptr(): tensor.nbytes for tensor in classifier.model.state_dict().values()}
        metrics[f"distill_{name}_weights_mb"] = sum(weights.values()) / 1e6
    metrics["distill_student_directory_mb"] = sum(p.stat().st_size for p in directory.iterdir() if p.is_file()) / 1e6
    for size in BATCHES:
        ours, theirs = seconds_per_text([student, teacher], texts, size)
        metrics |= {
            f"distill_student_ms_batch_{size}": ours * 1e3,
            f"distill_teacher_ms_batch_{size}": theirs * 1e3,
            f"distill_speedup_batch_{size}": theirs / ours,
        }
    return metrics


def sentences(problem_type: str, metrics: Mapping[str, float]) -> list[str]:
    """Describe the metrics in sentences; speed only if it was measured."""
    kept = " and ".join(
        f"{metrics[f'distill_retention_{name}']:.1%} of its {title}"
        for name, title in _RETAINED[problem_type].items()
        if f"distill_retention_{name}" in metrics
    ).replace("its", "the teacher's", 1)
    alike = metrics["distill_agreement"]
    agreed = f"{alike:.1%} of the test rows have the prediction of the teacher"
    if problem_type == REGRESSION:
        agreed = f"its values correlate with the teacher's at {alike:.3f}"
    lines = [f"The student keeps {kept}; {agreed}." if kept else f"{agreed[0].upper()}{agreed[1:]}."]
    if "distill_speedup_batch_1" in metrics:
        shares = [f"{metrics[f'distill_{name}_parameters']:,}" for name in ("student", "teacher")]
        sizes = [f"{metrics[f'distill_{name}_weights_mb']:.1f}" for name in ("student", "teacher")]
        lines.append(
            f"It has {shares[0]} parameters ({sizes[0]} MB of weights, {metrics['distill_student_directory_mb']:.1f} MB on "
            f"disk) against {shares[1]} ({sizes[1]} MB)."
        )
        times = [
            f"{metrics[f'distill_speedup_batch_{size}']:.2f} times as fast {condition} "
            f"({metrics[f'distill_student_ms_batch_{size}']:.2f} against "
            f"{metrics[f'distill_teacher_ms_batch_{size}']:.2f} ms per text)"
            for size, condition in zip(BATCHES, ("on one text at a time", "in batches of 32"), strict=True)
        ]
        lines.append(f"It is {' and '.join(times)}.")
    return lines


def comparison(
    data: TextData, settings: Settings[DistillArguments]
) -> Callable[[RunReport], tuple[dict[str, float], list[str]]]:
    """Return what `training.fit.finish` measures: the student beside the teacher."""

    def measure(report: RunReport) -> tuple[dict[str, float], list[str]]:
        teacher, name = report.baselines["teacher"], settings.method_arguments.teacher_name_or_path
        kept = retention(data.problem_type, report.metrics, teacher.metrics)
        metrics = {f"distill_retention_{metric}": share for metric, share in kept.items()}
        metrics["distill_agreement"] = agreement(data.problem_type, report.test_logits, teacher.logits)
        if PartialState().is_main_process:
            student, original = (load(path, device=settings.training.device) for path in (report.output_dir, name))
            metrics |= costs(student, original, report.output_dir, texts_or_pairs(data.test))
        lines = sentences(data.problem_type, metrics)
        if not settings.fit.with_control:
            lines.append(
                "The gain from the teacher over the labels alone was not measured: --with_control also trains the same "
                "student without it."
            )
        return metrics, lines

    return measure
