"""How often the 95 % intervals of metrics hold the true value: of simulated test splits whose truth is known.

    python tests/benchmarks/interval_coverage.py --repeats 500

Prints, by kind of test split and metric: the share of intervals that hold the value of 400 000 rows of that kind, their mean
width, and the share of splits where the interval cannot be told (those count neither way).
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from nlp_ft.evaluation.confidence_intervals import intervals
from nlp_ft.evaluation.metrics import compute_metrics
from nlp_ft.evaluation.probabilities import MULTI, REGRESSION, SINGLE

_POPULATION = 400_000
Draw = Callable[[np.random.Generator, int], tuple[np.ndarray, np.ndarray]]


@dataclass(frozen=True)
class Kind:
    """A kind of test split: how rows and answers come about, and how many rows it has."""

    name: str
    problem_type: str
    rows: int
    classes: int
    draw: Draw
    metrics: Sequence[str] = ()


def answered(shares: Sequence[float], recalls: Sequence[float]) -> Draw:
    """Rows of classes with these shares, answered rightly by these recalls, else by any other class."""

    def draw(rng: np.random.Generator, rows: int) -> tuple[np.ndarray, np.ndarray]:
        classes = len(shares)
        truth = rng.choice(classes, size=rows, p=shares)
        right = rng.random(rows) < np.asarray(recalls)[truth]
        wrong = (truth + rng.integers(1, max(2, classes), size=rows)) % classes
        return np.eye(classes)[np.where(right, truth, wrong)], truth

    return draw


def scored(share: float, distance: float, spread: float = 1.0) -> Draw:
    """Rows of two classes whose scores are normal, so many deviations apart; positives have this deviation."""

    def draw(rng: np.random.Generator, rows: int) -> tuple[np.ndarray, np.ndarray]:
        truth = (rng.random(rows) < share).astype(np.int64)
        score = np.where(truth, distance + spread * rng.normal(size=rows), rng.normal(size=rows)) - distance / 2
        return np.column_stack([np.zeros(rows), score]), truth

    return draw


def labelled(shares: Sequence[float], recall: float, false_alarms: float) -> Draw:
    """Multi-label rows whose labels are found with this recall and given in vain at this part of their share."""

    def draw(rng: np.random.Generator, rows: int) -> tuple[np.ndarray, np.ndarray]:
        truth = rng.random((rows, len(shares))) < shares
        chance = np.where(truth, recall, false_alarms * np.asarray(shares))
        return np.where(rng.random(truth.shape) < chance, 3.0, -3.0) + rng.normal(size=truth.shape) * 0.1, truth

    return draw


def measured(rng: np.random.Generator, rows: int) -> tuple[np.ndarray, np.ndarray]:
    """Values that follow a normal target with noise of half its deviation."""
    truth = rng.normal(size=rows)
    return (truth + 0.5 * rng.normal(size=rows))[:, None], truth


KINDS = (
    Kind("even classes", SINGLE, 1000, 4, answered([0.25] * 4, [0.85] * 4)),
    Kind("two even classes", SINGLE, 1000, 2, answered([0.5] * 2, [0.9] * 2)),
    Kind("5 % class, recall .98", SINGLE, 1000, 2, answered([0.95, 0.05], [0.99, 0.98])),
    Kind("5 % class, recall .9", SINGLE, 1000, 2, answered([0.95, 0.05], [0.98, 0.9])),
    Kind("5 % class, recall .6", SINGLE, 1000, 2, answered([0.95, 0.05], [0.99, 0.6])),
    Kind("scores, area .995", SINGLE, 1000, 2, scored(0.05, 3.65), ("auroc",)),
    Kind("scores, area .9998", SINGLE, 1000, 2, scored(0.05, 5.0), ("auroc",)),
    Kind("scores, wide positives", SINGLE, 1000, 2, scored(0.05, 3.5, 2.0), ("auroc",)),
    Kind("scores, area .76", SINGLE, 1000, 2, scored(0.05, 1.0), ("auroc",)),
    Kind("scores, 50 rows", SINGLE, 50, 2, scored(0.1, 2.0), ("auroc",)),
    Kind("even scores", SINGLE, 1000, 2, scored(0.5, 2.0)),
    Kind("four skewed classes", SINGLE, 50, 4, answered([0.6, 0.25, 0.1, 0.05], [0.95, 0.9, 0.8, 0.8])),
    Kind("four skewed, weak", SINGLE, 50, 4, answered([0.6, 0.25, 0.1, 0.05], [0.8, 0.6, 0.4, 0.3])),
    Kind("four skewed, strong", SINGLE, 50, 4, answered([0.7, 0.2, 0.05, 0.05], [0.98] * 4)),
    Kind("forty classes", SINGLE, 400, 40, answered([0.025] * 40, [0.9] * 40)),
    Kind("labels, one of 3 %", MULTI, 200, 3, labelled([0.4, 0.2, 0.03], 0.9, 0.1)),
    Kind("labels, one of 3 %, 1000", MULTI, 1000, 3, labelled([0.4, 0.2, 0.03], 0.98, 0.02)),
    Kind("even labels", MULTI, 1000, 4, labelled([0.3] * 4, 0.85, 0.3)),
    Kind("targets", REGRESSION, 1000, 0, measured),
    Kind("few targets", REGRESSION, 50, 0, measured),
)


def coverage(kind: Kind, repeats: int, seed: int = 0) -> dict[str, tuple[float, float, float]]:
    """Share of intervals that hold, mean width, and share that cannot be told, by metric."""
    rng, names = np.random.default_rng(seed), [str(number) for number in range(kind.classes)]
    truth = compute_metrics(kind.problem_type, *kind.draw(rng, _POPULATION), names)
    held: dict[str, list[bool]] = {}
    widths: dict[str, list[float]] = {}
    for _ in range(repeats):
        for name, bounds in intervals(kind.problem_type, *kind.draw(rng, kind.rows), names).items():
            if (not kind.metrics or name in kind.metrics) and name in truth:
                held.setdefault(name, [])
                if bounds is not None:
                    held[name].append(bounds[0] <= truth[name] <= bounds[1])
                    widths.setdefault(name, []).append(bounds[1] - bounds[0])
    return {
        name: (float(np.mean(hits)), float(np.mean(widths[name])), 1 - len(hits) / repeats)
        for name, hits in held.items()
        if hits
    }


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=500)
    args = parser.parse_args()
    print(f"{'rows':>5}  {'test split':<26}{'metric':<20}{'holds':>6}{'width':>8}{'unknown':>9}")
    for kind in KINDS:
        for metric, (holds, width, unknown) in coverage(kind, args.repeats).items():
            print(f"{kind.rows:>5}  {kind.name:<26}{metric:<20}{holds:>6.3f}{width:>8.3f}{unknown:>9.3f}", flush=True)


if __name__ == "__main__":
    main()
