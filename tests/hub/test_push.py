"""What leaves the machine, what never does, and what is asked before a run begins."""

from __future__ import annotations

import json
import os
import pickle
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import ranks
import torch
from conftest import RunCli, write_csv
from huggingface_hub import ModelCard, constants
from running import finetune_tiny

from nlp_ft.cli.push import push as push_command
from nlp_ft.errors import ConfigError, NlpFtError, PushError
from nlp_ft.hub import push
from nlp_ft.hub import verify as verification
from nlp_ft.hub.allow_list import is_allowed
from nlp_ft.hub.push import Destination, after_run, send_directory
from nlp_ft.hub.push_request import PushRequest
from nlp_ft.hub.redact_paths import hide_paths
from nlp_ft.hub.staging import Staged, stage
from nlp_ft.hub.verify import verify

pytestmark = pytest.mark.xdist_group("push")  # one process makes what its tests share
CANARY = "hf_" + "CANARY" * 6


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory, learner: Path, tiny_csv: dict[str, Path]) -> Path:
    """A run's directory; it is only to be read."""
    folder = tmp_path_factory.mktemp("runs of mine") / "reviews"
    finetune_tiny(folder, learner, tiny_csv, num_train_epochs=1)
    return folder


@pytest.fixture
def model(finished: Path, tmp_path: Path) -> Path:
    """A copy to spoil."""
    return shutil.copytree(finished, tmp_path / "reviews")


@pytest.fixture
def staging(tmp_path: Path) -> Callable[..., Staged]:
    def make(directory: Path, token: str | None = None, **options: Any) -> Staged:
        folder = tmp_path / "staged"
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        return stage(directory, folder, "me/shop", token, **options)

    return make


Staging = Callable[..., Staged]


def _refusal(staging: Staging, directory: Path, token: str | None = None) -> str:
    with pytest.raises(PushError) as caught:
        staging(directory, token)
    assert "\n" not in str(caught.value)
    return str(caught.value)


# ---- what goes and what stays


def test_the_model_goes_and_the_users_texts_stay(finished: Path, staging: Staging) -> None:
    staged = staging(finished)
    assert staged.files == [
        "README.md",
        "all_results.json",
        "config.json",
        *(["inference.json"] if (finished / "inference.json").is_file() else []),
        "model.safetensors",
        "run.json",
        "tokenizer.json",
        "tokenizer_config.json",
    ]
    assert "test_predictions.csv" in staged.skipped
    assert (staged.folder / "model.safetensors").read_bytes() == (finished / "model.safetensors").read_bytes()


@pytest.mark.parametrize(
    "name",
    [
        *("training_args.bin", "optimizer.pt", "pytorch_model.bin", "model.pkl", ".env", ".git/config", "notes.txt"),
        *("checkpoint-4/model.safetensors", "rejected_rows.csv", "adapter/optimizer.pt", "onnx/.env", "run.json.part"),
        *(
            "adapter/deeper/config.json",
            "Config.json",
            "unverified/config.json",
            ".eval_results/.env",
            "trainer_state.json",
        ),
    ],
)
def test_what_is_not_on_the_list_stays(model: Path, staging: Staging, name: str) -> None:
    (model / name).parent.mkdir(parents=True, exist_ok=True)
    (model / name).write_text("{}")
    staged = staging(model)
    assert name not in staged.files
    assert not is_allowed(name)
    assert any(name.startswith(skipped) for skipped in staged.skipped)


@pytest.mark.parametrize(
    "name",
    [
        *("model-00001-of-00002.safetensors", "model.safetensors.index.json", "adapter/adapter_model.safetensors"),
        *(
            "onnx/model_quantized.onnx",
            "onnx/export_quantized.json",
            "adapter/tokenizer.json",
            "adapter/inference.json",
        ),
        *("onnx/model.onnx", "onnx/model.onnx_data", ".eval_results/nlp_ft.yaml", "vocab.txt", "inference.json"),
    ],
)
def test_what_a_model_is_made_of_may_go(name: str) -> None:
    assert is_allowed(name)


