"""Through the Hub and back: the same logits to the last bit, whoever loads them, and no token anywhere but in its header."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import ranks
from conftest import rows_of
from fake_hub import TestHub, Token
from huggingface_hub import ModelCard
from running import finetune_tiny, plain_logits

from nlp_ft.cli.main import main

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("push_round_trip")]  # one process makes what they share

CANARY = "hf_" + "CANARY" * 6
TEXTS = [row["text"] for row in rows_of(8, 7)]
# The proof of a push, by the program and the words it has, but in the pushing process: the first push starts a fresh one.
NEARBY = """
import contextlib, io, json, runpy, subprocess, sys
from types import SimpleNamespace
from nlp_ft.cli.main import main
from nlp_ft.hub import verify

def run(command, *, input, **_):
    kept, out = (sys.argv, sys.stdin), io.StringIO()
    sys.argv, sys.stdin = command[2:], io.StringIO(input)
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(io.StringIO()):
        runpy.run_path(command[2], run_name="__main__")
    sys.argv, sys.stdin = kept
    return subprocess.CompletedProcess(command, 0, out.getvalue(), "")

verify.subprocess = SimpleNamespace(run=run, TimeoutExpired=subprocess.TimeoutExpired)
sys.exit(main(sys.argv[1:]))
"""
READ_BACK = """
import json, sys
import datasets, torch, transformers
import nlp_ft
texts = json.loads(sys.argv[1])
found = {}
found["nlp_ft"] = nlp_ft.load("me/reviews", device="cpu").logits(texts, batch_size=1).tolist()
classify = transformers.pipeline("text-classification", model="me/reviews", device="cpu", function_to_apply="none", top_k=None)
labels = classify.model.config.id2label.values()
answers = [{one["label"]: one["score"] for one in classify([text])[0]} for text in texts]
found["pipeline"] = [[answer[label] for label in labels] for answer in answers]
found["predicted"] = [one.label for one in nlp_ft.load("me/reviews", device="cpu").predict(texts)]
rows = datasets.load_dataset("csv", data_files=sys.argv[2], split="train")
rows.push_to_hub("me/rows", private=True)
print("FOUND" + json.dumps(found))
"""


@pytest.fixture(scope="module")
def hub() -> Iterator[TestHub]:
    with TestHub() as server:
        server.tokens[CANARY] = Token("me", "write")
        yield server


@pytest.fixture(scope="module")
def home(hub: TestHub, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    folder = tmp_path_factory.mktemp("hub_home")
    yield folder
    ranks.stop(_read_by_imports(hub, folder))


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory, learner: Path, tiny_csv: dict[str, Path]) -> Path:
    folder = tmp_path_factory.mktemp("runs") / "reviews"
    finetune_tiny(folder, learner, tiny_csv)
    return folder


def _run(hub: TestHub, home: Path, argv: Sequence[object], **options: Any) -> subprocess.CompletedProcess[str]:
    held = {name: value for name, value in os.environ.items() if name != "HF_TOKEN"}
    env = held | hub.environment(home, **options)
    return ranks.run_alone(argv, env=env, importing=_read_by_imports(hub, home))


def _read_by_imports(hub: TestHub, home: Path) -> dict[str, str]:
    return {name: value for name, value in hub.environment(home).items() if name != "HF_TOKEN"}


def _push(hub: TestHub, home: Path, directory: Path, program: Sequence[str], **options: Any) -> tuple[int, str]:
    argv = [*program, "push", "--model", directory, "--hub_model_id", "me/reviews"]
    done = _run(hub, home, argv, **options)
    return done.returncode, done.stdout + done.stderr


@pytest.fixture(scope="module")
def pushed(hub: TestHub, home: Path, finished: Path) -> str:
    """What the command said; the Hub holds the model from here on."""
    code, said = _push(hub, home, finished, ["-m", "nlp_ft"], xet=True)
    assert code == 0, said
    return said


def test_a_push_says_what_it_did(hub: TestHub, finished: Path, pushed: str) -> None:
    lines = pushed.splitlines()
    assert lines[0].startswith("push: not pushed: ")
    assert "test_predictions.csv" in lines[0]
    assert "load in a fresh process and give the same logits" in lines[1]
    assert lines[2].startswith("push: pushed ")
    assert "me/reviews, private (--hub_private_repo false: public): http" in lines[2]
    assert len(lines) == 3
    (commit,) = hub.commits("me/reviews")
    assert hub.files("me/reviews")["model.safetensors"] == (finished / "model.safetensors").read_bytes()
    assert commit.parent is not None


@pytest.mark.usefixtures("pushed")
def test_the_hub_finds_nothing_wrong_with_the_card(hub: TestHub) -> None:
    found: Any = ModelCard(hub.files("me/reviews")["README.md"].decode())
    assert found.data.model_name == "reviews"
    assert 'model="me/reviews"' in found.text
    assert not [one for one in hub.calls("POST", "validate-yaml") if one.status != 200]


@pytest.mark.usefixtures("pushed")
def test_it_comes_back_the_same_to_the_last_bit(
    hub: TestHub, home: Path, finished: Path, tiny_csv: dict[str, Path], tmp_path: Path
) -> None:
    done = _run(hub, home, ["-c", READ_BACK, json.dumps(TEXTS), tiny_csv["train"]])
    assert done.returncode == 0, done.stderr[-2000:]
    found = json.loads(done.stdout.rpartition("FOUND")[2])
    wanted = np.concatenate([plain_logits(finished, [text]) for text in TEXTS]).astype(np.float64)
    np.testing.assert_array_equal(found["nlp_ft"], wanted)
    np.testing.assert_array_equal(found["pipeline"], wanted)
    assert set(found["predicted"]) <= {"negative", "positive"}
    train = ["-m", "nlp_ft", "finetune", "--model_name_or_path", "me/reviews", "--dataset_name", "me/rows"]
    again = _run(hub, home, [*train, "--output_dir", tmp_path / "out", "--max_steps", 1, "--use_cpu"])
    assert again.returncode == 0, again.stderr[-2000:]
    card: Any = ModelCard.load(tmp_path / "out" / "README.md").data
    assert (card.base_model, card.datasets) == ("me/reviews", ["me/rows"])
    assert (tmp_path / "out" / ".eval_results" / "nlp_ft.yaml").is_file()


@pytest.mark.usefixtures("pushed")
def test_the_same_push_again_sends_nothing(hub: TestHub, home: Path, finished: Path) -> None:
    before = len(hub.requests)
    code, said = _push(hub, home, finished, ["-c", NEARBY])
    assert (code, said.splitlines()[-1].partition(" (")[0]) == (
        0,
        "push: nothing to push: me/reviews has the same files",
    )
    assert {one.method for one in hub.requests[before:]} == {"GET"}
    assert len(hub.commits("me/reviews")) == 1


@pytest.mark.usefixtures("pushed")
def test_a_push_that_fails_leaves_the_model_and_says_how_to_go_on(hub: TestHub, home: Path, finished: Path) -> None:
    before = {path: path.read_bytes() for path in finished.rglob("*") if path.is_file()}
    code, said = _push(hub, home, finished, ["-c", NEARBY], token=hub.READ)
    assert code == 1
    assert said.splitlines()[-1] == (
        "nlp-ft: not pushed: this token only reads; create one with write access and set HF_TOKEN. The model in "
        f"{finished} is unchanged; to push it: nlp-ft push --model {finished} --hub_model_id me/reviews"
    )
    assert {path: path.read_bytes() for path in finished.rglob("*") if path.is_file()} == before


def test_a_run_pushes_itself_and_its_token_is_in_no_byte_but_the_header(
    hub: TestHub, home: Path, learner: Path, tiny_csv: dict[str, Path], tmp_path: Path
) -> None:
    files = [token for split, path in tiny_csv.items() for token in (f"--{split}_file", path)]
    argv = ["-m", "nlp_ft", "finetune", "--model_name_or_path", learner, *files, "--output_dir", tmp_path / "mine"]
    flags = ["--max_steps", 2, "--save_steps", 1, "--eval_steps", 1, "--save_strategy", "steps", "--use_cpu"]
    before = len(hub.requests)
    done = _run(hub, home, [*argv, *flags, "--push_to_hub", "--hub_model_id", "me/mine"], token=CANARY)
    assert done.returncode == 0, done.stderr[-2000:]
    assert "push: pushed " in done.stdout
    (commit,) = hub.commits("me/mine")
    assert hub.repo("me/mine").visibility == "private"
    assert {"model.safetensors", "README.md", "run.json"} <= set(commit.files)
    assert not [name for name in commit.files if "training_args" in name or "predictions" in name]
    secret = CANARY.encode()
    assert secret not in (done.stdout + done.stderr).encode()
    for path in [*tmp_path.rglob("*"), *home.rglob("*")]:
        assert not path.is_file() or secret not in path.read_bytes(), path
    assert not [key for key, content in hub.blobs().items() if secret in content]
    for one in hub.requests[before:]:
        assert CANARY not in one.path + str(one.query)
        assert {name.lower() for name, value in one.headers.items() if CANARY in value} <= {"authorization"}
        assert one.port == "hub" or CANARY not in str(one.headers)


def test_a_run_whose_push_fails_is_trained_all_the_same(
    hub: TestHub, home: Path, learner: Path, tiny_csv: dict[str, Path], tmp_path: Path
) -> None:
    files = [token for split, path in tiny_csv.items() for token in (f"--{split}_file", path)]
    argv = ["-c", NEARBY, "finetune", "--model_name_or_path", learner, *files, "--output_dir", tmp_path / "mine"]
    flags = ["--max_steps", 1, "--use_cpu", "--push_to_hub", "--hub_model_id", "stranger/mine"]
    done = _run(hub, home, [*argv, *flags])
    assert done.returncode == 1
    last = done.stderr.strip().splitlines()[-1]
    assert last.startswith("nlp-ft: trained, not pushed: this token may not write to stranger/mine")
    assert last.endswith(f"to push it: nlp-ft push --model {tmp_path / 'mine'} --hub_model_id stranger/mine")
    assert (tmp_path / "mine" / "model.safetensors").is_file()


OF_GRAPHS = """
import json, sys
from pathlib import Path
import huggingface_hub, nlp_ft
from nlp_ft.cli.push import push
model, texts = Path(sys.argv[1]), json.loads(sys.argv[2])
push(["--model", str(model), "--hub_model_id", "me/both"])
api = huggingface_hub.HfApi()
for name, folder in (("me/root", model / "onnx"), ("me/folder", model / "onnx")):
    api.create_repo(name, private=True)
    place = "onnx" if name == "me/folder" else None
    api.upload_folder(repo_id=name, folder_path=folder, path_in_repo=place)
    if place:
        for file in ("config.json", "tokenizer.json", "tokenizer_config.json"):
            api.upload_file(repo_id=name, path_or_fileobj=model / file, path_in_repo=file)
