"""`load` opens what was fine-tuned and nothing else; `predict` gives each text its answer, whatever stands beside it."""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
import torch
from datasets import Dataset
from tiny import DECODERS, FAMILIES, LABELS, TEXTS, checkpoint, classifier, make_checkpoint, train
from transformers import AutoModelForSequenceClassification, AutoTokenizer, pipeline

from nlp_ft import Classifier, Prediction, load
from nlp_ft.config import LoraArguments
from nlp_ft.errors import ConfigError, DataError, ModelError
from nlp_ft.evaluation.inference_config import InferenceConfig
from nlp_ft.evaluation.metrics import MULTI, REGRESSION, SINGLE
from nlp_ft.models.classifier import add_lora, quiet
from nlp_ft.training.save import save_and_verify

every_family = pytest.mark.parametrize("family", FAMILIES)


def _saved(directory: Path, family: str, labels: Sequence[str] = LABELS, problem_type: str = SINGLE) -> Path:
    model, tokenizer = classifier(family, labels, problem_type)
    if problem_type == SINGLE:
        train(model, tokenizer)
    save_and_verify(model, tokenizer, directory, Dataset.from_dict({"text": TEXTS}), 48)
    return directory


@pytest.fixture(scope="module")
def bert_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return _saved(tmp_path_factory.mktemp("bert"), "bert")


@pytest.fixture(scope="module")
def bert(bert_path: Path) -> Classifier:
    return load(bert_path, device="cpu")


@pytest.fixture(scope="module")
def pairs_too(bert: Classifier) -> Classifier:
    """The same model, of which is not known what it was trained on."""
    return Classifier(bert.model, bert.tokenizer, "cpu")


def _scores(predictions: Sequence[Prediction]) -> np.ndarray:
    return np.array([[one.scores[label] for label in LABELS] for one in predictions])


@every_family
def test_predictions_are_those_of_plain_transformers_in_any_batch_size(family: str, tmp_path: Path) -> None:
    path = _saved(tmp_path, family)
    loaded = load(path, device="cpu")
    singles = loaded.logits(TEXTS, batch_size=1, long_documents="truncate")  # as the pipeline does
    for size in (2, 5, 32):
        np.testing.assert_allclose(loaded.logits(TEXTS, batch_size=size, long_documents="truncate"), singles, atol=1e-5)
    backwards = loaded.logits(TEXTS[::-1], batch_size=4, long_documents="truncate")
    np.testing.assert_allclose(backwards[::-1], singles, atol=1e-5)
    with quiet():
        plain = AutoModelForSequenceClassification.from_pretrained(path).eval()
    tokenizer = AutoTokenizer.from_pretrained(path)
    with torch.inference_mode():
        for text, row in zip(TEXTS, singles, strict=True):
            got = plain(**tokenizer(text, truncation=True, return_tensors="pt")).logits
            np.testing.assert_allclose(got[0].numpy(), row, atol=1e-5)
    answers: Any = pipeline("text-classification", model=str(path), top_k=None)(TEXTS, truncation=True)
    for answer, mine in zip(answers, loaded.predict(TEXTS, long_documents="truncate"), strict=True):
        assert mine.label == answer[0]["label"]
        assert mine.scores == pytest.approx({one["label"]: one["score"] for one in answer}, abs=1e-5)
        assert mine.score == mine.scores[str(mine.label)]


def test_answers_come_in_the_order_of_the_texts(bert: Classifier) -> None:
    forwards, backwards = bert.predict(TEXTS, batch_size=2), bert.predict(TEXTS[::-1], batch_size=2)
    np.testing.assert_allclose(_scores(forwards), _scores(backwards)[::-1], atol=1e-6)
    assert len({one.score for one in forwards}) == len(TEXTS)


@pytest.mark.parametrize(
    "kind",
    [
        np.array,
        pd.Series,
        tuple,
        lambda t: pd.Series(t, index=range(9, 9 + len(t))),
        lambda t: pa.array(t),
        lambda t: Dataset.from_dict({"text": t})["text"],
        iter,
    ],
)
def test_any_sequence_of_texts_will_do(bert: Classifier, kind: Any) -> None:
    assert bert.predict(kind(TEXTS)) == bert.predict(TEXTS)


