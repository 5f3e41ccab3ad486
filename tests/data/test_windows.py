"""Windows of long texts: every token, in order, with the overlap asked for; and one row of logits out of theirs, by hand."""

from __future__ import annotations

import copy
from functools import cache
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from tiny import DECODERS, ENCODERS, FAMILIES, TEXTS
from transformers import ByT5Tokenizer

from nlp_ft.data.encodings import clear_state
from nlp_ft.data.windows import check_stride, spread, truncated, windowed
from nlp_ft.errors import ConfigError, DataError
from nlp_ft.evaluation.inference_config import LongDocuments
from nlp_ft.inference.pool_windows import pool_windows

every_family = pytest.mark.parametrize("family", FAMILIES)
LONG = " ".join(TEXTS * 4)


@cache
def tokenizer_of(family: str) -> Any:
    return FAMILIES[family].tokenizer()


def ids_of(tokenizer: Any, text: str) -> list[int]:
    return tokenizer(text, add_special_tokens=False, verbose=False)["input_ids"]


def bodies(tokenizer: Any, rows: list[dict[str, list[int]]]) -> list[list[int]]:
    """The windows of single texts without their special tokens, which must be those around any text."""
    inner = ids_of(tokenizer, TEXTS[0])
    around = tokenizer(TEXTS[0])["input_ids"]
    front = next(i for i in range(len(around)) if around[i : i + len(inner)] == inner)
    back = len(around) - front - len(inner)
    for row in rows:
        ids = row["input_ids"]
        assert ids[:front] == around[:front]
        assert ids[len(ids) - back :] == around[len(around) - back :]
        assert {len(values) for values in row.values()} == {len(ids)}
    return [row["input_ids"][front : len(row["input_ids"]) - back] for row in rows]


def joined(parts: list[list[int]], shared: int) -> list[int]:
    """What neighbours say together; they must agree on what they share."""
    whole = list(parts[0])
    for before, part in pairwise(parts):
        assert shared == 0 or before[-shared:] == part[:shared]
        assert len(part) > shared
        whole += part[shared:]
    return whole


@every_family
@pytest.mark.parametrize("stride", [None, 0, 3, 11])
def test_windows_hold_every_token_in_order_and_share_what_was_asked(family: str, stride: int | None) -> None:
    tokenizer = tokenizer_of(family)
    rows, owners, _ = windowed(tokenizer, [LONG], None, 16, stride)
    assert len(rows) > 3
    assert owners.tolist() == [0] * len(rows)
    assert all(len(row["input_ids"]) == 16 for row in rows[:-1])
    assert len(rows[-1]["input_ids"]) <= 16
    assert joined(bodies(tokenizer, rows), 4 if stride is None else stride) == ids_of(tokenizer, LONG)


@pytest.mark.parametrize("family", ENCODERS)
@pytest.mark.parametrize("turned", [False, True])
def test_of_a_pair_the_longer_part_is_cut_and_the_shorter_one_stands_whole_in_each_window(
    family: str, turned: bool
) -> None:
    tokenizer = tokenizer_of(family)
    short, long = TEXTS[4], LONG
    pair = (long, short) if turned else (short, long)
    rows, *_ = windowed(tokenizer, [pair[0]], [pair[1]], 32, 5)
    assert len(rows) > 3
    around, (a, b) = tokenizer(*pair, verbose=False)["input_ids"], (ids_of(tokenizer, text) for text in pair)
    front = around.index(a[0])
    middle = len(around) - len(a) - len(b) - front
    back = next(n for n in range(middle + 1) if around[front + len(a) + middle - n :][: len(b)] == b)
    between = middle - back
    size = len(b if turned else a)
    parts = []
    for row in rows:
        ids = row["input_ids"]
        assert len(ids) <= 32
        first = len(ids) - front - between - back - size if turned else size
        one, two = ids[front : front + first], ids[front + first + between : len(ids) - back]
        assert (two if turned else one) == ids_of(tokenizer, short)
        parts.append(one if turned else two)
    assert joined(parts, 5) == ids_of(tokenizer, long)


def test_a_pair_whose_shorter_part_fills_the_window_is_cut_at_its_end() -> None:
    tokenizer = tokenizer_of("bert")
    rows, owners, _ = windowed(tokenizer, [LONG, "a"], [LONG, "b"], 24, None)
    assert owners.tolist() == [0, 1]
    assert rows[0]["input_ids"] == tokenizer(LONG, LONG, truncation=True, max_length=24)["input_ids"]


