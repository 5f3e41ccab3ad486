"""The teacher: opened, its labels compared by name, asked once for every text, its answers put beside the rows."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from accelerate import PartialState
from accelerate.utils import reduce
from datasets import Dataset, Features, concatenate_datasets

from nlp_ft.data import TextData, counted, keys_of, text_digest, texts_for_prediction, tokenize
from nlp_ft.errors import ConfigError, DataError
from nlp_ft.evaluation.probabilities import MULTI, REGRESSION
from nlp_ft.inference.classifier import Classifier
from nlp_ft.inference.feature_cache import cached_rows, row_digests, weights_key
from nlp_ft.inference.load import load
from nlp_ft.methods.distill.trainer import LABELLED, LOGITS
from nlp_ft.models.layers import encoder_layers, unwrapped
from nlp_ft.utils import log

_TEXTS_COMPARED = 200


class Teacher:
    """A fine-tuned classifier whose labels are the data's, in whatever order.

    Attributes: classifier; key, over all that its answers depend on but the text.
    Raises: ConfigError if it answers another kind of problem or other labels; ModelError if it is no fine-tuned classifier.
    """

    def __init__(self, name: str, data: TextData, device: torch.device) -> None:
        self.name = name
        self.classifier: Classifier = load(name, device=device)
        self.labels = list(data.labels)
        _check_labels(name, self.classifier, data)
        own = self.classifier
        long_texts = asdict(own.inference_config.long_documents)
        self.key = weights_key(own.model, own.tokenizer, own.max_seq_length, long_texts)

    def answers(self, rows: Dataset) -> np.ndarray:
        """Its logits, float32 (rows, classes) in the order of the data's labels; each text is asked once and then kept.

        rows: with `text` (and `text_pair`). Under several processes each asks its share.
        """
        texts, pairs = columns(rows)
        own = self.classifier
        asked = list(texts) if pairs is None else list(zip(texts, pairs, strict=True))

        def compute(indices: list[int]) -> np.ndarray:
            return _shared(self.classifier, [asked[place] for place in indices])

        logits = cached_rows(LOGITS, self.key, row_digests(texts, pairs), compute)
        return logits[:, [own.labels.index(label) for label in self.labels]] if self.labels else logits


def _shared(classifier: Classifier, texts: Sequence[Any]) -> np.ndarray:
    """Logits of the texts, of which each process reads its share."""
    state, started = PartialState(), time.monotonic()
    mine = slice(state.process_index, None, state.num_processes)
    out = np.zeros((len(texts), classifier.model.config.num_labels), dtype=np.float32)
    out[mine] = classifier.logits(list(texts[mine]))
    if state.num_processes > 1:
        total: Any = reduce(torch.from_numpy(out).to(state.device), "sum")
        out = total.cpu().numpy()
    log(f"teacher: read {counted(len(texts), 'text')} in {time.monotonic() - started:.1f} s; its answers are kept")
    return out


def _check_labels(name: str, teacher: Classifier, data: TextData) -> None:
    if teacher.problem_type != data.problem_type:
        raise ConfigError(
            f"--teacher_name_or_path {name}: it is for {teacher.problem_type}, this problem is {data.problem_type}."
        )
    lacking, strange = (
        [label for label in some if label not in others]
        for some, others in ((data.labels, teacher.labels), (teacher.labels, data.labels))
    )
    if lacking or strange:
        said = [f"{what} {', '.join(some)}" for what, some in (("lacks", lacking), ("adds", strange)) if some]
        raise ConfigError(
            f"--teacher_name_or_path {name}: its labels are not the data's; it {' and '.join(said)}. Use a teacher that was "
            "fine-tuned on these labels."
        )
    if teacher.problem_type == REGRESSION and teacher.model.config.num_labels != 1:
        raise ConfigError(
            f"--teacher_name_or_path {name}: it yields {teacher.model.config.num_labels} values a text; wanted 1."
        )


def columns(rows: Dataset) -> tuple[list[str], list[str] | None]:
    """Texts, and their pairs where there are any."""
    return rows["text"][:], rows["text_pair"][:] if "text_pair" in rows.column_names else None


def read_unlabelled(files: list[str], data: TextData, args: Any) -> tuple[Dataset | None, list[str]]:
    """Texts without labels as rows of the training split, whose label means nothing; None where nothing is left of them.

    Left out and counted: blank texts, those of validation and test (their answers would give those away), and those that are
    there already. args: the run's DataArguments. Returns: the rows, and notes. Raises: DataError as `texts_for_prediction`.
    """
    names = (args.text_column_names, args.text_pair_column_name, args.text_column_delimiter)
    found = texts_for_prediction(files, *names, delimiter=args.delimiter)
    if (found.pairs is None) != ("text_pair" not in data.train.column_names):
        wanted = "pairs of texts" if found.pairs is None else "single texts"
        raise DataError(f"{found.table.source}: the training rows are {wanted}, these are not; name the text columns.")
    held, seen = {*keys_of(data.validation), *keys_of(data.test)}, {*keys_of(data.train)}
    kept: list[tuple[str, str | None]] = []
    counts = {"blank": 0, "in validation or test": 0, "there already": 0}
    for cells in zip(*_filled(list(found.texts), None if found.pairs is None else list(found.pairs)), strict=True):
        digest = text_digest(*cells)
        blank, leaks, repeats = counts
        if not any((cell or "").strip() for cell in cells):
            counts[blank] += 1
        elif digest in held:
            counts[leaks] += 1
        elif digest in seen:
            counts[repeats] += 1
        else:
            seen.add(digest)
            kept.append(cells)
    left_out = ", ".join(f"{count} {what}" for what, count in counts.items() if count)
    notes = [*found.notes, f"unlabelled: {counted(len(kept), 'text')} of {found.table.source}"]
    notes[-1] += f"; left out: {left_out}" if left_out else ""
    if not kept:
        return None, notes
    nothing: Any = [0.0] * len(data.labels) if data.problem_type == MULTI else 0
    cells_of: dict[str, Any] = {"text": [text for text, _ in kept], "label": [nothing] * len(kept)}
    if found.pairs is not None:
        cells_of["text_pair"] = [pair for _, pair in kept]
    features = Features({name: data.train.features[name] for name in cells_of})
    return Dataset.from_dict(cells_of, features=features), notes


def _filled(texts: list[str], pairs: list[str] | None) -> tuple[list[str], Sequence[str | None]]:
    return texts, [None] * len(texts) if pairs is None else pairs


def taught(
    teacher: Teacher, tokens: Dataset, rows: Dataset, extra: Dataset | None, tokenizer: Any, limit: int
) -> Dataset:
    """The tokenized training split with the teacher's logits, and the unlabelled rows behind it.

    rows: the texts of `tokens`; extra: the unlabelled rows; tokenizer, limit: the student's.
    """
    if len(tokens) != len(rows):
        raise DataError(f"{len(tokens)} tokenized training rows do not fit the {len(rows)} texts they were made of.")
    whole = tokens.add_column(LOGITS, list(teacher.answers(rows)))  # type: ignore[arg-type]
    if extra is None:
        return whole
    more, _ = tokenize(extra, tokenizer, limit, split="unlabelled")
    more = more.add_column(LOGITS, list(teacher.answers(extra)))  # type: ignore[arg-type]
    parts = [
        part.add_column(LABELLED, [has] * len(part))  # type: ignore[arg-type]
        for part, has in ((whole, 1.0), (more, 0.0))
    ]
    return concatenate_datasets(parts)


def check_match(
    kinds: Sequence[str], teacher: Teacher, student: Any, tokenizer: Any, limit: int, texts: Sequence[str]
) -> tuple[int, int]:
    """How many layers student and teacher have, once they can be compared a layer at a time.

    Raises: ConfigError where their tokens, widths or attention heads differ.
    """
    model, plain, flag = teacher.classifier.model, unwrapped(student), f"--match {' '.join(kinds)}"
    if not _same_tokens(teacher.classifier.tokenizer, tokenizer, list(texts[:_TEXTS_COMPARED])):
        raise ConfigError(
            f"{flag} compares layers token by token, and the teacher's tokenizer is not the student's; leave --match out."
        )
    if limit > teacher.classifier.max_seq_length:
        raise ConfigError(
            f"{flag}: the teacher holds {teacher.classifier.max_seq_length} tokens, the student reads {limit}; set "
            f"--max_seq_length {teacher.classifier.max_seq_length}."
        )
    for kind, what, key in (
        ("hidden", "layers are {} wide", "hidden_size"),
        ("attention", "layers have {} attention heads", "num_attention_heads"),
    ):
        theirs, ours = (getattr(one.config.get_text_config(), key) for one in (model, plain))
        if kind in kinds and theirs != ours:
            said = what.format(theirs)
            raise ConfigError(f"--match {kind}: the teacher's {said}, the student's {ours}; wanted the same.")
    return len(encoder_layers(plain)), len(encoder_layers(model))


def _same_tokens(one: Any, other: Any, texts: list[str]) -> bool:
    return (
        one.get_vocab() == other.get_vocab()
        and (one.pad_token_id, one.padding_side) == (other.pad_token_id, other.padding_side)
        and one(texts, verbose=False)["input_ids"] == other(texts, verbose=False)["input_ids"]
    )


def tested_on(name: str, data: TextData) -> bool | None:
    """Whether the teacher's own run was tested on these test rows; None where it does not say."""
    path = Path(name) / "run.json"
    if not path.is_file():
        return None
    try:
        held = json.loads(path.read_text(encoding="utf-8"))["data"]["sha256"]["test"]
    except (ValueError, KeyError, TypeError):
        return None
    return held == data.fingerprint["sha256"]["test"]
