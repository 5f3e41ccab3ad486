"""Few shots, measured: a frozen encoder, full fine-tuning and contrastive fine-tuning on the same draws of the same rows.

    python tests/benchmarks/fewshot.py MODEL TRAIN.csv TEST.csv --shots 4 8 16 64 --draws 5

Prints a Markdown table: accuracy on all test rows, mean and standard deviation over the draws. Every finished run is a line
of --results; the same command goes on where it was stopped. TRAIN.csv and TEST.csv have the columns text and label.
"""

import argparse
import contextlib
import io
import json
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

from nlp_ft.cli.main import main as nlp_ft_main

COLUMNS = {
    "tfidf": "TF-IDF + LR",
    "frozen": "frozen + LR",
    "finetune": "full fine-tuning",
    "contrastive": "contrastive + LR",
}


def measure(files: dict[str, str], shots: int, draw: int, approach: str) -> dict[str, float]:
    """Accuracy by column of one run (which has the frozen control and the baselines beside it), and its seconds."""
    started = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        flags = {**files, "output_dir": f"{folder}/run", "approach": approach, "shots": shots, "seed": draw}
        flags |= {"text_column_names": "text", "label_column_name": "label", "save_strategy": "no"}
        argv = [str(token) for name, value in flags.items() for token in (f"--{name}", value)]
        with contextlib.redirect_stdout(io.StringIO()):
            code = nlp_ft_main(["fewshot", *argv])
        if code:
            raise SystemExit(code)  # the reason is on stderr
        metrics = json.loads(Path(folder, "run", "all_results.json").read_text())
    return {
        "tfidf": metrics["baseline_tfidf_accuracy"],
        "frozen": metrics["control_frozen_accuracy"],
        approach: metrics["test_accuracy"],
        "seconds": time.monotonic() - started,
    }


def collect(files: dict[str, str], shots: list[int], draws: int, results: Path) -> list[dict[str, Any]]:
    """One line for each run, read from the results where it was done before."""
    held = [json.loads(line) for line in results.read_text().splitlines()] if results.exists() else []
    found = []
    for count in shots:
        for draw in range(1, draws + 1):
            for approach in ("contrastive", "finetune"):
                run = {**files, "shots": count, "draw": draw, "approach": approach}
                line = next((line for line in held if run.items() <= line.items()), None)
                if line is None:
                    line = {**run, **measure(files, count, draw, approach)}
                    results.parent.mkdir(parents=True, exist_ok=True)
                    with results.open("a") as handle:
                        handle.write(json.dumps(line) + "\n")
                    print(f"{count} a class, draw {draw}, {approach}: {line[approach]:.3f}, {line['seconds']:.0f} s")
                found.append(line)
    return found


def table(lines: list[dict[str, Any]]) -> str:
    """Markdown: a row for each number of shots, a column for each way to fit them."""
    rows = [f"| rows a class | {' | '.join(COLUMNS.values())} |", "|---" * (len(COLUMNS) + 1) + "|"]
    for count in sorted({line["shots"] for line in lines}):
        cells = []
        for name in COLUMNS:
            by_draw = {line["draw"]: line[name] for line in lines if line["shots"] == count and name in line}
            spread = statistics.stdev(by_draw.values()) if len(by_draw) > 1 else float("nan")
            cells.append(f"{statistics.mean(by_draw.values()):.3f} ± {spread:.3f}")
        rows.append(f"| {count} | {' | '.join(cells)} |")
    return "\n".join(rows)


def main() -> None:
    """Measure what is missing, print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model")
    parser.add_argument("train")
    parser.add_argument("test")
    parser.add_argument("--shots", type=int, nargs="+", default=[4, 8, 16, 64])
    parser.add_argument("--draws", type=int, default=5)
    parser.add_argument("--results", type=Path, default=Path("runs/fewshot_benchmark.jsonl"))
    asked = parser.parse_args()
    files = {"model_name_or_path": asked.model, "train_file": asked.train, "test_file": asked.test}
    lines = collect(files, asked.shots, asked.draws, asked.results)
    print(f"\nAccuracy, mean ± sd of {asked.draws} draws:\n\n{table(lines)}")


if __name__ == "__main__":
    main()
