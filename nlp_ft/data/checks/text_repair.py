"""What is damaged in one text, and the text mended: characters of a wrong encoding, HTML residue, invisible characters."""

from __future__ import annotations

import importlib.util
import re
from collections.abc import Callable
from functools import cache
from html import unescape
from html.entities import html5

# Characters that some damage, a URL or a mention needs; a text without any of these is whole.
SUSPECT = re.compile(r"[^\t\n\r -%'-:=-?A-~]|://|www\.|WWW\.")

_LOST = "\N{REPLACEMENT CHARACTER}"
_MOST_ROUNDS = 5  # of damage upon damage

_C1 = {chr(byte): bytes([byte]).decode("cp1252", "ignore") or chr(byte) for byte in range(0x80, 0xA0)}
_TAIL = "[\x80-\xbf" + "".join(_C1.values()) + "]"  # bytes 80 to BF, as Latin-1 or Windows-1252 shows them
_SEQUENCES = re.compile(  # UTF-8 read as one byte a character: alone where hardly anything else is meant, else by twos
    rf"(?<![A-Z\xc0-\xde])[ÂÃ]{_TAIL}|[âï]{_TAIL}{{2}}|ð[\x9fŸ]{_TAIL}{{2}}"
    rf"|(?:[ÄÅÎÏÐÑ×ØÙ]{_TAIL}){{2,}}|(?:[à-ï]{_TAIL}{{2}}){{2,}}"
)
_MAYBE_BROKEN = re.compile(
    "[^\x00-\x7f](?:[^\x00-\x7f]|(?<=[ÂÃ]) |(?<=[\x80-\x9f\ufffd]))"
)  # every broken text has one of these
_IN_SEQUENCES = re.compile("[\x80-\x9f\xad]")  # controls, and parts of what the encoding broke

_ENTITY = re.compile(r"&(?:#\d{1,7}|#[xX][0-9a-fA-F]{1,6}|[A-Za-z]\w{1,31});")
_HALF_ENTITY = re.compile(r"(?<![&;\w])(?:quot|amp|lt|gt|nbsp|apos);|(?<![&;\w])#(?:3[4689]|9[1-6]);(?=\w)")
_INLINE = (
    "abbr|acronym|b|big|center|cite|del|dfn|em|font|i|ins|kbd|nobr|samp|small|span|strike|strong|sub|sup|tt|u|wbr"
    "|a(?=[ /])"
)
_BLOCK = (
    "article|blockquote|body|br|dd|div|dl|dt|figure|footer|form|h[1-6]|header|hr|html|iframe|img|input|li|meta|nav|ol|p|pre"
    "|section|table|tbody|td|tfoot|th|thead|tr|ul"
)
_TAG = r"</?(?:{names})(?:\s+[\w:-]+\s*=[^<>]*|\s*/?)>"  # an attribute has a value, so "<b and c>" is no tag
_OUT = r"<!--(?:(?!<!--).)*?-->|<!doctype\s[^<>]*>|<(script|style)\b[^<>]*>(?:(?!<\1).)*?</\1\s*>|</a>"
_INLINE_TAG = re.compile(_TAG.format(names=_INLINE) + "|" + _OUT, re.IGNORECASE | re.DOTALL)
_BLOCK_TAGS = re.compile(rf"(?:{_TAG.format(names=_BLOCK)}\s*)+", re.IGNORECASE)

_JOINING = (
    "\u0600-\u08ff\u0900-\u0dff\u0f00-\u109f\u1780-\u18af\ufb50-\ufdff\ufe70-\ufefc"  # scripts with (non-)joiners
)
_UNSPACED = "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff"  # scripts that part words by a zero-width space
_EMOJI = "\u2190-\u2bff\U0001f000-\U0001faff"
_CONTROL = re.compile(
    r"\x1b\[[0-?]*[ -/]*[@-~]|[\x00-\x08\x0e-\x1b\x7f-\x9f\xad\u2060-\u2064\ufeff\ufffe\uffff]"
    rf"|(?<![{_UNSPACED}])\u200b(?![{_UNSPACED}])|(?<![{_JOINING}])\u200c(?![{_JOINING}])"
    rf"|(?<![{_JOINING}])(?:(?<![{_EMOJI}\ufe0f\u20e3\U000e007f])\u200d|\u200d(?![{_EMOJI}]))(?![{_JOINING}])"
)
_INVISIBLE = re.compile(
    "[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\xad\u200b-\u200f\u202a-\u202e\u2060-\u2069\ufeff\ufffe\uffff]"
)
_BREAKS = re.compile(r"[\x0b\x0c\x1c-\x1f]+")  # these part words, so a space takes their place
_DIRECTION = re.compile(r"[\u200e\u200f\u202a-\u202e\u2066-\u2069]")
_RIGHT_TO_LEFT = re.compile("[\u0590-\u08ff\ufb1d-\ufdff\ufe70-\ufefc]")

