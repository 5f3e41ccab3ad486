"""The meta-test of every arm in the same episodes, and its report.

Means, intervals, paired differences, and the files of the report.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from accelerate import PartialState
from accelerate.utils import gather_object, send_to_device
from huggingface_hub import ModelCardData
from scipy.stats import t as student

from nlp_ft.data import write_rejected
from nlp_ft.evaluation.report.model_card import directory_name
from nlp_ft.evaluation.report.tables import format_table
from nlp_ft.methods.meta.episodes import EpisodeDataset, Tasks, fingerprint
from nlp_ft.methods.meta.learner import MetaLearner
from nlp_ft.methods.meta.trainer import Start, save_body
from nlp_ft.models.compare import ROWS_COMPARED
from nlp_ft.training.run import TrainerRun, complete
from nlp_ft.training.run_report import RunReport, base_model, saved_line
from nlp_ft.utils import log, write_json

ENOUGH = 100  # episodes below which the intervals are too wide to say much


@dataclass(frozen=True)
class Arm:
    """A start that adapts, and its accuracies.

    name: in files. title: in sentences. accuracies: of each episode, by use (`adapted_3`, `centroids`).
    """

    name: str
    title: str
    accuracies: list[dict[str, float]]

    def of(self, use: str) -> np.ndarray:
        """Accuracies of a use, (episodes,)."""
        return np.array([accuracies[use] for accuracies in self.accuracies])


class Interval(NamedTuple):
    """A mean over episodes, and half the width of its 95 % interval."""

    mean: float
    half: float


def measure(learner: MetaLearner, episodes: EpisodeDataset, device: torch.device) -> list[dict[str, float]]:
    """The learner's accuracies in every episode, in order.

    After 0 steps, the learner's number of steps, and twice that. Several processes divide the episodes among them.
    """
    learner.to(device).eval()
    state, marks = PartialState(), (0, learner.steps, 2 * learner.steps)
    local = [
        (number, learner.accuracies(send_to_device(episodes[number], device), marks))
        for number in range(state.process_index, len(episodes), state.num_processes)
    ]
    return [accuracies for _, accuracies in sorted(gather_object(local), key=lambda pair: pair[0])]


def interval(values: np.ndarray) -> Interval:
    """Mean and half width of the 95 % interval, by Student's t.

    It holds for further episodes from these data sets, not for further data sets.
    """
    if len(values) < 2:
        return Interval(float(values.mean()), float("inf"))
    error = values.std(ddof=1) / np.sqrt(len(values))
    return Interval(float(values.mean()), float(student.ppf(0.975, len(values) - 1) * error))


def sentence(ours: np.ndarray, theirs: np.ndarray, title: str) -> str:
    """Compare the initialisation with another start.

    By the paired differences in the same episodes.
    """
    difference, half = (100 * number for number in interval(ours - theirs))
    figures = f"{100 * ours.mean():.1f} against {100 * theirs.mean():.1f} %"
    bounds = f"95 % interval of the difference {difference - half:.1f} to {difference + half:.1f}"
    points = f"points of accuracy ({figures}; {bounds})"
    if difference - half > 0:
        return f"It beats {title} by {difference:.1f} {points}."
    if difference + half < 0:
        return f"It is worse than {title} by {-difference:.1f} {points}; use that instead."
    return f"It cannot be told from {title}: {difference:+.1f} {points}."


def verdict(arms: Sequence[Arm], algorithm: str, steps: int) -> str:
    """Compare the initialisation with each other start.

    The initialisation is used as it was trained, the others in both ways. arms: the initialisation first. Prototypical
    networks are used by their centroids, the others after the inner steps.
    """
    ours, *others = arms
    adapted, way = f"adapted_{steps}", f"adapted by {steps} inner steps"
    use, description = ("centroids", "by its centroids") if algorithm == "proto" else (adapted, way)
    count = len(ours.accuracies)
    lines = [f"The meta-learned initialisation, used {description}, in {count} episodes of held-out tasks:"]
    for other in others:
        for other_use, title in ((adapted, f"{other.title} {way}"), ("centroids", f"the centroids of {other.title}")):
            lines.append(sentence(ours.of(use), other.of(other_use), title))
    if count < ENOUGH:
        lines.append(f"These are few episodes; --test_episodes {ENOUGH} or more say more.")
    return "\n".join(lines)


def metrics(arms: Sequence[Arm]) -> dict[str, float]:
    """Accuracy and half width of the interval, for each arm and use.

    Keys: `meta_adapted_3_accuracy`, `meta_adapted_3_interval`.
    """
    values = {}
    for arm in arms:
        for use in arm.accuracies[0]:
            mean, half = interval(arm.of(use))
            values |= {f"{arm.name}_{use}_accuracy": mean, f"{arm.name}_{use}_interval": half}
    return values


def table(arms: Sequence[Arm], *, markdown: bool = False) -> str:
    """Table of accuracies in per cent with their 95 % intervals, arms by uses."""
    uses = sorted(arms[0].accuracies[0], key=lambda use: (use == "centroids", int(use.partition("_")[2] or 0)))
    heads = ["", *(use if use == "centroids" else f"{use.partition('_')[2]} steps" for use in uses)]
    rows = [heads]
    for arm in arms:
        cells = (interval(arm.of(use)) for use in uses)
        rows.append([arm.title, *(f"{100 * mean:.1f} ± {100 * half:.1f}" for mean, half in cells)])
    if markdown:
        lines = ["| " + " | ".join(row) + " |" for row in rows]
        return "\n".join([lines[0], "|---" * len(heads) + "|", *lines[1:]])
    return format_table(rows)


def every_episode(arms: Sequence[Arm], episodes: EpisodeDataset) -> dict[str, object]:
    """Content of meta_test.json: data set, classes and accuracies of each episode."""
    ways, shots, query = episodes.sizes
    return {
        "ways": ways,
        "shots": shots,
        "query": query,
        "seed": episodes.seed,
        "arms": {arm.name: arm.title for arm in arms},
        "episodes": [
            {**episodes.named(number), **{arm.name: arm.accuracies[number] for arm in arms}}
            for number in range(len(episodes))
        ],
    }


def write_card(
    directory: Path, arms: Sequence[Arm], summary: str, settings: Mapping[str, Any], episodes: EpisodeDataset
) -> None:
    """Write README.md: the checkpoint, its accuracy after adapting, and its use."""
    arguments = settings["meta"]
    base, name = base_model(settings["model"]["model_name_or_path"])
    data = ModelCardData(library_name="transformers", base_model=base, tags=["nlp_ft", "meta-learning"])
    files = ", ".join(Path(file).name for file in arguments["meta_train_file"])
    ways, shots, query = episodes.sizes
    text = f"""---
{data.to_yaml()}
---

