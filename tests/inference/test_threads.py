"""Sixteen threads share one classifier, and each gets the answers it gets alone."""

from __future__ import annotations

import os
import pickle
import random
import sys
import threading
import warnings
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from conftest import write_csv
from datasets import Dataset
from tiny import LABELS, TEXTS, classifier, train

from nlp_ft import Classifier, load
from nlp_ft.cli.main import main
from nlp_ft.config import LoraArguments
from nlp_ft.inference.gate import Gate
from nlp_ft.models.classifier import add_lora
from nlp_ft.training.save import save_and_verify

THREADS, CALLS = 16, 12
WORDS = " ".join(TEXTS).split()


def _text(rng: random.Random, words: int) -> str:
    return " ".join(rng.choice(WORDS) for _ in range(words))


def _requests(pairs: bool = False) -> list[list[Any]]:
    """Short texts beside such as are longer than the model."""
    rng = random.Random(0)
    texts = [[_text(rng, rng.choice([2, 70])) for _ in range(2)] for _ in range(CALLS)]
    return [[(text, _text(rng, rng.choice([3, 60]))) for text in request] for request in texts] if pairs else texts


@pytest.fixture(scope="module", params=["bert", "gpt2"])
def directory(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp(request.param)
    model, tokenizer = classifier(request.param, LABELS)
    train(model, tokenizer)
    save_and_verify(model, tokenizer, path, Dataset.from_dict({"text": TEXTS}), 48)
    return path


@pytest.fixture(autouse=True)
def _switching_often() -> Iterator[None]:
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    yield
    sys.setswitchinterval(interval)


def _in_threads(work: Callable[[int], None], count: int = THREADS) -> None:
    """Run `work` in threads that begin together; raises what the first of them raised."""
    errors: list[BaseException] = []
    barrier = threading.Barrier(count)

    def run(number: int) -> None:
        barrier.wait()
        try:
            work(number)
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=run, args=(number,)) for number in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if errors:
        raise errors[0]


def _same_in_threads(calls: Sequence[tuple[Callable[..., Any], Any]]) -> None:
    """Make all calls in each thread, in orders of their own, and compare with those made alone."""
    alone = [np.asarray(call(request)) for call, request in calls]

    def work(seed: int) -> None:
        order = list(range(len(calls)))
        random.Random(seed).shuffle(order)
        for index in order:
            call, request = calls[index]
            np.testing.assert_allclose(np.asarray(call(request)), alone[index], atol=1e-5)

    _in_threads(work)


def _scores(loaded: Classifier, long_documents: str) -> Callable[..., Any]:
    def call(request: Sequence[Any]) -> Any:
        predictions = loaded.predict(request, long_documents=long_documents)
        return [[*one.scores.values(), one.windows, one.cut] for one in predictions]

    return call


def _streamed(loaded: Classifier) -> Callable[..., Any]:
    return lambda request: [[*one.scores.values()] for one in loaded.stream(iter(request), batch_size=1)]


def _attributions(loaded: Classifier) -> Callable[..., Any]:
    return lambda request: [sum(one.attributions) for one in loaded.explain(request, steps=2)]


def test_every_method_answers_each_thread_as_if_it_were_alone(directory: Path) -> None:
    loaded = load(directory, device="cpu")
    calls: list[tuple[Callable[..., Any], Any]] = []
    for number, request in enumerate(_requests()):
        methods = [
            _scores(loaded, "window"),
            _scores(loaded, "truncate"),
            loaded.logits,
            loaded.embed,
            _streamed(loaded),
        ]
        calls += [(method, request) for method in methods]
        if number % 4 == 0:
            calls.append((_attributions(loaded), request))
    _same_in_threads(calls)
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in loaded.model.modules())


def test_pairs_are_cut_for_each_thread_alone(tmp_path: Path) -> None:
    model, tokenizer = classifier("bert", LABELS)
    rows = Dataset.from_dict({"text": TEXTS, "text_pair": TEXTS[::-1]})
    save_and_verify(model, tokenizer, tmp_path, rows, 48)
    loaded = load(tmp_path, device="cpu")
    methods = [_scores(loaded, "window"), _scores(loaded, "truncate"), loaded.embed]
    _same_in_threads([(method, request) for request in _requests(pairs=True) for method in methods])


def test_a_callers_own_use_of_the_tokenizer_changes_no_answer(directory: Path) -> None:
    loaded, own = load(directory, device="cpu"), threading.Lock()
    requests = _requests()
    alone = [loaded.logits(request) for request in requests]

    def work(number: int) -> None:
        for request, answer in zip(requests, alone, strict=True):
            if number % 2:
                with own:  # one caller's at a time; ours are not asked
                    loaded.tokenizer(request, truncation=True, max_length=5 + number, padding="max_length")
            else:
                np.testing.assert_allclose(loaded.logits(request), answer, atol=1e-5)

    _in_threads(work)


