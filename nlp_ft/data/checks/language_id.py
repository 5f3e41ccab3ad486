"""Language of a text: by its script alone, else by py3langid where it is certain."""

from __future__ import annotations

import functools
import re
import threading
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from py3langid.langid import LanguageIdentifier

_MOST_CHARACTERS = 500  # of a text that are read
_FEWEST_LETTERS = 2
_CERTAIN = 0.9  # probability from which an answer of py3langid counts

# fmt: off
_LANGUAGES = {  # by the codes of py3langid's model
    "ace": "Acehnese", "af": "Afrikaans", "am": "Amharic", "an": "Aragonese", "ar": "Arabic", "ary": "Arabic",
    "arz": "Arabic", "as": "Assamese", "az": "Azerbaijani", "ba": "Bashkir", "bcl": "Central Bikol",
    "be": "Belarusian", "bg": "Bulgarian", "bn": "Bengali", "br": "Breton", "bs": "Bosnian", "ca": "Catalan",
    "crh": "Crimean Tatar", "cs": "Czech", "cy": "Welsh", "da": "Danish", "de": "German", "dz": "Dzongkha",
    "el": "Greek", "en": "English", "eo": "Esperanto", "es": "Spanish", "et": "Estonian", "eu": "Basque",
    "ext": "Extremaduran", "fa": "Persian", "fi": "Finnish", "fo": "Faroese", "fr": "French", "fuv": "Fulfulde",
    "fy": "West Frisian", "ga": "Irish", "gcf": "Guadeloupean Creole", "gcr": "Guianese Creole",
    "gd": "Scottish Gaelic", "gl": "Galician", "gom": "Konkani", "grc": "Ancient Greek", "gu": "Gujarati",
    "gug": "Guarani", "guw": "Gun", "ha": "Hausa", "hbo": "Hebrew", "he": "Hebrew", "hi": "Hindi", "hr": "Croatian",
    "ht": "Haitian Creole", "hu": "Hungarian", "hy": "Armenian", "id": "Indonesian", "ig": "Igbo",
    "is": "Icelandic", "it": "Italian", "ja": "Japanese", "jv": "Javanese", "ka": "Georgian", "kab": "Kabyle",
    "kik": "Kikuyu", "kk": "Kazakh", "km": "Khmer", "kn": "Kannada", "ko": "Korean", "ku": "Kurdish",
    "ky": "Kyrgyz", "la": "Latin", "lb": "Luxembourgish", "lg": "Ganda", "lij": "Ligurian", "ln": "Lingala",
    "lo": "Lao", "lt": "Lithuanian", "ltg": "Latgalian", "lv": "Latvian", "mg": "Malagasy", "mk": "Macedonian",
    "ml": "Malayalam", "mn": "Mongolian", "mr": "Marathi", "ms": "Malay", "mt": "Maltese", "my": "Burmese",
    "ne": "Nepali", "nl": "Dutch", "nn": "Norwegian", "no": "Norwegian", "nso": "Northern Sotho", "oc": "Occitan",
    "om": "Oromo", "or": "Odia", "pa": "Punjabi", "pcm": "Nigerian Pidgin", "pl": "Polish", "ps": "Pashto",
    "pt": "Portuguese", "qu": "Quechua", "ro": "Romanian", "ru": "Russian", "rw": "Kinyarwanda", "sa": "Sanskrit",
    "sdh": "Southern Kurdish", "se": "Northern Sami", "si": "Sinhala", "sk": "Slovak", "sl": "Slovenian",
    "sn": "Shona", "so": "Somali", "sq": "Albanian", "sr": "Serbian", "st": "Sotho", "sv": "Swedish",
    "sw": "Swahili", "ta": "Tamil", "te": "Telugu", "tg": "Tajik", "th": "Thai", "tk": "Turkmen", "tl": "Tagalog",
    "tr": "Turkish", "tt": "Tatar", "ug": "Uyghur", "uk": "Ukrainian", "ur": "Urdu", "uz": "Uzbek",
    "uzs": "Southern Uzbek", "vec": "Venetian", "vi": "Vietnamese", "vo": "Volapük", "wa": "Walloon",
    "wuu": "Chinese", "xh": "Xhosa", "yo": "Yoruba", "yue": "Chinese", "zh": "Chinese", "zu": "Zulu",
}
# fmt: on
_SEVERAL_CODES = ("Arabic", "Norwegian")  # their probabilities are added up

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
_ONE_LANGUAGE = {  # scripts that tell the language, or all that can be told of it
    "Greek": "Greek",
    "Armenian": "Armenian",
    "Hebrew": "Hebrew",
    "Gurmukhi": "Punjabi",
    "Gujarati": "Gujarati",
    "Tamil": "Tamil",
    "Telugu": "Telugu",
    "Kannada": "Kannada",
    "Malayalam": "Malayalam",
    "Sinhala": "Sinhala",
    "Thai": "Thai",
    "Burmese": "Burmese",
    "Georgian": "Georgian",
    "Ethiopic": "Ethiopic script",  # of its languages py3langid knows Amharic alone
    "Khmer": "Khmer",
    "Kana": "Japanese",
    "Hangul": "Korean",
    "Han": "Chinese",
}
_SCRIPTS = {name: re.compile(f"[{letters}]") for name, letters in _ranges.items()}
_OTHER_SCRIPT = re.compile("[" + "".join(_ranges.values()) + "]")
_LATIN_LETTER = re.compile("[A-Za-z\xc0-\xd6\xd8-\xf6\xf8-\u024f\u1e00-\u1eff]")
_WEIGHT = {"Kana": 3, "Hangul": 3, "Han": 3}  # Latin letters that one of these stands for
_ADDRESSES = re.compile(r"(?:https?://|www\.|[@#])\S+", re.IGNORECASE)
_loading = threading.Lock()


def language(text: str) -> str | None:
    """Name the language of a text in English; None where it is not certain.

    A script that one language alone is written in decides. Else py3langid decides, with a probability of at least .9, by the
    letters of the commonest script. Web addresses, mentions and hashtags are left out; 500 characters are read.
    """
    text = _ADDRESSES.sub(" ", text[:_MOST_CHARACTERS])
    if not text.isascii() and _OTHER_SCRIPT.search(text):
        letters = {name: _WEIGHT.get(name, 1) * len(script.findall(text)) for name, script in _SCRIPTS.items()}
        if letters["Kana"] > 0:
            letters["Kana"] += letters.pop("Han")  # Japanese is written in both
        script = max(letters, key=lambda name: letters[name])
        if letters[script] <= len(_LATIN_LETTER.findall(text)):
            text = _OTHER_SCRIPT.sub(" ", text)
        elif script in _ONE_LANGUAGE:
            known = letters[script] >= _FEWEST_LETTERS * _WEIGHT.get(script, 1)
            return _ONE_LANGUAGE[script] if known else None
        else:
            text = _LATIN_LETTER.sub(" ", text)
    code, probability = _identifier().classify(text)
    best = _LANGUAGES.get(code)  # None for "zxx", which is no language
    if best in _SEVERAL_CODES and probability < _CERTAIN:
        probability = sum(share for other, share in _identifier().rank(text) if _LANGUAGES.get(other) == best)
    return best if probability >= _CERTAIN else None


def _identifier() -> LanguageIdentifier:
    with _loading:
        return _load()


@functools.cache
def _load() -> LanguageIdentifier:
    """Load an identifier apart from py3langid's global one, which others may change."""
    from py3langid.langid import MODEL_FILE, LanguageIdentifier

    return LanguageIdentifier.from_model_file(MODEL_FILE, norm_probs=True)
