"""What the tests share: a tiny BERT with its own tokenizer, tiny labelled tables, and the command line run in two ways."""

from __future__ import annotations

import contextlib
import csv
import gc
import io
import os
import random
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path

os.environ["NLP_FT_CACHE"] = tempfile.mkdtemp(prefix="nlp_ft_cache_")  # not the user's own
os.environ["HF_HUB_OFFLINE"] = "1"
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
os.environ.setdefault("OMP_NUM_THREADS", "1")

import hypothesis
import pytest
import ranks  # after the variables: its processes have them, too

ROOT = Path(__file__).resolve().parents[1]

GOOD, BAD, THINGS, FILLERS = (
    words.split()
    for words in (
        "lovely wonderful charming brilliant superb funny warm great excellent delightful",
        "awful tedious dreadful boring terrible clumsy cold poor horrible annoying",
        "film story cast scene script music camera actor plot ending director picture show tale hero",
        "the a this that was is and with very quite so really i found it on in of my whole first last",
    )
)

RunCli = Callable[[Sequence[object]], tuple[int, str, str]]
MakeCsv = Callable[..., Path]

hypothesis.settings.register_profile("fixed", derandomize=True)  # the same examples in every run
hypothesis.settings.load_profile("fixed")


# What takes longest begins first, so that no process is left waiting for it at the end; the rest are files of a few seconds.
LONGEST = ["hub/test_push_round_trip.py", "cli/test_cli.py", "hub/", "methods/", "training/", "inference/", "models/"]


def pytest_configure(config: pytest.Config) -> None:
    """Gather fewer objects: what is imported stays. Of several processes' shares the longest come first, not the largest."""
    gc.disable()
    if hasattr(config.option, "loadscopereorder"):
        config.option.loadscopereorder = False


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """One process takes a file as a whole, or a group of its tests, so that what they share is made once."""
    places: dict[str, int] = {}
    for item in items:
        file = item.path.relative_to(ROOT / "tests").as_posix()
        if item.get_closest_marker("xdist_group") is None:
            item.add_marker(pytest.mark.xdist_group(file))
        places[file] = next((i for i, name in enumerate(LONGEST) if file.startswith(name)), len(LONGEST))
    items.sort(key=lambda item: places[item.path.relative_to(ROOT / "tests").as_posix()])


def pytest_collection_finish() -> None:
    """Let the collector pass over what the imports have left, which is most of what there is."""
    gc.collect()
    gc.freeze()
    gc.enable()


def pytest_unconfigure() -> None:
    """Leave nothing behind; after Ctrl-C, too."""
    ranks.stop()
    shutil.rmtree(os.environ["NLP_FT_CACHE"], ignore_errors=True)


def rows_of(count: int, seed: int) -> list[dict[str, str]]:
    """Rows whose words decide the label, half of each."""
    rng = random.Random(seed)
    rows = []
    for i in range(count):
        label, words = ("positive", GOOD) if i % 2 else ("negative", BAD)
        fillers, thing = rng.sample(FILLERS, 4), rng.choice(THINGS)
        said = rng.sample(words, 2)
        rows.append({"text": " ".join([*fillers[:2], said[0], thing, *fillers[2:], said[1]]), "label": label})
    return rows


def write_csv(path: Path, rows: Iterable[Mapping[str, object]]) -> Path:
    """Write dictionaries as a CSV file, the first one's keys as its header."""
    rows = list(rows)
    with path.open("w", encoding="utf-8", newline="") as handle:
        writer = csv.DictWriter(handle, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    return path


@pytest.fixture(scope="session")
def tiny_csv(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Paths of train (60 rows), validation (20) and test (20), columns text and label."""
    folder = tmp_path_factory.mktemp("tiny_csv")
    sizes = {"train": 60, "validation": 20, "test": 20}
    return {s: write_csv(folder / f"{s}.csv", rows_of(n, seed)) for seed, (s, n) in enumerate(sizes.items())}


@pytest.fixture
def make_csv(tmp_path: Path) -> MakeCsv:
    """Writes rows (dictionaries) as a CSV file of this test."""

    def make(rows: Iterable[Mapping[str, object]], name: str = "rows.csv") -> Path:
        return write_csv(tmp_path / name, rows)

    return make


@pytest.fixture(scope="session")
def tiny_bert(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random BertModel (hidden 32, 2 layers, 2 heads, with pooler) and a WordPiece tokenizer that knows the tiny tables."""
    import torch
    from transformers import BertConfig, BertModel, BertTokenizer

    folder = tmp_path_factory.mktemp("tiny_bert")
    # every word of the tables, and every other one by its letters; a trained vocabulary breaks ties by chance
    signs = "abcdefghijklmnopqrstuvwxyz0123456789.,!?'-"
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    pieces = [*special, *signs, *(f"##{sign}" for sign in signs), *sorted({*GOOD, *BAD, *THINGS, *FILLERS} - {*signs})]
    (folder / "vocab.txt").write_text("\n".join(pieces) + "\n", encoding="utf-8")
    tokenizer = BertTokenizer.from_pretrained(str(folder), model_max_length=64)
    config = BertConfig(
        vocab_size=len(tokenizer),
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=64,
        max_position_embeddings=64,
        initializer_range=0.3,  # the default, 0.02, makes texts all alike
    )
    torch.manual_seed(0)
    BertModel(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def learner(tiny_bert: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`tiny_bert` with one layer and small weights: AdamW at 5e-3 learns the tiny tables by heart in a few epochs."""
    import torch
    from transformers import BertConfig, BertModel

    folder = tmp_path_factory.mktemp("learner") / "checkpoint"
    shutil.copytree(tiny_bert, folder)
    config = BertConfig.from_pretrained(tiny_bert, num_hidden_layers=1, initializer_range=0.1)
    torch.manual_seed(0)
    BertModel(config).save_pretrained(folder)
    return folder


@pytest.fixture
def run_cli() -> RunCli:
    """`run_cli(argv)` -> (exit code, stdout, stderr) of `nlp-ft argv`, run in this process."""
    from nlp_ft.cli.main import main

    def run(argv: Sequence[object]) -> tuple[int, str, str]:
        out, err = io.StringIO(), io.StringIO()
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            code = main([str(token) for token in argv])
        return code, out.getvalue(), err.getvalue()

    return run


@pytest.fixture
def run_process() -> RunCli:
    """`run_process(argv)` -> (exit code, stdout, stderr) of `python argv` in the repository, forked with its imports made.

    What is about a cold start takes `run_cold`.
    """

    def run(argv: Sequence[object]) -> tuple[int, str, str]:
        done = ranks.run_alone(argv)
        return done.returncode, done.stdout, done.stderr

    return run


@pytest.fixture
def run_cold() -> RunCli:
    """`run_cold(argv)` -> (exit code, stdout, stderr) of `python argv` in the repository, an interpreter of its own."""

    def run(argv: Sequence[object]) -> tuple[int, str, str]:
        command = [sys.executable, *(str(token) for token in argv)]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=600)
        return done.returncode, done.stdout, done.stderr

    return run
