"""The language of one text: by its script, and where that is Latin by the most common words of eleven languages."""

from __future__ import annotations

import re
from collections import Counter

_MOST_CHARACTERS = 1000  # of a text that are looked at
_FEWEST_LETTERS = 2
_LEAD = 1.5  # times the score of the next best language

# The words of a language that a text is likeliest to have. Those of several languages count less for each.
_WORDS = {
    "English": "the and of to is in it that this was for with on you not are have but be as at they my we so what from "
    "all your his her can just had were if their has there been would who will or an me i a he she do about out when no "
    "more than up like one how its very don't it's i'm im only by which some am any too over then go get here now after "
    "into these those good well war let see off because other them him said could did time most last year non wat",
    "German": "der die das und ist nicht ich es ein eine zu den mit sich auf für dem im auch als wie sie war aber bei "
    "einen noch nach wird sind wir hat nur kann sehr einem oder haben so von mir du aus wenn habe mich in er was man am "
    "um schon mehr keine über zum zur bin",
    "French": "le la les de et est un une des je pas que il pour dans ce qui en ne du sur avec plus au par se tout mais "
    "nous vous elle on son cette sont très bien c'est j'ai été fait être comme si ou à sa ses mon même ont aussi qu'il a "
    "y me ils leur",
    "Spanish": "el la los las de que y en es un una por con no para se del al su lo como más pero me muy mi este esta ya "
    "todo hay cuando sin sobre fue son está ha si le porque también a o te nos hasta yo qué tiene he era ser",
    "Italian": "il di che è la e non un una per sono mi con ho si da lo ma le i della del come più questo anche se nel "
    "alla gli ha in molto dei al delle ci c'è ed perché questa io tutto solo ne quando essere a sia stato o era dal",
    "Portuguese": "o a de que e não um uma para com é os as do da em no na se por mais eu mas como foi muito ao dos das "
    "seu sua ou está meu minha já tem são isso também quando você ele ela nos esse só pelo até me bem ser nem",
    "Dutch": "de het een en van ik niet dat is zijn voor met te op aan maar ook er heeft bij wordt deze naar nog geen jij "
    "uit in was je dit die als om door hij ze zo we wel dan over of mijn heb worden meer wat kan veel al had",
    "Swedish": "och att det som en är jag inte på för med av den till har ett om var men så vi de kan han ska från mig "
    "när man eller sig bara mycket också där nu du hade blir efter i hon vad utan alla här",
    "Danish": "og at det er en jeg ikke på for med af den til har et om var men så vi de kan han skal fra mig når man "
    "eller sig bare meget også der nu du havde bliver efter i hun hvad som mit være ved",
    "Polish": "i w nie na się że jest z do to jak ale co tak o po mnie od za dla tylko już ten przez czy być jego który "
    "są mi było może bardzo tego jej ja a ma go te bo ze bez jestem tym",
    "Turkish": "ve bir bu da de için çok ile ne var ama gibi daha değil ben sen olarak kadar her mi mı olan sonra çünkü "
    "yok şey bana ki en o ya biz hiç iyi ise oldu sadece bunu onun",
}
LATIN = tuple(_WORDS)

_ranges = {
    "Greek": "\u0370-\u03ff\u1f00-\u1fff",
    "Cyrillic": "\u0400-\u052f",
    "Armenian": "\u0530-\u058f",
    "Hebrew": "\u0590-\u05ff",
    "Arabic": "\u0600-\u06ff\u0750-\u077f\u08a0-\u08ff\ufb50-\ufdff\ufe70-\ufefc",
    "Devanagari": "\u0900-\u097f",
    "Bengali": "\u0980-\u09ff",
    "Gurmukhi": "\u0a00-\u0a7f",
    "Gujarati": "\u0a80-\u0aff",
    "Tamil": "\u0b80-\u0bff",
    "Telugu": "\u0c00-\u0c7f",
    "Kannada": "\u0c80-\u0cff",
    "Malayalam": "\u0d00-\u0d7f",
    "Sinhala": "\u0d80-\u0dff",
    "Thai": "\u0e00-\u0e7f",
    "Burmese": "\u1000-\u109f",
    "Georgian": "\u10a0-\u10ff",
    "Ethiopic": "\u1200-\u137f",
    "Khmer": "\u1780-\u17ff",
    "Kana": "\u3041-\u309f\u30a1-\u30fa\u31f0-\u31ff",
    "Hangul": "\u1100-\u11ff\u3130-\u318f\uac00-\ud7af",
    "Han": "\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003134f",
}
_NAMES = {
    "Kana": "Japanese",
    "Hangul": "Korean",
    "Han": "Chinese",
    "Greek": "Greek",
    "Hebrew": "Hebrew",
    "Thai": "Thai",
}
_SCRIPTS = {name: re.compile(f"[{letters}]") for name, letters in _ranges.items()}
_OTHER_SCRIPT = re.compile("[" + "".join(_ranges.values()) + "]")
_LATIN_LETTER = re.compile("[A-Za-z\xc0-\xd6\xd8-\xf6\xf8-\u024f\u1e00-\u1eff]")
_WEIGHT = {"Kana": 3, "Hangul": 3, "Han": 3}  # Latin letters that one of these stands for

_ADDRESSES = re.compile(r"(?:https?://|www\.|[@#])\S+", re.IGNORECASE)
_WORD = re.compile(r"[^\W\d_]+(?:['’][^\W\d_]+)?")
_LANGUAGES: dict[str, list[str]] = {}
for _name, _words in _WORDS.items():
    for _word in dict.fromkeys(_words.split()):
        _LANGUAGES.setdefault(_word, []).append(_name)


def language(text: str) -> str | None:
    """The language of a text in English, or `Cyrillic script` where a script has many; None where it cannot be told.

    Latin letters: at least two different common words of the language, and 1.5 times the score of the next best. Web
    addresses, mentions and hashtags are left out; no more than 1000 characters are read.
    """
    text = _ADDRESSES.sub(" ", text[:_MOST_CHARACTERS])
    if not text.isascii() and _OTHER_SCRIPT.search(text):
        letters = {name: _WEIGHT.get(name, 1) * len(script.findall(text)) for name, script in _SCRIPTS.items()}
        latin = len(_LATIN_LETTER.findall(text))
        if letters["Kana"] > 0:
            letters["Kana"] += letters.pop("Han")  # Japanese is written in both
        script = max(letters, key=lambda name: letters[name])
        if letters[script] > latin:
            known = letters[script] >= _FEWEST_LETTERS * _WEIGHT.get(script, 1)
            return _NAMES.get(script, f"{script} script") if known else None
    return _by_words(text)


def _by_words(text: str) -> str | None:
    """The language whose common words lead, each word counted once."""
    words = {word.replace("’", "'") for word in _WORD.findall(text.lower())}
    scores: dict[str, float] = {}
    seen: Counter[str] = Counter()
    for word in words:
        languages = _LANGUAGES.get(word, ())
        for name in languages:
            scores[name] = scores.get(name, 0.0) + 1 / len(languages)
            seen[name] += 1
    best, *others = sorted(scores, key=lambda name: -scores[name]) or [""]
    if seen[best] < 2 or scores[best] < 1 or (others and scores[best] < _LEAD * scores[others[0]]):
        return None
    return best
