"""A run in bulk that is cut at any moment goes on where it stopped, to the bytes of a run that was not; so do two processes."""

from __future__ import annotations

import io
import json
import os
import random
import signal
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import redirect_stderr
from pathlib import Path
from typing import Any, Unpack

import pytest
import ranks
from conftest import ROOT, write_csv
from test_predict_file import Stub

from nlp_ft.errors import ConfigError, DataError, RowError
from nlp_ft.inference.files import FilePredictions, check_file, predict_to_file
from nlp_ft.inference.options import PredictOptions

FORMATS = [".csv", ".jsonl", ".parquet"]
ROWS, BLOCK = 100, 30


def rows_file(folder: Path, rows: int = ROWS) -> Path:
    folder.mkdir(exist_ok=True)
    return write_csv(folder / "in.csv", ({"id": str(n), "text": f"text {n}\nof 🙂 {n * n}"} for n in range(rows)))


def run(
    source: Path, output: Path, stub: Any = None, block: int = BLOCK, **options: Unpack[PredictOptions]
) -> FilePredictions:
    stub = stub or Stub()
    return predict_to_file(check_file(source, output, block_rows=block), stub, stub.predict, options)


class Cut(Stub):
    """Fails at the call of this number."""

    def __init__(self, at: int) -> None:
        super().__init__()
        self.left = at

    def predict(self, texts: Sequence[Any], batch_size: int = 32, **options: Any) -> Any:
        self.left -= 1
        if not self.left:
            raise KeyboardInterrupt
        return super().predict(texts, batch_size)


def cut(source: Path, output: Path, at: int = 3) -> None:
    with pytest.raises(KeyboardInterrupt):
        run(source, output, Cut(at))
    assert not output.exists()


@pytest.mark.parametrize("suffix", FORMATS)
def test_what_was_done_is_not_done_again(tmp_path: Path, suffix: str) -> None:
    source, output = rows_file(tmp_path), tmp_path / f"out{suffix}"
    cut(source, output)
    stub = Stub()
    found = run(source, output, stub)
    assert (found.rows, found.resumed_from) == (ROWS, 2 * BLOCK)
    assert [text.split()[1] for text in stub.asked] == [str(n) for n in range(2 * BLOCK, ROWS)]
    run(source, tmp_path / f"whole{suffix}")
    assert output.read_bytes() == (tmp_path / f"whole{suffix}").read_bytes()
    assert not output.with_name(f"{output.name}.part").exists()


