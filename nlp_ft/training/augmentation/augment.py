"""Augmentation of training rows.

The new rows of a row are reproducible, whatever the other rows, and no new row repeats an existing text.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from random import Random
from typing import TYPE_CHECKING, NamedTuple

from nlp_ft.config.augmentation import AugmentArguments
from nlp_ft.data import text_columns
from nlp_ft.data.checks.finding import text_key
from nlp_ft.data.text import cut
from nlp_ft.training.augmentation import eda, typos
from nlp_ft.training.augmentation.wordnet import load_lexicon
from nlp_ft.training.augmentation.words import share_of_stop_words
from nlp_ft.utils import warning

if TYPE_CHECKING:
    import torch
    from datasets import Dataset

_ATTEMPTS = 5  # of an operation, before the next one is used
_ENGLISH = 0.15  # share of English stop-words: English has about 0.4, German, French and Spanish below 0.1
_GUARDED = {"swap", "delete", "insert"}

Operation = Callable[[str, Random], str | None]


class NewRow(NamedTuple):
    """An augmented row.

    `pair`: the second text, or None. `source`: index of the row that it was made from. `operation`: the one that made it.
    """

    text: str
    pair: str | None
    label: object
    source: int
    operation: str


class _Turn(NamedTuple):
    """One copy of a row, and the order in which it is tried.

    `operations` and `sides` (0: text, 1: pair) are used one after another until a new text comes out.
    """

    row: int
    copy: int
    operations: list[str]
    sides: list[int]


def augment_rows(
    texts: Sequence[str],
    pairs: Sequence[str] | None,
    labels: Sequence[object],
    args: AugmentArguments,
    seed: int,
    *,
    taken: Iterable[str] = (),
    device: str | torch.device = "cpu",
) -> list[NewRow]:
    """Make `--augment_copies` new rows of each row, with its label.

    Fewer if no word of a text may change. For training rows alone, after splitting. The operations rotate over the copies
    of a row, from a start that depends on seed and text; if one changes nothing, the next is used. One side of a pair is
    changed. The copies of a row do not depend on other rows, except that a copy equal (by `text_key`) to a row, another
    copy or a key in `taken` is made again. taken: keys of validation and test, so that no copy leaks one.

    Raises: ConfigError if an operation needs a lexicon that is not installed, ModelError for a checkpoint that cannot serve.
    """
    turns = _turns(texts, pairs, args, seed)
    columns = (texts, pairs or [])
    operations = _operations(args)
    drafts = _drafts(turns, columns, args, device)
    keys = {text_key(text, pairs[row] if pairs else None) for row, text in enumerate(texts)} | set(taken)
    made = []
    for turn in turns:
        for name, side, text in _candidates(turn, columns, operations, drafts, args, seed):
            pair = pairs[turn.row] if pairs else None
            new = (text, pair) if side == 0 else (texts[turn.row], text)
            if (key := text_key(*new)) not in keys:
                keys.add(key)
                made.append(NewRow(*new, labels[turn.row], turn.row, name))
                break
    return made


def augment_train(
    train: Dataset,
    args: AugmentArguments,
    seed: int,
    *,
    others: Sequence[Dataset] = (),
    device: str | torch.device = "cpu",
) -> tuple[Dataset, list[str]]:
    """Append augmented rows to the training split. Returns: the split, and notes.

    train: columns text, (text_pair,) label; a new row copies the other columns of its source. others: validation and test,
    whose texts no new row may equal. Raises: as `augment_rows`.
    """
    from datasets import Dataset, concatenate_datasets

    if not args.row_operations:
        return train, []
    texts, pairs = text_columns(train)
    taken = [text_key(*cells) for split in others for cells in zip(*_filled(*text_columns(split)), strict=True)]
    rows = augment_rows(texts, pairs, train["label"][:], args, seed, taken=taken, device=device)
    notes = describe_rows(rows, texts, pairs, args)
    if not rows:
        return train, notes
    cells = train.select([row.source for row in rows]).to_dict()
    assert isinstance(cells, dict)
    cells["text"] = [row.text for row in rows]
    if pairs is not None:
        cells["text_pair"] = [row.pair for row in rows]
    return concatenate_datasets([train, Dataset.from_dict(cells, features=train.features)]), notes


def describe_rows(
    rows: Sequence[NewRow], texts: Sequence[str], pairs: Sequence[str] | None, args: AugmentArguments
) -> list[str]:
    """Describe the new rows in notes for the log.

    Counts and an example by operation, the number of missing copies, and a warning if the texts do not look English.
    """
    counts = Counter(row.operation for row in rows)
    made = ", ".join(f"{counts[name]} by {name}" for name in args.row_operations)
    missing = len(texts) * args.augment_copies - len(rows)
    reason = "no word of the text may change, or all variants exist"
    few = f"; {missing} could not be made: {reason}" if missing else ""
    notes = [f"augment: {len(rows)} new rows of {len(texts)} training rows ({made}){few}"]
    for name in args.row_operations:
        if row := next((row for row in rows if row.operation == name), None):
            old, new = texts[row.source], row.text
            if pairs is not None and row.pair != pairs[row.source]:
                old, new = pairs[row.source], str(row.pair)
            notes.append(f"augment: {name}, for example '{cut(old, 100)}' -> '{cut(new, 100)}'")
    share = share_of_stop_words(texts)
    if share < _ENGLISH and _GUARDED & set(args.row_operations):
        notes.append(
            warning(
                f"{share:.0%} of the words are English stop-words, so the texts may not be English: swap, delete and insert "
                "know the negations of English alone, and may change a label"
            )
        )
    return notes


def _turns(texts: Sequence[str], pairs: Sequence[str] | None, args: AugmentArguments, seed: int) -> list[_Turn]:
    turns, names = [], args.row_operations
    for row, text in enumerate(texts):
        rng = _rng(seed, text, pairs[row] if pairs else "")
        order = rng.sample(names, len(names))
        for copy in range(args.augment_copies):
            first = copy % len(order)
            sides = rng.sample([0, 1], 2) if pairs else [0]
            turns.append(_Turn(row, copy, order[first:] + order[:first], sides))
    return turns


def _rng(*seed: object) -> Random:
    """Return a generator seeded by these values.

    Random hashes a string by SHA-512, so that the generator is the same in every process.
    """
    return Random("\0".join(map(str, seed)))


def _operations(args: AugmentArguments) -> dict[str, Operation]:
    """Return the operations that need no checkpoint.

    Raises: ConfigError if the lexicon is not installed.
    """
    rate, operations = args.augment_rate, dict[str, Operation]()
    if {"synonym", "insert"} & set(args.row_operations):
        lexicon = load_lexicon()
        operations["synonym"] = lambda text, rng: eda.replace_synonyms(text, rate, rng, lexicon)
        operations["insert"] = lambda text, rng: eda.insert(text, rate, rng, lexicon)
    operations["swap"] = lambda text, rng: eda.swap(text, rate, rng)
    operations["delete"] = lambda text, rng: eda.delete(text, rate, rng)
    operations["noise"] = lambda text, rng: typos.add_noise(text, rate, rng)
    return operations


def _drafts(
    turns: Sequence[_Turn], columns: Sequence[Sequence[str]], args: AugmentArguments, device: str | torch.device
) -> dict[str, list[str]]:
    """Return paraphrases of the texts whose first operation is paraphrase."""
    sources = dict.fromkeys(columns[turn.sides[0]][turn.row] for turn in turns if turn.operations[0] == "paraphrase")
    if not sources:
        return {}
    from nlp_ft.training.augmentation.paraphrase import paraphrase

    # one more than the copies: the most likely one is often the text itself
    drafts = paraphrase([*sources], args.paraphrase_models, args.augment_prefix or [], args.augment_copies + 1, device)
    return dict(zip(sources, drafts, strict=True))


def _candidates(
    turn: _Turn,
    columns: Sequence[Sequence[str]],
    operations: dict[str, Operation],
    drafts: dict[str, list[str]],
    args: AugmentArguments,
    seed: int,
) -> Iterable[tuple[str, int, str]]:
    """Yield (operation, side, changed text); the caller takes the first new one."""
    for name in turn.operations:
        for side in turn.sides:
            text = columns[side][turn.row]
            if name == "paraphrase":
                yield from ((name, side, draft) for draft in drafts.get(text, []))
                continue
            for attempt in range(_ATTEMPTS):
                new = operations[name](text, _rng(seed, text, side, turn.copy, name, attempt))
                if new is not None:
                    yield name, side, new


def _filled(texts: list[str], pairs: list[str] | None) -> tuple[list[str], Sequence[str | None]]:
    return texts, [None] * len(texts) if pairs is None else pairs
