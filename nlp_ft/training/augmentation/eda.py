"""Word operations of EDA, restricted to keep labels valid.

Source: Wei & Zou 2019, arXiv:1901.11196, section 2.

Differences from the paper: negations, the three words after one, stop-words, links, mentions, tags and numbers never change
(without "not" the label would be wrong); words are swapped within a clause only ("good cast but bad plot"); at most a quarter
of the content words is deleted; synonyms are those of `Lexicon`. A label may still depend on another word.
"""

from __future__ import annotations

from random import Random

from nlp_ft.training.augmentation.wordnet import Lexicon
from nlp_ft.training.augmentation.words import Word, join_words, split_words


def swap(text: str, rate: float, rng: Random) -> str | None:
    """Swap content words of one clause in pairs; None if no two can be swapped.

    rate: share of all words that move.
    """
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
        first, second = pair
        first.core, second.core = second.core, first.core
        left = [word for word in left if word is not first and word is not second]
    return _changed(text, join_words(words, tail))


def delete(text: str, rate: float, rng: Random) -> str | None:
    """Delete content words; None if there are fewer than four.

    rate: share of all words to delete, but at most a quarter of the content words. A word beside punctuation stays.
    """
    words, tail = split_words(text)
    content = [word for word in words if word.content]
    bare = [word for word in content if not (word.starts or word.after or word.before.strip())]
    deleted = rng.sample(bare, min(len(bare), len(content) // 4, _number(words, rate)))
    return _changed(text, join_words([word for word in words if not any(word is other for other in deleted)], tail))


def replace_synonyms(text: str, rate: float, rng: Random, lexicon: Lexicon) -> str | None:
    """Replace `rate` of the words by a synonym each; None if no word has one."""
    words, tail = split_words(text)
    synonyms = _with_synonyms(words, lexicon)
    for index in rng.sample(sorted(synonyms), min(len(synonyms), _number(words, rate))):
        word, article = words[index], words[index - 1].plain if index else ""
        fitting = [s for s in synonyms[index] if article not in ("a", "an") or (article == "an") == (s[0] in "aeiou")]
        if fitting:
            new = rng.choice(fitting)
            word.core = new.capitalize() if word.core[0].isupper() else new
    return _changed(text, join_words(words, tail))


def insert(text: str, rate: float, rng: Random, lexicon: Lexicon) -> str | None:
    """Insert synonyms after content words; None if that is not possible.

    rate: share of all words whose synonyms are inserted.
    """
    words, tail = split_words(text)
    synonyms = _with_synonyms(words, lexicon)
    new = [
        rng.choice(synonyms[index]) for index in rng.sample(sorted(synonyms), min(len(synonyms), _number(words, rate)))
    ]
    for synonym in new:
        if not (indices := [index for index, word in enumerate(words) if word.content and not word.after]):
            break
        words.insert(rng.choice(indices) + 1, Word(" ", synonym, "", fixed=True))
    return _changed(text, join_words(words, tail))


def _with_synonyms(words: list[Word], lexicon: Lexicon) -> dict[int, list[str]]:
    """Return synonyms by word index.

    Capitalised words inside a sentence count as names and have none.
    """
    synonyms = {}
    for index, word in enumerate(words):
        if word.content and (word.core.islower() or (word.starts and word.core.istitle())):
            synonyms[index] = lexicon.synonyms(word.plain)
    return {index: words for index, words in synonyms.items() if words}


def _number(words: list[Word], rate: float) -> int:
    """Return this share of the words, at least one."""
    return max(1, round(rate * sum(bool(word.core) for word in words)))


def _changed(old: str, new: str) -> str | None:
    return None if new == old else new