def test_two_texts_in_a_tuple_are_two_texts_and_a_tuple_in_a_list_is_a_pair(
    bert: Classifier, pairs_too: Classifier
) -> None:
    assert len(pairs_too.predict(("so", "so"))) == 2
    (pair,) = pairs_too.predict([(TEXTS[0], TEXTS[1])])
    (single,) = bert.predict([TEXTS[0]])
    assert pair.scores != pytest.approx(single.scores, abs=1e-4)
    encoded = bert.tokenizer(TEXTS[0], TEXTS[1], truncation=True, max_length=48, return_tensors="pt")
    with torch.inference_mode():
        wanted = bert.model(**encoded).logits.softmax(-1)[0]
    assert [pair.scores[label] for label in LABELS] == pytest.approx(wanted.tolist(), abs=1e-5)


def test_a_long_text_is_read_in_windows_and_cut_only_when_asked(bert: Classifier) -> None:
    long = " ".join(TEXTS * 50)
    assert bert.max_seq_length == 48
    more = f"{long} and dreadful"
    cut = bert.logits([long], long_documents="truncate")
    np.testing.assert_allclose(cut, bert.logits([more], long_documents="truncate"), atol=1e-6)
    assert np.abs(bert.logits([long]) - bert.logits([more])).max() > 1e-5
    windows = bert.tokenizer(long, truncation=True, max_length=48, stride=12, return_overflowing_tokens=True)
    (one, short) = bert.predict([long, TEXTS[0]])
    assert (one.windows, short.windows) == (len(windows["input_ids"]), 1)
    with torch.inference_mode():
        rows = [bert.model(input_ids=torch.tensor([ids])).logits[0] for ids in windows["input_ids"]]
    np.testing.assert_allclose(bert.logits([long])[0], torch.stack(rows).mean(0).numpy(), atol=1e-5)
    (answer,) = bert.predict([long], long_documents="truncate")
    assert answer.windows == 1


@pytest.mark.parametrize("option", [{"top_k": 0}, {"abstain_below": 1.5}, {"long_documents": "cut"}])
def test_an_option_out_of_range_is_refused(bert: Classifier, option: dict[str, Any]) -> None:
    (name,) = option
    with pytest.raises(ConfigError, match=f"^{name} must be "):
        bert.predict(TEXTS, **option)


def test_top_k_keeps_the_likeliest_and_logits_come_when_asked(bert: Classifier) -> None:
    raw = bert.logits(TEXTS)
    for one, whole, row in zip(bert.predict(TEXTS, top_k=2, return_logits=True), bert.predict(TEXTS), raw, strict=True):
        best = sorted(whole.scores, key=lambda label: -whole.scores[label])[:2]
        assert list(one.scores) == best
        assert whole.logits is None
        assert one.logits == pytest.approx(tuple(row))


def test_an_unsure_answer_can_be_withheld(bert: Classifier) -> None:
    sure = bert.predict(TEXTS)
    bound = sorted(one.score for one in sure)[2]
    for one, whole in zip(bert.predict(TEXTS, abstain_below=bound), sure, strict=True):
        assert one.label == (None if whole.score < bound else whole.label)
        assert one.scores == whole.scores
    assert [one.label for one in bert.predict(TEXTS, abstain_below=bound)].count(None) == 2


def test_answers_in_a_stream_are_those_of_a_list_and_come_before_the_end(bert: Classifier) -> None:
    from itertools import cycle, islice

    endless = cycle(TEXTS)
    got = list(islice(bert.stream(endless, batch_size=1), 100))
    wanted = bert.predict([TEXTS[i % len(TEXTS)] for i in range(100)], batch_size=1)
    assert [one.label for one in got] == [one.label for one in wanted]
    assert [one.score for one in got] == pytest.approx([one.score for one in wanted], abs=1e-6)


def test_half_a_character_is_refused_by_row(bert: Classifier) -> None:
    with pytest.raises(DataError) as caught:
        bert.predict([TEXTS[0], "so \ud83d"])
    assert str(caught.value) == (
        "row 1: half of a character ('\\ud83d', a lone surrogate) at index 3, which no tokenizer reads; decode the bytes anew, "
        'or text.encode("utf-8", "replace").decode().'
    )


def test_more_texts_than_a_chunk_are_answered_in_order(bert: Classifier) -> None:
    texts = [TEXTS[i % len(TEXTS)] for i in range(150)]
    np.testing.assert_allclose(bert.logits(texts, batch_size=1), bert.logits(texts, batch_size=64), atol=1e-5)


