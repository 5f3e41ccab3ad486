"""What `nlp-ft data check` finds of faults that were planted, and what it costs on many rows. Not run by pytest.

python tests/benchmarks/data_check.py planted --data data      # recipes/data/vader_sentiment.py makes data
python tests/benchmarks/data_check.py scale --rows 10000 100000 1000000
"""

from __future__ import annotations

import argparse
import csv
import random
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from nlp_ft.config import DataArguments
from nlp_ft.data import read_rows, text_key
from nlp_ft.data.checks import duplicates, label_errors
from nlp_ft.data.checks.finding import Checked, Finding
from nlp_ft.data.checks.near_duplicates import search
from nlp_ft.data.checks.run_checks import check, checked_of

DOMAINS = ("movies", "amazon", "nyt", "tweets")
_WORDS = 6  # that a planted text has at least
Row = list[str]
Edit = Callable[[list[str], random.Random], list[str]]


def changed_word(words: list[str], rng: random.Random) -> list[str]:
    """One word becomes another."""
    at = rng.randrange(len(words))
    return [*words[:at], "something", *words[at + 1 :]]


def dropped_word(words: list[str], rng: random.Random) -> list[str]:
    """One word is gone."""
    at = rng.randrange(len(words))
    return words[:at] + words[at + 1 :]


def swapped_words(words: list[str], rng: random.Random) -> list[str]:
    """Two neighbours change places."""
    at = rng.randrange(len(words) - 1)
    return [*words[:at], words[at + 1], words[at], *words[at + 2 :]]


def typing_error(words: list[str], rng: random.Random) -> list[str]:
    """Two letters of a long word change places."""
    at = max(range(len(words)), key=lambda n: (len(words[n]), rng.random()))
    word = words[at]
    return [*words[:at], word[:1] + word[2:3] + word[1:2] + word[3:], *words[at + 1 :]]


def other_writing(words: list[str], rng: random.Random) -> list[str]:
    """Capitals, and another end."""
    return [word.capitalize() for word in words] + ["!!!"]


EDITS: tuple[Edit, ...] = (changed_word, dropped_word, swapped_words, typing_error, other_writing)


def planted(data: Path) -> None:
    """Precision and recall of each detector, by domain and seed."""
    print("domain  seed  exact P/R    near P/R     flips: precision at 2 % (times chance), of flagged P/R, flagged")
    for domain in DOMAINS:
        for seed in (0, 1, 2):
            with tempfile.TemporaryDirectory() as folder:
                print(f"{domain:<7} {seed:>4}  {_one(data / domain, Path(folder), seed)}", flush=True)


