"""What a run leaves behind: whole, plainly loadable, verified, the adapters and the whole head in it; or nothing."""

from __future__ import annotations

import json
import shutil
import stat
from pathlib import Path
from typing import Any

import pytest
import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState
from datasets import Dataset
from peft import PeftModel
from safetensors.torch import load_file, save_file
from tiny import FAMILIES, LABELS, TEXTS, checkpoint, classifier, logits, lora_classifier, make_checkpoint, train
from torch.testing import assert_close
from transformers import AutoConfig, AutoModelForSequenceClassification, AutoTokenizer, PreTrainedModel, pipeline

import nlp_ft
from nlp_ft.config import LoraArguments
from nlp_ft.errors import ConfigError, ModelError, TrainingError
from nlp_ft.models.classifier import add_lora, quiet
from nlp_ft.models.compare import compute_logits
from nlp_ft.training import save as saving
from nlp_ft.training.save import save_and_verify

ROWS = Dataset.from_dict({"text": TEXTS})
every_family = pytest.mark.parametrize("family", FAMILIES)


def _plain(path: Path) -> tuple[Any, Any]:
    """By nothing but transformers."""
    with quiet():
        model = AutoModelForSequenceClassification.from_pretrained(path)
    return model.eval(), AutoTokenizer.from_pretrained(path)


def _trained_lora(source: str | Path, **lora: Any) -> tuple[Any, Any]:
    model, tokenizer = lora_classifier(source, **lora)
    train(model, tokenizer)
    return model, tokenizer


@every_family
def test_a_trained_model_loads_in_plain_transformers_and_repeats_itself(family: str, tmp_path: Path) -> None:
    model, tokenizer = classifier(family)
    train(model, tokenizer)
    wanted = compute_logits(model, tokenizer, TEXTS, None, 48)
    save_and_verify(model, tokenizer, tmp_path, ROWS, 48)
    again, saved_tokenizer = _plain(tmp_path)
    assert_close(compute_logits(again, saved_tokenizer, TEXTS, None, 48), wanted, atol=1e-5, rtol=0)
    assert again.config.id2label == dict(enumerate(LABELS))
    assert saved_tokenizer.model_max_length == 48
    answers = pipeline("text-classification", model=str(tmp_path))(TEXTS, batch_size=4, truncation=True)
    best = wanted.softmax(-1).max(-1)
    assert [answer["label"] for answer in answers] == [LABELS[i] for i in best.indices]
    assert [answer["score"] for answer in answers] == pytest.approx(best.values.tolist(), abs=1e-5)


@every_family
def test_lora_trains_and_saves_adapters_and_the_whole_head(family: str, tmp_path: Path) -> None:
    model, tokenizer = lora_classifier(family)
    before = {name: p.detach().clone() for name, p in model.named_parameters()}
    train(model, tokenizer)
    moved = {name for name, p in model.named_parameters() if not torch.equal(p, before[name])}
    assert moved == {name for name, p in model.named_parameters() if p.requires_grad}
    plain, _ = classifier(family)
    body = {f"{plain.base_model_prefix}.{name}" for name, _ in plain.base_model.named_parameters()}
    head = {name for name, _ in plain.named_parameters()} - body
    assert head <= {name.removeprefix("base_model.model.").replace("modules_to_save.default.", "") for name in moved}
    wanted = logits(model, tokenizer)
    save_and_verify(model, tokenizer, tmp_path, ROWS, 64)
    again, saved_tokenizer = _plain(tmp_path)
    assert_close(logits(again, saved_tokenizer), wanted, atol=1e-4, rtol=0)
    assert again.config.id2label == dict(enumerate(LABELS))
    assert pipeline("text-classification", model=str(tmp_path))(TEXTS[0])[0]["label"] in LABELS
    beside = PeftModel.from_pretrained(plain, str(tmp_path / "adapter")).eval()
    assert_close(logits(beside, tokenizer), wanted, atol=1e-4, rtol=0)


@pytest.mark.parametrize("family", ["bert", "gpt2"])
@pytest.mark.parametrize("flags", [{"use_dora": True}, {"use_rslora": True}, {"lora_target_modules": "some"}])
def test_kinds_of_lora_merge_into_a_plain_model(family: str, flags: dict[str, Any], tmp_path: Path) -> None:
    some = {"bert": ["query", "attention.output.dense"], "gpt2": ["c_attn"]}[family]
    flags = {name: some if value == "some" else value for name, value in flags.items()}
    model, tokenizer = _trained_lora(family, **flags)
    wanted = logits(model, tokenizer)
    save_and_verify(model, tokenizer, tmp_path, ROWS, 64)
    assert_close(logits(*_plain(tmp_path)), wanted, atol=1e-4, rtol=0)


