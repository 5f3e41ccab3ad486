"""What comes before training: a free output directory, one process a device, one seed, token ids, the head's start."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from accelerate import PartialState
from datasets import Dataset, disable_progress_bars
from transformers import PreTrainedModel, TrainingArguments, set_seed
from transformers.utils.logging import disable_progress_bar

from nlp_ft.config import ModelArguments
from nlp_ft.data import TextData, tokenize
from nlp_ft.data.windows import Windows
from nlp_ft.errors import ConfigError, did_you_mean
from nlp_ft.evaluation.metrics import compute_metrics
from nlp_ft.models.heads import final_linear, fit_probe, inputs_of, probe_rows, start_from_probe
from nlp_ft.models.pooling import choose_pooling, set_pooling
from nlp_ft.training.long_texts import COUNTS

_PROBE_ROWS = 4000  # more of them move a linear layer little
_PROBE_BATCH = 64

# One example of labels for each problem, to learn the names of its metrics from.
_EXAMPLE: dict[str, list[Any]] = {
    "single_label_classification": [0, 1],
    "multi_label_classification": [[0.0, 1.0], [1.0, 0.0]],
    "regression": [0.0, 1.0],
}


def prepare(args: TrainingArguments, given: Iterable[str] | None = None) -> None:
    """Before anything is read: one process a device, an output directory of its own, one seed, bars on terminals only.

    Raises: ConfigError if the directory holds a run already, or several GPUs would be driven by one process.
    """
    started = int(os.environ.get("WORLD_SIZE", "1"))
    if started > 1 and args.world_size == 1:
        raise ConfigError(
            f"{started} processes were started, and each would train alone; on the CPU add --use_cpu to join them."
        )
    if args.n_gpu > 1:
        raise ConfigError(
            f"{args.n_gpu} GPUs are visible to one process; start one process a GPU (accelerate launch --num_processes "
            f"{args.n_gpu} ...), or set CUDA_VISIBLE_DEVICES=0 to use one."
        )
    output = Path(str(args.output_dir))
    _check_writable(output)
    held = sorted(p.name for p in output.iterdir()) if output.is_dir() else []
    if held and not args.resume_from_checkpoint:
        more = ", ..." if len(held) > 4 else ""
        raise ConfigError(
            f"--output_dir {output} holds something already ({', '.join(held[:4])}{more}); name another, or continue an "
            "interrupted run with --resume_from_checkpoint True. Nothing is written over."
        )
    if (output / "run.json").exists():
        raise ConfigError(f"--output_dir {output} holds a finished run; there is nothing to resume. Name another.")
    if given is None or "log_level" not in given:
        args.log_level = "error"  # what matters of transformers' warnings is checked here, and said or raised
    if given is None or "disable_tqdm" not in given:
        args.disable_tqdm = not sys.stderr.isatty()
    if args.disable_tqdm:
        disable_progress_bars()
        disable_progress_bar()
    if args.device.type == "cpu" and (given is None or "dataloader_pin_memory" not in given):
        args.dataloader_pin_memory = False  # there is nothing to pin for, and torch warns in every evaluation
    set_seed(args.seed)
    PartialState().wait_for_everyone()  # the first process may write to the directory that all must have found empty


def start_afresh(args: TrainingArguments) -> None:
    """After other fits of the same run: the same seed again, and no resuming where there is nothing to resume from."""
    set_seed(args.seed)
    if not any(Path(str(args.output_dir)).glob("checkpoint-*")):
        args.resume_from_checkpoint = None


def _check_writable(output: Path) -> None:
    """Refuse a directory that could not be made or written to, now and not after training. Raises: ConfigError."""
    there = next(path for path in (output, *output.absolute().parents) if path.exists())
    if not there.is_dir():
        what = f"{output} is" if there == output else f"{output}: {there} is"
        raise ConfigError(f"--output_dir {what} a file; wanted a new or empty directory.")
    if not os.access(there, os.W_OK | os.X_OK):
        raise ConfigError(f"--output_dir {output}: no permission to write in {there}; name another.")


def check_metric_name(args: TrainingArguments, problem_type: str) -> None:
    """Refuse a --metric_for_best_model that no evaluation yields, before training. Raises: ConfigError."""
    two = ["a", "b"]
    known = [
        *compute_metrics(
            problem_type, np.zeros((2, 2 if problem_type != "regression" else 1)), _EXAMPLE[problem_type], two
        )
    ]
    name = (args.metric_for_best_model or "loss").removeprefix("eval_")
    if name not in (*known, "loss"):
        raise ConfigError(
            f"--metric_for_best_model {name} is not measured here; it can be {', '.join(known)} or loss."
            f"{did_you_mean(name, known)}"
        )


def tokenize_splits(
    data: TextData,
    tokenizer: Any,
    limit: int,
    workers: int | None,
    *,
    windows: Windows | None = None,
    hint: str = "",
) -> tuple[dict[str, Dataset], list[str]]:
    """Token ids of the three splits, and notes on how many texts were cut. Raises: DataError for texts without tokens.

    windows: how to read long texts in place of cutting them; `most` of them holds for training rows. Where no text is long,
    the rows are what they would be without. hint: what the first note on a cut is to add.
    """
    splits: dict[str, Dataset] = {}
    notes: list[str] = []
    for name in ("train", "validation", "test"):
        own = replace(windows, most=None) if windows is not None and name != "train" else windows
        text = "" if any(note.endswith(hint) for note in notes) else hint
        splits[name], note = tokenize(
            getattr(data, name), tokenizer, limit, split=name, num_proc=workers, windows=own, hint=text
        )
        notes.append(note)
    if windows is not None and all(max(rows["length"][:], default=0) <= limit for rows in splits.values()):
        return tokenize_splits(data, tokenizer, limit, workers)
    return splits, notes


def label_counts(data: TextData) -> list[int]:
    """Training rows that carry each label, in label order; [] for regression."""
    labels = np.asarray(data.train["label"][:])
    if data.problem_type == "multi_label_classification":
        return labels.sum(axis=0).astype(int).tolist()
    return np.bincount(labels.astype(int), minlength=len(data.labels)).tolist() if data.labels else []


def start_head(
    model: PreTrainedModel,
    args: ModelArguments,
    problem_type: str,
    rows: Dataset,
    tokenizer: Any,
    training: TrainingArguments,
) -> list[str]:
    """Pooling that fits the checkpoint, then the last layer fitted as a probe on frozen features, in place.

    rows: the tokenized training split. A resumed run's weights come from its checkpoint, over these; its controls have none.
    Returns: what was done and why.
    """
    options = {"revision": args.model_revision, "cache_dir": args.cache_dir}
    pooling, why = choose_pooling(args.pooling, model, args.model_name_or_path, **options)
    set_pooling(model, pooling)
    notes = [f"pooling: {pooling}, {why}"]
    if args.head_start == "random":
        return notes
    labels = np.asarray(rows["labels"][:])
    chosen = rows.select(probe_rows(labels, problem_type, _PROBE_ROWS, training.seed))
    chosen = chosen.select(np.argsort(chosen["length"][:], kind="stable"))
    model.to(training.device)  # type: ignore[arg-type]
    labels = np.asarray(chosen["labels"][:])
    of = " rows"
    if COUNTS in chosen.column_names:
        report, of = (
            _start_from_windows(model, chosen, tokenizer, labels, problem_type),
            " rows, the mean of their windows",
        )
    else:
        batches = _batches(chosen, tokenizer)
        report = start_from_probe(model, batches, labels, problem_type, max_rows=_PROBE_ROWS)
    if not report["fitted"]:
        return [*notes, f"head: starts at random; a probe cannot be fitted because {report['reason']}"]
    score = "R2" if problem_type == "regression" else "accuracy"
    held_out = report["held_out_score"]
    noise = ", dropout on: without it the fit would not survive training" if report["dropout"] else ""
    tail = "" if held_out is None else f" ({score} {held_out:.3f} on held-out training rows, the encoder frozen{noise})"
    return [*notes, f"head: starts from a linear probe on {report['rows']}{of}{tail}"]


def _start_from_windows(
    model: PreTrainedModel, rows: Dataset, tokenizer: Any, labels: np.ndarray, problem_type: str
) -> dict[str, Any]:
    """`heads.start_from_probe` on documents in windows: a linear layer gives the mean of logits for the mean of features."""
    _, linear = final_linear(model)

    def read(indices: np.ndarray, dropout: bool) -> np.ndarray:
        parts = rows.select(indices).iter(_PROBE_BATCH)
        return np.concatenate([_mean_features(model, linear, part, tokenizer, dropout) for part in parts])

    return fit_probe(linear, read, labels, problem_type)


def _mean_features(model: PreTrainedModel, linear: Any, part: Any, tokenizer: Any, dropout: bool) -> np.ndarray:
    """What the last layer reads, (documents, width), in the mean over each document's windows."""
    names = [name for name in part if name in tokenizer.model_input_names]
    windows = {name: [window for document in part[name] for window in document] for name in names}
    count = len(windows["input_ids"])
    batches = (
        dict(tokenizer.pad({name: windows[name][i : i + _PROBE_BATCH] for name in names}, return_tensors="pt"))
        for i in range(0, count, _PROBE_BATCH)
    )
    found = torch.cat([*inputs_of(model, linear, batches, dropout=dropout)]).float().cpu()
    return torch.stack([one.mean(dim=0) for one in found.split(part[COUNTS])]).numpy()


def _batches(rows: Dataset, tokenizer: Any) -> Iterator[dict[str, Any]]:
    """Padded batches of token ids, without labels, in the order of the rows."""
    names = [name for name in rows.column_names if name in tokenizer.model_input_names]
    for start in range(0, len(rows), _PROBE_BATCH):
        part = rows[start : start + _PROBE_BATCH]
        yield dict(tokenizer.pad({name: part[name] for name in names}, return_tensors="pt"))
