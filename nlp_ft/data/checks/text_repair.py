"""Repair of a text: wrong encoding (by ftfy), HTML residue, invisible characters."""

from __future__ import annotations

import re
from html import unescape
from html.entities import html5

from ftfy import fix_encoding

# Characters that some damage, a URL or a mention needs; a text without any of these is whole.
SUSPECT = re.compile(r"[^\t\n\r -%'-:=-?A-~]|://|www\.|WWW\.")

_LOST = "\N{REPLACEMENT CHARACTER}"
_MOST_ROUNDS = 5  # of damage upon damage

# Every broken text has one of these: a test fifty times as fast as ftfy, which needs a second for 1000 long French texts.
_MAYBE_BROKEN = re.compile("[^\x00-\x7f](?:[^\x00-\x7f]|(?<=[ÂÃ]) |(?<=[\x80-\x9f\ufffd]))")
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
_UNSPACED = "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff"  # scripts that separate words by a zero-width space
_EMOJI = "\u2190-\u2bff\U0001f000-\U0001faff"
_CONTROL = re.compile(
    r"\x1b\[[0-?]*[ -/]*[@-~]|[\x00-\x08\x0e-\x1b\x7f-\x9f\xad\u2060-\u2064\ufeff\ufffe\uffff]"
    rf"|(?<![{_UNSPACED}])\u200b(?![{_UNSPACED}])|(?<![{_JOINING}])\u200c(?![{_JOINING}])"
    rf"|(?<![{_JOINING}])(?:(?<![{_EMOJI}\ufe0f\u20e3\U000e007f])\u200d|\u200d(?![{_EMOJI}]))(?![{_JOINING}])"
)
_INVISIBLE = re.compile(
    "[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\xad\u200b-\u200f\u202a-\u202e\u2060-\u2069\ufeff\ufffe\uffff]"
)
_BREAKS = re.compile(r"[\x0b\x0c\x1c-\x1f]+")  # these separate words, so a space replaces them
_DIRECTION = re.compile(r"[\u200e\u200f\u202a-\u202e\u2066-\u2069]")
_RIGHT_TO_LEFT = re.compile("[\u0590-\u08ff\ufb1d-\ufdff\ufe70-\ufefc]")

_URL = re.compile(r"https?://\S+|\bwww\.\w\S*", re.IGNORECASE)
_MENTION = re.compile(r"(?<![\w@.])@[^\W\d]\w+")


def encoding(text: str) -> str | None:
    """Mend characters that a wrong encoding broke; None if none is broken.

    Characters that are lost stay as they are.
    """
    if text.isascii() or not _MAYBE_BROKEN.search(text):
        return None
    mended = fix_encoding(text)
    return _kept_clean(text, mended) if mended != text or _LOST in text else None


def html(text: str) -> str | None:
    """Put characters for entities and take known tags out; None if there are none.

    `<3` and `a < b` stay.
    """
    mended = text
    for _ in range(_MOST_ROUNDS):
        before = mended
        if ";" in mended:
            mended = _ENTITY.sub(_character, _HALF_ENTITY.sub(lambda match: _character(match, "&"), mended))
        if mended == before:
            break
    if "<" in mended:
        mended = _BLOCK_TAGS.sub(_gap, _INLINE_TAG.sub("", mended))
    return _kept_clean(text, mended) if mended != text else None


def control(text: str) -> str | None:
    """Take control and zero-width characters out; None if there are none.

    Joiners stay within emoji and in scripts that need them, marks of direction in texts of a right-to-left script. What
    mending the encoding would turn into something better is no control character.
    """
    if text.isprintable() or not _INVISIBLE.search(text):
        return None
    better = encoding(text) if _IN_SEQUENCES.search(text) else None
    new = _without(text, "" if better is None else "".join(set(text) - set(better)))
    return new if new != text else None


def url(text: str) -> str | None:
    """First web address in the text."""
    match = _URL.search(text) if "://" in text or "www." in text.lower() else None
    return match and match[0]


def mention(text: str) -> str | None:
    """First `@user` in the text; an e-mail address is none."""
    match = _MENTION.search(text) if "@" in text else None
    return match and match[0]


def shown(text: str) -> str:
    r"""Write control and zero-width characters as their escapes, like `\u200b`."""
    return _CONTROL.sub(_escape, _BREAKS.sub(_escape, text))


def _character(match: re.Match[str], start: str = "") -> str:
    """Character of an entity; the text itself if it is no entity or has no character."""
    name = match[0].lstrip("&")
    new = unescape(start + match[0]) if name.startswith("#") or name in html5 else ""
    return match[0] if new in ("", _LOST) else new.replace("\xa0", " ")


def _gap(match: re.Match[str]) -> str:
    """White space for tags that separate lines; none where there is some already."""
    start, end, text = match.start(), match.end(), match.string
    if start == 0 or end == len(text) or text[start - 1].isspace():
        return ""
    return "\n" if "\n" in match[0] else " "


def _escape(match: re.Match[str]) -> str:
    return match[0].encode("unicode_escape").decode()


def _without(text: str, kept: str) -> str:
    """Text without the invisible characters that are not among the kept."""

    def put(match: re.Match[str], instead: str = "") -> str:
        return match[0] if match[0] in kept else instead

    new = _BREAKS.sub(lambda match: put(match, " "), _CONTROL.sub(put, text))
    return new if _RIGHT_TO_LEFT.search(new) else _DIRECTION.sub(put, new)


def _kept_clean(text: str, mended: str) -> str:
    """Mended text without invisible characters that the damaged one did not have."""
    return _without(mended, text)
