"""A report shows every finding, with its places, in each of its forms; and what the data holds breaks none of them."""

from __future__ import annotations

import io
import json
import re
import xml.etree.ElementTree as ElementTree
from dataclasses import replace
from html.parser import HTMLParser
from typing import Any

import numpy as np
import pytest

from nlp_ft.data.checks.finding import Checked, Example, Finding, Split
from nlp_ft.data.checks.report.check_report import CheckReport
from nlp_ft.data.checks.report.html import page as page_of
from nlp_ft.data.checks.report.terminal import as_text, has_colour, show
from nlp_ft.evaluation.report.charts import Bar, Panel, bars, histogram
from nlp_ft.evaluation.report.text import columns_of, fit, percent, visible

TEXTS = [f"text number {i}" for i in range(10)]
EVIL = '<script>alert("x")</script> & \x1b[31mred\x1b[0m \x00 \u202eright to left\n\n</title></svg>'


def split(name: str, labels: list[Any], texts: list[str] | None = None, pairs: list[str] | None = None) -> Split:
    texts = texts or [f"text number {i}" for i in range(len(labels))]
    return Split(name, texts, pairs, labels, lambda row: f"{name}.csv:{row + 2}")


def checked(labels: list[str] | None = None) -> Checked:
    splits = {"train": split("train", [0, 1, 0, 0, 1, 0, 0, 0, 1, 0]), "test": split("test", [0, 1, 1, 1])}
    return Checked(splits, "single_label_classification", labels or ["bad", "good"])


LEAK = Finding(
    "leak",
    "error",
    "train/test",
    rows=2,
    of=10,
    message="1 of 4 texts of test (25.0%) are in train too",
    advice="take them out of train.",
    examples=[Example("test.csv:3", "a text", "good", "= train.csv:4")],
    indices={"train": [2, 7], "test": [1]},
    drop={"train": [2, 7]},
)
SUSPECTS = Finding(
    "suspected_wrong_labels",
    "warning",
    "train",
    rows=3,
    of=10,
    message="labels that a cheap model finds unlikely",
    advice="look at them first.",
    examples=[Example(f"train.csv:{i}", f"doubtful {i}", "bad", "likely good (0.97)") for i in range(5)],
    indices={"train": [4, 0, 9]},
    scores={"train": [0.01, 0.2, float("nan")]},
    measures={"share": 0.3, "ratio": float("inf"), "texts": 3},
)
MOJIBAKE = Finding(
    "mojibake",
    "note",
    "test",
    rows=1,
    of=4,
    message="texts decoded wrongly",
    advice="save as UTF-8.",
    rewrite={"test": {3: "café"}},
)
FINDINGS = [MOJIBAKE, SUSPECTS, LEAK]


def report(findings: list[Finding] | None = None, data: Checked | None = None, **more: Any) -> CheckReport:
    data = data or checked()
    sources = {name: f"{name}.csv" for name in data.splits}
    return CheckReport.of(data, FINDINGS if findings is None else findings, sources=sources, **more)


def test_the_worst_finding_comes_first_and_is_the_worst() -> None:
    assert [finding.severity for finding in report().findings] == ["error", "warning", "note"]
    assert report().worst == "error"
    assert report([MOJIBAKE, SUSPECTS]).worst == "warning"
    assert report([]).worst is None


def test_among_findings_of_one_severity_the_larger_share_comes_first() -> None:
    few, many = replace(SUSPECTS, rows=1), replace(SUSPECTS, rows=9)
    assert report([few, many]).findings == [many, few]


def test_the_summary_is_one_line_with_counts_and_what_is_wrong() -> None:
    assert report().summary() == (
        "data check: 1 error, 1 warning, 1 note: leak (train/test): 1 of 4 texts of test (25.0%) are in train too; "
        "suspected wrong labels (train): 3 rows, labels that a cheap model finds unlikely"
    )
    assert report([]).summary() == "data check: nothing found in 14 rows"
    assert report([MOJIBAKE]).summary() == "data check: no errors or warnings in 14 rows, 1 note"
    assert report([LEAK] * 5).summary().endswith("are in train too; and 2 more")


def test_the_summary_stays_one_line_whatever_a_message_holds() -> None:
    assert not re.search(r"[\x00-\x1f\u202e]", report([replace(LEAK, message=EVIL)]).summary())


