"""An export says what its model says, in onnxruntime alone and in `load`; it is whole or not there; it may not do harm."""

from __future__ import annotations

import json
import os
import pickle
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from conftest import RunCli, write_csv
from datasets import Dataset
from tiny import LABELS, TEXTS, classifier, train

from nlp_ft import load
from nlp_ft.cli import export as command
from nlp_ft.cli.main import main
from nlp_ft.errors import ModelError
from nlp_ft.evaluation.inference_config import InferenceConfig
from nlp_ft.evaluation.probabilities import MULTI, REGRESSION, SINGLE
from nlp_ft.inference.classifier import Classifier
from nlp_ft.inference.export import ExportError, export
from nlp_ft.inference.export.export import check_loss
from nlp_ft.inference.export.parity import Line, Parity, Rows, measure
from nlp_ft.inference.export.runtime import OnnxModel, is_export, is_onnx, open_export, open_onnx
from nlp_ft.inference.export.sample_rows import comparison_rows, random_texts
from nlp_ft.models.tokenizer import open_tokenizer
from nlp_ft.training.save import save_and_verify

pytest.importorskip("onnxscript")
ort = pytest.importorskip("onnxruntime")
pytestmark = pytest.mark.xdist_group("export")  # one process makes what its tests share
LONG = " ".join(TEXTS)


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A fine-tuned tiny BERT with calibration, and a labelled file beside it."""
    directory = tmp_path_factory.mktemp("export") / "model"
    model, tokenizer = classifier("bert")
    train(model, tokenizer)
    save_and_verify(model, tokenizer, directory, Dataset.from_dict({"text": TEXTS}), 48)
    InferenceConfig(temperature=1.5).write(directory)
    rows = [{"text": text, "label": LABELS[i % 3]} for i, text in enumerate(TEXTS)]
    write_csv(directory.parent / "rows.csv", rows)
    return directory


@pytest.fixture(scope="module")
def exported(saved: Path) -> Path:
    """What `nlp-ft export` writes of it."""
    argv = ["--model", saved, "--format", "onnx", "--test_file", saved.parent / "rows.csv", "--batch_size", "4"]
    assert main(["export", *map(str, argv)]) == 0
    return saved / "onnx"


@pytest.fixture(scope="module")
def in_two_files(exported: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The export as it once was written: its weights in model.onnx.data."""
    import onnx

    directory = _copy(exported, tmp_path_factory.mktemp("in_two_files"))
    model = onnx.load(str(directory / "model.onnx"))
    onnx.save_model(model, str(directory / "model.onnx"), save_as_external_data=True, location="model.onnx.data")
    return directory


