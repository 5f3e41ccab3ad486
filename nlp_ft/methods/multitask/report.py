"""Save and report each task, the shared body, and the single-task controls."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
from accelerate import PartialState

from nlp_ft.evaluation.baselines import Baseline, compare
from nlp_ft.evaluation.metrics import MULTI, REGRESSION, selection_score
from nlp_ft.evaluation.report.tables import format_table
from nlp_ft.methods.multitask.data import TableRow, Task, task_scores
from nlp_ft.methods.multitask.job import Group
from nlp_ft.methods.multitask.shared_encoder import save_body
from nlp_ft.models import classifier
from nlp_ft.training import controls, hyperparameters
from nlp_ft.training.fit import Fitted, finish
from nlp_ft.training.job import make_job
from nlp_ft.training.run import complete, rows_per_update
from nlp_ft.training.run_report import RunReport
from nlp_ft.utils import log

_FEWEST_ROWS = 30  # below this the resampled error of a difference says little


def report_tasks(group: Group, fitted: Fitted) -> RunReport:
    """Save and report every task, the body, the table and run.json at the root.

    --with_control first trains each task alone, to compare with.
    """
    job, output = group.job, Path(str(group.job.training.output_dir))
    single_task_runs = (
        {task.name: _run_single_task(group, number) for number, task in enumerate(group.tasks)}
        if job.fit.with_control
        else {}
    )
    group.adapted = classifier.merged(group.adapted)  # takes the adapters of all classifiers into their common body
    metrics, verdicts, rows = dict(fitted.metrics), [], []
    for number, task in enumerate(group.tasks):
        log(f"\n== task {task.name}")
        single_task = single_task_runs.get(task.name)
        report = _finish_task(group, number, fitted, [] if single_task is None else [single_task])
        for name, score in shown_scores(task).items():
            rows.append(_compared(task, name, score, report, single_task))
        metrics |= {f"{task.name}_{k}": v for k, v in report.metrics.items() if k.startswith(("baseline_", "control_"))}
        verdicts += [] if single_task is None else [gained(next(row for row in rows if row["task"] == task.name))]
    for row in rows:
        if "difference" in row:
            metrics |= {f"gain_{row['task']}_{row['metric']}": row["difference"]}
            metrics |= {f"gain_{row['task']}_{row['metric']}_error": row["error"]}
    report = RunReport(
        output_dir=output,
        metrics=metrics,
        verdict="\n".join(verdicts)
        or "What learning together bought: --with_control trains each task alone, too, at the cost of another run.",
        notes=job.notes,
        settings=job.settings,
        log_history=fitted.log_history,
        test_logits=fitted.logits["test"],
        title="multi-task",
    )
    if PartialState().is_main_process:
        save_body(group, output / "body", rows)
        complete(
            report,
            job.explicit,
            tasks={task.name: task.data.fingerprint for task in group.tasks},
            rows_seen=dict(zip((task.name for task in group.tasks), rows_seen(group), strict=True)),
            table=rows,
        )
    PartialState().wait_for_everyone()
    log(
        f"\n{table(rows)}\n\n{report.verdict}\nA directory for each task, and body, the encoder alone, are in {output}."
    )
    return report


def task_logits(group: Group, number: int, fitted: Fitted, split: str) -> np.ndarray:
    """Logits of one task's rows of a split, in their order: (rows, its outputs)."""
    sizes = [len(task.splits[split]) for task in group.tasks]
    start = sum(sizes[:number])
    return fitted.logits[split][start : start + sizes[number], : group.tasks[number].kind.outputs]


def _finish_task(group: Group, number: int, fitted: Fitted, single_task_runs: list[Baseline]) -> RunReport:
    """Save one task as an ordinary run directory, named after it."""
    task, job = group.tasks[number], group.job
    args = copy.copy(job.training)
    args.output_dir = str(Path(str(args.output_dir)) / task.name)
    logits = {split: task_logits(group, number, fitted, split) for split in ("validation", "test")}
    metrics = {name: value for name, value in fitted.metrics.items() if name.startswith("train_")}
    for prefix, split in (("eval", "validation"), ("test", "test")):
        scores = task_scores(task, logits[split], np.asarray(getattr(task.data, split)["label"][:]))
        metrics |= {f"{prefix}_{name}": value for name, value in scores.items()}
    task_job = replace(
        job,
        model=task.model,
        data=task.data,
        splits=task.splits,
        max_seq_length=task.limit,
        loss=task.loss,
        training=args,
        fit=task.settings.fit,
        settings=task.settings.to_dict(args),
        notes=[*task.data.notes, *task.notes, *job.notes],
        title="multi-task",
        doing="Multi-task training",
    )
    return finish(
        task_job,
        Fitted(task.model, logits, metrics, fitted.log_history, kept_step=fitted.kept_step),
        controls=single_task_runs,
    )