def test_a_model_of_pairs_is_compared_on_pairs_and_has_a_card_of_pairs(
    learner: Path, tmp_path: Path, staging: Staging
) -> None:
    rows = [{"text": "a film", "text_pair": f"a story {i}", "label": "ab"[i % 2]} for i in range(24)]
    files = {
        split: write_csv(tmp_path / f"{split}.csv", rows[i::3])
        for i, split in enumerate(("train", "validation", "test"))
    }
    directory = tmp_path / "run"
    finetune_tiny(directory, learner, files, max_steps=1, text_pair_column_name="text_pair")
    staged = staging(directory)
    assert verify(directory, staged) < 1e-5
    (directory / "README.md").unlink()
    for text in ((staged.folder / "README.md").read_text(), (staging(directory).folder / "README.md").read_text()):
        assert 'nlp_ft.load("me/shop").predict([("a text", "another text")])' in text
        assert "in the folder above" not in text


def test_a_folder_on_the_list_goes_with_its_files(model: Path, staging: Staging) -> None:
    (model / "onnx").mkdir()
    (model / "onnx" / "model.onnx").write_bytes(b"\x08\x07onnx")
    (model / ".eval_results").mkdir()
    (model / ".eval_results" / "a.yaml").write_text("- value: 1\n")
    assert {"onnx/model.onnx", ".eval_results/a.yaml"} <= set(staging(model).files)


@pytest.mark.parametrize("kind", ["link", "folder link", "pipe"])
def test_only_files_that_lie_there_themselves_are_pushed(
    model: Path, staging: Staging, tmp_path: Path, kind: str
) -> None:
    secret = tmp_path / "secret" / "config.json"
    secret.parent.mkdir()
    secret.write_text("{}")
    if kind == "folder link":
        (model / "adapter").symlink_to(secret.parent)
        staged = staging(model)
        assert "adapter/" in staged.skipped
        assert "adapter/config.json" not in staged.files
        return
    (model / "all_results.json").unlink()
    if kind == "link":
        (model / "all_results.json").symlink_to(secret)
    else:
        os.mkfifo(model / "all_results.json")
    reason = "a link to another file" if kind == "link" else "not a regular file"
    assert f"all_results.json: {reason}" in _refusal(staging, model)


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
def test_a_pickle_under_another_name_is_refused(model: Path, staging: Staging, protocol: int) -> None:
    (model / "tokenizer.model").write_bytes(pickle.dumps({"a": [1]}, protocol))
    assert "tokenizer.model is a pickle by its content" in _refusal(staging, model)


def test_torchs_own_files_under_another_name_are_refused(model: Path, staging: Staging) -> None:
    torch.save({"a": torch.ones(2)}, model / "spiece.model")
    assert "spiece.model is a pickle by its content" in _refusal(staging, model)


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("model.safetensors", b"\0" * 64, "model.safetensors is no safetensors file"),
        ("all_results.json", b"{", "all_results.json: cannot be read as JSON"),
        ("vocab.txt", b"\xff\xfe", "vocab.txt is no UTF-8 text"),
        ("README.md", b"---\nlicense: [\n---\n", "README.md: its metadata is not valid"),
        ("run.json", b"cos\nsystem\n", "run.json: cannot be read as JSON"),
    ],
)
def test_a_file_that_is_not_what_its_name_says_is_refused(
    model: Path, staging: Staging, name: str, content: bytes, said: str
) -> None:
    (model / name).write_bytes(content)
    assert said in _refusal(staging, model)


@pytest.mark.parametrize(
    "name", ["README.md", "inference.json", "vocab.txt", "tokenizer.model", "onnx/model.onnx_data"]
)
@pytest.mark.parametrize("token", [CANARY, "a-token-of-another-form"])
def test_a_file_with_a_token_is_refused(model: Path, staging: Staging, name: str, token: str) -> None:
    (model / "onnx").mkdir()
    held = json.dumps({"a": token}) if name.endswith(".json") else f"a {token} b"
    (model / name).write_text(held)
    own = token if token != CANARY else None
    assert _refusal(staging, model, own) == f"{name} holds an access token of the Hub; remove it and revoke the token."


def test_a_token_across_the_pieces_a_file_is_read_in_is_found(model: Path, staging: Staging) -> None:
    (model / "onnx").mkdir()
    (model / "onnx" / "model.onnx").write_bytes(b"\0" * (16 * 2**20 - 10) + CANARY.encode() + b"\0" * 100)
    assert "holds an access token" in _refusal(staging, model)


def test_a_directory_without_a_model_is_refused(tmp_path: Path, staging: Staging) -> None:
    empty = tmp_path / "empty"
    empty.mkdir()
    assert "holds no model: wanted config.json and weights" in _refusal(staging, empty)


