"""Split a text into words, marked by whether augmentation may change them.

In scripts without spaces between words, the units of `nlp_ft.data.text` are the words.

Links, names, numbers, negations and the words they negate must not change. The word lists are English; in another language
negations are not protected, which a caller detects by `share_of_stop_words`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import pairwise

from nlp_ft.data.text import UNIT

_STOP_WORDS = """
    a an the this that these those such same other another each every either some any all both half many much more most few
    less least enough several own i me my mine myself we us our ours ourselves you your yours yourself yourselves he him his
    himself she her hers herself it its itself they them their theirs themselves one ones someone something anyone anything
    everyone everything who whom whose which what when where why how whoever whatever am is are was were be been being have
    has had having do does did doing done will would shall should can could may might must ought need dare let get gets got
    and or but if because as until while of at by for with about against between into through during before after above below
    to from up down in out on off over under upon onto within along across around behind beside besides toward towards than
    then once here there so very too quite rather just only even also still again ever always yet though although however
    whereas despite unless except instead since whether like else perhaps maybe almost nearly mostly really pretty fairly
    somewhat far ca wo sha gonna wanna gotta im ive ill id youre youve hes shes theyre thats whats lets dont u ur"""
_NEGATIONS = """
    not no never none nobody nothing nowhere neither nor cannot without hardly scarcely barely rarely seldom lack lacks
    lacked lacking fail fails failed nt non aint arent cant couldnt didnt doesnt dont hadnt hasnt havent isnt mustnt neednt
    shant shouldnt wasnt werent wont wouldnt
    不 没 沒 無 无 未 非 别 別 勿 莫 否"""
_CONTRASTS = "but although though however yet while whereas despite except unless instead"
STOP_WORDS, NEGATIONS, CONTRASTS = (frozenset(words.split()) for words in (_STOP_WORDS, _NEGATIONS, _CONTRASTS))
_GUARDED = STOP_WORDS | NEGATIONS
_ENDS, _BREAKS = set(".!?…。！？"), set(".,;:!?…()–—。！？，、；：（）「」")  # of a sentence, of a clause
_SCOPE = 3  # words after a negation that stay where they are
_CHUNK = re.compile(rf"\s*(?:[^\w\s]*{UNIT}[^\w\s]*|(?:(?!{UNIT})\S)+)")
_UNIT = re.compile(rf"(\s*[^\w\s]*)({UNIT})([^\w\s]*)")
_WORD = re.compile(r"[^\W\d_]+(?:['’-][^\W\d_]+)*")
_FIXED = re.compile(r"[@#<>/\\_\d]|://|\w\.\w|^www\.|&\w+;")  # links, mentions, tags, markup, numbers, U.S., and/or


@dataclass
class Word:
    """A word, with the spaces and signs before it and the signs after it.

    `fixed`: holds something that no operation may change. `content`: may also be moved, left out or replaced. `clause`: its
    number, counting punctuation and words such as "but". `starts`: the first of its sentence. `unit`: of a script without
    spaces between words.
    """

    before: str
    core: str
    after: str
    fixed: bool
    content: bool = False
    clause: int = 0
    starts: bool = False
    unit: bool = False

    @property
    def plain(self) -> str:
        """The word in lower case, with a straight apostrophe."""
        return self.core.lower().replace("’", "'")

    @property
    def negates(self) -> bool:
        """Whether the word is a negation: not, never, without, isn't, isnt."""
        return self.plain in NEGATIONS or self.plain.endswith("n't")

    @property
    def closing(self) -> str:
        """The signs after the word; all signs if there is no word."""
        return self.after if self.core else self.before


def split_words(text: str) -> tuple[list[Word], str]:
    """Split a text into marked words and the spaces at its end.

    `join_words` is the inverse.
    """
    chunks = _CHUNK.findall(text)
    words = [_word(chunk) for chunk in chunks]
    clause = scope = 0
    for last, word in pairwise([None, *words]):
        assert word is not None
        word.starts = last is None or bool(set(last.closing) & _ENDS)
        opens = last is not None and bool(set(last.closing + word.before) & _BREAKS)
        if opens or word.plain in CONTRASTS:
            clause, scope = clause + 1, 0
        word.clause = clause
        if word.negates:
            scope = _SCOPE
        elif scope:
            scope -= 1
        elif not word.fixed:
            word.content = word.unit or (len(word.core) > 1 and not _stops(word))
    return words, text[sum(map(len, chunks)) :]


def join_words(words: Iterable[Word], tail: str) -> str:
    """Return the text of the words."""
    return "".join(word.before + word.core + word.after for word in words) + tail


def share_of_stop_words(texts: Iterable[str]) -> float:
    """Share of English stop-words and negations among all words of the texts.

    About 0.4 in English; 0.0 if there are none.
    """
    words = [match.lower() for text in texts for match in _WORD.findall(text)]
    return sum(word.partition("'")[0] in _GUARDED for word in words) / max(1, len(words))


def fixed_parts(text: str) -> list[str]:
    """The links, mentions, tags and numbers of a text, sorted.

    A paraphrase must keep them.
    """
    return sorted(word.core for word in split_words(text)[0] if word.fixed and word.core)


def negated(text: str) -> bool:
    """Whether a text holds a negation."""
    return any(word.negates for word in split_words(text)[0])


def _word(chunk: str) -> Word:
    if unit := _UNIT.fullmatch(chunk):
        return Word(*unit.groups(), fixed=False, unit=True)
    match = re.fullmatch(r"(\s*[^\w@#]*)(.*?)([^\w]*)", chunk, re.DOTALL)
    assert match is not None
    before, core, after = match.groups()
    return Word(before, core, after, fixed=bool(_FIXED.search(chunk.strip())) or not _WORD.fullmatch(core))


def _stops(word: Word) -> bool:
    return word.plain in STOP_WORDS or word.plain.partition("'")[0] in STOP_WORDS
