"""The teacher: its labels, and its logits in the training rows."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import numpy as np
import torch
from accelerate import PartialState
from accelerate.utils import reduce
from datasets import Dataset, Features, concatenate_datasets
from torch import nn
from transformers import PreTrainedTokenizerBase

from nlp_ft.config import DataArguments
from nlp_ft.data import (
    TextData,
    counted,
    keys_of,
    reading_of,
    text_columns,
    text_digest,
    texts_for_prediction,
    texts_or_pairs,
    tokenize,
)
from nlp_ft.data.text import is_blank
from nlp_ft.errors import ConfigError, DataError
from nlp_ft.evaluation.probabilities import MULTI, REGRESSION
from nlp_ft.inference.classifier import Classifier
from nlp_ft.inference.feature_cache import cached_rows, row_digests, weights_key
from nlp_ft.inference.load import load
from nlp_ft.methods.distill.trainer import LABELLED, LOGITS
from nlp_ft.models.layers import encoder_layers, unwrapped
from nlp_ft.utils import log, warning

_TEXTS_COMPARED = 200


class Teacher:
    """A fine-tuned classifier with the labels of the data, in any order.

    Attributes: classifier; key, a digest of all that its logits depend on except the text.
    Raises: ConfigError if it has another problem type or other labels; ModelError if it is no fine-tuned classifier.
    """

    def __init__(self, name: str, data: TextData, device: torch.device) -> None:
        self.name = name
        self.classifier: Classifier = load(name, device=device)
        self.labels = list(data.labels)
        _check_labels(name, self.classifier, data)
        classifier = self.classifier
        long_texts = asdict(classifier.inference_config.long_documents)
        self.key = weights_key(classifier.model, classifier.tokenizer, classifier.max_seq_length, long_texts)

    def logits(self, rows: Dataset) -> np.ndarray:
        """Return its logits in the order of the data's labels, float32 (rows, classes).

        Cached by text. rows: with `text` (and `text_pair`). Several processes share the texts.
        """
        inputs = texts_or_pairs(rows)

        def compute(indices: list[int]) -> np.ndarray:
            return _logits_by_all_processes(self.classifier, [inputs[index] for index in indices])

        logits = cached_rows(LOGITS, self.key, row_digests(*text_columns(rows)), compute)
        return logits[:, [self.classifier.labels.index(label) for label in self.labels]] if self.labels else logits


def _logits_by_all_processes(classifier: Classifier, texts: Sequence[str | tuple[str, str]]) -> np.ndarray:
    """Compute logits of the texts, each process a share; all have the result."""
    state, started = PartialState(), time.monotonic()
    share = slice(state.process_index, None, state.num_processes)
    logits = np.zeros((len(texts), classifier.model.config.num_labels), dtype=np.float32)
    logits[share] = classifier.logits(list(texts[share]))
    if state.num_processes > 1:
        total = reduce(torch.from_numpy(logits).to(state.device), "sum")
        assert isinstance(total, torch.Tensor)
        logits = total.cpu().numpy()
    log(f"teacher: read {counted(len(texts), 'text')} in {time.monotonic() - started:.1f} s; its logits are cached")
    return logits


def _check_labels(name: str, teacher: Classifier, data: TextData) -> None:
    if teacher.problem_type != data.problem_type:
        raise ConfigError(
            f"--teacher_name_or_path {name}: its problem type is {teacher.problem_type}, that of the data {data.problem_type}."
        )
    missing, unknown = (
        [label for label in labels if label not in others]
        for labels, others in ((data.labels, teacher.labels), (teacher.labels, data.labels))
    )
    if missing or unknown:
        differences = [
            f"{verb} {', '.join(labels)}" for verb, labels in (("lacks", missing), ("adds", unknown)) if labels
        ]
        raise ConfigError(
            f"--teacher_name_or_path {name}: its labels are not those of the data; it {' and '.join(differences)}. Use a "
            "teacher that was fine-tuned on these labels."
        )
    if teacher.problem_type == REGRESSION and teacher.model.config.num_labels != 1:
        raise ConfigError(
            f"--teacher_name_or_path {name}: it returns {teacher.model.config.num_labels} values per text; wanted 1."
        )


def read_unlabelled(files: list[str], data: TextData, args: DataArguments) -> tuple[Dataset | None, list[str]]:
    """Read texts without labels as training rows with a placeholder label.

    Left out and counted: blank texts, texts of validation and test (their logits would leak those), and texts that are in the
    training split. args: those of the run. Returns: the rows, None if none is left; and notes.

    Raises: DataError as `texts_for_prediction`.
    """
    names = (args.text_column_names, args.text_pair_column_name, args.text_column_delimiter)
    unlabelled = texts_for_prediction(files, *names, **reading_of(args))
    if (unlabelled.pairs is None) != ("text_pair" not in data.train.column_names):
        wanted = "pairs of texts" if unlabelled.pairs is None else "single texts"
        raise DataError(
            f"{unlabelled.table.source}: the training rows are {wanted}, these are not; name the text columns."
        )
    held_out, seen = {*keys_of(data.validation), *keys_of(data.test)}, {*keys_of(data.train)}
    kept: list[tuple[str, str | None]] = []
    counts = {"blank": 0, "in validation or test": 0, "there already": 0}
    pairs = [None] * len(unlabelled.texts) if unlabelled.pairs is None else unlabelled.pairs
    for cells in zip(unlabelled.texts, pairs, strict=True):
        digest = text_digest(*cells)
        blank, leaked, repeated = counts
        if all(is_blank(cell or "") for cell in cells):
            counts[blank] += 1
        elif digest in held_out:
            counts[leaked] += 1
        elif digest in seen:
            counts[repeated] += 1
        else:
            seen.add(digest)
            kept.append(cells)
    left_out = ", ".join(f"{count} {reason}" for reason, count in counts.items() if count)
    notes = [*unlabelled.notes, f"unlabelled: {counted(len(kept), 'text')} of {unlabelled.table.source}"]
    notes[-1] += f"; left out: {left_out}" if left_out else ""
    if not kept:
        return None, notes
    placeholder = [0.0] * len(data.labels) if data.problem_type == MULTI else 0
    content: dict[str, Sequence[object]] = {"text": [text for text, _ in kept], "label": [placeholder] * len(kept)}
    if unlabelled.pairs is not None:
        content["text_pair"] = [pair for _, pair in kept]
    features = Features({name: data.train.features[name] for name in content})
    return Dataset.from_dict(content, features=features), notes


def with_teacher_logits(
    teacher: Teacher,
    tokens: Dataset,
    rows: Dataset,
    extra: Dataset | None,
    tokenizer: PreTrainedTokenizerBase,
    limit: int,
) -> Dataset:
    """Add the teacher's logits to the training split, and append the unlabelled rows.

    rows: the texts of `tokens`; extra: the unlabelled rows; tokenizer, limit: of the student.
    """
    if len(tokens) != len(rows):
        raise DataError(f"{len(tokens)} tokenized training rows, but {len(rows)} texts; wanted as many.")
    whole = tokens.add_column(LOGITS, list(teacher.logits(rows)))  # type: ignore[arg-type]
    if extra is None:
        return whole
    more, _ = tokenize(extra, tokenizer, limit, split="unlabelled")
    more = more.add_column(LOGITS, list(teacher.logits(extra)))  # type: ignore[arg-type]
    parts = [
        part.add_column(LABELLED, [labelled] * len(part))  # type: ignore[arg-type]
        for part, labelled in ((whole, 1.0), (more, 0.0))
    ]
    return concatenate_datasets(parts)


def check_match(
    kinds: Sequence[str],
    teacher: Teacher,
    student: nn.Module,
    tokenizer: PreTrainedTokenizerBase,
    limit: int,
    texts: Sequence[str],
) -> tuple[int, int]:
    """Return the numbers of layers of student and teacher, to be compared.

    Raises: ConfigError where their tokens, widths or attention heads differ.
    """
    model, plain, flag = teacher.classifier.model, unwrapped(student), f"--match {' '.join(kinds)}"
    if model.config.is_encoder_decoder or plain.config.is_encoder_decoder:
        raise ConfigError(f"{flag}: layers of an encoder-decoder cannot be matched one by one; leave --match out.")
    if not _same_tokens(teacher.classifier.tokenizer, tokenizer, list(texts[:_TEXTS_COMPARED])):
        raise ConfigError(
            f"{flag} compares layers token by token, but teacher and student have different tokenizers; leave --match out."
        )
    if limit > teacher.classifier.max_seq_length:
        raise ConfigError(
            f"{flag}: the teacher holds {teacher.classifier.max_seq_length} tokens, the student reads {limit}; set "
            f"--max_seq_length {teacher.classifier.max_seq_length}."
        )
    for kind, description, key in (
        ("hidden", "layers are {} wide", "hidden_size"),
        ("attention", "layers have {} attention heads", "num_attention_heads"),
    ):
        theirs, ours = (getattr(network.config.get_text_config(), key) for network in (model, plain))
        if kind in kinds and theirs != ours:
            raise ConfigError(
                f"--match {kind}: the teacher's {description.format(theirs)}, the student's {ours}; wanted the same."
            )
    return len(encoder_layers(plain)), len(encoder_layers(model))


def _same_tokens(first: PreTrainedTokenizerBase, other: PreTrainedTokenizerBase, texts: list[str]) -> bool:
    return (
        first.get_vocab() == other.get_vocab()
        and (first.pad_token_id, first.padding_side) == (other.pad_token_id, other.padding_side)
        and first(texts, verbose=False)["input_ids"] == other(texts, verbose=False)["input_ids"]
    )


def warn_of_test_rows(name: str, data: TextData) -> list[str]:
    """Return a warning if the teacher's run was tested on other rows.

    It may have been trained on these. A teacher without a record of its run gives no warning.
    """
    try:
        digest = json.loads((Path(name) / "run.json").read_text(encoding="utf-8"))["data"]["sha256"]["test"]
    except (OSError, ValueError, KeyError, TypeError):
        return []
    if digest == data.fingerprint["sha256"]["test"]:
        return []
    return [
        warning(
            "the teacher's own run was tested on other rows; if it was trained on some of these test rows, its metrics here "
            "are too high"
        )
    ]
