"""Tokenizing: texts reach the tokenizer as they are, pairs as pairs, cut and not padded."""

from __future__ import annotations

import pytest
from tiny import make_tokenizer

from nlp_ft.data import tokenize
from nlp_ft.data.readers import arrow_store
from nlp_ft.data.rows import make_rows
from nlp_ft.data.schema.problem_type import MULTI, SINGLE
from nlp_ft.errors import DataError


def test_rows_become_ids_with_their_length_and_are_not_padded() -> None:
    rows, note = tokenize(make_rows(["one", "NA  two"], None, [1, 0], SINGLE).data, make_tokenizer(), split="train")
    assert set(rows.column_names) == {"input_ids", "attention_mask", "token_type_ids", "labels", "length"}
    assert rows[0]["input_ids"] == [2, 4, 3]
    assert rows[1]["input_ids"] == [2, 7, 5, 3]
    assert (rows["length"][:], rows["labels"][:]) == ([3, 4], [1, 0])
    assert note == "train: 0 of 2 texts (0.0%) cut to 512 tokens"


def test_pairs_reach_the_tokenizer_as_pairs() -> None:
    rows, _ = tokenize(make_rows(["one"], ["two three"], [[1.0, 0.0]], MULTI).data, make_tokenizer())
    assert rows[0]["input_ids"] == [2, 4, 3, 5, 6, 3]
    assert rows[0]["token_type_ids"] == [0, 0, 0, 1, 1, 1]
    assert rows[0]["labels"] == [1.0, 0.0]


def test_long_rows_are_cut_whole_and_counted() -> None:
    data = make_rows(["one two three one", "one", "three two one"], None, [0, 1, 0], SINGLE).data
    rows, note = tokenize(data, make_tokenizer(), 4, split="test")
    assert rows["input_ids"][:] == [[2, 4, 5, 3], [2, 4, 3], [2, 6, 5, 3]]
    assert [len(row["attention_mask"]) for row in rows.to_list()] == rows["length"][:] == [4, 3, 4]
    assert note == "test: 2 of 3 texts (66.7%) cut to 4 tokens"


def test_long_pairs_lose_tokens_of_the_longer_text() -> None:
    rows, _ = tokenize(make_rows(["one two three"], ["two"], [0], SINGLE).data, make_tokenizer(), 6)
    assert rows[0]["input_ids"] == [2, 4, 5, 3, 5, 3]


def test_the_limit_is_never_more_than_the_model_holds() -> None:
    data = make_rows(["one " * 600], None, [0], SINGLE).data
    for model_max_length, wanted, limit in (
        (8, None, 8),
        (8, 100, 8),
        (8, 5, 5),
        (10**30, None, 512),
        (10**30, 600, 600),
    ):
        rows, note = tokenize(data, make_tokenizer(model_max_length=model_max_length), wanted)
        assert rows["length"][:] == [limit]
        assert note == f"rows: 1 of 1 texts (100.0%) cut to {limit} tokens"


def test_a_text_without_tokens_is_refused() -> None:
    data = make_rows(["one", " ", ""], None, [0, 1, 0], SINGLE).data
    with pytest.raises(DataError) as caught:
        tokenize(data, make_tokenizer(special=False), split="train")
    assert str(caught.value) == (
        "train: 2 texts without a single token (the first is row 2); this tokenizer adds none to a blank text, so take such "
        "rows out."
    )
    assert tokenize(data, make_tokenizer())[0]["length"][:] == [3, 2, 2]


def test_tokens_of_a_large_split_lie_on_disk_and_are_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    data = make_rows(["one two", "three"] * 50, None, [1, 0] * 50, SINGLE).data
    in_memory, note = tokenize(data, make_tokenizer(), split="train")
    assert not in_memory.cache_files
    monkeypatch.setattr(arrow_store, "SPILL_BYTES", 10)
    on_disk, same_note = tokenize(data, make_tokenizer(), split="train")
    assert on_disk.cache_files
    assert (on_disk.to_list(), same_note) == (in_memory.to_list(), note)
