"""Typing errors in words.

A neighbouring key, two letters swapped, a letter left out or doubled.
"""

from __future__ import annotations

from random import Random

from nlp_ft.training.augmentation.words import Word, join_words, split_words

_KEYS = ("qwertyuiop", "asdfghjkl", "zxcvbnm")
_SHORTEST = 4  # letters of a word that may hold an error


def _neighbours() -> dict[str, str]:
    """Return the keys around each letter of a QWERTY keyboard.

    Each row is half a key right of the one above.
    """
    positions = {
        letter: (2 * column + row, row) for row, keys in enumerate(_KEYS) for column, letter in enumerate(keys)
    }
    return {
        letter: "".join(other for other, (a, b) in positions.items() if (abs(a - x), abs(b - y)) in ((2, 0), (1, 1)))
        for letter, (x, y) in positions.items()
    }


NEIGHBOURS = _neighbours()


def add_noise(text: str, rate: float, rng: Random) -> str | None:
    """Put typing errors into a text; None if no word qualifies.

    rate: share of the letters to change, at most one per word and never the first. Words of four letters and more, without
    an apostrophe, of scripts with capitals (Latin, Greek, Cyrillic), that are neither fixed nor negations.
    """
    words, tail = split_words(text)
    free = [word for word in words if _takes_noise(word)]
    number = max(1, round(rate * sum(len(word.core) for word in free)))
    for word in rng.sample(free, min(len(free), number)):
        word.core = _with_error(word.core, rng)
    new = join_words(words, tail)
    return None if new == text else new


def _takes_noise(word: Word) -> bool:
    has_case = word.core.lower() != word.core.upper()
    return has_case and word.core.isalpha() and len(word.core) >= _SHORTEST and not word.fixed and not word.negates


def _with_error(word: str, rng: Random) -> str:
    """Return the word with one error after its first letter; always a different word."""
    index = rng.randrange(1, len(word))
    letter, kinds = word[index], ["drop", "double"]
    if letter.lower() in NEIGHBOURS:
        kinds.append("neighbour")
    if index + 1 < len(word) and word[index + 1] != letter:
        kinds.append("swap")
    kind = rng.choice(kinds)
    if kind == "drop":
        return word[:index] + word[index + 1 :]
    if kind == "double":
        return word[:index] + letter + word[index:]
    if kind == "swap":
        return word[:index] + word[index + 1] + letter + word[index + 2 :]
    near = rng.choice(NEIGHBOURS[letter.lower()])
    return word[:index] + (near.upper() if letter.isupper() else near) + word[index + 1 :]