def _one(source: Path, folder: Path, seed: int) -> str:
    rng = random.Random(seed)
    train, test = _rows(source / "train.csv"), _rows(source / "test.csv")
    base = _findings(source)
    long = [n for n, row in enumerate(train) if len(row[0].split()) >= _WORDS]
    share = max(1, len(train) // 100)
    exact = rng.sample(long, share)
    nearly = [n for n in rng.sample(long, 3 * share) if n not in exact][:share]
    more = [[train[n][0], train[n][1]] for n in exact]
    for turn, n in enumerate(nearly):
        more.append([" ".join(EDITS[turn % len(EDITS)](train[n][0].split(), rng)), train[n][1]])
    order = list(range(len(test) + len(more)))
    rng.shuffle(order)
    mixed = [[*test, *more][n] for n in order]
    first = len(test)
    wanted_exact = {place for place, n in enumerate(order) if first <= n < first + share}
    wanted_near = {place for place, n in enumerate(order) if n >= first + share}
    flipped = set(rng.sample(range(len(train)), round(0.02 * len(train))))
    other = {"positive": "negative", "negative": "positive"}
    spoiled = [[text, other[label] if n in flipped else label] for n, (text, label) in enumerate(train)]
    _write(folder / "train.csv", spoiled)
    _write(folder / "test.csv", mixed)
    known = {key for kind in ("leak", "near_leak") for key in _texts(base, kind, test)}
    checked = _checked(folder)
    exact_found = _rows_of(duplicates.exact(checked), "leak", mixed, known)
    near_found = _rows_of(search.near_duplicates(checked), "near_leak", mixed, known)
    top, chance_times, flagged = _flips(checked, flipped)
    return (
        f"{_scores(exact_found, wanted_exact)}  {_scores(near_found, wanted_near)}  "
        f"{top:.3f} ({chance_times:.1f}), {_scores(flagged, flipped)}, {len(flagged)}"
    )


def _flips(checked: Checked, flipped: set[int]) -> tuple[float, float, set[int]]:
    """Precision among the 2 % of rows that are doubted most, as a multiple of chance, too; and all doubted rows."""
    doubted = [row for found in label_errors.suspected(checked) for row in found.indices.get("train", [])]
    top = doubted[: round(0.02 * len(checked.splits["train"]))]
    precision = len(flipped & set(top)) / max(1, len(top))
    return precision, precision / 0.02, set(doubted)


def _scores(found: set[int], wanted: set[int]) -> str:
    both = len(found & wanted)
    return f"{both / max(1, len(found)):.3f}/{both / len(wanted):.3f}"


def _rows_of(findings: list[Finding], kind: str, rows: list[Row], known: set[str]) -> set[int]:
    """Test rows that a detector names, but for those that it names in the data as it came."""
    found = {row for finding in findings if finding.check == kind for row in finding.indices.get("test", [])}
    return {row for row in found if text_key(rows[row][0]) not in known}


def _texts(findings: list[Finding], kind: str, rows: list[Row]) -> set[str]:
    return {
        text_key(rows[n][0]) for finding in findings if finding.check == kind for n in finding.indices.get("test", [])
    }


def _findings(folder: Path) -> list[Finding]:
    checked = _checked(folder)
    return [*duplicates.exact(checked), *search.near_duplicates(checked)]


def _checked(folder: Path) -> Checked:
    files: dict[str, Any] = {f"{split}_file": [str(folder / f"{split}.csv")] for split in ("train", "test")}
    return checked_of(read_rows(DataArguments(**files, text_column_names="text", label_column_name="label")))


def _rows(path: Path) -> list[Row]:
    with path.open(encoding="utf-8", newline="") as handle:
        return [[row["text"], row["label"]] for row in csv.DictReader(handle)]


def _write(path: Path, rows: list[Row]) -> None:
    with path.open("w", encoding="utf-8", newline="") as handle:
        csv.writer(handle).writerows([["text", "label"], *rows])


def scale(data: Path, sizes: list[int]) -> None:
    """Seconds and memory at each number of rows, each in a process of its own."""
    for size in sizes:
        subprocess.run([sys.executable, __file__, "one", "--data", str(data), "--rows", str(size)], check=True)


def one(data: Path, size: int) -> None:
    """One size: rows put together from pieces of the real texts, a hundredth of them repeated in the test file."""
    rng = random.Random(0)
    pieces = [row for domain in DOMAINS for row in _rows(data / domain / "train.csv")]
    rows = [_recombined(rng, pieces) for _ in range(size)]
    held_out = [*(_recombined(rng, pieces) for _ in range(size // 100)), *rng.sample(rows, size // 100)]
    with tempfile.TemporaryDirectory() as folder:
        _write(Path(folder, "train.csv"), rows)
        _write(Path(folder, "test.csv"), held_out)
        del rows, held_out, pieces
        started = time.perf_counter()
        arguments: dict[str, Any] = {
            f"{split}_file": [str(Path(folder, f"{split}.csv"))] for split in ("train", "test")
        }
        found = read_rows(DataArguments(**arguments))
        read = time.perf_counter() - started
        times: dict[str, float] = {}
        last = [time.perf_counter()]

        def progress(name: str) -> Callable[[int, int], None]:
            def advance(done: int, total: int) -> None:
                if done == total:
                    times[name] = times.get(name, 0.0) + time.perf_counter() - last[0]
                    last[0] = time.perf_counter()

            return advance

        report, _ = check(found, progress=progress)
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    print(
        f"{size} rows: reading {read:.1f} s, checks {report.seconds:.1f} s, peak memory {peak:.2f} GB; {report.summary()}"
    )
    for name, seconds in times.items():
        if seconds > 0.05:
            print(f"    {seconds:6.1f} s  {name}", flush=True)


def _recombined(rng: random.Random, pieces: list[Row]) -> Row:
    """Five words in a row from each of four texts, the last of which gives the label."""
    chosen, words = rng.choices(pieces, k=4), list[str]()
    for text, _ in chosen:
        some = text.split()
        start = rng.randrange(max(1, len(some) - 4))
        words += some[start : start + 5]
    return [" ".join(words), chosen[-1][1]]


def main() -> None:
    """Run what the command line names."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["planted", "scale", "one"])
    parser.add_argument("--data", type=Path, default=Path("data"))
    parser.add_argument("--rows", type=int, nargs="+", default=[10_000, 100_000])
    args = parser.parse_args()
    if args.what == "planted":
        planted(args.data)
    elif args.what == "scale":
        scale(args.data, args.rows)
    else:
        one(args.data, args.rows[0])


if __name__ == "__main__":
    main()