def test_too_little_room_is_told_before_anything_is_copied(
    finished: Path, staging: Staging, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=10))
    assert "set TMPDIR to a directory with more space" in _refusal(staging, finished)


# ---- paths of the machine


def test_no_staged_file_names_a_directory_of_the_machine(
    finished: Path, staging: Staging, tiny_csv: dict[str, Path], learner: Path
) -> None:
    assert str(tiny_csv["train"]) in (finished / "run.json").read_text()
    staged = staging(finished)
    for name in staged.files:
        content = (staged.folder / name).read_bytes()
        for place in (finished.parent, tiny_csv["train"].parent, learner.parent, Path.home()):
            assert f"{place}/".encode() not in content, (name, place)
    run = json.loads((staged.folder / "run.json").read_text())
    assert run["arguments"]["data"]["train_file"] in ("train.csv", ["train.csv"])
    assert run["arguments"]["training"]["output_dir"] == "reviews"
    assert any(note.startswith("train: 60 rows of train.csv") for note in run["notes"])
    assert run["metrics"] == json.loads((finished / "run.json").read_text())["metrics"]


@pytest.mark.parametrize(
    ("written", "wanted"),
    [
        ("/data/my rows/train.csv", "train.csv"),
        ("train: 3 rows of /data/x/train.csv, 2 kept", "train: 3 rows of train.csv, 2 kept"),
        ("'/a/b/c.csv' and ~/x/y.csv", "'c.csv' and y.csv"),
        ("C:\\Users\\me\\train.csv", "train.csv"),
        ("from C:\\Users\\me\\t.csv on", "from t.csv on"),
        ("owner/name at https://host/a/b", "owner/name at https://host/a/b"),
        ("1/2 and/or </s> a/b/c ./x/y ../x/y", "1/2 and/or </s> a/b/c ./x/y ../x/y"),
        ("3 / 4", "3 / 4"),
    ],
)
def test_a_path_in_the_runs_record_becomes_the_name_of_the_file(tmp_path: Path, written: str, wanted: str) -> None:
    folder = tmp_path / "staged"
    folder.mkdir()
    (folder / "run.json").write_text(json.dumps({"a": [written], written: 1.5}))
    hide_paths(folder, tmp_path / "model")
    assert json.loads((folder / "run.json").read_text()) == {"a": [wanted], wanted: 1.5}


def test_a_path_with_blanks_goes_from_sentences_too(tmp_path: Path) -> None:
    folder = tmp_path / "staged"
    folder.mkdir()
    (folder / "run.json").write_text(json.dumps({"file": "/my data/a b.csv", "note": "2 rows of /my data/a b.csv"}))
    (folder / "README.md").write_text("On /my data/a b.csv.")
    hide_paths(folder, tmp_path / "model")
    assert json.loads((folder / "run.json").read_text()) == {"file": "a b.csv", "note": "2 rows of a b.csv"}
    assert (folder / "README.md").read_text() == "On a b.csv."


def test_a_home_directory_in_a_card_written_by_hand_is_refused(model: Path, staging: Staging) -> None:
    card = (model / "README.md").read_text()
    (model / "README.md").write_text(f"{card}\nRead {Path.home()}/rows.csv.\n")
    assert f"README.md names {Path.home()}/..., a directory of this machine" in _refusal(staging, model)


def test_tokens_that_look_like_paths_are_left_alone(model: Path, staging: Staging) -> None:
    (model / "vocab.json").write_text(json.dumps({"/usr/bin/env": 0, "/tmp": 1}))
    staged = staging(model)
    assert (staged.folder / "vocab.json").read_bytes() == (model / "vocab.json").read_bytes()


# ---- adapters


def _adapter(folder: Path, base: str) -> None:
    folder.mkdir(exist_ok=True)
    (folder / "adapter_config.json").write_text(json.dumps({"base_model_name_or_path": base, "peft_type": "LORA"}))
    (folder / "config.json").write_text("{}")


def test_an_adapter_over_a_directory_stays_beside_the_merged_weights(
    model: Path, staging: Staging, learner: Path
) -> None:
    _adapter(model / "adapter", str(learner))
    staged = staging(model)
    assert not [name for name in staged.files if name.startswith("adapter/")]
    assert staged.notes == ["adapter/ is not pushed: its base is a directory of this machine; the merged weights are"]