# {directory_name(directory)}

An encoder to start from where a task has few labelled texts: meta-learned ({arguments["algorithm"]}) from {name} with \
nlp_ft, on tasks drawn from {files}. It holds no classifier; fine-tuning puts one on it, in the folder above this one:

    nlp-ft finetune --model_name_or_path {directory_name(directory)} --train_file few.csv --output_dir model

## How good it is

Accuracy in per cent, with 95 % intervals, in {len(episodes)} episodes of held-out tasks \
({", ".join(Path(pool.name).name for pool in episodes.pools)}): up to {ways} classes, {shots} rows of each to adapt to, \
{query} to be judged by. Steps are inner steps; centroids need none. The intervals speak of further episodes from these data \
sets, not of further data sets.

{table(arms, markdown=True)}

{summary}

Every episode is in meta_test.json, every argument in run.json.
"""
    (directory / "README.md").write_text(text, encoding="utf-8")


def report_test(
    start: Start,
    trained: TrainerRun,
    arms: Sequence[Arm],
    test: EpisodeDataset,
    settings: dict[str, Any],
    notes: list[str],
    tasks: Tasks,
    explicit: Collection[str],
) -> RunReport:
    """Save the encoder, compare it with a fresh load, and write the report."""
    arguments, directory, state = settings["meta"], Path(settings["training"]["output_dir"]), PartialState()
    sentences = verdict(arms, arguments["algorithm"], arguments["inner_steps"])
    figures = {"train_minutes": trained.metrics["train_minutes"], **metrics(arms)}
    report = RunReport(directory, figures, sentences, notes, settings, trained.log_history)
    if state.is_main_process:
        save_body(start, directory, list(tasks.train[0].rows["text"][:ROWS_COMPARED]))
        write_json(directory / "meta_test.json", every_episode(arms, test))
        write_card(directory, arms, sentences, settings, test)
        if tasks.rejected:
            write_rejected(directory / "rejected_rows.csv", tasks.rejected)
        complete(report, explicit, data={"meta_train": fingerprint(tasks.train), "meta_test": fingerprint(tasks.test)})
    state.wait_for_everyone()
    log(
        f"\n\n{table(arms)}\n\n{sentences}\n{saved_line(report, 'features')}\n"
        f"Go on from it: nlp-ft finetune --model_name_or_path {directory} --train_file ..."
    )
    return report