push(["--model", str(model / "onnx"), "--hub_model_id", "me/graph"])
names = ("me/both", "me/root", "me/folder", "me/graph")
logits = {name: nlp_ft.load(name, device="cpu").logits(texts).tolist() for name in names}
print("FOUND" + json.dumps(logits))
"""


def test_an_export_is_pushed_with_its_model_and_opened_by_its_name_where_it_is_alone(
    hub: TestHub, home: Path, finished: Path, tmp_path: Path
) -> None:
    pytest.importorskip("onnxscript")
    model = tmp_path / "model"
    shutil.copytree(finished, model)
    assert main(["export", "--model", str(model), "--format", "onnx", "--limit", "4"]) == 0
    shutil.copy(model / "onnx" / "model.onnx", model / "onnx" / "model_quantized.onnx")  # not to be fetched
    done = _run(hub, home, ["-c", OF_GRAPHS, model, json.dumps(TEXTS)])
    assert done.returncode == 0, done.stderr[-2000:]
    found = json.loads(done.stdout.rpartition("FOUND")[2])
    assert {"onnx/model.onnx", "onnx/model_quantized.onnx", "config.json", "tokenizer.json"} <= set(
        hub.files("me/both")
    )
    pushed = hub.files("me/graph")
    assert {"onnx/model.onnx", "onnx/export.json", "config.json", "tokenizer.json", "README.md"} <= set(pushed)
    assert b'nlp_ft.load("me/graph").predict(["a text"])' in pushed["README.md"]
    wanted = np.concatenate([plain_logits(finished, [text]) for text in TEXTS])
    for name, logits in found.items():
        np.testing.assert_allclose(logits, wanted, atol=1e-5, err_msg=name)
    cached = {
        name: {path.name for path in home.rglob(f"models--me--{name}/snapshots/**/*")}
        for name in ("both", "root", "folder")
    }
    assert not any(file.endswith(".onnx") for file in cached["both"])
    assert all(
        "model.onnx" in cached[name] and "model_quantized.onnx" not in cached[name] for name in ("root", "folder")
    )


@pytest.mark.skipif(
    not os.environ.get("HF_TOKEN") or "HF_ENDPOINT" in os.environ, reason="the true Hub, with HF_TOKEN alone"
)
def test_the_true_hub_takes_it_and_gives_it_back(finished: Path, tmp_path: Path) -> None:
    """Makes a private repository of the token's owner, and removes it again."""
    script = """
import json, sys, uuid, huggingface_hub, nlp_ft
from nlp_ft.cli.push import push
api = huggingface_hub.HfApi()
name = f"{api.whoami()['name']}/nlp-ft-test-{uuid.uuid4().hex[:8]}"
try:
    for _ in range(2):
        push(["--model", sys.argv[1], "--hub_model_id", name])
    private, commits = api.repo_info(name).private, len(api.list_repo_commits(name))
    same = (nlp_ft.load(name).logits(["a film"]) == nlp_ft.load(sys.argv[1]).logits(["a film"])).all()
    print("FOUND" + json.dumps([private, commits, bool(same)]))
finally:
    api.delete_repo(name, missing_ok=True)
"""
    env = os.environ | {"HF_HUB_OFFLINE": "0", "HF_HOME": str(tmp_path / "home")}
    done = subprocess.run([sys.executable, "-c", script, str(finished)], capture_output=True, text=True, env=env)
    assert done.returncode == 0, done.stderr[-2000:]
    assert json.loads(done.stdout.rpartition("FOUND")[2]) == [True, 2, True]
    assert "nothing to push" in done.stdout