@pytest.mark.parametrize("family", ["bert", "gpt2", "xlnet", "modernbert"])
def test_embeddings_are_what_the_last_layer_reads(family: str, tmp_path: Path) -> None:
    from nlp_ft.models.heads import final_linear

    loaded = load(_saved(tmp_path, family), device="cpu")
    features = loaded.embed(TEXTS)
    linear = final_linear(loaded.model)[1]
    with torch.inference_mode():
        np.testing.assert_allclose(linear(torch.from_numpy(features)).numpy(), loaded.logits(TEXTS), atol=1e-5)


def test_what_inference_json_says_is_done(bert_path: Path, tmp_path: Path) -> None:
    path = tmp_path / "copy"
    shutil.copytree(bert_path, path)
    InferenceConfig(temperature=2.0).write(path)
    raw = load(path, device="cpu").logits(TEXTS)
    np.testing.assert_allclose(raw, load(bert_path, device="cpu").logits(TEXTS), atol=1e-6)
    halved = np.exp(raw / 2) / np.exp(raw / 2).sum(1, keepdims=True)
    np.testing.assert_allclose(_scores(load(path, device="cpu").predict(TEXTS)), halved, atol=1e-5)


def test_thresholds_decide_which_labels_are_given(tmp_path: Path) -> None:
    path = _saved(tmp_path, "bert", LABELS, MULTI)
    plain = load(path, device="cpu").predict(TEXTS)
    bound = float(np.median([one.scores["calm"] for one in plain]))
    InferenceConfig(thresholds={"angry": 0.0, "calm": bound, "glad": 1.0}).write(path)
    for one, before in zip(load(path, device="cpu").predict(TEXTS), plain, strict=True):
        assert one.label == ["angry", *(["calm"] if before.scores["calm"] > bound else [])]
        assert one.scores == before.scores


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ('{"temperature": 0}', "temperature must be a number above 0, got 0."),
        (
            '{"temperatur": 1}',
            "unknown key 'temperatur'; there are temperature, thresholds, long_documents, text_pair.",
        ),
        ('{"thresholds": {"sad": 0.5}}', "thresholds must be by label, of angry, calm, glad."),
        ('{"thresholds": {"calm": 2}}', "the threshold of 'calm' must be between 0 and 1, got 2."),
        ("[]", "wanted an object with temperature, thresholds, long_documents, text_pair."),
    ],
)
def test_an_inference_json_that_says_anything_else_is_refused(
    bert_path: Path, tmp_path: Path, content: str, message: str
) -> None:
    path = tmp_path / "copy"
    shutil.copytree(bert_path, path)
    (path / "inference.json").write_text(content)
    with pytest.raises(ModelError) as caught:
        load(path)
    assert str(caught.value) == f"{path / 'inference.json'}: {message}"


# Several adapters over one base.


@pytest.mark.parametrize("family", ["bert", "llama", "deberta-v2"])
def test_adapters_over_one_base_are_switched_without_loading_anew(family: str, tmp_path: Path) -> None:
    problems = {"mood": (LABELS, SINGLE), "size": ([], REGRESSION), "topic": (["film", "music"], MULTI)}
    for name, (labels, problem) in problems.items():
        _adapter(tmp_path / name, family, labels, problem, seed=len(name))
    merged = {name: load(tmp_path / name, device="cpu") for name in problems}
    several = load({name: tmp_path / name for name in problems}, device="cpu")
    assert several.adapters == list(problems)
    parameters = sum(p.numel() for p in several.model.get_base_model().base_model.parameters())
    for name in ("size", "mood", "topic", "mood"):
        assert several.use(name) is several
        assert (several.labels, several.problem_type) == (merged[name].labels, problems[name][1])
        np.testing.assert_allclose(several.logits(TEXTS), merged[name].logits(TEXTS), atol=1e-3)
        np.testing.assert_allclose(several.embed(TEXTS), merged[name].embed(TEXTS), atol=1e-3)
    assert sum(p.numel() for p in several.model.get_base_model().base_model.parameters()) == parameters
    with pytest.raises(ConfigError) as caught:
        several.use("modo")
    assert str(caught.value) == "no adapter 'modo'; there are mood, size, topic. Did you mean 'mood'?"