def test_named_targets_get_adapters_and_no_other_layer_does() -> None:
    model, _ = lora_classifier("bert", lora_target_modules=["query"])
    layers = {name.partition(".lora_")[0] for name, _ in model.named_parameters() if ".lora_" in name}
    assert {layer.rpartition(".")[2] for layer in layers} == {"query"}


@pytest.mark.parametrize("targets", [["nope"], ["query", "nope"]])
def test_a_target_that_names_no_layer_is_refused_with_those_there_are(targets: list[str]) -> None:
    model, _ = classifier("bert")
    with pytest.raises(ConfigError) as caught:
        add_lora(model, LoraArguments(use_peft=True, lora_target_modules=targets))
    assert str(caught.value) == (
        "--lora_target_modules nope: no layer has this name; there are dense, key, query, value (or all-linear)."
    )


def test_the_end_of_a_layers_name_alone_is_no_target() -> None:
    """Of two targets peft would pass over this one in silence: it compares whole parts of a name."""
    model, _ = classifier("bert")
    with pytest.raises(ConfigError, match=r"^--lora_target_modules uery: no layer has this name; "):
        add_lora(model, LoraArguments(use_peft=True, lora_target_modules=["query", "uery"]))


def _edit_weights(path: Path, change: Any) -> None:
    weights = load_file(path)
    change(weights)
    save_file(weights, path, metadata={"format": "pt"})


# Adapter alone.


def _without_pooler(tmp_path: Path) -> Path:
    return make_checkpoint("bert", tmp_path / "base", add_pooling_layer=False)


@pytest.mark.parametrize("base", ["bert", "bert without pooler", "roberta", "deberta-v2", "gpt2", "llama"])
def test_an_adapter_saved_alone_opens_with_its_labels(base: str, tmp_path: Path) -> None:
    source = _without_pooler(tmp_path) if base == "bert without pooler" else base
    model, tokenizer = _trained_lora(source)
    wanted = logits(model, tokenizer)
    out = tmp_path / "out"
    save_and_verify(model, tokenizer, out, ROWS, 64, adapter_only=True)
    assert not (out / "model.safetensors").exists()
    assert not (out / "adapter").exists()
    loaded = nlp_ft.load(out, device="cpu")
    assert loaded.labels == LABELS
    assert_close(torch.from_numpy(loaded.logits(TEXTS)), wanted, atol=1e-4, rtol=0)


@pytest.mark.parametrize("family", ["bert", "distilbert", "modernbert"])
def test_an_adapter_over_mean_pooling_opens_with_that_layer_added_again(family: str, tmp_path: Path) -> None:
    from nlp_ft.models.pooling import pool_by_mean

    plain, tokenizer = classifier(family)
    pool_by_mean(plain)
    model = add_lora(plain, LoraArguments(use_peft=True, lora_r=4))
    train(model, tokenizer, rate=0.01)
    wanted = logits(model, tokenizer)
    save_and_verify(model, tokenizer, tmp_path, ROWS, 64, adapter_only=True)
    assert_close(torch.from_numpy(nlp_ft.load(tmp_path, device="cpu").logits(TEXTS)), wanted, atol=1e-4, rtol=1e-4)


def test_an_adapter_finds_its_base_from_another_working_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(checkpoint("bert"), tmp_path / "base")
    monkeypatch.chdir(tmp_path)
    model, tokenizer = _trained_lora(Path("base"))
    save_and_verify(model, tokenizer, Path("out"), ROWS, 64, adapter_only=True)
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    assert nlp_ft.load("../out", device="cpu").labels == LABELS


def _adapter(tmp_path: Path, **settings: Any) -> Path:
    """An adapter directory over the shared BERT, with some entries of adapter_config.json changed."""
    model, tokenizer = lora_classifier("bert")
    out = tmp_path / "out"
    save_and_verify(model, tokenizer, out, ROWS, 64, adapter_only=True)
    held = json.loads((out / "adapter_config.json").read_text())
    (out / "adapter_config.json").write_text(json.dumps(held | settings))
    return out


@pytest.mark.parametrize("gone", ["/no/such/base", "./base"])
def test_an_adapter_whose_base_was_moved_says_what_to_do(gone: str, tmp_path: Path) -> None:
    out = _adapter(tmp_path, base_model_name_or_path=gone)
    with pytest.raises(ModelError) as caught:
        nlp_ft.load(out)
    assert str(caught.value) == (
        f"{out}: its base checkpoint cannot be opened (base_model_name_or_path in adapter_config.json; if it was moved, write "
        f"its new path there): {gone}: no such directory, and no name on the Hub either (those are owner/name)."
    )


def test_an_adapter_that_lacks_a_part_of_the_head_is_refused(tmp_path: Path) -> None:
    base = _without_pooler(tmp_path)
    out = _adapter(tmp_path, base_model_name_or_path=str(base), modules_to_save=["classifier"])
    with pytest.raises(ModelError) as caught:
        nlp_ft.load(out)
    assert str(caught.value) == (
        f"{out}: neither it nor its base {base} holds bert.pooler.dense.bias; it would be random."
    )


