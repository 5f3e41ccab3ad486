"""Words in any script, and texts that show nothing."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nlp_ft.data.checks.finding import Checked, Split
from nlp_ft.data.checks.text_length import texts
from nlp_ft.data.text import UNIT, is_blank, split_by_words


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("A good  film, really!", ["A", "good", "film,", "really!"]),
        ("今天天气很好，我们走。", ["今", "天", "天", "气", "很", "好", "我", "们", "走"]),
        ("コンピュータを買う", ["コンピュータ", "を", "買", "う"]),
        ("I love 北京!", ["I", "love", "北", "京"]),
        ("한국어 문장입니다", ["한국어", "문장입니다"]),
        ("", []),
        (" \n", []),
    ],
)
def test_words_are_told_apart_by_what_the_script_puts_between_them(text: str, words: list[str]) -> None:
    assert split_by_words(text) == words


@pytest.mark.parametrize("text", ["สวัสดีครับผมชื่อจอห์น", "ສະບາຍດີທຸກຄົນ", "ខ្ញុំស្រឡាញ់អ្នក", "မြန်မာဘာသာစကား"])
def test_scripts_of_southeast_asia_are_cut_every_three_letters_with_their_marks(text: str) -> None:
    words = split_by_words(text)
    assert "".join(words) == text
    assert len(text) / 8 <= len(words) <= len(text) / 2
    assert all(re.fullmatch(UNIT, word) for word in words)


@given(st.text())
def test_no_text_is_without_words_unless_it_has_no_letter_or_sign(text: str) -> None:
    if text.split() and text.isascii():
        assert split_by_words(text) == text.split()


@pytest.mark.parametrize(
    "text", ["", "  ", "\n\t", "\u00a0", "\u200b", "\ufeff \u2060", "\u2800\u2800", "\x00", "\u3164"]
)
def test_texts_that_show_nothing_are_blank(text: str) -> None:
    assert is_blank(text)


@pytest.mark.parametrize("text", ["a", ".", " 0 ", "\u200ba", "🙂", "字"])
def test_texts_that_show_anything_are_not(text: str) -> None:
    assert not is_blank(text)


def findings(rows: list[str]) -> dict[str, int]:
    labels = [n % 2 for n in range(len(rows))]
    split = Split("train", rows, None, labels, lambda row: f"train.csv:{row + 2}")
    checked = Checked({"train": split}, "single_label_classification", ["a", "b"])
    return {found.check: found.rows for found in texts(checked)}


def test_sentences_without_spaces_are_not_texts_of_one_word() -> None:
    assert findings(["今天天气很好我们去公园散步", "สวัสดีครับผมชื่อจอห์น", "コンピュータを買いました"] * 10) == {}
    assert findings(["good"] * 10 + ["a good film"] * 10)["one_word_texts"] == 10


def test_texts_of_invisible_characters_are_blank_ones() -> None:
    assert findings(["\u200b", "\ufeff ", *["a good film"] * 10])["blank_texts"] == 2


def test_boilerplate_is_found_without_spaces_too() -> None:
    rows = [f"本条评论由手机客户端自动发送{n}号店的服务{'很好' if n % 3 else '不好'}" for n in range(40)]
    assert findings(rows)["boilerplate"] == 40
    assert "boilerplate" not in findings([f"我们觉得{n}" for n in range(40)])
