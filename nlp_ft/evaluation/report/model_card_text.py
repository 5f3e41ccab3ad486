"""The prose and the tables of a model card, below its metadata."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import PurePath
from typing import Any

from nlp_ft.evaluation.metrics import absent_note
from nlp_ft.evaluation.report.tables import score_cells
from nlp_ft.evaluation.report.usage import usage

_TITLES = {
    "single_label_classification": "single-label classification",
    "multi_label_classification": "multi-label classification",
    "regression": "regression",
}
_MOST_LABELS = 40

Facts = Mapping[str, Any]  # of a run, by name, most of them out of its run.json


def body(name: str, facts: Facts, base: str, dataset: str) -> str:
    """Everything below the metadata; base and dataset as a stranger may know them, base in Markdown."""
    labels = facts["labels"]
    more = f" and {len(labels) - _MOST_LABELS} more (config.json has all)" if len(labels) > _MOST_LABELS else ""
    trained = trained_for(facts.get("log_history", ()))
    made = f"fine-tuned from {base}" if trained else f"a head over {base}, fitted"
    answers = f"Labels: {', '.join(labels[:_MOST_LABELS])}{more}." if labels else "It answers one number a text."
    return f"""# {PurePath(name).name}

A text classifier ({_TITLES[facts["problem_type"]]}), {made} on {dataset} with nlp_ft. {answers}

## How good it is

On {facts["fingerprint"]["rows"]["test"]} test rows, beside what costs nothing; in brackets the 95% confidence interval:

{_table(facts)}
{_absent(facts)}
{facts["verdict"]}
{_per_class(facts)}{_calibration(facts["metrics"])}
## How to use it

{usage(name, facts)}
## What it was made of

{_data(facts)}
## How it was made

{_training(facts)}
Versions: {", ".join(f"{package} {version}" for package, version in facts["versions"].items())}.

## Limits

The figures hold for texts like those of the test split; the intervals say how far another such split might differ, and nothing
of texts from elsewhere. Nothing is known of its bias on other groups or topics of text. Plain transformers
cuts a text longer than the model reads; `nlp_ft.load` reads all of it, in windows.

## Licence

Chosen by whoever publishes this model (`license` above; where it is absent, none was granted). The terms of {base} and of the
training data hold beside it.
"""


def _table(facts: Facts) -> str:
    metrics, ranges = facts["metrics"], facts.get("intervals", {})
    shown = [m for m in facts["shown"] if f"test_{m}" in metrics]
    lines = ["| | " + " | ".join(shown) + " |", "|---|" + "---|" * len(shown)]
    cells = [_with_range(metrics[f"test_{name}"], name, ranges) for name in shown]
    lines.append(f"| {facts['title']} | " + " | ".join(cells) + " |")
    for title, held in facts["baselines"]:
        cells = [f"{held[name]:.3f}" if name in held else "-" for name in shown]
        lines.append(f"| {title} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def _with_range(value: float, name: str, ranges: Mapping[str, tuple[float, float] | None]) -> str:
    if name not in ranges:
        return f"{value:.3f}"
    interval = ranges[name]
    return (
        f"{value:.3f} [cannot be told]" if interval is None else f"{value:.3f} [{interval[0]:.3f}, {interval[1]:.3f}]"
    )


def _absent(facts: Facts) -> str:
    note = absent_note([row["support"] for row in facts["per_class"]])
    return f"\n{note}\n" if note else ""


def _per_class(facts: Facts) -> str:
    if not facts["per_class"]:
        return ""
    rows = [
        f"| {_cell(row['label'])} | {' | '.join(score_cells(row))} | {row['support']} |" for row in facts["per_class"]
    ]
    return "\n".join(["", "| label | precision | recall | F1 | rows |", "|---|---|---|---|---|", *rows, ""])


def _cell(text: object) -> str:
    return str(text).replace("|", "\\|").replace("\n", " ")


def _calibration(metrics: Mapping[str, float]) -> str:
    """The calibration error, where the run measured it."""
    if "test_ece" not in metrics:
        return ""
    before = metrics.get("test_ece_before")
    was = "" if before is None else f", {before:.3f} before it"
    return f"""
Calibration: the expected calibration error on the test split is {metrics["test_ece"]:.3f} with the temperature or thresholds of
inference.json{was}. `nlp_ft.load` applies them; plain transformers does not.
"""


def _data(facts: Facts) -> str:
    """Splits, their sizes and fingerprints, and what the check of the data found."""
    record, splits = facts["fingerprint"], ("train", "validation", "test")
    lines = ["| split | rows | sha256 of its rows | classes |", "|---|---|---|---|"]
    for split in splits:
        counts = list(record.get("classes", {}).get(split, {}).items())
        classes = ", ".join(f"{_cell(label)} {count}" for label, count in counts[:8]) + (
            ", ..." if len(counts) > 8 else ""
        )
        lines.append(f"| {split} | {record['rows'][split]} | `{record['sha256'][split][:16]}` | {classes} |")
    warnings = [note for note in facts.get("notes", ()) if getattr(note, "topic", "") in ("data check", "warning")]
    left_out = sum(record.get("left_out", {}).get("rejected", {}).values())
    warnings += [f"{left_out} rows were unreadable and left out."] if left_out else []
    return "\n".join([*lines, "", *(f"- {note}" for note in warnings), *([""] if warnings else [])])


def _training(facts: Facts) -> str:
    settings = facts["settings"]
    method, training = settings.get("method", {}).get("name", "finetune"), settings["training"]
    rest = "Every argument, the data's fingerprint and all metrics are in run.json.\n\n"
    length = trained_for(facts.get("log_history", ()), facts.get("kept_step"))
    if not length:
        return f"Method: {method}; the head alone was fitted. Seed {training['seed']}. {rest}"
    rows = training["per_device_train_batch_size"] * training["gradient_accumulation_steps"]
    return f"""Method: {method}; {_trained_weights(settings)}. Learning rate {training["learning_rate"]:g} \
({_plain(training["lr_scheduler_type"])}, warm-up {training["warmup_steps"]:g}), {length}, {rows} rows a device and update, \
optimizer {_plain(training["optim"])}, weight decay {training["weight_decay"]:g}, seed {training["seed"]}. {rest}"""


def _trained_weights(settings: Mapping[str, Any]) -> str:
    """Which weights were trained."""
    lora = settings["lora"]
    frozen = settings.get("freeze", {}).get("freeze_layers")
    but = "" if frozen is None else f" but what is frozen (--freeze_layers {frozen})"
    if not lora["use_peft"]:
        return f"all weights{but}"
    return f"LoRA adapters of rank {lora['lora_r']}{but}, {'not merged' if lora['save_adapter_only'] else 'merged'}"


def trained_for(log_history: Iterable[Mapping[str, Any]], kept_step: int | None = None) -> str:
    """Epochs and updates that a run really made, by its log; "" where it made none.

    kept_step: the update whose weights were kept, where it need not be the last.
    """
    last = max(log_history, key=lambda entry: entry.get("step") or 0, default={})
    steps = last.get("step") or 0
    if not steps:
        return ""
    epochs = f"{last.get('epoch') or 0:.3g}"
    kept = f", of which update {kept_step} was kept" if kept_step and kept_step < steps else ""
    return f"{epochs} epoch{'' if epochs == '1' else 's'} ({steps} update{'' if steps == 1 else 's'}{kept})"


def _plain(value: object) -> str:
    return str(getattr(value, "value", value))
