"""Which new rows are made of which, by what: alike for a row whatever else the table holds, and never a text that is there."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from random import Random
from typing import TYPE_CHECKING, Any, NamedTuple

from nlp_ft.config.augmentation import AugmentArguments
from nlp_ft.data.checks.finding import text_key
from nlp_ft.data.text import cut
from nlp_ft.training.augmentation import eda, typos
from nlp_ft.training.augmentation.wordnet import load_lexicon
from nlp_ft.training.augmentation.words import share_of_stop_words

if TYPE_CHECKING:
    import torch
    from datasets import Dataset

_TRIES = 5  # of an operation, before the next one takes its turn
_ENGLISH = 0.15  # share of English stop-words: English has about 0.4, German, French and Spanish below 0.1
_GUARDED = {"swap", "delete", "insert"}

Operation = Callable[[str, Random], str | None]


class NewRow(NamedTuple):
    """A row that augmentation made: its text, pair (or None) and label, the row it came from (from 0), and by what."""

    text: str
    pair: str | None
    label: Any
    source: int
    operation: str


class _Turn(NamedTuple):
    """One copy to be made of a row: operations and sides (0 the text, 1 its pair) in the order in which they are tried."""

    row: int
    copy: int
    operations: list[str]
    sides: list[int]


def augment_rows(
    texts: Sequence[str],
    pairs: Sequence[str] | None,
    labels: Sequence[Any],
    args: AugmentArguments,
    seed: int,
    *,
    taken: Iterable[str] = (),
    device: str | torch.device = "cpu",
) -> list[NewRow]:
    """New rows with the labels of their sources: `--augment_copies` of each, fewer where nothing in a text may be touched.

    For training rows alone, after splitting. The operations take turns over a row's copies, from one that seed and text
    decide; where one can do nothing, the next does. Of a pair one side is changed. A row's copies are the same whatever
    else is in the table, unless one equals (by `text_key`) a row of it, another new row or a key in `taken`: then it is
    made anew. taken: keys of validation and test, so that no copy gives one away.

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
    """The training split with its new rows behind it, and what was made, one line each.

    train: columns text, (text_pair,) label; a new row has its source's cells in every other column. others: validation and
    test, whose texts no new row may equal. Raises: as `augment_rows`.
    """
    from datasets import Dataset, concatenate_datasets

    if not args.row_operations:
        return train, []
    texts, pairs = _columns(train)
    taken = [text_key(*cells) for split in others for cells in zip(*_filled(*_columns(split)), strict=True)]
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
    """What was made, by which operation, with an example of each; what could not be made; a doubt about the language."""
    counts = Counter(row.operation for row in rows)
    made = ", ".join(f"{counts[name]} by {name}" for name in args.row_operations)
    lacking = len(texts) * args.augment_copies - len(rows)
    why = "nothing in their text may be touched, or all that can be made of it is there"
    few = f"; {lacking} could not be made: {why}" if lacking else ""
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
            f"warning: {share:.0%} of the words are English stop-words, so the texts may not be English: swap, delete and "
            "insert know the negations of English alone, and may turn a label"
        )
    return notes


def _turns(texts: Sequence[str], pairs: Sequence[str] | None, args: AugmentArguments, seed: int) -> list[_Turn]:
    turns, names = [], args.row_operations
    for row, text in enumerate(texts):
        rng = _chance(seed, text, pairs[row] if pairs else "")
        order = rng.sample(names, len(names))
        for copy in range(args.augment_copies):
            first = copy % len(order)
            sides = rng.sample([0, 1], 2) if pairs else [0]
            turns.append(_Turn(row, copy, order[first:] + order[:first], sides))
    return turns


def _chance(*seed: object) -> Random:
    """A generator that depends on nothing but these: Random hashes a string by SHA-512, alike in every process."""
    return Random("\0".join(map(str, seed)))


def _operations(args: AugmentArguments) -> dict[str, Operation]:
    """Those that need no checkpoint. Raises: ConfigError if the lexicon is lacking."""
    rate, found = args.augment_rate, dict[str, Operation]()
    if {"synonym", "insert"} & set(args.row_operations):
        lexicon = load_lexicon()
        found["synonym"] = lambda text, rng: eda.replace_synonyms(text, rate, rng, lexicon)
        found["insert"] = lambda text, rng: eda.insert(text, rate, rng, lexicon)
    found["swap"] = lambda text, rng: eda.swap(text, rate, rng)
    found["delete"] = lambda text, rng: eda.delete(text, rate, rng)
    found["noise"] = lambda text, rng: typos.add_noise(text, rate, rng)
    return found


def _drafts(
    turns: Sequence[_Turn], columns: Sequence[Sequence[str]], args: AugmentArguments, device: str | torch.device
) -> dict[str, list[str]]:
    """Paraphrases of the texts whose turn begins with them."""
    wanted = dict.fromkeys(columns[t.sides[0]][t.row] for t in turns if t.operations[0] == "paraphrase")
    if not wanted:
        return {}
    from nlp_ft.training.augmentation.paraphrase import paraphrase

    # one more than the copies: the likeliest is often the text itself
    found = paraphrase([*wanted], args.paraphrase_models, args.augment_prefix or [], args.augment_copies + 1, device)
    return dict(zip(wanted, found, strict=True))


def _candidates(
    turn: _Turn,
    columns: Sequence[Sequence[str]],
    operations: dict[str, Operation],
    drafts: dict[str, list[str]],
    args: AugmentArguments,
    seed: int,
) -> Iterable[tuple[str, int, str]]:
    """(operation, side, changed text) after one another, until one is new."""
    for name in turn.operations:
        for side in turn.sides:
            text = columns[side][turn.row]
            if name == "paraphrase":
                yield from ((name, side, draft) for draft in drafts.get(text, []))
                continue
            for attempt in range(_TRIES):
                new = operations[name](text, _chance(seed, text, side, turn.copy, name, attempt))
                if new is not None:
                    yield name, side, new


def _columns(split: Dataset) -> tuple[list[str], list[str] | None]:
    return split["text"][:], split["text_pair"][:] if "text_pair" in split.column_names else None


def _filled(texts: list[str], pairs: list[str] | None) -> tuple[list[str], Sequence[str | None]]:
    return texts, [None] * len(texts) if pairs is None else pairs
