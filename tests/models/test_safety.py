"""Hostile directories are refused before their weights load, each in one line; honest ones of every family pass."""

from __future__ import annotations

import functools
import json
import pickle
import shutil
import struct
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from tiny import FAMILIES, LABELS, checkpoint, classifier, lora_classifier

from nlp_ft import load
from nlp_ft.errors import ModelError
from nlp_ft.evaluation.metrics import MULTI, REGRESSION, SINGLE
from nlp_ft.models.checkpoint import check_directory, check_weights, open_classifier
from nlp_ft.models.classifier import quiet
from nlp_ft.models.safety.weights import vet
from nlp_ft.training.save import save_adapter

every_family = pytest.mark.parametrize("family", FAMILIES)


def _saved(directory: Path, family: str = "bert", labels: Any = LABELS, problem: str = SINGLE, **how: Any) -> Path:
    model, tokenizer = classifier(family, labels, problem)
    with quiet():
        model.save_pretrained(directory, **how)
    tokenizer.save_pretrained(directory)
    return directory


_SHARED = tempfile.TemporaryDirectory()


@functools.cache
def _trained(family: str) -> Path:
    """A classifier of a family that all tests share; it is only to be read."""
    return _saved(Path(_SHARED.name) / family, family)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A copy that a test may spoil."""
    return Path(shutil.copytree(_trained("bert"), tmp_path / "model"))


def _edit(file: Path, **fields: Any) -> Path:
    settings = json.loads(file.read_text()) if file.exists() else {}
    file.write_text(json.dumps(settings | fields))
    return file


def _refused(path: Path, **how: Any) -> str:
    with pytest.raises(ModelError) as caught:
        vet(path, **how)
    message = str(caught.value)
    assert "\n" not in message
    assert str(path) in message
    return message.replace(str(path), "DIR")


# What is honest passes.


@every_family
def test_a_checkpoint_to_start_from_and_what_is_trained_of_it_pass(family: str) -> None:
    vet(checkpoint(family), fine_tuned=False)
    vet(_trained(family))


@pytest.mark.parametrize("family", ["bert", "gpt2"])
@pytest.mark.parametrize(("problem", "labels"), [(MULTI, ["one"]), (MULTI, ["one", "two"]), (REGRESSION, [])])
def test_classifiers_of_every_problem_pass(family: str, problem: str, labels: list[str], tmp_path: Path) -> None:
    vet(_saved(tmp_path / "model", family, labels, problem))


@every_family
def test_an_adapter_passes_as_an_adapter(family: str, tmp_path: Path) -> None:
    model, _ = lora_classifier(family)
    save_adapter(model, tmp_path)
    vet(tmp_path, adapter=True)


def test_shards_pass(tmp_path: Path) -> None:
    path = _saved(tmp_path / "sharded", max_shard_size="20KB")
    assert not (path / "model.safetensors").exists()
    vet(path)


def test_a_gguf_or_an_onnx_directory_passes_without_any_safetensors(path: Path) -> None:
    (path / "model.safetensors").unlink()
    (path / "some.bin").write_bytes(b"")
    (path / "model.gguf").write_bytes(b"GGUF")
    vet(path)
    (path / "config.json").unlink()
    (path / "model.gguf").rename(path / "model.onnx")
    vet(path)


def test_pickles_beside_safetensors_are_ignored(path: Path) -> None:
    for name in ("pytorch_model.bin", "training_args.bin", "optimizer.pt"):
        (path / name).write_bytes(b"\x80")
    vet(path)


def test_vetting_leaves_the_random_numbers_as_they_were(path: Path) -> None:
    torch.manual_seed(3)
    wanted = torch.rand(4)
    torch.manual_seed(3)
    vet(path)
    assert torch.equal(torch.rand(4), wanted)


def _hub_cache(path: Path, cache: Path, shared: bool) -> Path:
    """A snapshot as huggingface_hub keeps it: links to the repository's blobs, or through them to the cache's."""
    repository = cache / "models--me--x"
    snapshot = repository / "snapshots" / "abc"
    for folder in (snapshot, repository / "blobs", cache / "blobs" / "ab"):
        folder.mkdir(parents=True)
    for file in path.iterdir():
        blob = repository / "blobs" / f"{file.name}0"
        if shared:
            shutil.copy(file, cache / "blobs" / "ab" / file.name)
            blob.symlink_to(f"../../blobs/ab/{file.name}")
        else:
            shutil.copy(file, blob)
        (snapshot / file.name).symlink_to(f"../../blobs/{blob.name}")
    return snapshot


@pytest.mark.parametrize("shared", [False, True])
def test_a_snapshot_of_the_hubs_cache_passes_though_it_is_all_links(path: Path, tmp_path: Path, shared: bool) -> None:
    vet(_hub_cache(path, tmp_path / "cache", shared))


# Files that run code, or that are not what their name says.


class Canary:
    """A pickle that creates a file when it is opened."""

    def __init__(self, file: Path) -> None:
        self.file = file

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        return (Path.touch, (self.file,))


@pytest.mark.parametrize("name", ["pytorch_model.bin", "model.pt", "weights.pkl"])
def test_a_pickle_alone_is_refused_and_its_code_never_runs(path: Path, tmp_path: Path, name: str) -> None:
    (path / "model.safetensors").unlink()
    (path / name).write_bytes(pickle.dumps(Canary(tmp_path / "canary")))
    message = f"DIR: cannot load its weights: {name} may run code when it is opened; wanted model.safetensors: save it "
    assert _refused(path) == message + "anew with model.save_pretrained where it is trusted."
    for opened in (open_classifier, load):
        with pytest.raises(ModelError):
            opened(str(path))
    assert not (tmp_path / "canary").exists()
    pickle.loads((path / name).read_bytes())  # it is a canary indeed
    assert (tmp_path / "canary").exists()


@pytest.mark.parametrize(
    ("start", "what"),
    [
        (b"PK\x03\x04" + b"\x01" * 90, "a zip file, as torch.save writes"),
        (b"\x80\x04\x95" + b"\x01" * 90, "a pickle"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 9\n", "a Git LFS pointer"),
        (struct.pack("<Q", 10**6) + b"{" * 90, "cut short, or something else"),
        (b"", "cut short, or something else"),
    ],
)
def test_what_is_only_called_safetensors_is_refused(path: Path, start: bytes, what: str) -> None:
    (path / "model.safetensors").write_bytes(start)
    assert _refused(path) == (f"DIR: cannot load its weights: model.safetensors is no safetensors file but {what}.")


def test_safetensors_that_were_cut_are_refused_by_their_header(path: Path) -> None:
    whole = (path / "model.safetensors").read_bytes()
    (path / "model.safetensors").write_bytes(whole[:-100])
    assert _refused(path).startswith("DIR: cannot load its weights: model.safetensors: ")


@pytest.mark.parametrize("name", ["config.json", "tokenizer_config.json"])
def test_code_of_the_checkpoints_own_is_refused_and_never_runs(path: Path, tmp_path: Path, name: str) -> None:
    (path / "evil.py").write_text(
        f"import pathlib\npathlib.Path({str(tmp_path / 'canary')!r}).touch()\nclass E: pass\n"
    )
    auto = dict.fromkeys(("AutoConfig", "AutoModelForSequenceClassification"), "evil.E") | {
        "AutoTokenizer": ["evil.E", "evil.E"]
    }
    _edit(path / name, auto_map=auto)
    assert _refused(path).startswith(f"DIR/{name}: auto_map names code of the checkpoint's own, which is never run; ")
    for opened in (check_directory, load):
        with pytest.raises(ModelError, match="auto_map"):
            opened(str(path))
    assert not (tmp_path / "canary").exists()


@pytest.mark.parametrize("kind", ["gptq", "bitsandbytes", "mxfp4", "anything"])
def test_weights_that_need_further_packages_are_refused(path: Path, kind: str) -> None:
    _edit(path / "config.json", quantization_config={"quant_method": kind, "bits": 4})
    assert _refused(path) == (
        f"DIR/config.json: quantization_config of kind {kind!r} imports further packages; wanted plain weights (or a GGUF "
        "file)."
    )


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("_attn_implementation", "evil/kernel"),
        ("attn_implementation", {"": "sdpa", "text_config": "evil/kernel@main"}),
        ("_attn_implementation_internal", "evil/kernel"),
        ("text_config", {"_attn_implementation": "flash|evil/kernel"}),
    ],
)
def test_a_repository_of_kernels_is_refused(path: Path, field: str, value: Any) -> None:
    _edit(path / "config.json", **{field: value})
    assert "names code to be fetched from a repository of kernels." in _refused(path)
    _edit(path / "config.json", **{field: "sdpa"})
    vet(path)


# Files elsewhere.


@pytest.mark.parametrize("outside", ["../other.safetensors", "/other.safetensors", "a/b.safetensors", "..", "..\\x"])
def test_an_index_that_names_a_file_elsewhere_is_refused(path: Path, outside: str) -> None:
    index = _edit(path / "model.safetensors.index.json", weight_map={"a": "model.safetensors", "b": outside})
    for check in (vet, lambda place: check_weights(str(place))):
        with pytest.raises(ModelError) as caught:
            check(path)
        assert str(caught.value) == f"{index} names {outside}, which is not a file of that directory; not loaded."


def test_an_index_whose_shards_are_not_there_or_pickles_is_refused(path: Path) -> None:
    (path / "model.safetensors").rename(path / "one.safetensors")
    index = path / "model.safetensors.index.json"
    _edit(index, weight_map={"a": "one.safetensors", "b": "two.safetensors"})
    assert _refused(path) == f"DIR/{index.name} names two.safetensors, which is not there; the weights are not whole."
    _edit(index, weight_map={"a": "one.safetensors", "b": "two.bin"})
    assert _refused(path) == f"DIR/{index.name}: weight_map names two.bin, which is no safetensors file."
    index.write_text("{}")
    assert _refused(path) == f"DIR/{index.name}: weight_map is missing; wanted a file's name for every weight."


@pytest.mark.parametrize("name", ["config.json", "model.safetensors", "tokenizer.json"])
def test_a_link_out_of_the_directory_is_refused(path: Path, tmp_path: Path, name: str) -> None:
    (path / name).rename(tmp_path / "elsewhere")
    (path / name).symlink_to("../elsewhere")
    assert _refused(path) == f"DIR/{name} is a link to a file outside of that directory; put the file itself there."
    (path / name).unlink()
    (tmp_path / "elsewhere").rename(path / "own")
    (path / name).symlink_to("own")
    vet(path)


def test_a_link_out_of_the_hubs_cache_is_refused(path: Path, tmp_path: Path) -> None:
    snapshot = _hub_cache(path, tmp_path / "cache", shared=False)
    (snapshot / "vocab.txt").symlink_to("../../../models--other--y/blobs/0")
    assert _refused(snapshot).startswith("DIR/vocab.txt is a link")


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("vocab_file", "../../etc/passwd"),
        ("merges_file", "/etc/passwd"),
        ("spm_file", ".."),
        ("vocab", "/etc/passwd"),
        ("init_inputs", ["/etc/passwd"]),
        ("fast_tokenizer_files", ["../tokenizer.5.0.0.json"]),
    ],
)
def test_a_tokenizer_that_names_a_file_elsewhere_is_refused(path: Path, field: str, value: Any) -> None:
    _edit(path / "tokenizer_config.json", **{field: value})
    named = value[0] if isinstance(value, list) else value
    wanted = f"DIR/tokenizer_config.json: {field} names {named!r}, which is not a file of that directory."
    assert _refused(path) == wanted
    _edit(path / "tokenizer_config.json", **{field: "vocab.txt" if isinstance(value, str) else []})
    vet(path)


def test_places_that_old_versions_wrote_down_pass_and_are_not_read(path: Path, tmp_path: Path) -> None:
    other = _saved(tmp_path / "other", "gpt2")
    wanted = load(path, device="cpu").tokenizer.get_vocab()
    fields = {"tokenizer_file": str(other / "tokenizer.json"), "special_tokens_map_file": str(other / "x.json")}
    _edit(path / "tokenizer_config.json", **fields, name_or_path="/home/someone/model")
    vet(path)
    assert load(path, device="cpu").tokenizer.get_vocab() == wanted


@pytest.mark.parametrize("field", ["transformers_weights", "nlp_ft_gguf_file"])
@pytest.mark.parametrize("value", ["../x.safetensors", "adapter_model.bin", 5])
def test_weights_named_by_the_configuration_are_a_file_of_the_directory(path: Path, field: str, value: Any) -> None:
    _edit(path / "config.json", **{field: value})
    assert _refused(path) == f"DIR/config.json: {field} names {value!r}, which is no weights file of that directory."


def test_a_configuration_that_points_to_another_is_refused(path: Path) -> None:
    _edit(path / "config.json", configuration_files=["config.4.0.0.json"])
    assert "configuration_files names another configuration" in _refused(path)


# Sizes.


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("num_hidden_layers", 200_000),
        ("hidden_size", 10**9),
        ("vocab_size", 10**12),
        ("max_position_embeddings", 1e300),
        ("num_labels", 10**9),
        ("intermediate_size", float("nan")),
        ("num_attention_heads", -5),
    ],
)
def test_an_absurd_size_is_refused_before_anything_is_built(path: Path, field: str, value: Any) -> None:
    _edit(path / "config.json", **{field: value})
    assert _refused(path).startswith(f"DIR/config.json: {field} is {json.loads(json.dumps(value))}; wanted 0 to ")
    with pytest.raises(ModelError, match=field):
        check_directory(str(path))


def test_a_size_in_a_nested_configuration_is_found(path: Path) -> None:
    _edit(path / "config.json", text_config={"num_hidden_layers": 5000})
    assert "num_hidden_layers is 5000" in _refused(path)


def test_sizes_within_bounds_that_the_weights_do_not_bear_out_are_refused(path: Path) -> None:
    _edit(path / "config.json", vocab_size=8_000_000)
    size = (path / "model.safetensors").stat().st_size
    message = _refused(path, fine_tuned=False)
    assert message.startswith("DIR/config.json asks for 256,0")
    assert message.endswith(f"the weights have {size:,} bytes in all; they cannot be meant for each other.")


@pytest.mark.parametrize("name", ["config.json", "tokenizer_config.json", "adapter_config.json", "tokenizer.json"])
def test_a_file_of_a_gigabyte_is_refused_unread(path: Path, name: str) -> None:
    with (path / name).open("wb") as handle:
        handle.truncate(2**30)  # takes no room on the disk
    assert _refused(path).startswith(f"DIR/{name} has 1024 MB; wanted at most ")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ('{"a":' * 5000 + "1" + "}" * 5000, "DIR/config.json is nested too deep to be read."),
        ('{"a": [' * 900 + "]}" * 900, "DIR/config.json is nested too deep to be read."),
        (
            '{"num_hidden_layers": 2, "num_hidden_layers": 3}',
            "DIR/config.json has the key 'num_hidden_layers' twice; wanted every key once.",
        ),
        ("[1]", "DIR/config.json holds a list; wanted a JSON object."),
        (
            "{",
            "DIR/config.json is no JSON: Expecting property name enclosed in double quotes: line 1 column 2 (char 1).",
        ),
    ],
)
def test_json_that_is_a_trap_is_refused(path: Path, content: str, message: str) -> None:
    (path / "config.json").write_text(content)
    assert _refused(path) == message


def test_json_of_any_depth_that_can_be_read_can_be_looked_through(path: Path) -> None:
    deep: Any = "x"
    for _ in range(300):
        deep = {"a": [deep]}
    _edit(path / "config.json", attn_implementation=deep)
    _edit(path / "tokenizer_config.json", init_inputs=deep)
    vet(path, fine_tuned=False)


# Labels and head.


def test_labels_that_differ_in_number_are_refused(path: Path) -> None:
    _edit(path / "config.json", num_labels=4)
    assert _refused(path) == "DIR/config.json: id2label has 3 labels, and num_labels is 4."
    _edit(path / "config.json", num_labels=None, id2label={"0": "angry", "2": "calm", "7": "glad"})
    assert _refused(path) == "DIR/config.json: id2label has the ids 0, 2, 7; wanted 0 to 2."


@every_family
def test_labels_that_differ_from_the_heads_rows_are_refused(family: str, tmp_path: Path) -> None:
    path = Path(shutil.copytree(_trained(family), tmp_path / "model"))
    _edit(path / "config.json", id2label={"0": "angry", "1": "calm"}, label2id={"angry": 0, "calm": 1})
    message = _refused(path)
    assert message.startswith("DIR/config.json: id2label has 2 labels (2 where it is not given), and ")
    assert message.endswith(".weight 3 rows.")
    vet(path, fine_tuned=False)


@every_family
def test_a_head_that_is_not_in_the_weights_is_refused_by_its_name(family: str) -> None:
    message = _refused(checkpoint(family))
    assert message.startswith("DIR is no fine-tuned classifier: ")
    assert message.endswith(
        ".weight is not in its weights, so its predictions would be random; fine-tune it first (nlp-ft finetune)."
    )


def test_a_head_in_another_shard_is_found_and_a_lost_one_missed(path: Path) -> None:
    weights = load_file(path / "model.safetensors")
    head = {name: weights.pop(name) for name in list(weights) if name.startswith("classifier")}
    save_file(weights, path / "one.safetensors", metadata={"format": "pt"})
    save_file(head, path / "two.safetensors", metadata={"format": "pt"})
    (path / "model.safetensors").unlink()
    where = dict.fromkeys(weights, "one.safetensors")
    index = path / "model.safetensors.index.json"
    index.write_text(json.dumps({"weight_map": where | dict.fromkeys(head, "two.safetensors")}))
    vet(path)
    index.write_text(json.dumps({"weight_map": where}))
    assert "classifier.bias, classifier.weight is not in its weights" in _refused(path)


# Adapters.


def test_an_adapter_beside_whole_weights_is_refused_either_way(path: Path) -> None:
    _edit(path / "adapter_config.json", base_model_name_or_path="someone/else", peft_type="LORA", r=4)
    assert _refused(path).startswith("DIR is an adapter over another checkpoint (adapter_config.json); wanted a whole")
    assert _refused(path, adapter=True) == (
        "DIR holds both a whole model and adapter_config.json; remove the one that is not meant."
    )


@pytest.fixture
def adapter(tmp_path: Path) -> Path:
    model, _ = lora_classifier("bert")
    save_adapter(model, tmp_path / "adapter")
    return tmp_path / "adapter"


@pytest.mark.parametrize(
    "base", ["http://evil/x", "file:///etc", "s3:bucket/x", "hf://a/b", "\\\\host\\share", "//host/share", 5]
)
def test_a_base_that_is_neither_a_directory_nor_a_name_is_refused(adapter: Path, base: Any) -> None:
    _edit(adapter / "adapter_config.json", base_model_name_or_path=base)
    assert _refused(adapter, adapter=True) == (
        f"DIR/adapter_config.json: base_model_name_or_path is {base!r}; wanted a directory or a name on the Hub."
    )


@pytest.mark.parametrize("base", ["me/base", "base", "../base", "/models/base", "~/base", "C:\\models\\base", None])
def test_a_base_that_may_be_a_directory_or_a_name_passes(adapter: Path, base: Any) -> None:
    _edit(adapter / "adapter_config.json", base_model_name_or_path=base)
    vet(adapter, adapter=True)


@pytest.mark.parametrize(
    ("field", "value"),
    [("megatron_config", {"a": 1}), ("layer_replication", [[0, 9]]), ("r", 10**6), ("auto_map", {"A": "e.E"})],
)
def test_an_adapter_that_imports_or_swells_is_refused(adapter: Path, field: str, value: Any) -> None:
    _edit(adapter / "adapter_config.json", **{field: value})
    assert _refused(adapter, adapter=True).startswith(f"DIR/adapter_config.json: {field} ")


def test_an_adapter_whose_head_has_other_labels_or_that_is_a_pickle_is_refused(adapter: Path) -> None:
    _edit(adapter / "config.json", id2label={"0": "angry", "1": "calm"}, label2id={"angry": 0, "calm": 1})
    assert _refused(adapter, adapter=True).endswith("and classifier.weight 3 rows.")
    (adapter / "adapter_model.safetensors").rename(adapter / "adapter_model.bin")
    assert "adapter_model.bin may run code" in _refused(adapter, adapter=True)


# A name on the Hub.


def test_a_cached_checkpoint_of_the_hub_is_vetted_by_its_configuration_and_index(path: Path, tmp_path: Path) -> None:
    snapshot = _hub_cache(path, tmp_path / "cache", shared=False)
    (tmp_path / "cache" / "models--me--x" / "refs").mkdir()
    (tmp_path / "cache" / "models--me--x" / "refs" / "main").write_text("abc")
    where: dict[str, Any] = {"revision": "main", "cache_dir": str(tmp_path / "cache")}
    check_weights("me/x", **where)
    _edit(snapshot / "config.json", _attn_implementation="evil/kernel")
    with pytest.raises(ModelError, match=r"config\.json: _attn_implementation 'evil/kernel' names code"):
        open_classifier("me/x", **where)
    _edit(snapshot / "config.json", _attn_implementation="eager", auto_map={"AutoConfig": "a.B"})
    check_weights("me/x", **where)  # its own class is transformers', and the code is never run
    _edit(snapshot / "model.safetensors.index.json", weight_map={"a": "../x.safetensors"})
    with pytest.raises(ModelError, match=r"index\.json names \.\./x\.safetensors, which is not a file"):
        open_classifier("me/x", **where)