def test_adapters_over_different_bases_are_refused(tmp_path: Path) -> None:
    _adapter(tmp_path / "a", "bert", LABELS, SINGLE, seed=1)
    _adapter(tmp_path / "b", "distilbert", LABELS, SINGLE, seed=1)
    with pytest.raises(ModelError, match=f"^{tmp_path}/b is an adapter over another base than {tmp_path}/a, or"):
        load({"a": tmp_path / "a", "b": tmp_path / "b"})


def test_adapters_over_one_base_with_another_pad_token_are_refused(tmp_path: Path) -> None:
    for name in "ab":
        _adapter(tmp_path / name, "bert", LABELS, SINGLE, seed=1)
    config = json.loads((tmp_path / "b/config.json").read_text())
    (tmp_path / "b/config.json").write_text(json.dumps(config | {"pad_token_id": config["pad_token_id"] + 1}))
    with pytest.raises(ModelError, match=r"/b is an adapter over another base than .* \(pad token, pooling\)"):
        load({"a": tmp_path / "a", "b": tmp_path / "b"})


def test_a_model_without_adapters_has_none_to_use(bert: Classifier) -> None:
    assert bert.adapters == []
    with pytest.raises(ConfigError) as caught:
        bert.use("mood")
    assert str(caught.value) == (
        "no adapter 'mood'; there are none: load several by nlp_ft.load({name: directory, ...})."
    )


def test_the_adapter_of_a_run_has_the_runs_tokenizer(tmp_path: Path) -> None:
    _adapter(tmp_path / "run", "bert", LABELS, SINGLE, seed=1, whole=True)
    np.testing.assert_allclose(
        load(tmp_path / "run" / "adapter", device="cpu").logits(TEXTS),
        load(tmp_path / "run", device="cpu").logits(TEXTS),
        atol=1e-5,
    )


def _adapter(directory: Path, family: str, labels: list[str], problem: str, *, seed: int, whole: bool = False) -> None:
    torch.manual_seed(seed)
    plain, tokenizer = classifier(family, labels, problem)
    model = add_lora(plain, LoraArguments(use_peft=True, lora_r=2)).eval()
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "lora_B" in name or "modules_to_save" in name:
                parameter.normal_(std=0.3)
    save_and_verify(model, tokenizer, directory, Dataset.from_dict({"text": TEXTS}), 48, not whole)


def test_half_precision_is_had_by_asking(bert_path: Path, bert: Classifier) -> None:
    half = load(bert_path, device="cpu", dtype=torch.bfloat16)
    assert half.model.dtype == torch.bfloat16
    assert half.logits(TEXTS).dtype == np.float32
    np.testing.assert_allclose(half.logits(TEXTS), bert.logits(TEXTS), atol=0.05)
    assert bert.model.dtype == torch.float32


@pytest.mark.parametrize("text", ["", " ", "\U0001f600\u200d\U0001f525", "\x00\ufffd", "so " * 20000])
def test_odd_texts_have_an_answer(bert: Classifier, text: str) -> None:
    (one,) = bert.predict([text])
    assert one.label in LABELS
    assert sum(one.scores.values()) == pytest.approx(1)


@pytest.mark.parametrize("device", ["nowhere", "cuda:7"])
def test_a_device_that_is_not_there_is_refused(bert_path: Path, device: str) -> None:
    with pytest.raises(ConfigError, match=f"^device '{device}' cannot be used: "):
        load(bert_path, device=device)


def test_a_decoder_trained_on_more_than_512_tokens_reads_them_all(tmp_path: Path) -> None:
    path = make_checkpoint("llama", tmp_path / "base")
    config = json.loads((path / "config.json").read_text())
    (path / "config.json").write_text(json.dumps(config | {"max_position_embeddings": 2048}))
    model, tokenizer = classifier(path)
    save_and_verify(model, tokenizer, tmp_path / "out", Dataset.from_dict({"text": TEXTS}), 1024)
    assert load(tmp_path / "out", device="cpu").max_seq_length == 1024


def test_no_texts_give_no_answers(bert: Classifier) -> None:
    assert bert.predict([]) == []
    assert bert.logits([]).shape == (0, 3)


@pytest.mark.parametrize("family", FAMILIES)
def test_a_blank_text_is_answered_the_same_in_any_company(family: str, tmp_path: Path) -> None:
    model, tokenizer = classifier(family)
    loaded = Classifier(model, tokenizer, "cpu")
    alone = loaded.logits([""])
    assert np.isfinite(alone).all()
    np.testing.assert_allclose(loaded.logits(["", *TEXTS])[:1], alone, atol=1e-5)
    if family in DECODERS and family != "llama":  # llama's own begin token stands for the text
        np.testing.assert_allclose(alone, loaded.logits([tokenizer.eos_token]), atol=1e-6)


