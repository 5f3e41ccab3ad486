"""Memory and speed of `predict_file` by the number of rows, each in a process of its own. Not run by pytest.

python tests/benchmarks/predict_file.py --rows 10000 100000 1000000            # a stub that answers at once
python tests/benchmarks/predict_file.py --rows 10000 100000 --model            # a random BERT, two layers of 64

Prints a line for each run: peak resident memory of the process, above what it held when the model was loaded, and rows/s.
"""

from __future__ import annotations

import argparse
import contextlib
import csv
import io
import json
import random
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from nlp_ft.inference.classifier import Classifier
from nlp_ft.inference.files import check_file, predict_to_file
from nlp_ft.inference.prediction import Prediction

WORDS = "a the film was really quite lovely awful story with great music and terrible cast so funny boring".split()  # noqa: SIM905


class Stub:
    """Says the same of every text."""

    labels = ("bad", "good")
    problem_type = "single_label_classification"

    def logits(self, texts: Sequence[Any]) -> np.ndarray:
        """Zeros."""
        return np.zeros((len(texts), 2))

    def predict(self, texts: Sequence[Any]) -> list[Prediction]:
        """One answer a text."""
        return [Prediction("bad", 0.75, {"bad": 0.75, "good": 0.25}) for _ in texts]


def tiny_model() -> Classifier:
    """A random BERT of two layers, 64 wide, whose vocabulary is the words of the texts."""
    import torch
    from transformers import BertConfig, BertForSequenceClassification, BertTokenizer

    with tempfile.TemporaryDirectory() as folder:
        vocabulary = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *map(str, range(10)), *WORDS]
        Path(folder, "vocab.txt").write_text("\n".join(vocabulary) + "\n")
        tokenizer = BertTokenizer.from_pretrained(folder, model_max_length=128)
    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=len(vocabulary),
        hidden_size=64,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=128,
        max_position_embeddings=128,
    )
    return Classifier(BertForSequenceClassification(config), tokenizer, "cpu")


def rows(count: int) -> Iterator[dict[str, str]]:
    """Texts of 5 to 20 words, numbered."""
    rng = random.Random(0)
    for number in range(count):
        yield {"id": str(number), "text": " ".join(rng.choices(WORDS, k=rng.randint(5, 20)))}


def write_csv(path: Path, count: int) -> None:
    """The rows as CSV."""
    with path.open("w", encoding="utf-8", newline="") as handle:
        writer = csv.DictWriter(handle, ["id", "text"])
        writer.writeheader()
        writer.writerows(rows(count))


def write_jsonl(path: Path, count: int) -> None:
    """The rows as JSON lines."""
    with path.open("w", encoding="utf-8") as handle:
        handle.writelines(json.dumps(row) + "\n" for row in rows(count))


def write_parquet(path: Path, count: int) -> None:
    """The rows as Parquet, a million a row group."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    pq.write_table(pa.Table.from_pylist(list(rows(count))), path)


WRITERS: dict[str, Callable[[Path, int], None]] = {
    ".csv": write_csv,
    ".jsonl": write_jsonl,
    ".parquet": write_parquet,
}


def peak() -> float:
    """MB that this process held at most so far."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def one(source: Path, output: Path, model: bool) -> None:
    """One run in this process."""
    classifier: Any = tiny_model() if model else Stub()
    classifier.predict(["a film"])
    before, started = peak(), time.perf_counter()
    with contextlib.redirect_stderr(io.StringIO()):
        task = check_file(source, output)
        checked = time.perf_counter() - started
        found = predict_to_file(task, classifier, classifier.predict)
    print(
        f"{found.rows:>9,} rows  {source.suffix:<8} {'tiny BERT' if model else 'stub':<9}  "
        f"{source.stat().st_size / 2**20:7.1f} MB in  peak {peak():6.0f} MB, {peak() - before:5.0f} above the start  "
        f"{found.rows / (checked + found.seconds):>8,.0f} rows/s"
        f" ({checked:.1f} s reading through, {found.seconds:.1f} s answering)",
        flush=True,
    )


def main() -> None:
    """Make a file of each size and run it in a child."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, nargs="+", default=[10_000, 100_000, 1_000_000])
    parser.add_argument("--formats", nargs="+", default=[".csv"], choices=list(WRITERS))
    parser.add_argument("--model", action="store_true", help="a tiny BERT in place of the stub")
    parser.add_argument("--one", type=Path, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.one:
        one(args.one, args.one.with_stem("out"), args.model)
        return
    for suffix in args.formats:
        for count in args.rows:
            with tempfile.TemporaryDirectory() as folder:
                source = Path(folder, f"in{suffix}")
                WRITERS[suffix](source, count)
                command = [sys.executable, __file__, "--one", str(source), *(["--model"] if args.model else [])]
                subprocess.run(command, check=True)


if __name__ == "__main__":
    main()