@pytest.fixture
def traced(in_two_files: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The graph is not traced anew, which takes seconds."""
    from transformers.exporters.base import ExportedModel

    monkeypatch.setattr(export, "trace", lambda *_: ExportedModel.from_pretrained(in_two_files))


def _open(directory: Path) -> Classifier:
    return Classifier(open_export(directory), open_tokenizer(str(directory)), "cpu")


def _torch(saved: Path) -> Classifier:
    from transformers import AutoModelForSequenceClassification

    model = AutoModelForSequenceClassification.from_pretrained(saved)
    return Classifier(model, open_tokenizer(str(saved)), "cpu")


# What is written.


def test_onnxruntime_alone_repeats_the_model_in_any_batch_and_length(saved: Path, exported: Path) -> None:
    session = ort.InferenceSession(str(exported / "model.onnx"), providers=["CPUExecutionProvider"])
    plain = _torch(saved)
    assert [port.shape for port in session.get_inputs()] == [["batch", "length"]] * 3
    assert [(port.name, port.shape) for port in session.get_outputs()] == [("logits", ["batch", 3])]
    for texts, length in (([TEXTS[0]], 5), ([LONG], 40), (TEXTS[:3], 5), ([TEXTS[2], LONG, TEXTS[0]], 40)):
        batch = plain.tokenizer(texts, truncation=True, max_length=length, padding=True, return_tensors="pt")
        (got,) = session.run(["logits"], {name: values.numpy() for name, values in batch.items()})
        with torch.inference_mode():
            np.testing.assert_allclose(got, plain.model(**batch).logits.numpy(), atol=1e-5)
        assert np.ptp(got) > 0.01


def test_transformers_opens_the_export_as_its_own(saved: Path, exported: Path, tmp_path: Path) -> None:
    """It asks for the file of weights even where the graph needs none."""
    from transformers.exporters.base import ExportedModel

    exported = _copy(exported, tmp_path)
    (exported / "model.onnx.data").touch()
    plain = _torch(saved)
    batch = plain.tokenizer(TEXTS, padding=True, return_tensors="pt")
    with torch.inference_mode():
        wanted = plain.model(**batch).logits
    torch.testing.assert_close(ExportedModel.from_pretrained(exported)(**batch).logits, wanted, atol=1e-5, rtol=0)


def test_a_classifier_over_the_export_answers_as_one_over_the_model(saved: Path, exported: Path) -> None:
    mine, wanted = _open(exported), _torch(saved)
    assert (mine.labels, mine.problem_type, mine.max_seq_length) == (LABELS, SINGLE, 48)
    assert mine.model.device.type == "cpu"
    for size in (1, 4, 32):
        texts = [*TEXTS, LONG * 3, "", (TEXTS[0])]
        np.testing.assert_allclose(mine.logits(texts, size), wanted.logits(texts, 32), atol=1e-5)
    assert [one.label for one in mine.predict(TEXTS)] == [one.label for one in wanted.predict(TEXTS)]


def test_load_opens_an_export_with_its_calibration(saved: Path, exported: Path) -> None:
    mine, wanted = load(exported), load(saved, device="cpu")
    assert isinstance(mine.model, OnnxModel)
    assert mine.inference_config == wanted.inference_config == InferenceConfig(temperature=1.5)
    for one, other in zip(mine.predict(TEXTS), wanted.predict(TEXTS), strict=True):
        assert one.scores == pytest.approx(other.scores, abs=1e-5)


def test_an_export_has_no_embeddings_to_give_and_says_so(exported: Path) -> None:
    with pytest.raises(
        ModelError, match="an exported model gives logits alone; load the directory it was exported from"
    ):
        _open(exported).embed(TEXTS)


def test_the_directory_is_whole_and_tells_nothing_of_the_machine(saved: Path, exported: Path) -> None:
    names = {path.name for path in exported.iterdir()}
    assert names == {
        *("model.onnx", "config.json", "tokenizer.json", "tokenizer_config.json"),
        *("inference.json", "export.json", "export.txt"),
    }
    assert not list(saved.glob("*.unfinished"))
    assert (exported / "inference.json").read_text() == (saved / "inference.json").read_text()
    for path in exported.iterdir():
        assert b"site-packages" not in path.read_bytes()
        assert str(Path.cwd()).encode() not in path.read_bytes()


def test_the_table_is_stored_as_text_and_as_numbers(exported: Path) -> None:
    held = json.loads((exported / "export.json").read_text())["nlp_ft"]
    first, last = held["parity"]["lines"]
    assert (held["quantize"], held["parity"]["rows"], held["parity"]["source"]) == (None, 6, "rows.csv")
    assert (first["name"], last["name"]) == ("PyTorch float32", "ONNX float32")
    assert last["agreement"] == 1
    assert last["max_difference"] < 1e-5
    assert last["metrics"] == pytest.approx(first["metrics"])
    assert last["rows_per_second"] > 0
    table = (exported / "export.txt").read_text().splitlines()
    assert " ".join(table[0].split()) == "same answer max logit diff row alone accuracy f1_macro rows/s speed MB"
    assert f"{last['metrics']['accuracy']:.4f}" in table[2]
    assert table[-1].startswith("6 rows of rows.csv, batches of 4, ")


@pytest.mark.usefixtures("traced")
def test_int8_is_smaller_close_and_written_only_with_leave_where_it_loses(
    saved: Path, exported: Path, tmp_path: Path, run_cli: RunCli, monkeypatch: pytest.MonkeyPatch
) -> None:
    argv = ["export", "--model", saved, "--format", "onnx", "--quantize", "int8", "--output", tmp_path / "int8"]
    argv += ["--test_file", saved.parent / "rows.csv"]
    losing = Parity(SINGLE, 6, "rows.csv", 32, 1, (_line("PyTorch float32", 0.8), _line("ONNX int8", 0.75)))
    monkeypatch.setattr(export, "measure", lambda *_: losing)
    code, out, err = run_cli(argv)
    assert (code, [*tmp_path.iterdir()]) == (1, [])
    assert "ONNX int8" in out
    assert err.splitlines()[-1] == (
        f"nlp-ft: {saved}: ONNX int8 loses 5.0 points of accuracy, on 6 rows of rows.csv; nothing was written. More than one "
        "point is too much: export without --quantize, or accept it with --allow_loss."
    )
    monkeypatch.setattr(export, "measure", measure)
    code, out, err = run_cli([*argv, "--allow_loss"])
    assert code == 0, err
    assert [line.split("  ")[0] for line in out.splitlines()[1:4]] == ["PyTorch float32", "ONNX float32", "ONNX int8"]
    mine, wanted = _open(tmp_path / "int8").logits(TEXTS), _torch(saved).logits(TEXTS)
    assert 0 < np.abs(mine - wanted).max() < 0.2 * np.ptp(wanted)
    graph = tmp_path / "int8" / "model_quantized.onnx"
    assert graph.stat().st_size < 0.6 * (exported / "model.onnx").stat().st_size
    assert not [*tmp_path.rglob("*data"), *tmp_path.rglob("model.onnx")]
    assert not (tmp_path / "int8" / "float32").exists()


def _without_external_data(path: Path) -> bool:
    import onnx

    model = onnx.load(str(path), load_external_data=False)
    return not any(tensor.external_data for tensor in model.graph.initializer)


@pytest.mark.usefixtures("traced")
def test_both_graphs_stand_in_one_folder_each_in_one_file(saved: Path, tmp_path: Path, run_cli: RunCli) -> None:
    """The layout that transformers.js asks for: onnx/model.onnx and onnx/model_quantized.onnx, settings at the root."""
    model = tmp_path / "model"
    shutil.copytree(saved, model, ignore=shutil.ignore_patterns("onnx"))
    argv = ["export", "--model", model, "--format", "onnx", "--test_file", saved.parent / "rows.csv", "--allow_loss"]
    for flags in (["--quantize", "int8"], []):
        code, _, err = run_cli([*argv[: -1 if not flags else None], *flags])
        assert code == 0, err
    files = {path.name for path in (model / "onnx").iterdir()}
    assert {"model.onnx", "model_quantized.onnx", "export.json", "export_quantized.json", "export.txt"} <= files
    assert {"config.json", "tokenizer.json", "tokenizer_config.json"} <= {path.name for path in model.iterdir()}
    held = [json.loads((model / "onnx" / f"{name}.json").read_text()) for name in ("export", "export_quantized")]
    assert [one["nlp_ft"]["quantize"] for one in held] == [None, "int8"]
    assert [one["components"]["model"]["file"] for one in held] == ["model.onnx", "model_quantized.onnx"]
    for name in ("model.onnx", "model_quantized.onnx"):
        (tmp_path / name).write_bytes((model / "onnx" / name).read_bytes())  # fetched alone, as over HTTP
        assert _without_external_data(tmp_path / name)
        session = ort.InferenceSession(str(tmp_path / name), providers=["CPUExecutionProvider"])
        assert [port.name for port in session.get_outputs()] == ["logits"]
    exact, small = load(model / "onnx"), load(model / "onnx" / "model_quantized.onnx")
    np.testing.assert_allclose(exact.logits(TEXTS), load(saved, device="cpu").logits(TEXTS), atol=1e-5)
    assert 0 < np.abs(small.logits(TEXTS) - exact.logits(TEXTS)).max() < 0.2 * np.ptp(exact.logits(TEXTS))
    assert small.inference_config == exact.inference_config == InferenceConfig(temperature=1.5)
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(small)).logits(TEXTS), small.logits(TEXTS))
    code, _, err = run_cli([*argv, "--quantize", "int8"])
    assert (code, err.endswith("/onnx is there already; name another. Nothing is written over.\n")) == (2, True)
    assert load(model, device="cpu").predict(TEXTS) == load(saved, device="cpu").predict(TEXTS)  # weights come first


@pytest.mark.usefixtures("traced")
def test_a_graph_is_not_put_beside_another_models(saved: Path, tmp_path: Path, run_cli: RunCli) -> None:
    (tmp_path / "onnx").mkdir()
    (tmp_path / "onnx" / "model_quantized.onnx").write_bytes(b"")
    (tmp_path / "onnx" / "config.json").write_text("{}")
    code, _, err = run_cli(["export", "--model", saved, "--format", "onnx", "--output", tmp_path / "onnx"])
    assert (code, sorted(path.name for path in (tmp_path / "onnx").iterdir())) == (
        2,
        ["config.json", "model_quantized.onnx"],
    )
    said = f"nlp-ft export: --output {tmp_path}/onnx holds a graph of another model; name another directory."
    assert err.splitlines()[-1] == f"nlp-ft: {said}"


@pytest.mark.usefixtures("traced")
def test_weights_that_one_file_cannot_hold_have_the_name_that_transformers_js_asks_for(
    saved: Path, tmp_path: Path, run_cli: RunCli, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("nlp_ft.inference.export.trace._ONE_FILE_BYTES", 1000)
    code, _, err = run_cli(
        ["export", "--model", saved, "--format", "onnx", "--output", tmp_path / "onnx", "--limit", 4]
    )
    assert code == 0, err
    assert {path.name for path in (tmp_path / "onnx").glob("model*")} == {"model.onnx", "model.onnx_data"}
    np.testing.assert_allclose(load(tmp_path / "onnx").logits(TEXTS), _torch(saved).logits(TEXTS), atol=1e-5)


def test_exports_of_before_are_opened(exported: Path, in_two_files: Path, tmp_path: Path) -> None:
    shutil.copytree(in_two_files, tmp_path / "onnx-int8")
    for place in (in_two_files, tmp_path / "onnx-int8", tmp_path / "onnx-int8" / "model.onnx"):
        np.testing.assert_allclose(load(place).logits(TEXTS), load(exported).logits(TEXTS), atol=1e-6)


def test_settings_may_stand_at_the_root_alone(saved: Path, exported: Path, tmp_path: Path) -> None:
    """As in repositories for transformers.js that others made."""
    (tmp_path / "onnx").mkdir()
    shutil.copy(exported / "model.onnx", tmp_path / "onnx")
    for name in ("config.json", "tokenizer.json", "tokenizer_config.json"):
        shutil.copy(saved / name, tmp_path)
    wanted = load(exported).logits(TEXTS)
    for place in (tmp_path, tmp_path / "onnx" / "model.onnx"):
        np.testing.assert_array_equal(load(place).logits(TEXTS), wanted)


@pytest.mark.usefixtures("traced")
def test_a_graph_that_does_not_repeat_the_model_is_not_written(
    saved: Path, tmp_path: Path, run_cli: RunCli, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened = export.open_export

    def skewed(place: Path) -> Any:
        model = opened(place)
        run = model._run
        model._run = lambda arrays: run(arrays) + (0.5 if arrays["input_ids"].shape[0] == 3 else 0)
        return model

    monkeypatch.setattr(export, "open_export", skewed)
    code, _, err = run_cli(["export", "--model", saved, "--format", "onnx", "--output", tmp_path / "out"])
    assert (code, [*tmp_path.iterdir()]) == (1, [])
    assert err.splitlines()[-1] == (
        f"nlp-ft: {saved}: the ONNX graph of BertForSequenceClassification does not repeat its logits (off by 0.5, 0.001 "
        "allowed, in a batch of 3); nothing was written."
    )


def test_an_architecture_that_cannot_be_exported_is_named_in_one_line(
    saved: Path, tmp_path: Path, run_cli: RunCli, monkeypatch: pytest.MonkeyPatch
) -> None:
    from transformers.exporters.exporter_onnx import OnnxExporter

    def fail(*_: Any, **__: Any) -> None:
        raise RuntimeError("no lowering for\n  aten.strange")

    monkeypatch.setattr(OnnxExporter, "export", fail)
    code, out, err = run_cli(["export", "--model", saved, "--format", "onnx", "--output", tmp_path / "out"])
    assert (code, out, [*tmp_path.iterdir()]) == (1, "", [])
    assert err.splitlines()[-1] == (
        "nlp-ft: BertForSequenceClassification (bert) cannot be exported to onnx: no lowering for aten.strange"
    )


# Flags and outputs.


@pytest.mark.parametrize(
    ("extra", "message"),
    [
        ([], "nlp-ft export: --output {saved}/onnx is there already; name another. Nothing is written over."),
        (
            ["--output", "{saved}/no/where"],
            "nlp-ft export: --output {saved}/no/where: there is no directory {saved}/no.",
        ),
        (["--allow_loss"], "nlp-ft export: --allow_loss is for --quantize; a float32 export loses nothing."),
        (
            ["--model", "me/x"],
            "nlp-ft export: --output is missing; a name on the Hub has no directory to write into.",
        ),
        (
            ["--format", "openvino", "--quantize", "int8"],
            "nlp-ft export: --quantize int8 is for --format onnx; openvino is float32 here.",
        ),
        (["--quantize", "int4"], "nlp-ft export: --quantize: invalid choice: 'int4' (choose from int8)."),
        (["--limit", "0"], "nlp-ft export: --limit must be at least 1, got 0."),
        (
            ["--model", "{saved}/onnx", "--output", "{saved}/again"],
            "{saved}/onnx is an export already; wanted the directory that it was made from.",
        ),
    ],
)
@pytest.mark.usefixtures("exported")
def test_a_mistake_in_the_flags_is_told_in_one_line(
    saved: Path, extra: list[str], message: str, run_cli: RunCli
) -> None:
    argv = ["--model", saved, "--format", "onnx", *(token.format(saved=saved) for token in extra)]
    code, out, err = run_cli(["export", *argv])
    said = err.replace("(choose from 'int8')", "(choose from int8)")
    assert (code, out, said) == (2, "", f"nlp-ft: {message.format(saved=saved)}\n")


def test_an_interrupted_export_leaves_nothing_and_the_next_one_clears_what_a_killed_one_left(tmp_path: Path) -> None:
    left = tmp_path / "out.unfinished"
    left.mkdir()
    (left / "model.onnx").write_text("half")

    def interrupted() -> None:
        with command.staged(tmp_path / "out") as stage:
            assert [*stage.iterdir()] == []
            (stage / "model.onnx").write_text("half")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert [*tmp_path.iterdir()] == []
    with command.staged(tmp_path / "out") as stage:
        (stage / "model.onnx").write_text("whole")
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_help_imports_nothing_heavy(run_cold: RunCli) -> None:
    code = "import sys; from nlp_ft.cli.main import main; "
    code += "\ntry: main(['export', '--help'])\nexcept SystemExit: pass\nprint({'torch', 'onnx', 'numpy'} & set(sys.modules))"
    status, out, err = run_cold(["-c", code])
    assert (status, out.splitlines()[-1], err) == (0, "set()", "")


# What is compared.


def _line(name: str, score: float, agreement: float = 1.0, **metrics: float) -> Line:
    held = metrics or {"accuracy": score, "f1_macro": score}
    return Line(name, agreement, 0.1, 0.0, held, 10.0, 1.0, 1.0)


def test_a_point_may_be_lost_and_no_more() -> None:
    def parity(after: float, **metrics: float) -> Parity:
        last = Line("ONNX int8", 1.0, 0.1, 0.0, {"accuracy": after, "f1_macro": after, **metrics}, 1.0, 1.0, 1.0)
        return Parity(SINGLE, 100, "a.csv", 32, 1, (_line("PyTorch float32", 0.8), last))

    check_loss(parity(0.79), "m")
    check_loss(parity(0.9), "m")
    with pytest.raises(ExportError, match=r"^m: ONNX int8 loses 1\.5 points of accuracy, on 100 rows of a\.csv; "):
        check_loss(parity(0.785, f1_macro=0.8), "m")
    with pytest.raises(ExportError, match=r"^m: ONNX int8 loses 3\.0 points of f1_macro, "):
        check_loss(parity(0.8, f1_macro=0.77), "m")


def test_a_regression_may_lose_a_hundredth_of_pearson() -> None:
    def parity(after: float) -> Parity:
        lines = _line("PyTorch float32", 0, pearson=0.8), _line("ONNX int8", 0, pearson=after)
        return Parity(REGRESSION, 9, "a.csv", 32, 1, lines)

    check_loss(parity(0.791), "m")
    with pytest.raises(ExportError, match=r"loses 2\.0 points of pearson, on 9 rows"):
        check_loss(parity(0.78), "m")


@pytest.mark.parametrize(
    ("kind", "how"), [(SINGLE, "answers 2.0 % of the rows otherwise"), (REGRESSION, "has a Pearson's r of 0.980")]
)
def test_without_labels_the_agreement_is_judged(kind: str, how: str) -> None:
    def parity(agreement: float) -> Parity:
        lines = tuple(Line(name, agreement, 0.1, 0.0, {}, 1.0, 1.0, 1.0) for name in ("PyTorch float32", "ONNX int8"))
        return Parity(kind, 50, "made-up texts", 32, 1, lines)

    check_loss(parity(0.99), "m")
    with pytest.raises(ExportError) as caught:
        check_loss(parity(0.98), "m")
    assert how in str(caught.value)
    assert "not measured" in parity(1).table()


def test_the_figures_are_those_of_a_count_by_hand(saved: Path) -> None:
    wanted = _torch(saved)
    logits = wanted.logits(TEXTS)
    changed = _torch(saved)
    turned = logits.copy()
    turned[0] = turned[0][[1, 2, 0]]  # another answer for the first text
    changed.logits = lambda texts, *_: turned[[TEXTS.index(text) for text in texts]]  # type: ignore[method-assign]
    labels = logits.argmax(axis=1)
    found = measure([("a", wanted, 2.0), ("b", changed, 1.0)], Rows(TEXTS, labels, "x"), 32, 1, passes=1)
    assert found.lines[0].metrics["accuracy"] == 1
    assert found.lines[0].speed == 1
    assert found.lines[1].agreement == pytest.approx(5 / 6)
    assert found.lines[1].metrics["accuracy"] == pytest.approx(5 / 6)
    assert found.lines[1].max_difference == pytest.approx(np.abs(turned - logits).max())
    figure, loss = found.loss()
    assert loss == pytest.approx(found.lines[0].metrics[figure] - found.lines[1].metrics[figure])
    assert loss >= 1 / 6 - 1e-9
    assert figure in ("accuracy", "f1_macro")


def test_the_runs_own_test_rows_are_found_and_spread_over_the_limit(saved: Path, tmp_path: Path) -> None:
    model = _torch(saved)
    rows = [{"text": f"{text} {i}", "label": LABELS[i % 3]} for i, text in enumerate(TEXTS * 2)]
    write_csv(tmp_path / "test.csv", rows)
    found, notes = comparison_rows(model, tmp_path, None, {}, 100)
    assert (found.source, found.labels, len(found.texts)) == ("made-up texts", None, 64)
    assert notes == [
        "no labelled rows are known (--test_file), so no metric is measured: texts made of the vocabulary are compared"
    ]
    said = {"test_file": str(tmp_path / "test.csv"), "text_column_names": "text", "label_column_name": "label"}
    (tmp_path / "run.json").write_text(json.dumps({"arguments": {"data": said}}))
    found, _ = comparison_rows(model, tmp_path, None, {}, 4)
    assert (found.source, found.texts) == ("the run's own test split", [rows[i]["text"] for i in (0, 3, 6, 9)])
    assert found.labels == [0, 0, 0, 0]
    write_csv(tmp_path / "test_predictions.csv", [{**row, "prediction": "calm"} for row in rows[:2]])
    found, _ = comparison_rows(model, tmp_path, None, {}, 100)
    assert found.texts == [row["text"] for row in rows[:2]]
    (tmp_path / "test_predictions.csv").write_text("text,label\na,unheard\n")
    found, notes = comparison_rows(model, tmp_path, None, {}, 100)
    assert len(found.texts) == 12
    assert notes[0].startswith("the run's own test rows cannot be read: ")


def test_made_up_texts_are_always_the_same_and_as_long_as_asked(saved: Path) -> None:
    model = _torch(saved)
    assert random_texts(model, 3, (1, 5, 9)) == random_texts(model, 3, (1, 5, 9))
    assert len(set(random_texts(model, 64))) > 50
    assert len(model.tokenizer(random_texts(model, 1, (40,))[0])["input_ids"]) >= 30


# What is refused when it is opened.


def test_weights_come_before_graphs_and_a_graph_may_stand_in_a_folder(
    saved: Path, exported: Path, tmp_path: Path
) -> None:
    assert is_onnx(exported)
    assert not is_export(saved)
    assert not is_export(saved.parent)
    os.symlink(exported, tmp_path / "onnx")
    assert is_onnx(tmp_path)


def _copy(exported: Path, tmp_path: Path) -> Path:
    for path in exported.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    return tmp_path


def _refused(directory: Path) -> str:
    with pytest.raises(ModelError) as caught:
        open_onnx(directory)
    return str(caught.value).replace(str(directory), "D")


@pytest.mark.parametrize("place", ["../secret", "/etc/passwd", "a/b", "..", "", "a\\b"])
def test_weights_outside_of_the_directory_are_refused(place: str, in_two_files: Path, tmp_path: Path) -> None:
    import onnx

    directory = _copy(in_two_files, tmp_path)
    model = onnx.load(str(directory / "model.onnx"), load_external_data=False)
    tensor = next(one for one in model.graph.initializer if one.external_data)
    next(entry for entry in tensor.external_data if entry.key == "location").value = place
    (directory / "model.onnx").write_bytes(model.SerializeToString())
    assert _refused(directory) == (
        f"D/model.onnx: the weights {tensor.name} are in {place!r}, which is no file of that directory."
    )


def test_a_link_out_of_the_directory_is_refused_and_one_into_the_hub_cache_is_not(
    in_two_files: Path, tmp_path: Path
) -> None:
    (tmp_path / "d").mkdir()
    directory = _copy(in_two_files, tmp_path / "d")
    data = directory / "model.onnx.data"
    data.rename(tmp_path / "elsewhere")
    data.symlink_to(tmp_path / "elsewhere")
    assert (
        _refused(directory)
        == "D/model.onnx.data is a link to a file outside of that directory; put the file itself there."
    )
    repository = tmp_path / "models--me--x"
    (repository / "blobs").mkdir(parents=True)
    snapshot = repository / "snapshots" / "abc"
    snapshot.mkdir(parents=True)
    for path in in_two_files.iterdir():
        (repository / "blobs" / path.name.upper()).write_bytes(path.read_bytes())
        (snapshot / path.name).symlink_to(Path("..", "..", "blobs", path.name.upper()))
    np.testing.assert_array_equal(_open(snapshot).logits(TEXTS), _open(in_two_files).logits(TEXTS))


def test_weights_of_another_size_and_cut_or_lost_ones_are_refused(in_two_files: Path, tmp_path: Path) -> None:
    directory = _copy(in_two_files, tmp_path)
    data = directory / "model.onnx.data"
    whole = data.read_bytes()
    data.write_bytes(whole[: len(whole) // 2])
    assert "bytes, and model.onnx.data has " in _refused(directory)
    data.unlink()
    assert "which is not there." in _refused(directory)
    data.write_bytes(whole)
    (directory / "model.onnx").write_bytes(b"not a graph")
    assert _refused(directory).startswith("D: cannot load its model.onnx: ")


def _graph(nodes: list[Any], directory: Path, exported: Path, **more: Any) -> Path:
    """A graph of nodes that end in `logits`, with the export's configuration."""
    from onnx import TensorProto, helper

    name = more.pop("reads", "input_ids")
    shape = more.pop("shape", ["batch", 3])
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info(name, TensorProto.INT64, ["batch", "length"])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, shape)],
        more.pop("weights", []),
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9, **more)
    (directory / "model.onnx").write_bytes(model.SerializeToString())
    (directory / "config.json").write_bytes((exported / "config.json").read_bytes())
    return directory