def test_a_blank_text_is_refused_where_no_token_can_stand_for_it() -> None:
    model, tokenizer = classifier("qwen2")
    tokenizer.eos_token = None
    with pytest.raises(DataError) as caught:
        Classifier(model, tokenizer, "cpu").predict(["a", ""])
    assert str(caught.value) == "row 1: '' has no tokens, and this tokenizer no end token to stand for them."


@pytest.mark.parametrize("long_documents", ["window", "truncate"])
def test_an_error_far_down_names_its_row_among_all_texts(long_documents: str) -> None:
    model, tokenizer = classifier("qwen2")
    tokenizer.eos_token = None
    texts = [*["a"] * 3000, ""]
    with pytest.raises(DataError, match=r"^row 3000: '' has no tokens, and this tokenizer no end token"):
        Classifier(model, tokenizer, "cpu").predict(texts, batch_size=32, long_documents=long_documents)


@pytest.mark.parametrize(
    ("texts", "message"),
    [
        ("a text", "predict() takes a sequence of texts; for one text use predict([text])[0]."),
        (b"a text", "predict() takes a sequence of texts, got bytes."),
        (None, "predict() takes a sequence of texts, got NoneType."),
        ({"text": "a"}, "predict() takes a sequence of texts, got dict."),
        (pd.DataFrame({"text": ["a"]}), "predict() takes a sequence of texts, got DataFrame."),
        (["a", None], "row 1: wanted a str, got NoneType 'None'."),
        (["a", 5], "row 1: wanted a str, got int '5'."),
        (pd.Series(["a", None, "b"]), "row 1: wanted a str, got {missing}."),
        (["a", ("b", "c")], "row 1: wanted a str, got tuple \"('b', 'c')\"."),
        ([("a", "b"), "c"], "row 1: wanted a (text, pair) tuple like row 0, got str 'c'."),
        ([("a", None)], "row 0: wanted a (text, pair) tuple like row 0, got tuple \"('a', None)\"."),
        ([("a", "b", "c")], "row 0: wanted a (text, pair) tuple like row 0, got tuple \"('a', 'b', 'c')\"."),
    ],
)
def test_what_is_no_text_is_refused_by_row(pairs_too: Classifier, texts: Any, message: str) -> None:
    missing = pd.Series(["a", None, "b"])[1]
    with pytest.raises(TypeError) as caught:
        pairs_too.predict(texts)
    assert str(caught.value) == message.replace("{missing}", f"{type(missing).__name__} {str(missing)!r}")


def test_a_batch_size_below_one_is_refused(bert: Classifier) -> None:
    with pytest.raises(ConfigError) as caught:
        bert.predict(TEXTS, batch_size=0)
    assert str(caught.value) == "batch_size must be at least 1, got 0."


@pytest.mark.parametrize("family", ["bert", "gpt2"])
def test_a_multi_label_model_names_the_labels_above_one_half(family: str, tmp_path: Path) -> None:
    loaded = load(_saved(tmp_path, family, LABELS, MULTI), device="cpu")
    probabilities = 1 / (1 + np.exp(-loaded.logits(TEXTS).astype(np.float64)))
    for one, row in zip(loaded.predict(TEXTS), probabilities, strict=True):
        assert one.scores == pytest.approx(dict(zip(LABELS, row, strict=True)), abs=1e-5)
        assert one.label == [label for label, p in zip(LABELS, row, strict=True) if p > 0.5]
        chosen = [p for p in row if p > 0.5]
        assert one.score == pytest.approx(min(chosen) if chosen else 1 - max(row), abs=1e-5)


@pytest.mark.parametrize("family", ["bert", "gpt2"])
def test_a_regression_model_answers_with_its_number(family: str, tmp_path: Path) -> None:
    loaded = load(_saved(tmp_path, family, [], REGRESSION), device="cpu")
    numbers = loaded.logits(TEXTS)[:, 0]
    assert loaded.labels == []
    for one, number in zip(loaded.predict(TEXTS), numbers, strict=True):
        assert (one.label, one.score, one.scores) == (pytest.approx(float(number)), one.label, {})


# What cannot be loaded.