_URL = re.compile(r"https?://\S+|\bwww\.\w\S*", re.IGNORECASE)
_MENTION = re.compile(r"(?<![\w@.])@[^\W\d]\w+")


def encoding(text: str) -> str | None:
    """The text with characters that a wrong encoding broke mended where that can be; None where none is broken."""
    if text.isascii() or not _MAYBE_BROKEN.search(text):
        return None
    by_ftfy = _by_ftfy()
    mended = _by_hand(text) if by_ftfy is None else by_ftfy(text)
    return _kept_clean(text, mended) if mended != text or _LOST in text else None


def html(text: str) -> str | None:
    """The text with entities as characters, and without known tags; None where it has neither. `<3` and `a < b` stay."""
    mended = text
    for _ in range(_MOST_ROUNDS):
        before = mended
        if ";" in mended:
            mended = _ENTITY.sub(_character, _HALF_ENTITY.sub(lambda found: _character(found, "&"), mended))
        if mended == before:
            break
    if "<" in mended:
        mended = _BLOCK_TAGS.sub(_gap, _INLINE_TAG.sub("", mended))
    return _kept_clean(text, mended) if mended != text else None


def control(text: str) -> str | None:
    """The text without control characters and zero-width ones; None where it has none.

    Joiners stay within emoji and in scripts that need them, marks of direction in texts of a right-to-left script. What
    mending the encoding would turn into something better is no control character.
    """
    if text.isprintable() or not _INVISIBLE.search(text):
        return None
    better = encoding(text) if _IN_SEQUENCES.search(text) else None
    new = _without(text, "" if better is None else "".join(set(text) - set(better)))
    return new if new != text else None


def url(text: str) -> str | None:
    """The first web address in the text."""
    found = _URL.search(text) if "://" in text or "www." in text.lower() else None
    return found and found[0]


def mention(text: str) -> str | None:
    """The first `@user` in the text; an e-mail address is none."""
    found = _MENTION.search(text) if "@" in text else None
    return found and found[0]


def shown(text: str) -> str:
    r"""The text with control and zero-width characters as their escapes, like `\u200b`."""
    return _CONTROL.sub(_escape, _BREAKS.sub(_escape, text))


@cache
def _by_ftfy() -> Callable[[str], str] | None:
    if importlib.util.find_spec("ftfy") is None:
        return None
    from ftfy import fix_encoding

    return fix_encoding


def _by_hand(text: str) -> str:
    """Each sequence that is UTF-8 read as Windows-1252 or Latin-1 read aright, then C1 characters as Windows-1252."""
    for _ in range(_MOST_ROUNDS):
        before, text = text, _SEQUENCES.sub(_decoded, text)
        if text == before:
            break
    return "".join(_C1.get(character, character) for character in text)


def _decoded(found: re.Match[str]) -> str:
    try:
        return b"".join(map(_byte, found[0])).decode("utf-8")
    except UnicodeDecodeError:
        return found[0]


def _byte(character: str) -> bytes:
    """The byte that Windows-1252 or, where that has none, Latin-1 shows as this character."""
    return character.encode("latin-1" if character <= "\xff" else "cp1252")


def _character(found: re.Match[str], start: str = "") -> str:
    """What an entity stands for; what is no entity, or stands for no character, as it is."""
    name = found[0].lstrip("&")
    new = unescape(start + found[0]) if name.startswith("#") or name in html5 else ""
    return found[0] if new in ("", _LOST) else new.replace("\xa0", " ")


def _gap(found: re.Match[str]) -> str:
    """What takes the place of tags that part lines: as much white space as the words around them need."""
    start, end, text = found.start(), found.end(), found.string
    if start == 0 or end == len(text) or text[start - 1].isspace():
        return ""
    return "\n" if "\n" in found[0] else " "


def _escape(found: re.Match[str]) -> str:
    return found[0].encode("unicode_escape").decode()


def _without(text: str, kept: str) -> str:
    """The text without the invisible characters that are not among the kept."""

    def put(found: re.Match[str], instead: str = "") -> str:
        return found[0] if found[0] in kept else instead

    new = _BREAKS.sub(lambda found: put(found, " "), _CONTROL.sub(put, text))
    return new if _RIGHT_TO_LEFT.search(new) else _DIRECTION.sub(put, new)


def _kept_clean(text: str, mended: str) -> str:
    """The mended text without invisible characters that the damaged one did not have."""
    return _without(mended, text)
