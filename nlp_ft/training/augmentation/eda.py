"""The four word operations of EDA (Wei & Zou 2019, arXiv:1901.11196, section 2), made careful with what carries the label.

Where this differs from the paper: negations, the three words after one, stop-words, links, mentions, tags and numbers are never
touched ("not" deleted turns a label); words are swapped within a clause only ("good cast but bad plot" keeps its turn); at most
a quarter of the content words goes; synonyms are those of `Lexicon`. Still, no list knows every word a label hangs on.
"""

from __future__ import annotations

from random import Random

from nlp_ft.training.augmentation.wordnet import Lexicon
from nlp_ft.training.augmentation.words import Word, join_words, split_words


def swap(text: str, rate: float, rng: Random) -> str | None:
    """Pairs of content words of one clause change places, `rate` of all words moved; None where no two can."""
    words, tail = split_words(text)
    left = [word for word in words if word.content and not word.starts]
    rng.shuffle(left)
    for _ in range(_number(words, rate / 2)):
        pair = next(
            ((a, b) for i, a in enumerate(left) for b in left[i + 1 :] if a.clause == b.clause and a.plain != b.plain),
            None,
        )
        if pair is None:
            break
        one, other = pair
        one.core, other.core = other.core, one.core
        left = [word for word in left if word is not one and word is not other]
    return _changed(text, join_words(words, tail))


def delete(text: str, rate: float, rng: Random) -> str | None:
    """`rate` of the words go: content words without punctuation, a quarter of those at most; None under four of them."""
    words, tail = split_words(text)
    content = [word for word in words if word.content]
    bare = [word for word in content if not (word.starts or word.after or word.before.strip())]
    gone = rng.sample(bare, min(len(bare), len(content) // 4, _number(words, rate)))
    return _changed(text, join_words([word for word in words if not any(word is one for one in gone)], tail))


def replace_synonyms(text: str, rate: float, rng: Random, lexicon: Lexicon) -> str | None:
    """`rate` of the words give way to a synonym each; None where no word has one."""
    words, tail = split_words(text)
    found = _with_synonyms(words, lexicon)
    for place in rng.sample(sorted(found), min(len(found), _number(words, rate))):
        word, article = words[place], words[place - 1].plain if place else ""
        fitting = [s for s in found[place] if article not in ("a", "an") or (article == "an") == (s[0] in "aeiou")]
        if fitting:
            new = rng.choice(fitting)
            word.core = new.capitalize() if word.core[0].isupper() else new
    return _changed(text, join_words(words, tail))


def insert(text: str, rate: float, rng: Random, lexicon: Lexicon) -> str | None:
    """Synonyms of `rate` of the words come in after content words; None where no word has one, or each ends a clause."""
    words, tail = split_words(text)
    found = _with_synonyms(words, lexicon)
    new = [rng.choice(found[place]) for place in rng.sample(sorted(found), min(len(found), _number(words, rate)))]
    for synonym in new:
        if not (indices := [place for place, word in enumerate(words) if word.content and not word.after]):
            break
        words.insert(rng.choice(indices) + 1, Word(" ", synonym, "", fixed=True))
    return _changed(text, join_words(words, tail))


def _with_synonyms(words: list[Word], lexicon: Lexicon) -> dict[int, list[str]]:
    """Synonyms by place, of content words in lower case or at the start of a sentence: others are names."""
    found = {}
    for place, word in enumerate(words):
        if word.content and (word.core.islower() or (word.starts and word.core.istitle())):
            found[place] = lexicon.synonyms(word.plain)
    return {place: synonyms for place, synonyms in found.items() if synonyms}


def _number(words: list[Word], rate: float) -> int:
    """This share of the words, one at least."""
    return max(1, round(rate * sum(bool(word.core) for word in words)))


def _changed(old: str, new: str) -> str | None:
    return None if new == old else new