@every_family
def test_a_body_without_a_head_is_refused(family: str) -> None:
    with pytest.raises(
        ModelError, match="is not in its weights, so its predictions would be random; fine-tune it first"
    ):
        load(checkpoint(family))


def test_a_directory_whose_head_was_lost_is_refused(bert_path: Path, tmp_path: Path) -> None:
    from safetensors.torch import load_file, save_file

    weights = load_file(bert_path / "model.safetensors")
    for name in ("config.json", "tokenizer.json", "tokenizer_config.json"):
        (tmp_path / name).write_bytes((bert_path / name).read_bytes())
    kept = {name: weight for name, weight in weights.items() if not name.startswith("classifier")}
    save_file(kept, tmp_path / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(ModelError) as caught:
        load(tmp_path)
    assert str(caught.value) == (
        f"{tmp_path} is no fine-tuned classifier: classifier.bias, classifier.weight is not in its weights, so its predictions "
        "would be random; fine-tune it first (nlp-ft finetune)."
    )


def test_a_directory_without_tokenizer_is_refused(bert_path: Path, tmp_path: Path) -> None:
    for name in ("config.json", "model.safetensors"):
        (tmp_path / name).write_bytes((bert_path / name).read_bytes())
    with pytest.raises(ModelError) as caught:
        load(tmp_path)
    assert str(caught.value) == f"{tmp_path} has no tokenizer (no tokenizer.json or vocabulary in it)."


def test_what_is_no_directory_is_refused(bert_path: Path, tmp_path: Path) -> None:
    with pytest.raises(ModelError) as caught:
        load(tmp_path / "gone")
    assert str(caught.value) == (
        f"{tmp_path}/gone: no such directory, and no name on the Hub either (those are owner/name)."
    )
    with pytest.raises(ModelError) as caught:
        load(bert_path / "config.json")
    assert (
        str(caught.value) == f"{bert_path}/config.json is a file; wanted a checkpoint directory or a name on the Hub."
    )


# Checkpoints from elsewhere.


def test_a_decoder_from_elsewhere_that_pads_on_the_left_or_with_another_token_is_read_right(tmp_path: Path) -> None:
    path = _saved(tmp_path, "gpt2")
    wanted = load(path, device="cpu").logits(TEXTS, batch_size=1)
    settings = json.loads((path / "tokenizer_config.json").read_text())
    spoiled = settings | {"padding_side": "left", "pad_token": "<|endoftext|>"}
    (path / "tokenizer_config.json").write_text(json.dumps(spoiled))
    np.testing.assert_allclose(load(path, device="cpu").logits(TEXTS), wanted, atol=1e-5)


def test_a_decoder_from_elsewhere_without_any_pad_token_is_refused(tmp_path: Path) -> None:
    path = _saved(tmp_path, "gpt2")
    for name, key in (("tokenizer_config.json", "pad_token"), ("config.json", "pad_token_id")):
        settings = json.loads((path / name).read_text())
        (path / name).write_text(json.dumps(settings | {key: None}))
    with pytest.raises(ModelError) as caught:
        load(path)
    assert str(caught.value) == (
        f"{path} has no pad token; set pad_token_id in its config.json and pad_token in its tokenizer."
    )


def test_loading_and_predicting_print_nothing(bert_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    load(bert_path, device="cpu").predict([*TEXTS, " ".join(TEXTS * 50)])
    assert capfd.readouterr() == ("", "")


def test_the_model_goes_where_it_is_told_and_stays_in_evaluation_mode(bert_path: Path) -> None:
    loaded = load(str(bert_path), device=torch.device("cpu"))
    assert loaded.model.device.type == "cpu"
    assert not loaded.model.training
    assert (loaded.problem_type, loaded.labels) == (SINGLE, LABELS)


@pytest.mark.parametrize("long_documents", ["window", "truncate"])
def test_logits_that_are_not_finite_are_no_answer(long_documents: str) -> None:
    model, tokenizer = classifier("bert", LABELS)
    loaded = Classifier(model, tokenizer, "cpu")
    word = tokenizer("lovely", add_special_tokens=False)["input_ids"][0]
    with torch.no_grad():
        model.get_input_embeddings().weight[word] = torch.inf
    assert len(loaded.predict(["so so"], long_documents=long_documents)) == 1
    with pytest.raises(ModelError, match=r"^row 1: the model's logits are not finite, so they are no answer; "):
        loaded.predict(["so so", "a lovely film"], long_documents=long_documents)
