"""Rows kept on disk: read where they are known, computed where they are not, and never trusted blindly."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import tiny
import torch

from nlp_ft.inference import feature_cache
from nlp_ft.inference.feature_cache import cached_rows, row_digests, weights_key

TEXTS = ["a", "b", "A", "b", "c"]


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("NLP_FT_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(feature_cache, "_logged", set())
    return tmp_path / "cache" / "rows"


class Work:
    """Computes [ord, place + .5] of each text and remembers what it was asked."""

    def __init__(self, texts: list[str]) -> None:
        self.texts, self.asked = texts, list[list[int]]()

    def __call__(self, indices: list[int]) -> np.ndarray:
        self.asked.append(indices)
        return np.array([[ord(self.texts[i]), 0.5] for i in indices], dtype=np.float64).reshape(-1, 2)


def rows(texts: list[str], key: str = "k") -> tuple[list[list[float]], list[list[int]]]:
    work = Work(texts)
    return cached_rows("kind", key, row_digests(texts), work).tolist(), work.asked


def expected(texts: list[str]) -> list[list[float]]:
    return [[float(ord(text)), 0.5] for text in texts]


def test_each_text_is_computed_once_and_then_read() -> None:
    assert rows(TEXTS) == (expected(TEXTS), [[0, 1, 2, 4]])
    assert rows(TEXTS) == (expected(TEXTS), [])
    assert rows(["d", "c"]) == (expected(["d", "c"]), [[0]])


def test_another_key_knows_nothing_of_it() -> None:
    rows(TEXTS)
    assert rows(TEXTS, "other")[1] == [[0, 1, 2, 4]]


def test_rows_come_back_as_float32_and_equal_in_every_byte() -> None:
    values = np.random.default_rng(0).normal(size=(3, 7)).astype(np.float32)
    digests = row_digests(["x", "y", "z"])
    first = cached_rows("kind", "k", digests, lambda indices: values[indices])
    again = cached_rows("kind", "k", digests, lambda indices: pytest.fail("computed again"))
    assert first.dtype == again.dtype == np.float32
    assert first.tobytes() == again.tobytes() == values.tobytes()


def test_no_rows_have_the_width_that_is_computed() -> None:
    assert cached_rows("kind", "k", [], lambda indices: np.zeros((0, 3))).shape == (0, 3)


@pytest.mark.parametrize(
    "spoil",
    [
        lambda path: path.write_bytes(path.read_bytes()[:-5]),
        lambda path: path.write_bytes(b"nothing"),
        lambda path: path.write_bytes(b""),
        lambda path: np.save(path, np.array([{"a": 1}], dtype=object), allow_pickle=True),
        lambda path: np.save(path, np.zeros((4, 2), np.float32)),
    ],
    ids=["cut short", "other bytes", "empty", "a pickle", "another array"],
)
def test_a_broken_shard_is_computed_again(cache: Path, spoil: Callable[[Path], object]) -> None:
    rows(TEXTS)
    (shard,) = cache.rglob("*.npy")
    spoil(shard)
    assert rows(TEXTS) == (expected(TEXTS), [[0, 1, 2, 4]])
    assert rows(TEXTS) == (expected(TEXTS), [])


def test_a_row_with_a_flipped_bit_is_computed_again_and_the_others_are_not(cache: Path) -> None:
    rows(TEXTS)
    (shard,) = cache.rglob("*.npy")
    content = bytearray(shard.read_bytes())
    content[-3] ^= 1  # in the numbers of the last row
    shard.write_bytes(content)
    assert rows(TEXTS) == (expected(TEXTS), [[4]])


def test_a_folder_that_cannot_be_written_is_said_once_and_is_no_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("NLP_FT_CACHE", str(tmp_path / "file"))
    assert rows(TEXTS)[0] == rows(TEXTS)[0] == expected(TEXTS)
    assert capsys.readouterr().out == (
        f"cache: what was computed is not kept in {tmp_path}/file/rows (Not a directory); set NLP_FT_CACHE to another folder\n"
    )


def test_a_full_disk_leaves_no_half_shard(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(file: object, *_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(np, "save", full)
    assert rows(TEXTS)[0] == expected(TEXTS)
    assert [path for path in cache.rglob("*") if path.is_file()] == []


def test_what_was_used_longest_ago_makes_room(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for age, key in ((300, "old"), (200, "older but read"), (100, "young")):
        rows(TEXTS, key)
        (shard,) = (cache / "kind" / key).iterdir()
        then = shard.stat().st_mtime - age
        os.utime(shard, (then, then))
    rows(TEXTS, "older but read")
    monkeypatch.setattr(feature_cache, "_MAX_BYTES", int(3.5 * shard.stat().st_size))
    rows(TEXTS, "new")
    assert {path.parent.name for path in cache.rglob("*.npy")} == {"older but read", "young", "new"}


def test_files_of_others_in_the_same_folder_are_left_alone(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    letter = cache.parent / "a" / "b" / "letter.npy"
    letter.parent.mkdir(parents=True)
    letter.write_text("dear")
    monkeypatch.setattr(feature_cache, "_MAX_BYTES", 1)
    rows(TEXTS)
    assert letter.exists()


def test_only_the_owner_can_read_what_is_kept(cache: Path) -> None:
    rows(TEXTS)
    (shard,) = cache.rglob("*.npy")
    assert shard.stat().st_mode & 0o077 == 0


def test_the_folder_follows_xdg_where_nothing_else_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NLP_FT_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", "/somewhere")
    assert feature_cache.cache_directory() == Path("/somewhere/nlp_ft/rows")
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert feature_cache.cache_directory() == Path.home() / ".cache/nlp_ft/rows"


def test_digests_tell_case_spaces_and_pairs_apart() -> None:
    said = [*row_digests(["a", "A", "a ", '["a", "b"]']), *row_digests(["a", "ab"], ["b", ""])]
    assert len(set(said)) == len(said)
    assert {len(digest) for digest in said} == {16}
    assert row_digests(["\ud800"])  # half a surrogate pair: in real files, and no UTF-8


def test_the_key_follows_every_weight_and_setting_that_counts() -> None:
    model, tokenizer = tiny.classifier("bert")
    key = weights_key(model, tokenizer, 64)
    again, other = tiny.classifier("bert")
    other(["a text"], truncation=True, max_length=3, padding=True)  # a call leaves its limits in the tokenizer
    assert weights_key(again, other, 64) == key
    assert weights_key(model, tokenizer, 32) != key
    with torch.no_grad():
        again.bert.encoder.layer[0].output.dense.bias[0] += 1e-6
    assert weights_key(again, tokenizer, 64) != key
    model.config.hidden_act = "relu"
    assert weights_key(model, tokenizer, 64) != key


def test_label_names_and_a_last_layer_that_is_left_out_do_not_count() -> None:
    model, tokenizer = tiny.classifier("bert")
    key = weights_key(model, tokenizer, without=[model.classifier])
    model.config.id2label = {0: "x", 1: "y", 2: "z"}
    with torch.no_grad():
        model.classifier.weight += 1
    assert weights_key(model, tokenizer, without=[model.classifier]) == key
    assert weights_key(model, tokenizer) != key


def test_another_tokenizer_is_another_key() -> None:
    model, tokenizer = tiny.classifier("bert")
    key = weights_key(model, tokenizer)
    tokenizer.padding_side = "left"
    left = weights_key(model, tokenizer)
    tokenizer.add_tokens(["newword"])
    assert len({key, left, weights_key(model, tokenizer)}) == 3
