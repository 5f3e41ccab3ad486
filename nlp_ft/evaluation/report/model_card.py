"""The model card and its metadata.

The card describes the model, its quality with intervals, its data and its use.
"""

from __future__ import annotations

from pathlib import Path, PurePath
from typing import Any

import yaml
from huggingface_hub import EvalResult, EvalResultEntry, ModelCard, ModelCardData, eval_result_entries_to_yaml

from nlp_ft.evaluation.report.model_card_text import Facts, body

# What the Hub calls a metric, what a reader does, and what tells it from others of the same kind.
METRICS: dict[str, tuple[str, str, dict[str, str]]] = {
    "accuracy": ("accuracy", "accuracy", {}),
    "f1_macro": ("f1", "F1 (macro)", {"average": "macro"}),
    "f1_micro": ("f1", "F1 (micro)", {"average": "micro"}),
    "balanced_accuracy": ("balanced_accuracy", "balanced accuracy", {}),
    "mcc": ("matthews_correlation", "Matthews correlation", {}),
    "auroc": ("roc_auc", "AUROC", {}),
    "subset_accuracy": ("accuracy", "subset accuracy", {}),
    "hamming_loss": ("hamming_loss", "Hamming loss", {}),
    "pearson": ("pearsonr", "Pearson correlation", {}),
    "spearman": ("spearmanr", "Spearman correlation", {}),
    "mae": ("mae", "mean absolute error", {}),
    "rmse": ("mse", "root mean squared error", {"squared": "false"}),
    "r2": ("r_squared", "R squared", {}),
}
_EVAL_RESULTS = Path(".eval_results") / "nlp_ft.yaml"


def write_card(directory: Path, facts: Facts) -> None:
    """Write README.md, and the evaluation results for the Hub.

    The latter, `.eval_results/nlp_ft.yaml`, only where the test rows are a dataset of the Hub.

    facts: as `report` gathers them.
    """
    (directory / "README.md").write_text(card(directory.name, facts), encoding="utf-8")
    if (entry := eval_entry(facts)) is not None:
        path = directory / _EVAL_RESULTS
        path.parent.mkdir(exist_ok=True)
        path.write_text(yaml.safe_dump(eval_result_entries_to_yaml([entry]), sort_keys=False), encoding="utf-8")


def card(name: str, facts: Facts) -> str:
    """The whole README.md: metadata with model-index, then prose.

    name: how its examples call the model; a local directory's until it is pushed.
    """
    model, hub_dataset = facts["settings"]["model"]["model_name_or_path"], facts["settings"]["data"]["dataset_name"]
    on_hub = not _is_local(model)
    alone = facts["settings"]["lora"]["save_adapter_only"]
    data = ModelCardData(
        library_name="peft" if alone else "transformers",
        pipeline_tag="text-classification",
        base_model=model if on_hub else None,
        base_model_relation=("adapter" if alone else "finetune") if on_hub else None,
        datasets=[hub_dataset] if hub_dataset else None,
        metrics=sorted({METRICS[metric][0] for metric in _shown(facts)}),
        tags=["nlp_ft", "text-classification", facts["problem_type"].replace("_", "-")],
        model_name=PurePath(name).name,
        eval_results=_results(facts),
    )
    base = model if on_hub else "/".join(Path(model).expanduser().resolve().parts[-2:])
    return f"---\n{data.to_yaml()}\n---\n\n{body(name, facts, base, dataset_name(facts))}"


def bare_card(name: str, labels: list[str], problem_type: str) -> str:
    """A card of a model of which nothing more is known than its own configuration."""
    data = ModelCardData(library_name="transformers", pipeline_tag="text-classification", tags=["nlp_ft"])
    kind = problem_type.replace("_", " ")
    named = f" Labels: {', '.join(labels)}." if labels else ""
    return (
        f"---\n{data.to_yaml()}\n---\n\n# {PurePath(name).name}\n\nA text classifier ({kind}).{named} Its training and quality "
        f'were not recorded.\n\n```python\nimport nlp_ft\nnlp_ft.load("{name}").predict(["a text"])\n```\n'
    )


def renamed(text: str, old: str, new: str, licence: str | None = None) -> str:
    """A card whose examples call the model by its name on the Hub.

    What its user wrote into it stays.

    licence: set in its metadata where given. Raises: ValueError for metadata that the Hub would refuse.
    """
    text = text.replace(f'"{old}"', f'"{new}"').replace(f"/models/{old} ", f"/models/{new} ")
    edited: Any = ModelCard(text)
    if edited.data.model_name == old:
        edited.data.model_name = PurePath(new).name
    if licence:
        edited.data.license = licence
    return edited.content


def eval_entry(facts: Facts) -> EvalResultEntry | None:
    """The first metric shown, as an entry of a leaderboard on the Hub.

    The leaderboard is that of the dataset that the test rows are of; None where they are of no such dataset.
    """
    data = facts["settings"]["data"]
    shown = _shown(facts)
    if not data["dataset_name"] or "/" not in data["dataset_name"] or not shown:
        return None
    return EvalResultEntry(
        dataset_id=data["dataset_name"],
        task_id=data.get("dataset_config_name") or "default",
        value=round(facts["metrics"][f"test_{shown[0]}"], 6),
        notes=f"{METRICS[shown[0]][1]} on {facts['fingerprint']['rows']['test']} rows of split test; nlp_ft",
    )


def dataset_name(facts: Facts) -> str:
    """The dataset as a card may name it.

    Its name on the Hub, or that of the file, without its directories.
    """
    named = facts["settings"]["data"]["dataset_name"] or facts["fingerprint"]["sources"]["train"]
    return str(named) if facts["settings"]["data"]["dataset_name"] else PurePath(str(named)).name


def _is_local(name: str) -> bool:
    path = Path(name).expanduser()
    return path.exists() or path.is_absolute()


def _shown(facts: Facts) -> list[str]:
    return [metric for metric in facts["shown"] if f"test_{metric}" in facts["metrics"]]


def _results(facts: Facts) -> list[EvalResult]:
    data = facts["settings"]["data"]
    return [
        EvalResult(
            task_type="text-classification",
            task_name="Text Classification",
            dataset_type=data["dataset_name"] or "custom",
            dataset_name=dataset_name(facts),
            dataset_config=data.get("dataset_config_name"),
            dataset_split="test",
            metric_type=METRICS[metric][0],
            metric_name=METRICS[metric][1],
            metric_args=METRICS[metric][2] or None,
            metric_value=round(facts["metrics"][f"test_{metric}"], 4),
        )
        for metric in _shown(facts)
    ]