_QUERY = "base_model.model.bert.encoder.layer.0.attention.self.query.lora_A.weight"


@pytest.mark.parametrize(
    ("lost", "message"),
    [
        (_QUERY, f"neither it nor its base {{base}} holds {_QUERY}; it would be random."),
        (
            "base_model.model.classifier.weight",
            "cannot load its adapter: 'base_model.model.classifier.weight' is missing",
        ),
    ],
    ids=["adapter", "head"],
)
def test_an_adapter_file_that_lost_a_weight_is_refused(lost: str, message: str, tmp_path: Path) -> None:
    out = _adapter(tmp_path)
    _edit_weights(out / "adapter_model.safetensors", lambda weights: weights.pop(lost))
    with pytest.raises(ModelError) as caught:
        nlp_ft.load(out)
    assert str(caught.value) == f"{out}: {message.replace('{base}', str(checkpoint('bert')))}"


def test_an_adapter_of_another_kind_or_a_pickle_is_refused(tmp_path: Path) -> None:
    out = _adapter(tmp_path, peft_type="IA3")
    with pytest.raises(ModelError) as caught:
        nlp_ft.load(out)
    assert str(caught.value) == f"{out}: wanted a LoRA adapter with adapter_model.safetensors, got one of type IA3."
    out = _adapter(tmp_path)
    (out / "adapter_model.safetensors").unlink()
    torch.save({}, out / "adapter_model.bin")
    with pytest.raises(ModelError, match=r"wanted a LoRA adapter with adapter_model\.safetensors"):
        nlp_ft.load(out)


def test_a_planted_adapter_config_is_not_applied(tmp_path: Path) -> None:
    model, tokenizer = classifier("bert")
    save_and_verify(model, tokenizer, tmp_path, ROWS, 64)
    planted = {"peft_type": "LORA", "base_model_name_or_path": str(checkpoint("bert"))}
    (tmp_path / "adapter_config.json").write_text(json.dumps(planted))
    (tmp_path / "adapter_model.safetensors").write_bytes(b"")
    with pytest.raises(ModelError) as caught:
        nlp_ft.load(tmp_path)
    assert str(caught.value) == (
        f"{tmp_path} holds both a whole model and adapter_config.json; remove the one that is not meant."
    )


def test_an_adapter_over_a_gguf_file_remembers_the_file_and_a_merged_model_does_not(tmp_path: Path) -> None:
    model, tokenizer = lora_classifier("bert")
    model.config.nlp_ft_gguf_file = "weights.gguf"
    saving.save_adapter(model, tmp_path / "alone")
    tokenizer.save_pretrained(tmp_path / "alone")
    assert AutoConfig.from_pretrained(tmp_path / "alone").nlp_ft_gguf_file == "weights.gguf"
    with pytest.raises(ModelError, match=r"is no checkpoint: it has no weights\.gguf; it holds "):
        nlp_ft.load(tmp_path / "alone")
    save_and_verify(model, tokenizer, tmp_path / "merged", ROWS, 64)
    assert not hasattr(AutoConfig.from_pretrained(tmp_path / "merged"), "nlp_ft_gguf_file")


# Verification.


def _tamper(monkeypatch: pytest.MonkeyPatch, change: Any) -> None:
    """Let every save be followed by a change of the directory saved to."""
    save = PreTrainedModel.save_pretrained

    def spoiled(self: Any, directory: Any, **kwargs: Any) -> None:
        save(self, directory, **kwargs)
        change(Path(directory))

    monkeypatch.setattr(PreTrainedModel, "save_pretrained", spoiled)


