"""Layers picked out of a checkpoint: the right ones, to the bit, in every family, and a directory that goes on from there."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from tiny import ENCODER_DECODERS, FAMILIES, LABELS, SINGLE, TEXTS, classifier
from transformers import AutoModel, AutoModelForSequenceClassification

from nlp_ft.config import ModelArguments
from nlp_ft.errors import ConfigError, ModelError
from nlp_ft.models.classifier import load_classifier, load_tokenizer
from nlp_ft.models.layers import encoder_layers, layer_list, layer_lists
from nlp_ft.models.pooling import pool_by_mean
from nlp_ft.models.student import keep_layers, kept_indices, write_student

DEPTH = 5


@pytest.fixture(scope="module")
def deep(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Checkpoints of five layers, made once a family."""
    made: dict[str, Path] = {}

    def make(family: str) -> Path:
        if family not in made:
            tokenizer = FAMILIES[family].tokenizer()
            config = FAMILIES[family].config(tokenizer)
            told = config.to_dict()
            told.pop("layer_types", None)
            keys = ("n_layers", "n_layer", "num_layers", "encoder_layers", "num_hidden_layers")
            key = next(k for k in keys if k in told)
            told |= {k: DEPTH for k in ("decoder_layers", "num_decoder_layers") if k in told}
            config = type(config)(**{**told, key: DEPTH})
            torch.manual_seed(0)
            model = AutoModel.from_config(config)
            for parameter in model.parameters():
                if parameter.ndim > 1:
                    torch.nn.init.normal_(parameter, std=0.2)
            folder = made[family] = tmp_path_factory.mktemp(family)
            model.save_pretrained(folder)
            tokenizer.save_pretrained(folder)
        return made[family]

    return make


def weights(module: torch.nn.Module) -> dict[str, torch.Tensor]:
    return {name: tensor.clone() for name, tensor in module.state_dict().items()}


def same(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


@torch.inference_mode()
def answers(model: Any, tokenizer: Any) -> torch.Tensor:
    return model.eval()(**tokenizer(TEXTS, padding=True, return_tensors="pt")).logits


@pytest.mark.parametrize(
    ("spec", "depth", "indices"),
    [
        ("3", 6, [0, 2, 5]),
        ("6", 12, [0, 2, 4, 6, 8, 11]),
        ("2", 12, [0, 11]),
        ("1", 6, [0]),
        ("6", 6, [0, 1, 2, 3, 4, 5]),
        ("1,3", 6, [1, 3]),
        ("0, 2, 5", 6, [0, 2, 5]),
    ],
)
def test_a_number_is_spaced_evenly_and_a_list_is_itself(spec: str, depth: int, indices: list[int]) -> None:
    assert kept_indices(spec, depth) == indices


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("0", "--student_layers 0: the checkpoint has 6 layers; wanted 1 to 6."),
        ("7", "--student_layers 7: the checkpoint has 6 layers; wanted 1 to 6."),
        ("0,6", "--student_layers 0,6: the checkpoint's layers are 0 to 5."),
        ("2,1", "--student_layers 2,1: wanted each layer once, the lowest first."),
        (
            "half",
            "--student_layers must be a number of layers, or which ones, counted from 0, such as 0,2,5; got 'half'.",
        ),
    ],
)
def test_layers_that_cannot_be_picked_are_refused(spec: str, message: str) -> None:
    with pytest.raises(ConfigError) as error:
        kept_indices(spec, 6)
    assert str(error.value) == message


@pytest.mark.parametrize("family", FAMILIES)
def test_the_layers_picked_are_those_of_the_checkpoint_to_the_bit_and_reload_alike(
    family: str, deep: Any, tmp_path: Path
) -> None:
    model, tokenizer = classifier(deep(family))
    before = weights(model)
    layers = [weights(layer) for layer in encoder_layers(model)]
    names = tuple(f"{model.base_model_prefix}.{name}." for name, _ in layer_lists(model))
    assert len(layers) == DEPTH * len(names)
    keep_layers(model, "0,1,4")
    kept = [DEPTH * stack + at for stack in range(len(names)) for at in (0, 1, 4)]
    assert all(same(weights(layer), layers[at]) for layer, at in zip(encoder_layers(model), kept, strict=True))
    rest = {key: tensor for key, tensor in before.items() if not key.startswith(names)}
    assert same(rest, {key: tensor for key, tensor in weights(model).items() if not key.startswith(names)})
    assert model.config.num_hidden_layers == 3
    model.save_pretrained(tmp_path)
    again, info = AutoModelForSequenceClassification.from_pretrained(tmp_path, output_loading_info=True)
    assert not any(info[kind] for kind in ("missing_keys", "unexpected_keys", "mismatched_keys"))
    assert torch.equal(answers(again, tokenizer), answers(model, tokenizer))
    assert not torch.equal(answers(model, tokenizer), answers(classifier(deep(family))[0], tokenizer))


