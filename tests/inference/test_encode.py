"""Encoding: the same numbers whatever the batch, in order, on one process or two, and once only."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import ranks
import tiny
import torch
from datasets import Dataset

from nlp_ft.data import tokenize
from nlp_ft.errors import DataError
from nlp_ft.inference import encode as encoding
from nlp_ft.inference.encode import batches_by_length, encode, encode_cached
from nlp_ft.models.heads import final_linear
from nlp_ft.models.pooling import can_pool_by_mean, set_pooling

TEXTS = [*tiny.TEXTS, "a", "the director is cold", "warm " * 9, "so so"]


def tokens_of(tokenizer: object, texts: list[str]) -> Dataset:
    rows = Dataset.from_dict({"text": texts, "label": [0] * len(texts)})
    return tokenize(rows, tokenizer, 64)[0]  # type: ignore[arg-type]


def through_the_head(model: torch.nn.Module, features: np.ndarray) -> np.ndarray:
    with torch.no_grad():
        return final_linear(model)[1](torch.from_numpy(features)).numpy()  # type: ignore[arg-type]


@pytest.mark.parametrize("family", tiny.FAMILIES)
def test_the_last_layer_makes_the_models_logits_of_them(family: str) -> None:
    model, tokenizer = tiny.classifier(family)
    features = encode(model, tokenizer, TEXTS)
    one_by_one = torch.cat([tiny.logits(model, tokenizer, [text]) for text in TEXTS])
    assert features.dtype == np.float32
    np.testing.assert_allclose(through_the_head(model, features), one_by_one.numpy(), atol=1e-4)


@pytest.mark.parametrize("family", tiny.FAMILIES)
@pytest.mark.parametrize("pooling", ["stock", "mean"])
def test_batch_1_equals_batch_64(family: str, pooling: str) -> None:
    model, tokenizer = tiny.classifier(family)
    if pooling == "mean" and not can_pool_by_mean(model):
        pytest.skip("no stock mean")
    set_pooling(model, pooling)
    alone, together = (encode(model, tokenizer, TEXTS, tokens_a_batch=n) for n in (1, 64 * 64))
    np.testing.assert_allclose(alone, together, atol=1e-5)


@pytest.mark.parametrize("family", ["bert", "roberta", "distilbert"])
@pytest.mark.parametrize("pooling", ["stock", "mean"])
def test_doing_the_last_layer_for_one_token_alone_changes_nothing(family: str, pooling: str) -> None:
    model, tokenizer = tiny.classifier(family)
    set_pooling(model, pooling)
    features = encode(model, tokenizer, TEXTS)
    np.testing.assert_allclose(
        through_the_head(model, features), tiny.logits(model, tokenizer, TEXTS).numpy(), atol=1e-4
    )
    hooked = [module for module in model.modules() if module._forward_pre_hooks or module._forward_hooks]
    assert not hooked


def test_token_ids_and_texts_give_the_same_and_pairs_are_pairs() -> None:
    model, tokenizer = tiny.classifier("bert")
    assert encode(model, tokenizer, tokens_of(tokenizer, TEXTS)).tobytes() == encode(model, tokenizer, TEXTS).tobytes()
    pairs = [("a film", "so so"), ("so so", "a film")]
    features = encode(model, tokenizer, pairs)
    with torch.no_grad():
        wanted = model(**tokenizer(*map(list, zip(*pairs, strict=True)), return_tensors="pt")).logits
    np.testing.assert_allclose(through_the_head(model, features), wanted, atol=1e-4)


def test_texts_are_cut_where_they_are_to_be_cut() -> None:
    model, tokenizer = tiny.classifier("bert")
    short, long = encode(model, tokenizer, ["warm film", "warm film story plot"], max_length=4)
    np.testing.assert_allclose(short, long, atol=1e-6)


def test_dropout_is_off_and_the_mode_stays_what_it_was() -> None:
    model, tokenizer = tiny.classifier("bert", dropout=0.5)
    model.train()
    assert encode(model, tokenizer, TEXTS).tobytes() == encode(model, tokenizer, TEXTS).tobytes()
    assert model.training


def test_adapters_are_read_through() -> None:
    model, tokenizer = tiny.lora_classifier("bert")
    before = encode(model, tokenizer, TEXTS)
    tiny.train(model, tokenizer)
    assert not np.allclose(before, encode(model, tokenizer, TEXTS), atol=1e-3)


def test_no_row_is_no_feature() -> None:
    model, tokenizer = tiny.classifier("bert")
    assert encode(model, tokenizer, []).shape == (0, 32)


def test_a_text_without_a_token_is_refused() -> None:
    model, tokenizer = tiny.classifier("gpt2")
    with pytest.raises(DataError, match=r"^row 2 has no token; this tokenizer adds none to a blank text\.$"):
        encode(model, tokenizer, ["a", ""])


def test_features_that_are_not_finite_are_refused() -> None:
    model, tokenizer = tiny.classifier("bert")
    with torch.no_grad():
        model.bert.embeddings.word_embeddings.weight[:] = torch.nan
    with pytest.raises(DataError, match=r"^the encoder's features of some rows are not finite; is the checkpoint"):
        encode(model, tokenizer, TEXTS)


def test_batches_hold_the_longest_rows_first_and_no_more_tokens_than_allowed() -> None:
    lengths = [3, 50, 7, 7, 3, 12, 1]
    batches = batches_by_length(lengths, 14)
    assert batches == [[1], [5], [2, 3], [0, 4, 6]]


@pytest.mark.parametrize("family", tiny.FAMILIES)
@pytest.mark.parametrize("pooling", ["stock", "mean"])
def test_all_poolings_are_those_of_the_encoders_own_last_layer(family: str, pooling: str) -> None:
    model, tokenizer = tiny.classifier(family)
    hidden = []
    for text in TEXTS:
        with torch.no_grad():
            batch = tokenizer([text], return_tensors="pt")
            if family == "t5":  # its classifier makes the decoder's inputs
                batch["decoder_input_ids"] = model._shift_right(batch["input_ids"])
            hidden.append(model.base_model(**batch)[0][0])
    ways = (lambda h: h.mean(0), lambda h: h[0], lambda h: h[-1], lambda h: h.amax(0))
    wanted = [torch.cat([way(states) for way in ways]) for states in hidden]
    if pooling == "mean" and not can_pool_by_mean(model):
        pytest.skip("no stock mean")
    set_pooling(model, pooling)
    features = encode(model, tokenizer, TEXTS, poolings=True)
    np.testing.assert_allclose(features[:, -128:], torch.stack(wanted), atol=1e-4)
    np.testing.assert_allclose(features[:, :-128], encode(model, tokenizer, TEXTS), atol=1e-5)


def test_the_model_runs_once_a_text_whatever_its_last_layer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NLP_FT_CACHE", str(tmp_path))
    model, tokenizer = tiny.classifier("bert")
    first = encode_cached(model, tokenizer, TEXTS, tokens_of(tokenizer, TEXTS), 64)
    ran = []
    monkeypatch.setattr(encoding, "layer_inputs", lambda *_: ran.append(1))
    with torch.no_grad():
        model.classifier.weight += 1
    more = TEXTS[::-1]
    again = encode_cached(model, tokenizer, more, tokens_of(tokenizer, more), 64)
    assert again.tobytes() == first[::-1].tobytes()
    assert not ran


TWO = """
import sys, numpy as np, torch
from transformers import TrainingArguments
sys.path[:0] = ["tests", "tests/inference"]
import tiny
from accelerate import PartialState
from test_encode import TEXTS, tokens_of
from nlp_ft.inference.encode import encode_cached
args = TrainingArguments(output_dir=sys.argv[1], use_cpu=True, report_to="none")
assert args.world_size == int(sys.argv[2]), args.world_size
model, tokenizer = tiny.classifier(sys.argv[3])
for part in (TEXTS[:4], TEXTS):
    rows = encode_cached(model, tokenizer, part, tokens_of(tokenizer, part), 64)
np.save(f"{sys.argv[1]}/{sys.argv[2]}_{PartialState().process_index}.npy", rows)
"""


@pytest.mark.slow
def test_two_processes_share_the_rows_and_both_get_all(tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(TWO)
    for count in (1, 2):
        argv = [script, tmp_path, count, tiny.checkpoint("bert")]
        done = ranks.run(argv, processes=count, env={"NLP_FT_CACHE": str(tmp_path / f"cache{count}")})
        assert done.returncode == 0, done.stderr
    one, first, second = (np.load(tmp_path / f"{name}.npy") for name in ("1_0", "2_0", "2_1"))
    assert first.tobytes() == second.tobytes()
    np.testing.assert_allclose(first, one, atol=1e-6)