def _edit_config(directory: Path, **entries: Any) -> None:
    path = directory / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | entries))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            lambda d: _edit_weights(d / "model.safetensors", lambda w: w.pop("classifier.weight")),
            "{stage}: the saved model has missing keys (classifier.weight); do not use it.",
        ),
        (
            lambda d: _edit_weights(d / "model.safetensors", lambda w: w.update(extra=torch.ones(1))),
            "{stage}: the saved model has unexpected keys (extra); do not use it.",
        ),
        (
            lambda d: _edit_weights(d / "model.safetensors", lambda w: w["classifier.bias"].add_(1)),
            "{stage}: the saved model does not repeat the trained one's logits (off by 1, 0.001 allowed); do not use it, and "
            "report this.",
        ),
        (
            lambda d: _edit_weights(d / "model.safetensors", lambda w: w["classifier.bias"].fill_(torch.nan)),
            "{stage}: the saved model does not repeat the trained one's logits (off by nan, 0.001 allowed); do not use it, "
            "and report this.",
        ),
        (
            lambda d: _edit_config(d, id2label={"0": "calm", "1": "angry", "2": "glad"}),
            "{stage}: config.json does not hold the 3 labels; do not use it.",
        ),
    ],
    ids=["no head", "more than the model", "other weights", "nan", "other labels"],
)
def test_a_save_that_does_not_repeat_the_model_fails_and_is_not_published(
    change: Any, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, tokenizer = classifier("bert")
    _tamper(monkeypatch, change)
    with pytest.raises(TrainingError) as caught:
        save_and_verify(model, tokenizer, tmp_path, ROWS, 64)
    assert str(caught.value) == message.format(stage=tmp_path / "unverified")
    assert [path.name for path in tmp_path.iterdir()] == ["unverified"]


def test_weights_that_are_not_finite_are_not_saved(tmp_path: Path) -> None:
    model, tokenizer = classifier("bert")
    with torch.no_grad():
        model.classifier.bias[1] = torch.inf
    with pytest.raises(TrainingError) as caught:
        save_and_verify(model, tokenizer, tmp_path / "out", ROWS, 64)
    assert str(caught.value) == (
        "classifier.bias is not finite, and nothing was saved; lower --learning_rate, or train in float32 (no --fp16)."
    )
    assert not (tmp_path / "out").exists()


def test_a_save_cut_short_leaves_nothing_that_loads_and_the_next_one_is_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, tokenizer = classifier("bert")
    (tmp_path / "checkpoint-1").mkdir()
    with monkeypatch.context() as patch:
        patch.setattr(type(tokenizer), "save_pretrained", lambda *_: (_ for _ in ()).throw(OSError("no space left")))
        with pytest.raises(OSError, match="no space left"):
            save_and_verify(model, tokenizer, tmp_path, ROWS, 64)
    with pytest.raises(ModelError):
        nlp_ft.load(tmp_path)
    save_and_verify(model, tokenizer, tmp_path, ROWS, 64)
    assert nlp_ft.load(tmp_path).labels == LABELS
    assert not (tmp_path / "unverified").exists()
    assert (tmp_path / "checkpoint-1").is_dir()


def test_weights_are_published_last(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    moved: list[str] = []
    replace = Path.replace
    monkeypatch.setattr(Path, "replace", lambda self, target: (moved.append(self.name), replace(self, target))[1])
    save_and_verify(*lora_classifier("bert"), tmp_path, ROWS, 64)
    assert moved[-1] == "model.safetensors"
    assert set(moved) == {path.name for path in tmp_path.iterdir()}


def test_the_directory_holds_safetensors_no_pickle_and_files_others_can_read(tmp_path: Path) -> None:
    save_and_verify(*lora_classifier("bert"), tmp_path, ROWS, 64)
    files = {str(path.relative_to(tmp_path)): path for path in tmp_path.rglob("*") if path.is_file()}
    assert sorted(files) == [
        "adapter/adapter_config.json",
        "adapter/adapter_model.safetensors",
        "adapter/config.json",
        "adapter/inference.json",
        "adapter/tokenizer.json",
        "adapter/tokenizer_config.json",
        "config.json",
        "inference.json",
        "model.safetensors",
        "tokenizer.json",
        "tokenizer_config.json",
    ]
    modes = {stat.S_IMODE(path.stat().st_mode) for path in files.values()}
    assert len(modes) == 1
    assert str(tmp_path.parent) not in files["config.json"].read_text()


def test_a_run_in_bfloat16_is_compared_in_float32(tmp_path: Path) -> None:
    AcceleratorState._reset_state()  # of a run in this process before
    for name, (model, tokenizer) in {"plain": classifier("bert"), "lora": lora_classifier("bert")}.items():
        prepared = Accelerator(mixed_precision="bf16", cpu=True).prepare(model)
        assert_autocast = logits(prepared, tokenizer)
        save_and_verify(prepared, tokenizer, tmp_path / name, ROWS, 64)
        exact = logits(*_plain(tmp_path / name))
        assert 1e-4 < (assert_autocast - exact).abs().max() < 0.1


def test_pairs_of_texts_are_compared_as_pairs(tmp_path: Path) -> None:
    rows = Dataset.from_dict({"text": TEXTS, "text_pair": TEXTS[::-1]})
    model, tokenizer = classifier("bert")
    save_and_verify(model, tokenizer, tmp_path, rows, 64)
    seen = compute_logits(model, tokenizer, TEXTS, TEXTS[::-1], 64)
    assert not torch.allclose(seen, compute_logits(model, tokenizer, TEXTS, None, 64), atol=1e-3)


def test_saving_prints_nothing_of_its_own(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    model, tokenizer = lora_classifier("gpt2")
    save_and_verify(model, tokenizer, tmp_path, ROWS, 64)
    assert capfd.readouterr() == ("", "")
