"""Several sources in one set: proportions, sources kept, groups and times respected, every row accounted for."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from test_data_read import write_delimited

from nlp_ft.config import DataArguments
from nlp_ft.data import TextData, load_data
from nlp_ft.errors import ConfigError, DataError


@pytest.fixture(autouse=True)
def in_tmp_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name, rows in (("books", 300), ("films", 100), ("songs", 60)):
        write(name, rows)


def write(name: str, rows: int, **others: list[str]) -> None:
    columns = {"text": [f"{name} {n}" for n in range(rows)], "label": ["a", "b"] * (rows // 2), **others}
    write_delimited(Path(f"{name}.csv"), columns, ",")


def load(*files: str, **arguments: Any) -> TextData:
    return load_data(DataArguments(train_file=list(files), **arguments), seed=7)


def test_all_rows_of_all_sources_are_taken_unless_proportions_are_asked_for() -> None:
    data = load("books.csv", "films.csv", "songs.csv")
    assert sum(data.fingerprint["rows"].values()) == 460
    assert any(note.startswith("sources: books ") for note in data.notes)
    assert data.fingerprint["left_out"]["mixing"] == 0


@pytest.mark.parametrize(
    ("mixing", "shares"),
    [
        (["equal"], (1, 1, 1)),
        (["2", "1", "1"], (2, 1, 1)),
        (["1", "0.5", "0"], (2, 1, 0)),
        (["1e1", "1", "1"], (10, 1, 1)),
    ],
)
def test_mixing_gives_the_proportions_and_counts_what_is_left_out(mixing: list[str], shares: tuple[int, ...]) -> None:
    everything = load("books.csv", "films.csv", "songs.csv")
    data = load("books.csv", "films.csv", "songs.csv", mixing=mixing)
    counts = Counter(data.train["source"])
    found = [counts[name] for name in ("books", "films", "songs")]
    unit = sum(found) / sum(shares)
    assert found == pytest.approx([unit * share for share in shares], abs=1)
    available = Counter(everything.train["source"])
    assert any(counts[name] == available[name] for name in counts)  # no more is left out than must be
    assert data.fingerprint["left_out"]["mixing"] == len(everything.train) - len(data.train)
    assert set(data.train["text"]) < set(everything.train["text"])
    assert data.test["text"] == everything.test["text"]
    assert load("books.csv", "films.csv", "songs.csv", mixing=mixing).train["text"] == data.train["text"]


@pytest.mark.parametrize("mixing", [["1", "2"], ["most"], ["1", "-1", "1"], ["0", "0", "0"], ["nan", "1", "1"]])
def test_proportions_that_do_not_fit_the_sources_are_refused(mixing: list[str]) -> None:
    with pytest.raises(ConfigError) as caught:
        load("books.csv", "films.csv", "songs.csv", mixing=mixing)
    assert str(caught.value) == (
        "--mixing takes proportional, equal, or a number for each of the 3 sources (books, films, songs); got "
        f"{' '.join(mixing)}."
    )
    with pytest.raises(ConfigError, match=r"^--mixing is for several training files; one came"):
        load("books.csv", mixing=["equal"])


def test_a_column_called_source_is_kept_and_a_single_file_has_none_else() -> None:
    assert "source" not in load("books.csv").train.column_names
    write("both", 40, source=["x", "y"] * 20)
    assert Counter(load("both.csv").train["source"]).keys() == {"x", "y"}


def test_sources_go_along_into_test_files() -> None:
    data = load("books.csv", "films.csv", test_file=["songs.csv"])
    assert set(data.test["source"]) == {"songs"}
    write("more", 10)
    assert Counter(load("books.csv", test_file=["songs.csv", "more.csv"]).test["source"]) == {"songs": 60, "more": 10}


def test_no_group_is_on_two_sides_of_a_split_nor_of_given_files() -> None:
    write("posts", 400, author=[f"author {n // 4}" for n in range(400)])
    data = load("posts.csv", group_column="author")
    sides = [set(split["group"]) for split in (data.train, data.validation, data.test)]
    assert sum(map(len, sides)) == len(set().union(*sides))
    assert all(sides)
    assert data.fingerprint["split"]["group_column"] == "author"
    assert load("posts.csv").test["text"] != data.test["text"]
    write("later", 8, author=["author 3", "new"] * 4)
    with pytest.raises(DataError) as caught:
        load("posts.csv", test_file=["later.csv"], group_column="author")
    assert str(caught.value).startswith(
        "4 rows of 8 in test have a group that is in train too (later.csv:2 = posts.csv:14, later.csv:4 = posts.csv:14, "
        "later.csv:6 = posts.csv:14, ...), so the test figures would flatter the model;"
    )
    with pytest.raises(
        DataError, match=r"^posts\.csv has no column 'auther' \(--group_column\); .* Did you mean 'author'"
    ):
        load("posts.csv", group_column="auther")


def test_a_split_by_time_keeps_the_newest_rows_for_the_test() -> None:
    days = [f"2024-{1 + n // 28 % 12:02d}-{1 + n % 28:02d}" for n in range(200)]
    write("posts", 200, day=days[::-1])
    data = load("posts.csv", time_column="day")
    day_of = dict(zip([f"posts {n}" for n in range(200)], days[::-1], strict=True))
    train, validation, test = (
        [day_of[text] for text in split["text"]] for split in (data.train, data.validation, data.test)
    )
    assert max(train) < min(validation) <= max(validation) < min(test)
    assert len(test) == len(validation) == 20
    assert any("by time: the newest rows are test" in note for note in data.notes)
    with pytest.raises(ConfigError, match=r"^--num_folds draws rows at random, --time_column splits by time"):
        DataArguments(num_folds=3, time_column="day")


def test_what_bends_the_rules_of_groups_and_time_is_said() -> None:
    write("posts", 100, author=[f"author {n // 4}" if n >= 12 else "" for n in range(100)])
    notes = load("posts.csv", group_column="author").notes
    assert "warning: 12 rows without a value in 'author', each a group of its own" in notes
    texts = [f"post {n}" for n in range(99)] + ["post 3"]
    columns = {"text": texts, "label": ["a", "b"] * 50, "day": [f"{2000 + n}-01-01" for n in range(100)]}
    write_delimited(Path("again.csv"), columns, ",")
    notes = load("again.csv", time_column="day").notes
    assert "test: 1 row no newer than one of an earlier split, as equal texts and groups go together" in notes


def test_rows_that_are_added_move_none_of_a_large_table() -> None:
    write("large", 4000)
    before = load("large.csv")
    write("large", 4800)
    after = load("large.csv")
    assert set(before.test["text"]) < set(after.test["text"])
    assert set(before.validation["text"]) < set(after.validation["text"])
    assert any("added rows move none of 4000" in note for note in before.notes)


def test_every_row_is_trained_on_split_off_or_counted() -> None:
    Path("books.csv").write_text(Path("books.csv").read_text() + "short\n,\n" + "good row,a\n")
    data = load(
        "books.csv", "films.csv", skip_bad_rows=True, mixing=["equal"], max_eval_samples=5, max_predict_samples=7
    )
    left = data.fingerprint["left_out"]
    kept = sum(data.fingerprint["rows"].values())
    assert kept + left["rejected"]["train"] + left["mixing"] + sum(left["samples"].values()) == 403
    assert left["rejected"] == {"train": 2}
    assert all(count > 0 for count in (left["mixing"], left["samples"]["validation"], left["samples"]["test"]))
