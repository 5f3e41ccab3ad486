"""Report of the gain by pre-training: the held-out loss, and a frozen probe."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from datasets import Dataset
from transformers import TrainingArguments

from nlp_ft.config import ModelArguments
from nlp_ft.data import TextData, Unlabelled, counted, text_columns, text_digest, write_rejected
from nlp_ft.evaluation.baselines import Baseline, against_control
from nlp_ft.evaluation.metrics import SELECTION_METRIC
from nlp_ft.evaluation.probabilities import SINGLE
from nlp_ft.evaluation.report.model_card import directory_name
from nlp_ft.evaluation.report.model_card_text import trained_for
from nlp_ft.models import classifier
from nlp_ft.models.compare import compute_logits
from nlp_ft.training import setup
from nlp_ft.training.controls import as_control
from nlp_ft.training.run_report import RunReport, base_model, saved_line
from nlp_ft.utils import warning


@dataclass(frozen=True)
class Probes:
    """Results of the same linear probe before and after pre-training.

    before: on frozen features of the checkpoint; after: on those of the body made of it.
    """

    data: TextData
    before: Baseline
    after: Baseline

    def metrics(self) -> dict[str, float]:
        """Metrics for all_results.json."""
        metrics = {f"control_{self.before.name}_{k}": v for k, v in self.before.metrics.items()}
        metrics |= {f"probe_{k}": v for k, v in self.after.metrics.items()}
        if self.data.problem_type == SINGLE:
            metrics |= {"probe_accuracy_error": self._error(self.after)}
            metrics |= {f"control_{self.before.name}_accuracy_error": self._error(self.before)}
        return metrics

    def _error(self, probe: Baseline) -> float:
        """The standard error of an accuracy, a share of the test rows."""
        share = probe.metrics["accuracy"]
        return math.sqrt(share * (1 - share) / len(probe.logits))

    def sentences(self) -> list[str]:
        """Sentences: the figures with their errors, and the verdict on their difference."""
        name = "accuracy" if self.data.problem_type == SINGLE else SELECTION_METRIC[self.data.problem_type][0]
        figures = []
        for title, probe in (("the checkpoint's body", self.before), ("this one's", self.after)):
            error = f" \u00b1 {self._error(probe):.3f}" if self.data.problem_type == SINGLE else ""
            figures.append(f"{title} {probe.metrics[name]:.3f}{error}")
        rows = counted(len(self.after.logits), "test row")
        comparison = against_control(
            self.data.problem_type, self.after.logits, self.data.test["label"], self.before, "Pre-training"
        )
        return [f"Frozen probe on {rows}, {name} (standard error): {', '.join(figures)}.", comparison]


def probes(
    data: TextData, args: ModelArguments, directory: Path, max_seq_length: int, training: TrainingArguments
) -> Probes:
    """Fit both probes on the training rows, and score them on the test rows.

    directory: of the pre-trained body. No body is trained.
    """
    pretrained = ModelArguments(model_name_or_path=str(directory), cache_dir=args.cache_dir)
    before = _probe_logits(data, replace(args, dropout=None), max_seq_length, training)
    after = _probe_logits(data, pretrained, max_seq_length, training)
    title = "the checkpoint's own body under a frozen probe"
    return Probes(data, as_control("probe_before", title, before, data), as_control("probe", "", after, data))


def _probe_logits(data: TextData, args: ModelArguments, max_seq_length: int, training: TrainingArguments) -> np.ndarray:
    """Logits (rows, classes) of the test rows by a linear head on frozen features."""
    tokenizer = classifier.load_tokenizer(args)
    model, _, _ = classifier.load_classifier(args, tokenizer, data.problem_type, data.labels)
    length = classifier.token_limit(model, tokenizer, max_seq_length)
    splits, _ = setup.tokenize_splits(data, tokenizer, length, None)
    setup.start_head(model, args, data.problem_type, splits["train"], tokenizer, training)
    model.to(training.device)  # type: ignore[arg-type]
    return compute_logits(model, tokenizer, *text_columns(data.test), length).numpy()


def seen_in_training(texts: Unlabelled, rows: Dataset) -> str | None:
    """A note if labelled test texts are among the unlabelled ones.

    Pre-training does not see their labels, yet the figures may flatter.
    """
    count = sum(text_digest(text) in texts.keys for text in rows["text"])
    if not count:
        return None
    return warning(
        f"{count} of the probe's {counted(len(rows), 'test text')} are among the unlabelled texts; that is fair where the "
        "texts to be classified are there beforehand, and flatters the figures where they are not"
    )


def verdict(metrics: dict[str, float], causal: bool, new_head: bool, rows: int, head_alone: float | None) -> str:
    """Verdict on the held-out loss.

    head_alone: the loss that a new head on the frozen body reaches, or None if it was not measured.
    """
    before, after = metrics["eval_loss_before"], metrics["eval_loss"]
    change = "fell" if after < before else "did not fall: it went"
    objective = "next-token" if causal else "masked-token"
    summary = (
        f"The {objective} loss on {counted(rows, 'held-out row')} {change} from {before:.3f} to {after:.3f} nats (perplexity "
        f"{math.exp(before):.1f} to {math.exp(after):.1f})."
    )
    if head_alone is not None:
        gain = head_alone - after
        effect = f"bought {gain:.3f} of it" if gain > 0 else "bought nothing over that"
        return f"{summary} A new head on the frozen body reaches {head_alone:.3f}; training the body {effect}."
    if new_head:
        return f"{summary} It began with a random head: how much of the fall is the body's, --with_control tells."
    return summary


def write_report(report: RunReport, texts: Unlabelled, causal: bool) -> None:
    """Write rejected_rows.csv and README.md."""
    directory = report.output_dir
    if texts.rejected:
        write_rejected(directory / "rejected_rows.csv", texts.rejected)
    (directory / "README.md").write_text(_card(report, texts, causal), encoding="utf-8")


def _card(report: RunReport, texts: Unlabelled, causal: bool) -> str:
    """Text of README.md."""
    name, settings = directory_name(report.output_dir), report.settings
    on_hub, base = base_model(settings["model"]["model_name_or_path"])
    training, arguments = settings["training"], settings["pretrain"]
    task, auto = ("text-generation", "AutoModelForCausalLM") if causal else ("fill-mask", "AutoModelForMaskedLM")
    weights = "LoRA adapters, merged" if settings["lora"]["use_peft"] else "all weights"
    hidden = "" if causal else f"{arguments['mlm_probability']:.0%} of the {_units(arguments)} masked; "
    rows = texts.fingerprint["rows"]
    head = [
        "---",
        "library_name: transformers",
        f"pipeline_tag: {task}",
        *([f"base_model: {on_hub}"] if on_hub else []),
    ]
    return (
        "\n".join([*head, "tags:", "- nlp_ft", "---"])
        + f"""

# {name}

A body, not a classifier: {base}, pre-trained further on unlabelled texts with nlp_ft. Fine-tune it, in the folder above
this one:

```bash
nlp-ft finetune --model_name_or_path {name} --train_file train.csv --output_dir classifier
```

{report.verdict}

## How it was made

{weights} trained on {rows["train"]} texts ({rows["validation"]} held out); {hidden}learning rate \
{training["learning_rate"]:g}, {trained_for(report.log_history)}, {training["per_device_train_batch_size"]} rows a \
device and step, seed {training["seed"]}. `{auto}` goes on from it. Every argument, the data's fingerprint and all metrics are \
in run.json.

## Limits

A lower loss on such texts does not make a better classifier by itself; compare with the checkpoint it came from.
"""
    )


def _units(arguments: Mapping[str, object]) -> str:
    return "words" if arguments["whole_word_mask"] else "tokens"


def describe(report: RunReport) -> str:
    """The report as text."""
    use_it = f"Use it: nlp-ft finetune --model_name_or_path {report.output_dir} ..."
    return f"\n\n{report.verdict}\n{saved_line(report)}\n{use_it}"