def _run_single_task(group: Group, number: int) -> Baseline:
    """Train one task alone, with the same settings and as many of its rows."""
    task, job = group.tasks[number], group.job
    args = copy.copy(job.training)
    epochs = rows_seen(group)[number] / len(task.splits["train"])
    args.output_dir = str(Path(str(args.output_dir)) / task.name)
    args.num_train_epochs, args.max_steps = epochs, -1
    hyperparameters.adapt_to_problem(args, task.data.problem_type)
    if args.warmup_steps >= 1:
        args.warmup_steps *= rows_seen(group)[number] / sum(rows_seen(group))
    log(f"\ncontrol: task {task.name} alone, {epochs:.4g} epochs")
    settings = replace(task.settings, training=args, explicit=None)
    return controls.run_control(make_job(task.data, settings, silent=True), "single_task", "the task alone")


def rows_seen(group: Group) -> list[float]:
    """Count the rows of each task over the whole run, with repetitions."""
    args = group.job.training
    epochs = float(args.num_train_epochs)
    if args.max_steps > 0:
        epochs = args.max_steps * rows_per_update(args) / len(group.sampler)
    counts = np.zeros(len(group.tasks))
    for epoch in range(math.ceil(epochs)):
        counts += min(1.0, epochs - epoch) * np.asarray(group.sampler.counts(epoch))
    return counts.tolist()


def shown_scores(task: Task) -> dict[str, Callable[[np.ndarray, np.ndarray], float]]:
    """Metrics of the table by name, the selection metric first.

    Each is a function of predictions and labels; greater is better.
    """
    kind = task.data.problem_type

    def selected(predictions: np.ndarray, labels: np.ndarray) -> float:
        return selection_score(kind, predictions, labels, task.kind.outputs)

    if kind == REGRESSION:
        return {"r2": _r2, "pearson": _pearson}
    return {"f1_micro": selected} if kind == MULTI else {"f1_macro": selected, "accuracy": _accuracy}


def _accuracy(predictions: np.ndarray, labels: np.ndarray) -> float:
    return float((predictions == labels).mean())


def _r2(predictions: np.ndarray, labels: np.ndarray) -> float:
    spread = np.var(labels)
    return float(1 - np.mean((predictions - labels) ** 2) / spread) if spread else math.nan


def _pearson(predictions: np.ndarray, labels: np.ndarray) -> float:
    both = np.std(predictions) * np.std(labels)
    return float(np.mean((predictions - predictions.mean()) * (labels - labels.mean())) / both) if both else 0.0


def _compared(
    task: Task,
    name: str,
    score: Callable[[np.ndarray, np.ndarray], float],
    report: RunReport,
    single_task: Baseline | None,
) -> TableRow:
    """Make a row of the table: a metric of the task, here and trained alone.

    With the difference of the two and its paired bootstrap standard error.
    """
    row: TableRow = {"task": task.name, "metric": name, "rows": len(task.data.test)}
    row["multi-task"] = report.metrics.get(f"test_{name}")
    if single_task is not None and row["multi-task"] is not None:
        labels = np.asarray(task.data.test["label"][:])
        ours, theirs, error = compare(task.data.problem_type, report.test_logits, single_task.logits, labels, score)
        row |= {"alone": theirs, "difference": ours - theirs, "error": error}
    return row


def gained(row: TableRow) -> str:
    """Describe the gain or loss of a task in one sentence.

    A difference counts when it is more than two standard errors.
    """
    name = row["task"]
    if row["rows"] < _FEWEST_ROWS or "difference" not in row:
        return f"{name}: too few test rows ({row['rows']}) to say what learning together bought."
    difference, error = row["difference"], row["error"]
    figures = (
        f"{row['metric']} {row['multi-task']:.3f} against {row['alone']:.3f} alone; one standard error of the difference on "
        f"{row['rows']} rows is {error:.3f}"
    )
    if abs(difference) <= 2 * error:
        return f"{name}: nothing told from chance ({figures})."
    return f"{name}: {'gained' if difference > 0 else 'lost'} {abs(difference):.3f} ({figures})."


def table(rows: list[TableRow]) -> str:
    """Format the test metrics of all tasks, beside those of the controls if any."""
    heads = ["task", "metric", "multi-task", *(["alone", "difference"] if any("alone" in row for row in rows) else [])]
    lines = [heads]
    for row in rows:
        cells = [row["task"], row["metric"], "-" if row["multi-task"] is None else f"{row['multi-task']:.3f}"]
        if len(heads) > len(cells):
            has_control = "alone" in row
            cells.append(f"{row['alone']:.3f}" if has_control else "-")
            cells.append(f"{row['difference']:+.3f} \u00b1 {row['error']:.3f}" if has_control else "-")
        lines.append(cells)
    return format_table(lines, left=2)