def test_the_text_at_80_columns_is_this() -> None:
    text = as_text(report(looked_for=["leaks", "wrong labels"], notes=["a sample was taken"], seconds=1.23), limit=2)
    assert text.splitlines() == [
        "Data check: 1 error, 1 warning, 1 note in 14 rows",
        "",
        "  train  10 rows  train.csv: bad 70.0%, good 30.0%",
        "  test    4 rows  test.csv: good 75.0%, bad 25.0%",
        "",
        "  a sample was taken",
        "",
        "1 ERROR",
        "",
        "  leak (train/test): 1 of 4 texts of test (25.0%) are in train too",
        "    2 of 10 rows of train (20.0%), such as",
        "    test.csv:3  [good]",
        '      "a text"',
        "      = train.csv:4",
        "    do: take them out of train.",
        "    --fix: drops 2 rows of train",
        "",
        "1 WARNING",
        "",
        "  suspected wrong labels (train): labels that a cheap model finds unlikely",
        "    3 of 10 rows of train (30.0%), such as",
        "    train.csv:0  [bad]",
        '      "doubtful 0"',
        "      likely good (0.97)",
        "    train.csv:1  [bad]",
        '      "doubtful 1"',
        "      likely good (0.97)",
        "    do: look at them first.",
        "    --fix: changes nothing here",
        "",
        "1 NOTE",
        "",
        "  mojibake (test): texts decoded wrongly",
        "    1 of 4 rows of test (25.0%)",
        "    do: save as UTF-8.",
        "    --fix: rewrites 1 row of test",
        "",
        "Looked for: leaks, wrong labels.",
        "Took 1.2 s.",
    ]


def test_nothing_found_is_said_with_what_was_looked_for() -> None:
    text = as_text(report([], looked_for=["leaks", "blank texts"]))
    assert text.startswith("Data check: nothing in 14 rows\n")
    assert "Looked for: leaks, blank texts." in text


@pytest.mark.parametrize("width", [40, 61, 80, 120])
def test_no_line_is_wider_than_the_terminal(width: int) -> None:
    long = Example(
        "a/very/long/path/to/some/file.csv:123456789" * 3, "映画 " * 90 + "x" * 300, "label " * 20, "note " * 30
    )
    found = replace(LEAK, message="word " * 60, advice="https://" + "x" * 200, examples=[long], check="c" * 90)
    lines = as_text(
        report([found], checked(["a class with a name that goes on for ever " * 3, "good"])), width
    ).splitlines()
    assert max(map(columns_of, lines)) <= width
    assert sum(map(columns_of, lines)) > 600  # it is all there, and folded


def test_a_text_cannot_drive_the_terminal() -> None:
    found = replace(LEAK, message=EVIL, examples=[Example("test.csv:1\x1b[2J", EVIL, EVIL, EVIL)])
    text = as_text(report([found], checked(["\x1b[31m", "\r\x07"]), notes=[EVIL], looked_for=[EVIL]))
    assert not re.search(r"[\x00-\x09\x0b-\x1f\x7f-\x9f\u202e]", text)
    assert r"\x1b[31mred" in text


def test_colours_are_for_terminals_alone_and_may_be_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("TERM", "xterm")
    assert has_colour(Terminal())
    assert not has_colour(io.StringIO())
    monkeypatch.setenv("NO_COLOR", "1")
    assert not has_colour(Terminal())
    monkeypatch.setenv("NO_COLOR", "")
    assert has_colour(Terminal())
    monkeypatch.setenv("TERM", "dumb")
    assert not has_colour(Terminal())


def test_colours_change_nothing_but_colours() -> None:
    plain, coloured = as_text(report()), as_text(report(), colour=True)
    assert "\x1b[31m1 ERROR\x1b[0m" in coloured
    assert "\x1b" not in plain
    assert re.sub(r"\x1b\[\d+m", "", coloured) == plain


def test_a_report_is_printed_to_a_stream_that_knows_ascii_alone() -> None:
    raw = io.BytesIO()
    stream = io.TextIOWrapper(raw, encoding="ascii")
    show(report([replace(LEAK, message="café 🙂")]), stream=stream)
    assert rb"caf\xe9 \U0001f642" in raw.getvalue()


def test_the_json_has_every_place_with_its_row_its_line_and_its_score() -> None:
    facts = json.loads(report(seconds=2.5, looked_for=["leaks"], notes=["n"]).to_json())
    assert list(facts) == [
        "version", "summary", "worst", "counts", "seconds", "problem_type", "looked_for", "notes", "splits",
        "target_range", "findings",
    ]  # fmt: skip
    assert facts["version"] == 1
    assert facts["worst"] == "error"
    assert facts["counts"] == {"error": 1, "warning": 1, "note": 1}
    assert facts["splits"]["train"] == {
        "source": "train.csv",
        "rows": 10,
        "classes": {"bad": 7, "good": 3},
        "targets": [],
        "text_lengths": {"13": 10},
    }
    leak, suspects, mojibake = facts["findings"]
    assert leak["places"] == {
        "train": [{"row": 2, "where": "train.csv:4"}, {"row": 7, "where": "train.csv:9"}],
        "test": [{"row": 1, "where": "test.csv:3"}],
    }
    assert leak["drop"] == {"train": [2, 7]}
    assert leak["share"] == 0.2
    assert leak["examples"] == [{"where": "test.csv:3", "text": "a text", "label": "good", "note": "= train.csv:4"}]
    assert suspects["places"]["train"][0] == {"row": 4, "where": "train.csv:6", "score": 0.01}
    assert suspects["places"]["train"][2]["score"] is None  # not finite, which JSON has no word for
    assert suspects["measures"] == {"share": 0.3, "ratio": None, "texts": 3}
    assert mojibake["rewrite"] == {"test": [{"row": 3, "text": "café"}]}