def test_an_adapter_over_a_model_of_the_hub_goes(model: Path, staging: Staging) -> None:
    _adapter(model / "adapter", "owner/base")
    assert {"adapter/adapter_config.json", "adapter/config.json"} <= set(staging(model).files)


def test_an_adapter_alone_over_a_directory_is_refused(model: Path, staging: Staging, learner: Path) -> None:
    (model / "model.safetensors").rename(model / "adapter_model.safetensors")
    held = (model / "config.json").read_text()
    _adapter(model, str(learner))
    (model / "config.json").write_text(held)
    said = _refusal(staging, model)
    assert f"is an adapter over {learner}, a directory of this machine" in said
    assert "--save_adapter_only" in said


# ---- the card


def test_the_staged_card_calls_the_model_by_its_name_on_the_hub(finished: Path, staging: Staging) -> None:
    staged = staging(finished, licence="mit")
    found: Any = ModelCard.load(staged.folder / "README.md")
    assert 'model="me/shop"' in found.text
    assert (found.data.license, found.data.model_name) == ("mit", "shop")
    assert 'model="reviews"' in (finished / "README.md").read_text()


def test_a_directory_without_a_card_gets_one(model: Path, staging: Staging) -> None:
    (model / "README.md").unlink()
    assert "Labels: negative, positive." in ModelCard.load(staging(model).folder / "README.md").text


# ---- verification


@pytest.mark.slow
def test_the_staged_copy_answers_alike_in_a_process_without_nlp_ft(
    finished: Path, staging: Staging, monkeypatch: pytest.MonkeyPatch
) -> None:
    ended: list[subprocess.CompletedProcess[str]] = []

    def heard(*arguments: Any, **options: Any) -> subprocess.CompletedProcess[str]:
        ended.append(subprocess.run(*arguments, **options))
        return ended[-1]

    through = SimpleNamespace(run=heard, TimeoutExpired=subprocess.TimeoutExpired)
    monkeypatch.setattr(verification, "subprocess", through)
    assert verify(finished, staging(finished)) <= 1e-5
    (fresh,) = ended
    assert json.loads(fresh.stdout)["nlp_ft"] is False


@pytest.fixture
def forked_proof(monkeypatch: pytest.MonkeyPatch) -> None:
    """The process that loads the staged copy is forked with its imports made, not started."""

    def run(command: list[str], *, input: str, env: dict[str, str], timeout: float, **_: Any) -> Any:
        return ranks.run_alone(command[2:], given=input, env=env, timeout=timeout)

    through = SimpleNamespace(run=run, TimeoutExpired=subprocess.TimeoutExpired)
    monkeypatch.setattr(verification, "subprocess", through)


@pytest.mark.slow
@pytest.mark.usefixtures("forked_proof")
def test_a_staged_copy_that_answers_otherwise_is_not_pushed(finished: Path, model: Path, staging: Staging) -> None:
    from safetensors.torch import load_file, save_file

    weights = load_file(model / "model.safetensors")
    weights["classifier.bias"] = weights["classifier.bias"] + 1e-3
    save_file(weights, model / "model.safetensors", {"format": "pt"})
    with pytest.raises(PushError, match=r"does not repeat the logits of .*: .* differ by 0.001; not pushed"):
        verify(finished, staging(model))


@pytest.mark.slow
@pytest.mark.usefixtures("forked_proof")
def test_a_staged_copy_that_does_not_load_is_not_pushed(finished: Path, staging: Staging) -> None:
    staged = staging(finished)
    (staged.folder / "config.json").unlink()
    with pytest.raises(PushError, match=r"does not load with plain transformers \(.*\); not pushed"):
        verify(finished, staged)


# ---- flags