def test_graphs_that_ask_for_absurd_sizes_or_never_end_are_refused(exported: Path, tmp_path: Path) -> None:
    from onnx import TensorProto, helper

    huge = helper.make_tensor("huge", TensorProto.INT64, [2], [2**20, 2**20])
    write_export = helper.make_node("ConstantOfShape", ["huge"], ["logits"], "bomb")
    message = "D/model.onnx: ConstantOfShape 'bomb' makes a tensor of shape [1048576, 1048576], which no text needs."
    assert _refused(_graph([write_export], tmp_path, exported, weights=[huge])) == message
    constant = helper.make_node("Constant", [], ["huge"], value=huge)
    assert _refused(_graph([constant, write_export], tmp_path, exported)) == message
    noise = helper.make_node("RandomNormal", [], ["logits"], "noise", shape=[2**20, 2**20])
    assert "RandomNormal 'noise' makes a tensor of shape" in _refused(_graph([noise], tmp_path, exported))
    body = helper.make_graph([write_export], "body", [], [])
    loop = helper.make_node("Loop", ["", ""], ["logits"], body=body)
    assert _refused(_graph([loop], tmp_path, exported)) == (
        "D/model.onnx holds a Loop, which may run without end; wanted a graph without."
    )
    branch = helper.make_node("If", ["input_ids"], ["logits"], then_branch=body, else_branch=body)
    assert _refused(_graph([branch], tmp_path, exported, weights=[huge])) == message
    function = helper.make_function("d", "grow", ["x"], ["y"], [], [helper.make_opsetid("", 18)])
    assert _refused(_graph([loop], tmp_path, exported, functions=[function])) == (
        "D/model.onnx holds functions (grow), which may grow without end; wanted none."
    )


