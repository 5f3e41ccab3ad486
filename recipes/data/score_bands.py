"""Cut the scores of the four example domains into five bands: a data set of classes for each domain, to draw tasks from.

    python recipes/data/score_bands.py --data_dir data --output_dir data/bands

Reads data/<domain>/{train,validation,test}.csv, as recipes/data/vader_sentiment.py writes them, and writes
data/bands/<domain>.csv with the columns text and label. The bands are fixed, so that a class means the same in every domain:
very negative (score below -1.5), negative (to -0.5), neutral (to 0.5), positive (to 1.5) and very positive. The smallest, very
positive editorials of the New York Times, has about 200 texts. A text that stands in several domains is in none of the files,
and of one that stands in a domain more than once the first is kept, so no file shares a text with another.
"""

from __future__ import annotations

import argparse
import bisect
import csv
from collections import Counter
from pathlib import Path

DOMAINS = ("movies", "amazon", "nyt", "tweets")
SPLITS = ("train", "validation", "test")
BORDERS = (-1.5, -0.5, 0.5, 1.5)
BANDS = ("very negative", "negative", "neutral", "positive", "very positive")


def band(score: float) -> str:
    """The band of a score; one that lies on a border is of the upper band."""
    return BANDS[bisect.bisect_right(BORDERS, score)]


def key(text: str) -> str:
    """What makes two texts equal: their words, whatever the case and the spaces between."""
    return " ".join(text.lower().split())


def read(directory: Path) -> dict[str, tuple[str, str]]:
    """(text, band) of every text of a domain by its key, the first of equal ones."""
    found: dict[str, tuple[str, str]] = {}
    for split in SPLITS:
        with (directory / f"{split}.csv").open(encoding="utf-8", newline="") as handle:
            for row in csv.DictReader(handle):
                found.setdefault(key(row["text"]), (row["text"], band(float(row["score"]))))
    return found


def main() -> None:
    """Read all domains, leave out what they share, write a file each."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data_dir", type=Path, default=Path("data"), help="Holds a folder a domain. Default: data.")
    parser.add_argument("--output_dir", type=Path, default=Path("data/bands"), help="Default: data/bands.")
    args = parser.parse_args()
    domains = {domain: read(args.data_dir / domain) for domain in DOMAINS}
    holders = Counter(text for found in domains.values() for text in found)
    args.output_dir.mkdir(parents=True, exist_ok=True)
    for domain, found in domains.items():
        rows = [row for text, row in found.items() if holders[text] == 1]
        path = args.output_dir / f"{domain}.csv"
        part = path.with_suffix(".csv.part")
        with part.open("w", encoding="utf-8", newline="") as handle:
            csv.writer(handle).writerows([("text", "label"), *rows])
        part.replace(path)  # whole or not at all
        counts = Counter(label for _, label in rows)
        listed = ", ".join(f"{counts[label]} {label}" for label in BANDS)
        print(f"{path}: {listed}; {len(found) - len(rows)} left out, of other domains too")


if __name__ == "__main__":
    main()