def test_the_json_says_how_many_places_were_left_out() -> None:
    leak = report([LEAK]).to_dict(most_places=1)["findings"][0]
    assert [len(indices) for indices in leak["places"].values()] == [1, 1]
    assert leak["places_left_out"] == {"train": 1}
    assert report([LEAK]).to_dict()["findings"][0]["places_left_out"] == {}


def test_the_json_takes_numbers_as_numpy_has_them() -> None:
    rows = [np.int64(2), np.int64(7)]
    found = replace(
        LEAK, rows=np.int64(2), indices={"train": rows}, drop={"train": rows}, scores={"train": [np.float32(0.5)] * 2}
    )  # type: ignore[arg-type]
    facts = json.loads(report([found]).to_json())["findings"][0]
    assert (facts["rows"], facts["drop"], facts["places"]["train"][0]["score"]) == (2, {"train": [2, 7]}, 0.5)


class Page(HTMLParser):
    """What a browser would make of a page: its elements, with their text."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []
        self.text = ""
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += attrs

    def handle_data(self, data: str) -> None:
        self.text += data


def svgs(html: str) -> list[ElementTree.Element]:
    return [ElementTree.fromstring(found) for found in re.findall(r"<svg.*?</svg>", html, re.DOTALL)]


def test_the_page_fetches_nothing_and_runs_nothing_whatever_the_data_holds() -> None:
    evil = replace(
        SUSPECTS,
        check=EVIL,
        message=EVIL,
        advice=EVIL,
        examples=[Example(EVIL, EVIL, EVIL, '" onload="x')],
        measures={EVIL: 1.0},
    )
    data = Checked({"train": split("train", [0, 1], [EVIL, EVIL])}, "single_label_classification", [EVIL, "good"])
    html = page_of(CheckReport.of(data, [evil], sources={"train": EVIL}, notes=[EVIL], looked_for=[EVIL]))
    page = Page(html)
    assert not {"script", "link", "img", "iframe", "object", "a", "use"} & set(page.tags)
    assert not {name for name, _ in page.attributes if name.startswith("on") or name in ("src", "href", "style")}
    assert "default-src 'none'" in html
    assert page.text.count('<script>alert("x")</script>') >= 8  # shown, as text
    assert not re.search(r"[\x00-\x09\x0b-\x1f\u202e]|https?:|@import|url\(", html)
    assert page.tags.count("title") == html.count("</title>")


def test_the_page_is_well_formed_and_every_chart_names_and_describes_itself() -> None:
    html = page_of(report())
    body = html[html.index("<main>") : html.index("</main>") + len("</main>")]
    ElementTree.fromstring(body.replace("<br>", "<br/>"))
    found = svgs(html)
    assert len(found) == 4  # classes, lengths, findings, scores of the suspects
    ids = [element.attrib["id"] for svg in found for element in svg.iter() if "id" in element.attrib]
    assert len(ids) == len(set(ids)) == 8
    for svg in found:
        title, description = svg[0], svg[1]
        assert svg.attrib["aria-labelledby"].split() == [title.attrib["id"], description.attrib["id"]]
        assert title.text
        assert description.text


def test_the_page_shows_every_finding_with_advice_and_examples() -> None:
    text = Page(page_of(report(looked_for=["leaks"]))).text
    for said in (
        "leak (train/test)",
        "take them out of train.",
        "= train.csv:4",
        "doubtful 4",
        "drops 2 rows of train",
    ):
        assert said in text
    assert "Looked for: leaks." in text
    assert "Nothing found" in Page(page_of(report([]))).text


def test_the_page_is_for_light_and_dark_and_for_a_phone() -> None:
    html = page_of(report())
    assert "prefers-color-scheme: dark" in html
    assert 'name="viewport"' in html
    variables = set(re.findall(r"var\((--\w+)\)", html))
    light, dark = html.split("prefers-color-scheme: dark")
    assert all(f"{name}: #" in light and f"{name}: #" in dark for name in variables)


def test_class_bars_are_as_long_as_their_shares() -> None:
    classes = next(svg for svg in svgs(page_of(report())) if svg.attrib["aria-labelledby"].startswith("classes"))
    widths = [float(bar.attrib["width"]) for bar in classes.iter("rect")]
    assert [width / max(widths) for width in widths] == pytest.approx(
        [0.7 / 0.75, 0.25 / 0.75, 0.3 / 0.75, 1], abs=1e-3
    )
    assert [bar.attrib["class"] for bar in classes.iter("rect")] == ["train", "test"] * 2


def test_the_score_histogram_counts_what_is_finite() -> None:
    scores = svgs(page_of(report([SUSPECTS])))[-1]
    heights = [float(bar.attrib["height"]) for bar in scores.iter("rect")]
    assert sum(height > 0 for height in heights) == 2
    assert "Probability of the given label" in (scores[0].text or "")
    assert "train, 2 rows" in "".join(scores.itertext())


def test_a_chart_of_77_classes_draws_20_and_says_so() -> None:
    data = Checked(
        {"train": split("train", list(range(77)))}, "single_label_classification", [f"c{i}" for i in range(77)]
    )
    html = page_of(report([], data))
    assert "the 20 most frequent of 77" in html
    assert len(list(svgs(html)[0].iter("rect"))) == 20
    assert len(report([], data).to_dict()["splits"]["train"]["classes"]) == 77


def test_targets_of_a_regression_are_shown_as_histograms_over_one_range() -> None:
    data = Checked({"train": split("train", [-1.0, 0.5, 3.0]), "test": split("test", [0.0])}, "regression", [])
    facts = report([], data).to_dict()
    assert facts["target_range"] == [-1.0, 3.0]
    assert facts["splits"]["train"]["classes"] == {}
    assert [sum(split["targets"]) for split in facts["splits"].values()] == [3, 1]
    assert (facts["splits"]["train"]["targets"][0], facts["splits"]["train"]["targets"][-1]) == (1, 1)
    assert facts["splits"]["test"]["targets"][5] == 1
    assert "Targets by split" in page_of(report([], data))


def test_targets_that_are_all_equal_have_a_histogram_too() -> None:
    data = Checked({"train": split("train", [2.0, 2.0])}, "regression", [])
    assert sum(report([], data).to_dict()["splits"]["train"]["targets"]) == 2
    assert svgs(page_of(report([], data)))


def test_a_row_of_several_labels_counts_for_each_and_pairs_count_both_texts() -> None:
    rows = split("train", [[1, 1], [0, 1]], ["ab", ""], ["cde", ""])
    data = Checked({"train": rows}, "multi_label_classification", ["x", "y"])
    facts = report([], data).to_dict()["splits"]["train"]
    assert facts["classes"] == {"x": 1, "y": 2}
    assert facts["text_lengths"] == {"0": 1, "5": 1}
    assert svgs(page_of(report([], data)))


def test_a_split_without_rows_breaks_nothing() -> None:
    data = Checked({"train": split("train", [0]), "test": split("test", [])}, "single_label_classification", ["a"])
    found = replace(LEAK, rows=0, of=0, examples=[])
    assert "test   0 rows" in as_text(report([found], data))
    assert svgs(page_of(report([found], data)))
    json.loads(report([found], data).to_json())


def test_histogram_bars_are_in_shares_of_the_highest() -> None:
    svg = ElementTree.fromstring(histogram("h", "t", "d", [Panel("p", [1, 4, 2], "train")], list("abcd"), "u"))
    heights = [float(bar.attrib["height"]) for bar in svg.iter("rect")]
    assert [height / max(heights) for height in heights] == pytest.approx([0.25, 1, 0.5], abs=1e-3)
    assert [text.text for text in svg.iter("title")][1:] == [
        "a to b: 1 (14.3%)",
        "b to c: 4 (57.1%)",
        "c to d: 2 (28.6%)",
    ]


def test_bars_of_nothing_are_a_chart_still() -> None:
    svg = ElementTree.fromstring(bars("b", "t", "d", [("none", [Bar(0, "0.0%", "error")])]))
    assert [float(bar.attrib["width"]) for bar in svg.iter("rect")] == [0]


def test_a_share_that_rounds_to_nothing_is_not_called_nothing() -> None:
    assert [percent(share) for share in (0, 1e-6, 0.0004, 0.0006, 0.125, 1)] == [
        "0.0%", "<0.1%", "<0.1%", "0.1%", "12.5%", "100.0%",
    ]  # fmt: skip


def test_width_counts_columns_not_characters() -> None:
    assert [columns_of(text) for text in ("abc", "映画", "e\u0301", "🙂")] == [3, 4, 1, 2]
    assert fit("映画映画", 5) == "映画…"
    assert fit("映画", 4) == "映画"
    assert visible(" a \n\t b\u2028c ") == r"a b\u2028c"