def test_graphs_that_are_no_classifier_of_these_labels_are_refused(exported: Path, tmp_path: Path) -> None:
    from onnx import helper

    cast = helper.make_node("Cast", ["input_ids"], ["logits"], to=1)
    assert _refused(_graph([cast], tmp_path, exported, shape=["batch", 5])) == (
        "D/model.onnx gives logits of shape ['batch', 5]; wanted one for each of the 3 labels."
    )
    cast = helper.make_node("Cast", ["pixels"], ["logits"], to=1)
    assert _refused(_graph([cast], tmp_path, exported, reads="pixels", shape=["batch", "length"])) == (
        "D/model.onnx reads 'pixels'; wanted a classifier, which reads input_ids, attention_mask, token_type_ids as int64."
    )
    strange = helper.make_node("Strange", ["input_ids"], ["logits"], domain="evil.ops")
    assert _refused(_graph([strange], tmp_path, exported)).startswith("D: cannot load its model.onnx: ")


def test_a_tokenizer_of_another_model_is_told(exported: Path) -> None:
    with pytest.raises(ModelError) as caught:
        open_onnx(exported)(input_ids=torch.ones(1, 2, dtype=torch.long))
    assert str(caught.value) == (
        f"{exported} reads token_type_ids, and its tokenizer gives input_ids; they belong to two models."
    )


