"""The model card and its metadata.

The card describes the model, its quality with intervals, its data and its use.
"""

from __future__ import annotations

import os
import re
from pathlib import Path, PurePath
from typing import Any

import yaml
from huggingface_hub import EvalResult, EvalResultEntry, ModelCard, ModelCardData, eval_result_entries_to_yaml

from nlp_ft.evaluation.report.model_card_text import Facts, body
from nlp_ft.evaluation.report.usage import by_hub_name, own_code, place

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
_HUB_NAME = re.compile(r"[\w-][\w.-]*(/[\w-][\w.-]*)?")
_FILE_FORMATS = ("arrow", "audiofolder", "csv", "imagefolder", "json", "pandas", "parquet", "text", "webdataset", "xml")
_EVAL_RESULTS = Path(".eval_results") / "nlp_ft.yaml"


def write_card(directory: Path, facts: Facts) -> None:
    """Write README.md, and the evaluation results for the Hub.

    The latter, `.eval_results/nlp_ft.yaml`, only where the test rows are a dataset of the Hub.

    facts: as `report` gathers them.
    """
    (directory / "README.md").write_text(card(directory_name(directory), facts), encoding="utf-8")
    if (entry := eval_entry(facts)) is not None:
        path = directory / _EVAL_RESULTS
        path.parent.mkdir(exist_ok=True)
        path.write_text(yaml.safe_dump(eval_result_entries_to_yaml([entry]), sort_keys=False), encoding="utf-8")


def card(name: str, facts: Facts) -> str:
    """The whole README.md: metadata with model-index, then prose.

    name: how its examples call the model; a local directory's until it is pushed.
    """
    model, hub_dataset = facts["settings"]["model"]["model_name_or_path"], _hub_dataset(facts)
    on_hub = is_hub_name(model)
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
    return f"---\n{data.to_yaml()}\n---\n\n{body(name, facts, base_in_words(model), dataset_name(facts))}"


def bare_card(name: str, labels: list[str], problem_type: str, text_pair: bool = False) -> str:
    """A card of a model of which nothing more is known than its own configuration."""
    data = ModelCardData(library_name="transformers", pipeline_tag="text-classification", tags=["nlp_ft"])
    kind = problem_type.replace("_", " ")
    named = f" Labels: {', '.join(labels)}." if labels else ""
    return (
        f"---\n{data.to_yaml()}\n---\n\n# {PurePath(name).name}\n\nA text classifier ({kind}).{named} Its training and quality "
        f"were not recorded.\n\n{place(name)}```python\n{own_code(name, text_pair)}\n```\n"
    )


def renamed(text: str, old: str, new: str, licence: str | None = None) -> str:
    """A card whose examples call the model by its name on the Hub.

    What its user wrote into it stays.

    old: the directory's name; the card may have an older one, of before the directory was moved. licence: set in its
    metadata where given. Raises: ValueError for metadata that the Hub would refuse.
    """
    edited: Any = ModelCard(by_hub_name(text, old, new))
    written = edited.data.model_name
    if isinstance(written, str) and written != old:
        earlier, edited = edited.content, ModelCard(by_hub_name(edited.content, written, new))
        old = written if edited.content != earlier else old
    if written == old:
        edited.data.model_name = PurePath(new).name
    if licence:
        edited.data.license = licence
    return edited.content


def eval_entry(facts: Facts) -> EvalResultEntry | None:
    """The first metric shown, as an entry of a leaderboard on the Hub.

    The leaderboard is that of the dataset that the test rows are of; None where they are of no such dataset.
    """
    data, dataset = facts["settings"]["data"], _hub_dataset(facts)
    shown = _shown(facts)
    if dataset is None or "/" not in dataset or not shown:
        return None
    return EvalResultEntry(
        dataset_id=dataset,
        task_id=data.get("dataset_config_name") or "default",
        value=round(facts["metrics"][f"test_{shown[0]}"], 6),
        notes=f"{METRICS[shown[0]][1]} on {facts['fingerprint']['rows']['test']} rows of split test; nlp_ft",
    )


def dataset_name(facts: Facts) -> str:
    """The dataset as a card may name it.

    Its name on the Hub, or that of the file or directory, without what it lies in.
    """
    if (name := _hub_dataset(facts)) is not None:
        return name
    named = facts["settings"]["data"]["dataset_name"] or facts["fingerprint"]["sources"]["train"]
    return PurePath(str(named)).name


def _tested_on(facts: Facts) -> str:
    """The dataset of the test rows as a card may name it: their own file, where they have one."""
    test = str(facts["fingerprint"]["sources"].get("test", ""))
    return PurePath(test).name if _hub_dataset(facts) is None and PurePath(test).suffix else dataset_name(facts)


def is_hub_name(name: str) -> bool:
    """Whether a checkpoint's or dataset's name can be one on the Hub, and no directory here has it."""
    return _HUB_NAME.fullmatch(name) is not None and not Path(name).exists()


def base_in_words(name: str) -> str:
    """The checkpoint that a model is based on, in Markdown, without the directories of this machine."""
    if is_hub_name(name):
        return f"`{name}`"
    return f"the local checkpoint `{'/'.join(Path(name).expanduser().resolve().parts[-2:])}`"


def directory_name(directory: Path) -> str:
    """The last part of a directory's path, also of `.`."""
    return os.path.basename(os.path.abspath(directory))


def _hub_dataset(facts: Facts) -> str | None:
    """The dataset's name on the Hub; None for files, also those that `datasets` reads by their format."""
    name = facts["settings"]["data"]["dataset_name"]
    return name if name and name not in _FILE_FORMATS and is_hub_name(name) else None


def _shown(facts: Facts) -> list[str]:
    return [metric for metric in facts["shown"] if f"test_{metric}" in facts["metrics"]]


def _results(facts: Facts) -> list[EvalResult]:
    data = facts["settings"]["data"]
    return [
        EvalResult(
            task_type="text-classification",
            task_name="Text Classification",
            dataset_type=_hub_dataset(facts) or "custom",
            dataset_name=_tested_on(facts),
            dataset_config=data.get("dataset_config_name"),
            dataset_split="test",
            metric_type=METRICS[metric][0],
            metric_name=METRICS[metric][1],
            metric_args=METRICS[metric][2] or None,
            metric_value=round(facts["metrics"][f"test_{metric}"], 4),
        )
        for metric in _shown(facts)
    ]