@pytest.mark.parametrize("kind", ["onnx", "openvino"])
def test_an_export_answers_each_thread_as_if_it_were_alone(kind: str, directory: Path, tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime" if kind == "onnx" else kind)
    if directory.name.startswith("gpt2"):
        pytest.skip("one architecture is enough here")
    write_csv(tmp_path / "rows.csv", [{"text": text, "label": LABELS[i % 3]} for i, text in enumerate(TEXTS)])
    output = tmp_path / kind
    argv = ["--model", directory, "--format", kind, "--test_file", tmp_path / "rows.csv", "--output", output]
    assert main(["export", *map(str, argv)]) == 0
    exported = pickle.loads(pickle.dumps(load(output)))
    methods = [_scores(exported, "window"), _scores(exported, "truncate"), exported.logits]
    _same_in_threads([(method, request) for request in _requests() for method in methods])


def test_files_are_labelled_side_by_side(directory: Path, tmp_path: Path) -> None:
    loaded = load(directory, device="cpu")
    requests = _requests()
    for number, request in enumerate(requests[:8]):
        (tmp_path / f"in{number}.csv").write_text(
            "\n".join(["text", *(f'"{text}"' for text in request)]) + "\n", encoding="utf-8"
        )
    alone = [[one.label for one in loaded.predict(request)] for request in requests]

    def work(number: int) -> None:
        source, output = tmp_path / f"in{number}.csv", tmp_path / f"out{number}.csv"
        loaded.predict_file(source, output)
        assert pd.read_csv(output)["prediction"].tolist() == alone[number]

    _in_threads(work, 8)


def test_a_call_is_answered_by_one_adapter_whoever_switches_meanwhile(tmp_path: Path) -> None:
    paths = {}
    for seed, (name, labels) in enumerate({"feelings": LABELS, "sides": ["left", "right"]}.items()):
        torch.manual_seed(seed)
        model, tokenizer = classifier("llama", labels)
        model = add_lora(model, LoraArguments(use_peft=True, lora_r=2)).eval()
        for parameter in model.parameters():
            if parameter.requires_grad:
                torch.nn.init.normal_(parameter.data, std=0.5)
        paths[name] = tmp_path / name
        save_and_verify(model, tokenizer, paths[name], Dataset.from_dict({"text": TEXTS}), 48, adapter_only=True)
    loaded = load(paths, device="cpu")
    alone = {name: loaded.use(name).predict(TEXTS[:2]) for name in paths}

    def work(number: int) -> None:
        for turn in range(10):
            if number % 4 == 0:
                loaded.use(["feelings", "sides"][turn % 2])
            answers = loaded.predict(TEXTS[:2])
            name = "sides" if "left" in answers[0].scores else "feelings"
            for answer, wanted in zip(answers, alone[name], strict=True):
                assert answer.scores == pytest.approx(wanted.scores, abs=1e-5)

    _in_threads(work)


def test_loading_side_by_side_leaves_the_libraries_as_they_were(directory: Path) -> None:
    from huggingface_hub.utils import are_progress_bars_disabled
    from transformers.utils import logging

    def settings() -> tuple[Any, ...]:
        return (
            logging.get_verbosity(),
            logging.is_progress_bar_enabled(),
            are_progress_bars_disabled(),
            list(warnings.filters),
            random.getstate(),
            str(np.random.get_state()),
            torch.random.get_rng_state().tolist(),
        )

    before = settings()
    wanted = load(directory, device="cpu").logits(TEXTS)
    _in_threads(lambda _: np.testing.assert_allclose(load(directory, device="cpu").logits(TEXTS), wanted, atol=1e-5), 8)
    assert settings() == before


def test_loading_starts_no_process_group(directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import torch.distributed
    from accelerate import PartialState

    PartialState._reset_state()
    for name, value in {"RANK": "1", "WORLD_SIZE": "4", "LOCAL_RANK": "1"}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("MASTER_ADDR", raising=False)
    assert load(directory).predict(TEXTS[:1])
    assert not torch.distributed.is_initialized()
    assert not PartialState._shared_state


def test_a_classifier_is_pickled_after_every_kind_of_call(directory: Path) -> None:
    loaded = load(directory, device="cpu")
    features, (explanation,) = loaded.embed(TEXTS), loaded.explain(TEXTS[:1], steps=2)
    again = pickle.loads(pickle.dumps(loaded))
    np.testing.assert_allclose(again.embed(TEXTS), features, atol=1e-6)
    assert again.explain(TEXTS[:1], steps=2)[0].attributions == pytest.approx(explanation.attributions, abs=1e-6)


def test_a_change_waits_for_calls_and_calls_for_it() -> None:
    gate, events = Gate(), []
    called, leave = threading.Event(), threading.Event()

    def call() -> None:
        with gate.answering():
            called.set()
            leave.wait(10)
            events.append("call")

    def change() -> None:
        with gate.changing_alone():
            events.append("change")

    threads = [threading.Thread(target=call), threading.Thread(target=change)]
    threads[0].start()
    assert called.wait(10)
    threads[1].start()
    while not gate._waiting:
        os.sched_yield()
    leave.set()
    for thread in threads:
        thread.join(10)
    assert events == ["call", "change"]
