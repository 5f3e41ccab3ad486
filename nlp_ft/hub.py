"""The model card: what the model is, how good it is beside its baselines, how to use it; with a model-index."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from huggingface_hub import EvalResult, ModelCardData

_TITLES = {
    "single_label_classification": "single-label classification",
    "multi_label_classification": "multi-label classification",
    "regression": "regression",
}


def write_card(directory: Path, facts: Mapping[str, Any]) -> None:
    """Write README.md; facts as `report` gathers them."""
    (directory / "README.md").write_text(card(directory.name, facts), encoding="utf-8")


def _base(facts: Mapping[str, Any]) -> str:
    """The checkpoint as a card may name it: a Hub name as it is, a local path by its last two parts."""
    name = facts["settings"]["model"]["model_name_or_path"]
    return name if not Path(name).is_dir() else "/".join(Path(name).resolve().parts[-2:])


def card(name: str, facts: Mapping[str, Any]) -> str:
    """The whole README.md: YAML metadata with model-index, then prose."""
    dataset = facts["settings"]["data"]["dataset_name"] or facts["fingerprint"]["sources"]["train"]
    hub_base = facts["settings"]["model"]["model_name_or_path"]
    results = [
        EvalResult(
            task_type="text-classification",
            dataset_type=facts["settings"]["data"]["dataset_name"] or "csv",
            dataset_name=str(dataset),
            dataset_split="test",
            metric_type=metric,
            metric_name=metric.replace("_", " "),
            metric_value=round(facts["metrics"][f"test_{metric}"], 4),
        )
        for metric in facts["shown"]
        if f"test_{metric}" in facts["metrics"]
    ]
    data = ModelCardData(
        library_name="transformers",
        pipeline_tag="text-classification",
        base_model=None if Path(hub_base).exists() else hub_base,
        datasets=[facts["settings"]["data"]["dataset_name"]] if facts["settings"]["data"]["dataset_name"] else None,
        tags=["nlp_ft", "text-classification"],
        model_name=name,
        eval_results=results,
    )
    return f"---\n{data.to_yaml()}\n---\n\n{_prose(name, facts, str(dataset))}"


def _prose(name: str, facts: Mapping[str, Any], dataset: str) -> str:
    training = facts["settings"]["training"]
    how = "LoRA adapters, merged" if facts["settings"]["lora"]["use_peft"] else "all weights"
    if facts["settings"]["lora"]["save_adapter_only"]:
        how = "LoRA adapter, not merged"
    rows = ", ".join(f"{facts['fingerprint']['rows'][s]} {s}" for s in ("train", "validation", "test"))
    labels = f"Labels: {', '.join(facts['labels'])}." if facts["labels"] else "One number a text."
    return f"""# {name}

A text classifier ({_TITLES[facts["problem_type"]]}), fine-tuned from `{_base(facts)}` on {dataset} with nlp_ft. {labels}

## How good it is

On the test split, beside what costs nothing:

{_table(facts)}

{facts["verdict"]}
{_per_class(facts)}
## How to use it

```python
from transformers import pipeline
pipeline("text-classification", model="{name}")("a text", truncation=True)

import nlp_ft
nlp_ft.load("{name}").predict(["a text"])
```

## How it was made

{how} trained; learning rate {training["learning_rate"]:g}, {training["num_train_epochs"]:g} epochs, \
{training["per_device_train_batch_size"]} rows a device and step, seed {training["seed"]}. Rows: {rows}. Every argument, \
the data's fingerprint and all metrics are in run.json.

Versions: {", ".join(f"{package} {version}" for package, version in facts["versions"].items())}.

## Limits

The figures hold for texts like those of the test split. Nothing is known of its bias on other groups or topics of text.
"""


def _table(facts: Mapping[str, Any]) -> str:
    metrics = facts["metrics"]
    shown = [m for m in facts["shown"] if f"test_{m}" in metrics]
    lines = ["| | " + " | ".join(shown) + " |", "|---|" + "---|" * len(shown)]
    own = {name: metrics[f"test_{name}"] for name in shown}
    for title, held in ((facts["title"], own), *facts["baselines"]):
        cells = [f"{held[name]:.3f}" if name in held else "-" for name in shown]
        lines.append(f"| {title} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def _per_class(facts: Mapping[str, Any]) -> str:
    if not facts["per_class"]:
        return ""
    rows = [
        f"| {row['label']} | {row['precision']:.3f} | {row['recall']:.3f} | {row['f1']:.3f} | {row['support']} |"
        for row in facts["per_class"]
    ]
    return "\n".join(["", "| label | precision | recall | F1 | rows |", "|---|---|---|---|---|", *rows, ""])