def test_openvino_graphs_are_refused_before_they_are_opened(tmp_path: Path) -> None:
    from nlp_ft.inference.export.onnx_safety import vet_openvino

    path = tmp_path / "openvino_model.xml"

    def said(text: str, size: int = 8) -> str:
        path.write_text(text)
        path.with_suffix(".bin").write_bytes(b"0" * size)
        with pytest.raises(ModelError) as caught:
            vet_openvino(path)
        return str(caught.value).replace(str(tmp_path), "D")

    const = '<net><layers><layer name="w" type="Const"><data element_type="f32" shape="2, 4" offset="{}" size="{}"/>'
    const += "</layer></layers></net>"
    short = "D/openvino_model.xml: w of shape [2, 4] needs 32 bytes, and openvino_model.bin has 8 of it."
    assert said(const.format(0, 32)) == short
    assert said(const.format(0, 8)) == short
    assert "of shape" in said(const.format(-8, 32), 64)
    assert said('<!DOCTYPE n [<!ENTITY a "b">]><net/>').endswith(
        "declares entities, which may grow without end; wanted none."
    )
    assert "holds a Loop" in said('<net><layer name="l" type="Loop"/></net>')
    assert said("<net").startswith("D: cannot load its openvino_model.xml: ")
    path.write_text(const.format(0, 32))
    path.with_suffix(".bin").write_bytes(b"0" * 32)
    vet_openvino(path)


def test_multi_label_thresholds_decide_whether_answers_are_the_same() -> None:
    class Fixed:
        problem_type, labels, inference_config = MULTI, ["a", "b"], InferenceConfig(thresholds={"a": 0.9})

        def __init__(self, logits: np.ndarray) -> None:
            self.held = logits

        def logits(self, texts: list[str], *_: Any) -> np.ndarray:
            return self.held[: len(texts)]

    before, after = np.array([[1.0, 3.0], [3.0, -1.0]]), np.array([[-1.0, 3.0], [2.0, -1.0]])
    engines: Any = [("a", Fixed(before), 1.0), ("b", Fixed(after), 1.0)]
    found = measure(engines, Rows(["x", "y"], np.array([[0, 1], [1, 0]]), "s"), 32, 1, passes=1)
    assert [line.agreement for line in found.lines] == [1, 0.5]
    assert found.lines[0].metrics["f1_micro"] == 1
    assert found.lines[1].metrics["f1_micro"] < 1
