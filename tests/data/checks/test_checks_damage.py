"""Damaged texts: what is found, what it is mended to, and what is left alone."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import pytest

from nlp_ft.data.checks.finding import Checked, Example, Finding, Split
from nlp_ft.data.checks.text_damage import damage

Texts = Sequence[str]


def split(name: str, texts: Texts, pairs: Texts | None = None) -> Split:
    """The first text stands in line 2; all labels are 0."""
    return Split(name, texts, pairs, [0] * len(texts), lambda row: f"{name}.csv:{row + 2}")


def check(train: Texts, pairs: Texts | None = None, **others: Texts) -> Checked:
    splits = {"train": split("train", train, pairs), **{name: split(name, texts) for name, texts in others.items()}}
    return Checked(splits, "single_label_classification", ["bad", "good"])


def rewrites(texts: Texts, kind: str) -> dict[int, str]:
    found = [finding for finding in damage(check(texts)) if finding.check == kind]
    return found[0].rewrite.get("train", {}) if found else {}


def broken(text: str, encoding: str) -> str:
    return text.encode().decode(encoding)


@pytest.mark.parametrize("encoding", ["cp1252", "latin-1"])
@pytest.mark.parametrize(
    "text",
    ["It’s a café", "une soirée très réussie", "größer und schöner", "wait – what… “no”", "so good 😂", "привет мир"],
)
def test_utf8_that_was_read_as_one_byte_a_character_is_mended(text: str, encoding: str) -> None:
    try:
        texts = [broken(text, encoding), text]
    except UnicodeDecodeError:
        pytest.skip("Windows-1252 lacks a byte of this text")
    assert rewrites(texts, "mojibake") == {0: text}
    assert [one.check for one in damage(check([text]))] == []


def test_damage_upon_damage_is_mended() -> None:
    assert rewrites([broken(broken("that’s it", "cp1252"), "cp1252")], "mojibake") == {0: "that’s it"}


def test_windows_1252_read_as_latin_1_becomes_quotes_again_and_is_no_control_character() -> None:
    (found,) = damage(check(["he said \x93no\x94 to me"]))
    assert (found.check, found.rewrite) == ("mojibake", {"train": {0: "he said “no” to me"}})


@pytest.mark.parametrize(
    "text",
    [
        "naïve café, São Paulo, Ünal, Ærø, Łódź, ½ price, £5",
        "« Bel été\xa0» à la carte… voilà…»",
        "CAFÉ—NOIR, AMANHÔ, MAÇÃ…",
        "Прекрасный фильм, ничего не скажешь",
        "η ταινία ήταν υπέροχη",
        "とても良い映画でした。",
        "영화가 너무 좋았어요",
        "فیلم خیلی خوب بود",
        "love it ❤️ 👍🏽 – “really” …",
    ],
)
def test_texts_that_are_whole_are_left_alone(text: str) -> None:
    assert damage(check([text])) == []


def test_lost_characters_are_found_and_not_rewritten() -> None:
    (found,) = damage(check(["fine", "caf\ufffd noir"]))
    assert found == Finding(
        check="mojibake",
        severity="warning",
        split="train",
        rows=1,
        of=2,
        message="characters broken by a wrong encoding",
        advice="read the source again with the right --encoding, or let --fix mend what it can; 1 cannot be mended.",
        examples=[Example("train.csv:3", "caf\ufffd noir", "bad", "cannot be mended: the characters are lost")],
        indices={"train": [1]},
        measures={"mended": 0, "second_texts": 0},
    )


@pytest.mark.parametrize(
    ("text", "mended"),
    [
        ("black &amp; white", "black & white"),
        ("at &amp;#38; t", "at & t"),
        ("Health &amp;amp; Human", "Health & Human"),
        ("love &lt;3 and a &lt; b", "love <3 and a < b"),
        ("&quot;yes&quot;&nbsp;it&#39;s &#x2019;", '"yes" it\'s ’'),
        ("Microsoft #39;s quot;best quot; lt;b gt;", 'Microsoft \'s "best " '),
        ("Great.<br /><br />Then <b>bad</b>.", "Great. Then bad."),
        ("<p>One</p>\n<p class='x'>two</p>", "One\ntwo"),
        ('see <a href="http://x.y/?a=1">this</a> now', "see this now"),
        ("&lt;i&gt;so&lt;/i&gt; good", "so good"),
        ("a<script>var x = '<b>';</script>b<!-- no -->c", "abc"),
        ("word&#8203;s &#12; x", "words   x"),
    ],
)
def test_html_becomes_plain_text(text: str, mended: str) -> None:
    assert rewrites([text], "html") == {0: mended}
    assert [one.check for one in damage(check([mended]))] == []


@pytest.mark.parametrize(
    "text",
    [
        "I <3 you, a < b > c, x <b and c> d",
        "AT&T; R&D &c; q&a",
        "http://x.y/?a=1&copy=2&lt=3",
        "<s> <mask> <unk> <user> <url> <e1>Paris</e1>",
        "ranked #39; then #12; done; &unheard;",
        "&#0; &#xD800;",
        "-> <- <-> <3333 >:[ <<",
    ],
)
def test_what_only_looks_like_html_is_left_alone(text: str) -> None:
    assert rewrites([text], "html") == {}


def test_a_text_of_nothing_but_tags_is_found_and_not_made_blank() -> None:
    (found,) = damage(check(["<br>", "<b>x</b>"]))
    assert (found.rows, found.rewrite) == (2, {"train": {1: "x"}})
    assert found.advice.endswith("; 1 would be left blank and stay.")
    assert found.examples[0].note == "left as it is: nothing would remain"


@pytest.mark.parametrize(
    ("text", "mended"),
    [
        ("zero\u200bwidth\ufeff", "zerowidth"),
        ("soft\xadhyphen", "softhyphen"),
        ("bell\x07 and \x1b[31mred\x1b[0m", "bell and red"),
        ("page\x0cbreak", "page break"),
        ("\u202eright\u202c \u200fmark", "right mark"),
        ("join\u200der and no\u200cjoin", "joiner and nojoin"),
        ("family 👨\u200d👩 and 👍\u200d", "family 👨\u200d👩 and 👍"),
    ],
)
def test_control_and_zero_width_characters_go(text: str, mended: str) -> None:
    (found,) = damage(check([text]))
    assert (found.check, found.rewrite) == ("control_characters", {"train": {0: mended}})


@pytest.mark.parametrize(
    "text",
    [
        "👨\u200d👩\u200d👧 👩🏽\u200d💻 ❤️\u200d🔥 🏳️\u200d🌈",
        "می\u200cخواهم",
        "क्\u200dष",
        "שלום\u200f ABC",
        "ภาษา\u200bไทย",
        "tab\tand\r\nlines",
    ],
)
def test_invisible_characters_stay_where_a_script_or_an_emoji_needs_them(text: str) -> None:
    assert damage(check([text])) == []


def test_a_soft_hyphen_that_the_encoding_made_is_not_taken_out_of_a_letter() -> None:
    text = broken("así", "latin-1")
    assert "\xad" in text
    assert [(one.check, one.rewrite) for one in damage(check([text]))] == [("mojibake", {"train": {0: "así"}})]


def test_each_kind_is_mended_by_itself() -> None:
    text = broken("It’s", "cp1252") + " &amp;\u200b on"
    assert {one.check: one.rewrite["train"][0] for one in damage(check([text]))} == {
        "mojibake": "It’s &amp;\u200b on",
        "html": broken("It’s", "cp1252") + " &\u200b on",
        "control_characters": broken("It’s", "cp1252") + " &amp; on",
    }


def test_each_split_has_findings_of_its_own_with_places() -> None:
    found = damage(check(["a &amp; b", "whole", "c\x00d"], test=["whole", "&lt;3"]))
    assert [(one.check, one.split, one.rows, one.of, one.indices) for one in found] == [
        ("html", "train", 1, 3, {"train": [0]}),
        ("control_characters", "train", 1, 3, {"train": [2]}),
        ("html", "test", 1, 2, {"test": [1]}),
    ]


def test_a_pair_is_found_but_its_second_text_not_rewritten() -> None:
    (found,) = damage(check(["whole", "a &amp; b", "c &amp; d"], ["x &amp; y", "whole", "&lt;3"]))
    assert found.indices == {"train": [0, 1, 2]}
    assert found.rewrite == {"train": {1: "a & b", 2: "c & d"}}
    assert found.advice.endswith(
        "; --fix leaves second texts as they are (2 damaged, 1 of them alone): mend them by hand."
    )
    assert found.examples[0] == Example(
        "train.csv:2", "x &amp; y", "bad", "the second text, which --fix leaves as it is"
    )


def test_an_example_shows_where_a_long_text_changes_and_what_nobody_sees() -> None:
    (found,) = damage(check(["word " * 100 + "here\u200b it is"]))
    assert found.examples[0].text.endswith("word here\\u200b it is")
    assert found.examples[0].text.startswith("...")
    assert found.examples[0].note.endswith("word here it is")
    assert found.rewrite["train"][0] == "word " * 100 + "here it is"


def test_urls_and_mentions_are_a_note_from_more_than_one_percent_of_rows() -> None:
    texts = ["plain"] * 98 + ["see http://a.b/c", "WWW.x.org @ann"]
    (found,) = damage(check(texts))
    assert (found.check, found.severity, found.rows, found.rewrite) == ("urls", "note", 2, {})
    assert found.message == "a web address, in 2.0% of rows"
    assert found.indices == {"train": [98, 99]}
    names = damage(check(["hi @ann", "hi @bob", "plain"]))
    assert [(one.check, one.rows) for one in names] == [("mentions", 2)]


def test_placeholders_are_called_that() -> None:
    (found,) = damage(check([f"@anonymous {number}" for number in range(10)]))
    assert found.message == "an @mention, in 100.0% of rows (nearly always @anonymous)"
    assert found.advice.startswith("a placeholder")


@pytest.mark.parametrize("text", ["me@home.org", "5 @ 3 dollars", "@ home", "a.b@c.de", "www is old", "http:// "])
def test_what_is_no_mention_and_no_address(text: str) -> None:
    assert damage(check([text])) == []


class Once(Sequence[str]):
    """A column that may be read in order, once."""

    def __init__(self, texts: Texts) -> None:
        self.texts = texts
        self.read = 0

    def __len__(self) -> int:
        return len(self.texts)

    def __getitem__(self, place: Any) -> Any:
        raise AssertionError("read by row number")

    def __iter__(self) -> Iterator[str]:
        self.read += 1
        return iter(self.texts)


def test_columns_are_read_once_and_in_order() -> None:
    texts, pairs = Once(["a &amp; b", "c", "http://d.e"] * 5), Once(["\ufffd", "@f_g", "h"] * 5)
    assert {one.check for one in damage(check(texts, pairs))} == {"html", "mojibake", "urls", "mentions"}
    assert (texts.read, pairs.read) == (1, 1)


@pytest.mark.parametrize("unit", ["<!--", "<script>", "<p a=", "<br ", " ", "&", "\x1b[", "Ã", "@a", "<p", "http://"])
def test_no_text_takes_long(unit: str) -> None:
    """Quadratic patterns would hang here, linear ones take a moment."""
    texts = [unit * 20_000, "<b>" + unit * 20_000 + "&amp;"]
    assert len(damage(check(texts))) >= 1