def test_the_closing_line_says_how_much_was_done_before(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source, output = rows_file(tmp_path), tmp_path / "out.csv"
    cut(source, output)
    run(source, output)
    assert capsys.readouterr().err.splitlines()[-1].endswith(" rows/s; 60 were done before)")


def changed_input(source: Path) -> Any:
    source.write_text(source.read_text().replace("text 99", "text 98"))


CHANGES: dict[str, tuple[Callable[[Path], Any], dict[str, Any]]] = {
    "the input": (changed_input, {}),
    "the model": (lambda _: Stub(shift=1), {}),
    "the options": (lambda _: None, {"top_k": 1}),
    "the cut into blocks": (lambda _: None, {"block": BLOCK + 1}),
}


@pytest.mark.parametrize("what", CHANGES)
def test_a_run_does_not_go_on_where_something_changed(tmp_path: Path, what: str) -> None:
    source, output = rows_file(tmp_path), tmp_path / "out.csv"
    cut(source, output)
    part = output.with_name("out.csv.part")
    before = sorted(path.name for path in part.iterdir())
    change, flags = CHANGES[what]
    with pytest.raises(ConfigError) as caught:
        run(source, output, change(source), **flags)
    assert str(caught.value) == (
        f"{part} holds part of another run: {what} changed since; delete it to begin anew, or name another output."
    )
    assert sorted(path.name for path in part.iterdir()) == before


def test_a_copy_of_the_input_with_another_name_and_time_will_do(tmp_path: Path) -> None:
    source, output = rows_file(tmp_path), tmp_path / "out.csv"
    cut(source, output)
    moved = source.rename(tmp_path / "moved.csv")
    os.utime(moved, (1, 1))
    assert run(moved, output).resumed_from == 2 * BLOCK


def test_an_input_that_is_written_to_meanwhile_stops_the_run(tmp_path: Path) -> None:
    source = rows_file(tmp_path)

    class Writes(Stub):
        def predict(self, texts: Sequence[Any], batch_size: int = 32, **options: Any) -> Any:
            with source.open("a") as handle:
                handle.write("more,text\n")
            return super().predict(texts)

    with pytest.raises(DataError, match=r"in\.csv was changed while it was read; start anew when it is whole\.$"):
        run(source, tmp_path / "out.csv", Writes())
    assert not (tmp_path / "out.csv").exists()


def test_a_row_without_an_answer_is_named_by_its_line_and_the_rows_before_are_kept(tmp_path: Path) -> None:
    source, output = rows_file(tmp_path), tmp_path / "out.csv"

    class Refuses(Stub):
        def predict(self, texts: Sequence[Any], batch_size: int = 32, **options: Any) -> Any:
            for row, text in enumerate(texts):
                if text.startswith("text 65"):
                    raise RowError(row, "no tokens.")
            return super().predict(texts)

    with pytest.raises(DataError, match=rf"^{source}:{2 + 2 * 65}: no tokens\.$"):
        run(source, output, Refuses())
    assert run(source, output).resumed_from == 2 * BLOCK


def test_two_runs_do_not_write_the_same_output(tmp_path: Path) -> None:
    source, output = rows_file(tmp_path), tmp_path / "out.csv"

    class Nested(Stub):
        def predict(self, texts: Sequence[Any], batch_size: int = 32, **options: Any) -> Any:
            with pytest.raises(ConfigError, match=r"out\.csv\.part is being written by another run; wait for it, or"):
                run(source, output)
            return super().predict(texts)

    assert run(source, output, Nested()).rows == ROWS


def test_an_output_that_came_meanwhile_is_not_written_over(tmp_path: Path) -> None:
    source, output = rows_file(tmp_path), tmp_path / "out.csv"

    class Other(Stub):
        def predict(self, texts: Sequence[Any], batch_size: int = 32, **options: Any) -> Any:
            output.write_text("mine")
            return super().predict(texts)

    with pytest.raises(
        ConfigError, match=r"out\.csv has come to be there; move it, and give the same command again\.$"
    ):
        run(source, output, Other())
    assert output.read_text() == "mine"
    output.unlink()
    assert run(source, output).resumed_from == ROWS


def test_a_directory_of_that_name_is_left_alone(tmp_path: Path) -> None:
    source = rows_file(tmp_path)
    (tmp_path / "out.csv.part").mkdir()
    (tmp_path / "out.csv.part" / "mine").touch()
    with pytest.raises(
        ConfigError, match=r"out\.csv\.part is there and no cut run; move it, or name another output\.$"
    ):
        run(source, tmp_path / "out.csv")
    assert (tmp_path / "out.csv.part" / "mine").exists()


def test_a_run_killed_at_any_moment_goes_on_to_the_same_bytes(tmp_path: Path) -> None:
    """The child kills itself before each of its file operations in turn, and is killed between those, at chance moments."""
    begin = f"import sys; sys.path[:0] = {[str(Path(__file__).parent), str(ROOT / 'tests')]}; "
    done = ranks.run_alone(["-c", f"{begin}import {Path(__file__).stem} as tests; tests.main()", tmp_path])
    assert done.returncode == 0, done.stderr[-3000:]
    found = json.loads(done.stdout)
    assert set(found) == set(FORMATS)
    for each in found.values():
        assert each["wrong"] == []
        assert each["moments"] > 15
        assert each["killed"] == len(KILLED_AT)


def forked(work: Callable[[], Any]) -> int:
    """The number of a child that does this in silence; 0 or 2 is its exit code."""
    child = os.fork()
    if not child:
        code = 2
        try:
            with redirect_stderr(io.StringIO()):
                work()
            code = 0
        except ConfigError:
            pass
        finally:
            os._exit(code)
    return child


def ended(child: int) -> int:
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def killed_at(moment: int, source: Path, output: Path) -> Callable[[], Any]:
    """A run that kills itself before its file operation of this number, counted in the directory of the output."""

    def work() -> None:
        left = [moment]

        def hook(event: str, args: tuple[Any, ...]) -> None:
            if event in ("open", "os.rename", "os.link", "os.remove", "os.rmdir", "os.mkdir") and str(
                args[0]
            ).startswith(str(output)):
                left[0] -= 1
                if not left[0]:
                    os.kill(os.getpid(), signal.SIGKILL)

        sys.addaudithook(hook)
        run(source, output)

    return work


def torture(folder: Path, suffix: str) -> dict[str, Any]:
    """How many moments there were, which of them ended wrong, and how often a slow run was killed at chance."""
    source, whole = rows_file(folder), folder / f"whole{suffix}"
    assert ended(forked(lambda: run(source, whole))) == 0
    wanted, wrong, moment, code = whole.read_bytes(), [], 0, -signal.SIGKILL
    while code == -signal.SIGKILL:
        moment += 1 if suffix == ".csv" else 4
        output = folder / f"at{moment}{suffix}"
        code = ended(forked(killed_at(moment, source, output)))
        again = 0 if code == 0 else ended(forked(lambda output=output: run(source, output)))
        if not (again == 0 or is_all_but_tidied(output, again)) or output.read_bytes() != wanted:
            wrong.append(moment)
    if code != 0:
        wrong.append(code)
    return {"moments": moment, "wrong": wrong, "killed": chance_kills(folder, suffix, wrong)}


def is_all_but_tidied(output: Path, code: int) -> bool:
    """Whether the output was refused as finished, and its parts had gone but for the directory they had stood in."""
    return code == 2 and {path.name for path in output.with_name(f"{output.name}.part").iterdir()} <= {"manifest.json"}


KILLED_AT = (2, 5, 6, 9)  # each run's block before which it is not killed, nor after the next


class Gated(Stub):
    """Says when it is asked for the block of this number, and waits at the one after the next for ever."""

    def __init__(self, number: int, writer: int) -> None:
        super().__init__()
        self.number, self.writer, self.calls = number, writer, 0

    def predict(self, texts: Sequence[Any], batch_size: int = 32, **options: Any) -> Any:
        self.calls += 1
        if self.calls == self.number:
            os.write(self.writer, b"x")
        while self.calls > self.number + 1:
            signal.pause()
        return super().predict(texts)


def chance_kills(folder: Path, suffix: str, wrong: list[Any]) -> int:
    """Kill a run of 40 blocks again and again, each time at work on one of two blocks, then let it come to its end."""
    source, whole, output = rows_file(folder / "long", 400), folder / f"long{suffix}", folder / f"cut{suffix}"
    assert ended(forked(lambda: run(source, whole, block=10))) == 0
    rng, kills = random.Random(0), 0
    for number in KILLED_AT:
        reader, writer = os.pipe()
        stub = Gated(number, writer)
        child = forked(lambda stub=stub: run(source, output, stub, block=10))
        os.close(writer)
        os.read(reader, 1)
        os.close(reader)
        time.sleep(rng.uniform(0, 0.02))
        os.kill(child, signal.SIGKILL)
        kills += ended(child) == -signal.SIGKILL
    if ended(forked(lambda: run(source, output, block=10))) != 0 or output.read_bytes() != whole.read_bytes():
        wrong.append("chance")
    return kills


PROGRAM = """
import sys
from pathlib import Path
import nlp_ft
from nlp_ft.inference.files import predict_to_file, check_file
source, model, *outputs = sys.argv[1:]
classifier = nlp_ft.load(model)
for output in outputs:
    found = predict_to_file(check_file(source, output, block_rows=30), classifier, classifier.predict)
    assert Path(output).exists() and found.rows == 100
"""


@pytest.mark.slow
def test_two_processes_write_the_bytes_of_one_and_resume_its_run(tmp_path: Path, tiny_bert: Path) -> None:
    from tiny import save_classifier

    import nlp_ft

    model = save_classifier(tiny_bert, tmp_path / "model", num_labels=2)
    source = rows_file(tmp_path)
    classifier: Any = nlp_ft.load(model)

    def once(texts: Sequence[Any]) -> Any:
        if texts[0].startswith("text 30"):
            raise KeyboardInterrupt
        return classifier.predict(texts)

    outputs = [tmp_path / "two.csv", tmp_path / "two.parquet"]
    for output in outputs:
        whole = output.with_stem("one")
        predict_to_file(check_file(source, whole, block_rows=BLOCK), classifier, classifier.predict)
    with pytest.raises(KeyboardInterrupt):
        predict_to_file(check_file(source, outputs[1], block_rows=BLOCK), classifier, once)
    (tmp_path / "program.py").write_text(PROGRAM)
    done = ranks.run([tmp_path / "program.py", source, model, *outputs])
    assert done.returncode == 0, done.stderr[:3000]
    assert done.stderr.count("100 rows labelled") == 2
    assert done.stderr.count("30 were done before") == 1
    for output in outputs:
        assert output.read_bytes() == output.with_stem("one").read_bytes()
        assert not output.with_name(f"{output.name}.part").exists()


def main() -> None:
    print(json.dumps({suffix: torture(Path(sys.argv[1]), suffix) for suffix in FORMATS}))


if __name__ == "__main__":
    main()
