"""Zero-shot jobs: a head made of sentences about the labels.

Such a run may have no labelled row to be evaluated on.
"""

from __future__ import annotations

import copy
from dataclasses import replace
from pathlib import Path

from accelerate import PartialState
from transformers.trainer_utils import IntervalStrategy

from nlp_ft.data import TextData
from nlp_ft.evaluation.report.model_card import bare_card, directory_name
from nlp_ft.methods.fewshot.arguments import FewshotArguments
from nlp_ft.methods.fewshot.trainer import TemplateTrainer
from nlp_ft.training.fit import Fitted, Job
from nlp_ft.training.job import make_job
from nlp_ft.training.run import complete
from nlp_ft.training.run_report import RunReport, saved_line
from nlp_ft.training.save import save_and_verify
from nlp_ft.training.settings import Settings
from nlp_ft.utils import log, without_topic


def zero_shot_job(data: TextData, settings: Settings[FewshotArguments], has_test_rows: bool) -> Job:
    """Return the job that makes the head from sentences about the labels.

    data.train: the templates with the labels put in. They also stand where the job wants rows and there are none, and no
    figure on them is kept.
    """
    test, record = data.test if has_test_rows else data.train, data.fingerprint
    record = {**record, "sources": {**record["sources"], "train": "the names of its labels"}}
    data = replace(data, validation=data.train, test=test, fingerprint=record)
    args = copy.copy(settings.training)
    args.eval_strategy, args.load_best_model_at_end, args.resume_from_checkpoint = IntervalStrategy.NO, False, None
    model = replace(settings.model, head_start="random")
    job = make_job(data, replace(settings, model=model, training=args, explicit=None), silent=True)
    notes = without_topic(job.notes[len(data.notes) :], "parameters")
    notes.append(f"head: made of {len(data.train)} sentences about {len(data.labels)} labels; no text is trained on")
    log(*notes)
    return replace(
        job,
        trainer=TemplateTrainer,
        title="zero-shot",
        doing="Zero-shot",
        notes=[*data.notes, *notes],
        explicit=settings.explicit or (),
        silent=False,
        held_out=False,
    )


def without_validation(fitted: Fitted) -> Fitted:
    """Drop the figures of the validation split, which is the sentences that the head was made of."""
    return replace(fitted, metrics={k: v for k, v in fitted.metrics.items() if not k.startswith("eval_")})


def save_unmeasured(job: Job, fitted: Fitted) -> RunReport:
    """Save and verify a classifier that no labelled row evaluates.

    The report says so, and run.json has no metrics.
    """
    state, output = PartialState(), Path(str(job.training.output_dir))
    line = "Nothing was measured: there is no --test_file, and no labelled row."
    report = RunReport(output, {}, line, job.notes, job.settings, test_logits=fitted.logits["test"], title=job.title)
    if state.is_main_process:
        save_and_verify(fitted.model, job.tokenizer, output, job.data.train, job.max_seq_length)
        card = bare_card(directory_name(output), job.data.labels, job.data.problem_type)
        (output / "README.md").write_text(card, encoding="utf-8")
        complete(report, job.explicit, data=job.data.fingerprint)
    state.wait_for_everyone()
    log(f"{line} {saved_line(report)}")
    return report