def test_a_stride_that_a_long_shorter_part_leaves_no_room_for_is_halved_and_not_an_error() -> None:
    tokenizer = tokenizer_of("bert")
    shorter = TEXTS[0]
    limit = len(ids_of(tokenizer, shorter)) + 3 + 12  # 12 tokens are left for the longer part
    rows, *_ = windowed(tokenizer, [shorter], [LONG], limit, 14)
    size = len(ids_of(tokenizer, shorter)) + 2
    assert joined([row["input_ids"][size:-1] for row in rows], 6) == ids_of(tokenizer, LONG)


@every_family
def test_texts_that_fit_are_as_the_tokenizer_has_them(family: str) -> None:
    tokenizer = tokenizer_of(family)
    limit = max(len(tokenizer(text)["input_ids"]) for text in TEXTS)
    rows, owners, _ = windowed(tokenizer, TEXTS, None, limit, None)
    assert owners.tolist() == [*range(len(TEXTS))]
    assert rows == [dict(tokenizer(text)) for text in TEXTS]
    assert rows == truncated(tokenizer, TEXTS, None, limit).rows
    assert windowed(tokenizer, [TEXTS[0]], [TEXTS[1]], 512, None)[0] == [dict(tokenizer(TEXTS[0], TEXTS[1]))]


def test_windows_of_several_texts_stand_together_in_their_order() -> None:
    tokenizer = tokenizer_of("bert")
    rows, owners, _ = windowed(tokenizer, [TEXTS[2], LONG, TEXTS[2], LONG], None, 16, None)
    alone, *_ = windowed(tokenizer, [LONG], None, 16, None)
    assert owners.tolist() == [0, *[1] * len(alone), 2, *[3] * len(alone)]
    assert rows == [rows[0], *alone, rows[0], *alone]
    assert windowed(tokenizer, [], None, 16, None)[0] == []


@pytest.mark.parametrize(("stride", "room"), [(14, 14), (99, 14)])
def test_a_stride_as_long_as_a_window_is_refused(stride: int, room: int) -> None:
    message = f"a stride of {stride} tokens leaves nothing new in a window of {room}; give a smaller one."
    for call in (
        lambda: windowed(tokenizer_of("bert"), [LONG], None, 16, stride),
        lambda: check_stride(tokenizer_of("bert"), 16, stride, pair=False),
    ):
        with pytest.raises(ConfigError) as caught:
            call()
        assert str(caught.value) == message
    assert len(windowed(tokenizer_of("bert"), [TEXTS[2]], None, 16, stride)[0]) == 1  # it fits, and nothing is shared


def test_the_longest_stride_gives_one_new_token_a_window() -> None:
    tokenizer = tokenizer_of("bert")
    rows, *_ = windowed(tokenizer, [TEXTS[3]], None, 8, 5)
    assert len(rows) == len(ids_of(tokenizer, TEXTS[3])) - 5
    assert joined(bodies(tokenizer, rows), 5) == ids_of(tokenizer, TEXTS[3])


def test_a_window_that_special_tokens_fill_holds_them_alone() -> None:
    tokenizer = tokenizer_of("bert")
    rows, *_ = windowed(tokenizer, [LONG], None, 2, None)
    assert [row["input_ids"] for row in rows] == [[tokenizer.cls_token_id, tokenizer.sep_token_id]]


def test_a_tokenizer_that_cuts_at_the_left_gives_the_windows_from_the_beginning_too() -> None:
    tokenizer = FAMILIES["bert"].tokenizer()
    tokenizer.truncation_side = "left"
    rows, *_ = windowed(tokenizer, [LONG], None, 16, 4)
    parts = bodies(tokenizer, rows)
    assert joined(parts, 4) == ids_of(tokenizer, LONG)


@pytest.mark.parametrize("stride", [None, 0, 3])
def test_tokenizers_in_python_give_the_same_windows(stride: int | None) -> None:
    tokenizer = ByT5Tokenizer()
    rows, *_ = windowed(tokenizer, [LONG, TEXTS[4]], None, 16, stride)
    assert all(len(row["input_ids"]) <= 16 and row["input_ids"][-1] == tokenizer.eos_token_id for row in rows)
    assert joined([row["input_ids"][:-1] for row in rows[:-1]], 4 if stride is None else stride) == ids_of(
        tokenizer, LONG
    )
    pairs, *_ = windowed(tokenizer, ["ab"], [LONG], 16, stride)
    assert all(row["input_ids"][:3] == tokenizer("ab")["input_ids"] for row in pairs)
    assert joined([row["input_ids"][3:-1] for row in pairs], 4 if stride is None else stride) == ids_of(tokenizer, LONG)


@every_family
@pytest.mark.parametrize("text", ["", "   "])
def test_a_blank_text_is_one_window_that_is_not_empty(family: str, text: str) -> None:
    tokenizer = tokenizer_of(family)
    for rows in (windowed(tokenizer, [text, LONG], None, 16, None)[0][:1], truncated(tokenizer, [text], None, 16).rows):
        (row,) = rows
        assert row["input_ids"]
        if family in DECODERS and family != "llama" and not text:  # llama's own begin token stands for the text
            assert row == {"input_ids": [tokenizer.eos_token_id], "attention_mask": [1]}