@pytest.fixture
def online(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setenv("HF_TOKEN", "hf_x")


FINETUNE = ("finetune", "--model_name_or_path", "x", "--train_file", "x.csv", "--output_dir", "out", "--use_cpu")


@pytest.fixture
def _files_of_a_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What FINETUNE names is there."""
    monkeypatch.chdir(tmp_path)
    Path("x").mkdir()
    Path("x.csv").write_text("text,label\n")


@pytest.mark.usefixtures("online", "_files_of_a_run")
@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (["--push_to_hub"], "--hub_model_id is needed for a push: the model's name on the Hub, as owner/name."),
        (
            ["--push_to_hub", "--hub_model_id", "reviews"],
            "--hub_model_id 'reviews': wanted owner/name, such as me/reviews.",
        ),
        (["--push_to_hub", "--hub_model_id", "a/b/c"], "--hub_model_id 'a/b/c': Repo id must be"),
        (["--push_to_hub", "--hub_model_id", "me/a b"], "--hub_model_id 'me/a b': Repo id must"),
        (["--hub_model_id", "me/x"], "--hub_model_id says where a push goes, and needs --push_to_hub."),
        (["--hub_private_repo", "false"], "--hub_private_repo says where a push goes, and needs --push_to_hub."),
        (
            ["--push_to_hub", "--hub_strategy", "checkpoint"],
            "--hub_strategy is refused: it has no effect: a run pushes once",
        ),
        (["--push_to_hub", "--hub_token", "hf_x"], "--hub_token is refused: it would be saved in clear text"),
    ],
)
def test_a_mistake_in_where_a_model_goes_is_told_before_the_run(run_cli: RunCli, flags: list[str], said: str) -> None:
    code, _, err = run_cli([*FINETUNE, *flags])
    assert code == 2
    assert err.startswith(f"nlp-ft: {said}")
    assert err.count("\n") == 1


@pytest.mark.usefixtures("_files_of_a_run")
@pytest.mark.parametrize(
    ("offline", "token", "said"),
    [(True, "hf_x", "HF_HUB_OFFLINE forbids it"), (False, "", "a push needs a token that may write")],
)
def test_a_run_that_could_not_push_does_not_begin(
    run_cli: RunCli, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, offline: bool, token: str, said: str
) -> None:
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", offline)
    monkeypatch.setattr(constants, "HF_TOKEN_PATH", str(tmp_path / "none"))
    monkeypatch.setenv("HF_TOKEN", token)
    code, _, err = run_cli([*FINETUNE, "--push_to_hub", "--hub_model_id", "me/x"])
    assert code == 2
    assert said in err


@pytest.mark.usefixtures("online")
def test_what_a_push_that_failed_says_is_the_command_to_run_again(
    finished: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: Any) -> None:
        raise PushError("the Hub is away")

    monkeypatch.setattr(push, "_send", broken)
    training = SimpleNamespace(
        push_to_hub=True, hub_model_id="me/shop", hub_private_repo=False, hub_revision="tried out"
    )
    with pytest.raises(NlpFtError) as caught:
        after_run(finished, training, create_pr=True)  # type: ignore[arg-type]
    assert caught.value.exit_code == 1
    assert str(caught.value) == (
        f"trained, not pushed: the Hub is away. The model in {finished} is unchanged; to push it: nlp-ft push --model "
        f"'{finished}' --hub_model_id me/shop --hub_private_repo false --hub_revision 'tried out' --hub_create_pr"
    )
    with pytest.raises(PushError, match=r"^not pushed: the Hub is away"):
        send_directory(finished, Destination("me/shop"))


def test_a_run_that_asks_for_no_push_does_none(finished: Path) -> None:
    after_run(finished, SimpleNamespace(push_to_hub=False))  # type: ignore[arg-type]


@pytest.mark.usefixtures("online")
@pytest.mark.parametrize(
    ("argv", "said"),
    [
        (["--model", "nowhere", "--hub_model_id", "me/x"], "--model nowhere: no such directory"),
        (["--model", ".", "--hub_model_id", "x"], "wanted owner/name"),
        (["--model", ".", "--hub_model_id", "me/x", "--hub_timeout", "0"], "--hub_timeout must be above 0"),
        (
            ["--model", ".", "--hub_model_id", "me/x", "--hub_private_repo", "maybe"],
            "--hub_private_repo: invalid choice",
        ),
        (["--model", ".", "--hub_model_id", "me/x", "--token", "hf_x"], "unknown flag '--token'"),
    ],
)
def test_a_mistake_of_the_command_is_one_line(argv: list[str], said: str) -> None:
    with pytest.raises(ConfigError) as caught:
        push_command(argv)
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_request_survives_its_way_to_the_other_process() -> None:
    request = PushRequest("me/x", "/tmp/a", ["config.json"], False, "b", True, 5.0)
    assert PushRequest.from_json(request.to_json()) == request
    assert "\n" not in request.to_json()