@pytest.mark.parametrize("family", ["modernbert", "qwen2", "qwen3"])
def test_the_kind_of_each_layer_goes_with_it(family: str, deep: Any) -> None:
    model, _ = classifier(deep(family))
    kinds = list(model.config.layer_types)
    assert len(kinds) == DEPTH
    keep_layers(model, "0,1,3")
    assert model.config.layer_types == [kinds[0], kinds[1], kinds[3]]
    if family == "modernbert":
        assert model.config.layer_types == ["full_attention", "sliding_attention", "full_attention"]


@pytest.mark.parametrize("family", ["bert", "roberta", "distilbert"])
def test_the_pooling_layer_always_stays_and_is_not_counted(family: str, deep: Any, tmp_path: Path) -> None:
    model, tokenizer = classifier(deep(family))
    pool_by_mean(model)
    own, pooling = [weights(layer) for layer in encoder_layers(model)], weights(layer_list(model)[1][-1])
    said = keep_layers(model, "2")
    assert said == ["student: layers 0, 4 of the 5 of its checkpoint, counted from 0"]
    held = list(layer_list(model)[1])
    assert [same(weights(layer), w) for layer, w in zip(held, (own[0], own[4], pooling), strict=True)] == [True] * 3
    assert model.config.num_hidden_layers == 3
    model.save_pretrained(tmp_path)
    again = AutoModelForSequenceClassification.from_pretrained(tmp_path)
    assert torch.equal(answers(again, tokenizer), answers(model, tokenizer))


def test_modernbert_keeps_its_first_layer_and_albert_has_none_to_pick(deep: Any) -> None:
    from transformers import AlbertConfig, AlbertForSequenceClassification

    with pytest.raises(ConfigError) as error:
        keep_layers(classifier(deep("modernbert"))[0], "1,2")
    assert str(error.value) == "--student_layers 1,2: a ModernBERT needs its layer 0 as its first."
    sizes: Any = {"hidden_size": 32, "num_attention_heads": 2, "intermediate_size": 48, "embedding_size": 16}
    albert = AlbertForSequenceClassification(AlbertConfig(vocab_size=50, num_hidden_layers=4, **sizes))
    with pytest.raises(ModelError, match="holds no list of its 4 layers"):
        keep_layers(albert, "2")


def test_an_encoder_decoder_keeps_the_same_layers_of_both(deep: Any) -> None:
    model, _ = classifier(deep("bart"))
    assert keep_layers(model, "2") == [
        "student: layers 0, 4 of the 5 of its checkpoint in encoder and decoder each, counted from 0"
    ]
    assert (model.config.encoder_layers, model.config.decoder_layers) == (2, 2)
    with pytest.raises(ConfigError, match=r"^--student_layers 1,2: a T5 needs its layer 0 as its first\.$"):
        keep_layers(classifier(deep("t5"))[0], "1,2")


@pytest.mark.parametrize("family", ["bert", "distilbert", "roberta", "llama", "bart", "t5"])
def test_a_start_directory_keeps_a_trained_head_of_these_labels_and_no_other(
    family: str, deep: Any, tmp_path: Path
) -> None:
    model, tokenizer = classifier(deep(family))
    trained = tmp_path / "trained"
    model.save_pretrained(trained)
    tokenizer.save_pretrained(trained)
    keep_layers(model, "0,4")
    for source, labels, kept in ((trained, LABELS, True), (trained, ["x", "y"], False), (deep(family), LABELS, False)):
        folder = tmp_path / f"{source.name}-{len(labels)}"
        args = ModelArguments(model_name_or_path=str(source), dropout=0.0)
        start, said = write_student(args, SINGLE, labels, "0,4", folder)
        assert start.dropout == 0.0
        each = " in encoder and decoder each" if family in ENCODER_DECODERS else ""
        assert said[0] == f"student: layers 0, 4 of the 5 of its checkpoint{each}, counted from 0"
        student, _, has_head = load_classifier(start, load_tokenizer(start), SINGLE, labels)
        assert has_head == kept
        assert [
            same(weights(a), weights(b)) for a, b in zip(encoder_layers(student), encoder_layers(model), strict=True)
        ]
        assert torch.equal(answers(student, tokenizer), answers(model, tokenizer)) == kept


def test_a_start_directory_still_says_that_its_checkpoint_was_trained_with_mean_pooling(
    deep: Any, tmp_path: Path
) -> None:
    import shutil

    source = tmp_path / "source"
    shutil.copytree(deep("bert"), source)
    (source / "1_Pooling").mkdir()
    (source / "1_Pooling" / "config.json").write_text(json.dumps({"pooling_mode_mean_tokens": True}))
    for place, there in ((source, True), (deep("bert"), False)):
        folder = tmp_path / f"start-{there}"
        write_student(ModelArguments(model_name_or_path=str(place)), SINGLE, LABELS, "2", folder)
        assert (folder / "1_Pooling" / "config.json").is_file() == there