def test_a_blank_text_without_any_token_is_refused_by_its_row() -> None:
    tokenizer = FAMILIES["qwen2"].tokenizer()
    tokenizer.eos_token = None
    with pytest.raises(DataError) as caught:
        windowed(tokenizer, ["a", ""], None, 16, None, start=40)
    assert str(caught.value) == "row 41: '' has no tokens, and this tokenizer no end token to stand for them."


def test_windows_that_are_spread_keep_the_first_and_the_last() -> None:
    rows = [{"input_ids": [i]} for i in range(9)]
    assert [row["input_ids"][0] for row in spread(rows, 5)] == [0, 2, 4, 6, 8]
    assert [row["input_ids"][0] for row in spread(rows, 2)] == [0, 8]
    assert [row["input_ids"][0] for row in spread(rows, 1)] == [0]
    assert spread(rows, 9) == spread(rows, None) == spread(rows, 20) == rows


LOGITS = np.array([[1.0, 2.0], [3.0, -4.0], [0.0, 5.0], [2.0, 0.0]], dtype=np.float32)
OWNERS = np.array([0, 0, 1, 0])[np.argsort([0, 0, 1, 0], kind="stable")]  # 0 0 0 1


@pytest.mark.parametrize(
    ("pooling", "wanted"), [("mean", [[4 / 3, 1.0], [2.0, 0.0]]), ("max", [[3.0, 5.0], [2.0, 0.0]])]
)
def test_logits_of_windows_are_pooled_to_one_row_a_text(pooling: str, wanted: list[list[float]]) -> None:
    np.testing.assert_allclose(pool_windows(LOGITS, OWNERS, 2, LongDocuments(pooling=pooling)), wanted, rtol=1e-6)


def test_attention_weighs_windows_by_the_softmax_of_features_times_the_query() -> None:
    features = np.array([[0.0, 1.0], [np.log(2.0), 7.0], [np.log(5.0), -3.0], [9.0, 9.0]], dtype=np.float32)
    how = LongDocuments(pooling="attention", query=(1.0, 0.0))  # weights 1/8, 2/8, 5/8
    got = pool_windows(LOGITS, OWNERS, 2, how, features)
    np.testing.assert_allclose(got, [[7 / 8, (2 - 8 + 25) / 8], [2.0, 0.0]], rtol=1e-5)
    plain = LongDocuments(pooling="attention", query=(0.0, 0.0))
    np.testing.assert_allclose(
        pool_windows(LOGITS, OWNERS, 2, plain, features), pool_windows(LOGITS, OWNERS, 2, LongDocuments()), rtol=1e-6
    )


def test_texts_of_a_window_each_are_not_touched() -> None:
    assert pool_windows(LOGITS, np.arange(4), 4, LongDocuments()) is LOGITS


@every_family
@pytest.mark.parametrize("side", ["right", "left"])
def test_a_cut_row_is_that_of_the_tokenizer_which_is_not_touched(family: str, side: str) -> None:
    tokenizer, reference = tokenizer_of(family), copy.deepcopy(tokenizer_of(family))
    clear_state(tokenizer)
    state = (tokenizer.backend_tokenizer.truncation, tokenizer.backend_tokenizer.padding)
    tokenizer.truncation_side = reference.truncation_side = side
    rng = np.random.default_rng(0)
    words = LONG.split()
    try:
        for length in (9, 16, 31):
            for _ in range(20):
                first, second = (" ".join(rng.choice(words, size=rng.integers(1, 25))) for _ in range(2))
                for pair in (None, second):
                    (row,), _, (lost,) = truncated(tokenizer, [first], None if pair is None else [pair], length)
                    whole = reference(first, pair)["input_ids"]
                    assert row == dict(reference(first, pair, truncation=True, max_length=length))
                    assert lost == max(len(whole) - length, 0)
    finally:
        tokenizer.truncation_side = "right"
    assert (tokenizer.backend_tokenizer.truncation, tokenizer.backend_tokenizer.padding) == state == (None, None)


def test_tokens_that_no_window_has_are_counted() -> None:
    tokenizer = tokenizer_of("bert")
    whole = len(tokenizer(LONG, LONG, verbose=False)["input_ids"])
    _, owners, lost = windowed(tokenizer, ["a", LONG, LONG], ["b", LONG, "b"], 24, None)
    assert lost.tolist() == [0, whole - 24, 0]
    assert np.bincount(owners).tolist()[:2] == [1, 1]
    assert np.bincount(owners)[2] > 3
