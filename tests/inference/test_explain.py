"""Attributions add up, are those of the closed form where there is one, and stand at the words they belong to."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Sequence
from html.parser import HTMLParser
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from tiny import FAMILIES, LABELS, TEXTS, classifier
from torch import nn

from nlp_ft.cli.explain import explain_command
from nlp_ft.errors import ConfigError, DataError, ModelError
from nlp_ft.evaluation.inference_config import InferenceConfig
from nlp_ft.evaluation.metrics import MULTI, REGRESSION, SINGLE
from nlp_ft.inference.classifier import Classifier
from nlp_ft.inference.explain.explanation import Explanation
from nlp_ft.inference.explain.integrated_gradients import Token, explain
from nlp_ft.inference.explain.word_spans import merge_into_words
from nlp_ft.inference.forward import ForwardPass

pytest.importorskip("captum")
every_family = pytest.mark.parametrize("family", FAMILIES)
ODD = ["a lovely film 🎉 naïve, l'été", "  spaced\tout\nlines  ", "良い映画 film", "", "   "]


def _classifier(family: str, labels: Any = LABELS, problem: str = SINGLE) -> Classifier:
    model, tokenizer = classifier(family, labels, problem)
    return Classifier(model, tokenizer, "cpu")


class Linear(nn.Module):
    """Logits: a matrix times the sum of the embeddings of all tokens; every attribution is known by hand."""

    def __init__(self, words: int, classes: int) -> None:
        super().__init__()
        torch.manual_seed(5)
        self.embedding = nn.Embedding(words, 8)
        self.out = nn.Linear(8, classes)
        self.config = SimpleNamespace(num_labels=classes)
        self.device = torch.device("cpu")

    def get_input_embeddings(self) -> nn.Module:
        return self.embedding

    def forward(self, input_ids: torch.Tensor, attention_mask: torch.Tensor, **_: Any) -> Any:
        summed = (self.embedding(input_ids) * attention_mask[..., None]).sum(1)
        return SimpleNamespace(logits=self.out(summed))


def _linear(classes: int, problem: str) -> Any:
    tokenizer = FAMILIES["bert"].tokenizer()
    return _toy(Linear(len(tokenizer), classes).eval(), tokenizer, problem, LABELS[:classes])


def _toy(model: nn.Module, tokenizer: Any, problem: str, labels: Sequence[str]) -> Any:
    """The members of a Classifier that explaining reads."""
    return SimpleNamespace(
        model=model,
        tokenizer=tokenizer,
        forward_pass=ForwardPass(model, tokenizer, 64, InferenceConfig()),
        problem_type=problem,
        labels=[] if problem == REGRESSION else labels,
    )


@pytest.mark.parametrize(("problem", "classes"), [(SINGLE, 2), (MULTI, 3), (REGRESSION, 1)])
def test_a_linear_models_attributions_are_its_closed_form(problem: str, classes: int) -> None:
    toy = _linear(classes, problem)
    target = None if problem == REGRESSION else LABELS[1]
    (found,) = explain(toy, [TEXTS[0]], target=target, steps=3)
    weight, table = toy.model.out.weight.detach(), toy.model.embedding.weight.detach()
    direction = (
        {SINGLE: weight[1] - weight[0], MULTI: weight[-2], REGRESSION: weight[0]}[problem] if classes > 1 else weight[0]
    )
    words = TEXTS[0].split()
    assert [token.text for token in found.tokens] == words
    for word, share in zip(words, found.attributions, strict=True):
        ids = toy.tokenizer(word, add_special_tokens=False)["input_ids"]
        by_hand = sum(direction @ (table[i] - table[toy.tokenizer.pad_token_id]) for i in ids)
        assert share == pytest.approx(float(by_hand), abs=1e-5)
    assert found.completeness_error < 1e-5
    assert found.target == target


def test_a_steeper_models_shares_are_the_integral_along_the_straight_line() -> None:
    """Each share is (e - e') times the mean slope of the squared sum between baseline and text, 2 (start + end) / 2."""

    class Squared(Linear):
        def forward(self, input_ids: torch.Tensor, attention_mask: torch.Tensor, **_: Any) -> Any:
            summed = (self.embedding(input_ids).sum(-1) * attention_mask).sum(1, keepdim=True)
            return SimpleNamespace(logits=summed**2)

    toy = _linear(1, REGRESSION)
    toy = _toy(Squared(len(toy.tokenizer), 1), toy.tokenizer, REGRESSION, [])
    (found,) = explain(toy, ["so so film"], steps=8)
    table = toy.model.embedding.weight.detach().sum(-1)
    ids, pad = toy.tokenizer("so so film")["input_ids"], toy.tokenizer.pad_token_id
    end = float(table[ids].sum())
    start = float(table[[ids[0], *[pad] * (len(ids) - 2), ids[-1]]].sum())
    assert len(found.tokens) == 3
    assert found.attributions[0] == pytest.approx(float(table[ids[1]] - table[pad]) * (start + end), rel=1e-4)
    assert (found.value, found.baseline) == (pytest.approx(end**2, rel=1e-5), pytest.approx(start**2, rel=1e-5))


@every_family
def test_attributions_add_up_at_a_few_steps(family: str) -> None:
    loaded = _classifier(family)
    for found in explain(loaded, TEXTS[:4], steps=256 if family == "t5" else 64):  # its scores are not scaled
        total = sum(found.attributions)
        assert found.completeness_error == pytest.approx(abs(total - (found.value - found.baseline)), abs=1e-6)
        assert found.completeness_error < 0.02 * max(1.0, abs(found.value - found.baseline))
        assert sum(map(abs, found.attributions)) > 1e-3


@every_family
def test_a_padded_batch_gives_what_single_texts_give(family: str) -> None:
    loaded = _classifier(family)
    together = explain(loaded, TEXTS[:4], steps=4, batch_size=4)
    for text, one in zip(TEXTS[:4], together, strict=True):
        (alone,) = explain(loaded, [text], steps=4)
        assert (alone.tokens, alone.target, alone.text) == (one.tokens, one.target, text)
        np.testing.assert_allclose(one.attributions, alone.attributions, atol=2e-4)
        assert one.score == pytest.approx(alone.score, abs=1e-5)


@every_family
def test_value_and_score_are_those_of_the_prediction(family: str) -> None:
    loaded = _classifier(family)
    for found, answer in zip(explain(loaded, TEXTS[:3], steps=1), loaded.predict(TEXTS[:3]), strict=True):
        assert (found.target, found.score) == (answer.label, pytest.approx(answer.score, abs=1e-5))
        assert found.value == pytest.approx(float(np.log(answer.score / (1 - answer.score))), abs=1e-3)


@every_family
def test_offsets_give_back_the_text_and_miss_no_word(family: str) -> None:
    texts = [*TEXTS, *ODD]
    if family == "llama":
        texts = [text for text in texts if text.strip()]
    for text, found in zip(texts, explain(_classifier(family), texts, steps=1), strict=True):
        ends = 0
        for token in found.tokens:
            assert (token.text, token.part) == (text[token.start : token.end], 0)
            assert token.start >= ends
            ends = token.end
        covered = {i for token in found.tokens for i in range(token.start, token.end)}
        assert {i for i, sign in enumerate(text) if sign.isalnum()} <= covered
        if text in TEXTS:
            assert [token.text for token in found.tokens] == re.findall(r"\w+|[^\w\s]", text)


@pytest.mark.parametrize("family", ["bert", "xlnet", "gpt2", "llama"])
def test_pairs_have_words_of_both_parts(family: str) -> None:
    pair = (TEXTS[0], TEXTS[1])
    (found,) = explain(_classifier(family), [pair], steps=64)
    assert (found.text, found.pair) == pair
    for part in (0, 1):
        words = [token for token in found.tokens if token.part == part]
        assert [token.text for token in words] == pair[part].split()
        assert all(token.text == pair[part][token.start : token.end] for token in words)
    assert found.completeness_error < 0.02 * max(1.0, abs(found.value - found.baseline))


@pytest.mark.parametrize("family", ["bert", "gpt2"])
def test_multi_label_and_regression(family: str) -> None:
    loaded = _classifier(family, LABELS, MULTI)
    (found,) = explain(loaded, [TEXTS[0]], target="glad", steps=64)
    assert found.value == pytest.approx(float(loaded.logits([TEXTS[0]])[0, 2]), abs=1e-5)
    assert (found.target, found.score) == ("glad", pytest.approx(1 / (1 + np.exp(-found.value)), abs=1e-5))
    (likeliest,) = explain(loaded, [TEXTS[0]], steps=1)
    assert likeliest.target == LABELS[int(loaded.logits([TEXTS[0]]).argmax())]
    numbers = _classifier(family, [], REGRESSION)
    (number,) = explain(numbers, [TEXTS[0]], steps=64)
    assert number.target is None
    assert number.score == number.value == pytest.approx(float(numbers.logits([TEXTS[0]])[0, 0]), abs=1e-5)
    assert number.completeness_error < 0.02 * max(1.0, abs(number.value - number.baseline))


def test_the_targets_shares_differ_and_two_classes_mirror_each_other() -> None:
    loaded = _classifier("bert", LABELS[:2])
    (angry,) = explain(loaded, [TEXTS[0]], target="angry", steps=4)
    (calm,) = explain(loaded, [TEXTS[0]], target="calm", steps=4)
    np.testing.assert_allclose(angry.attributions, [-share for share in calm.attributions], atol=1e-5)


def test_a_long_text_is_cut_and_says_so() -> None:
    loaded = _classifier("bert")
    long = " ".join(["lovely film"] * 100)
    short, cut = explain(loaded, ["lovely film", long], steps=1)
    assert (short.cut, len(cut.tokens)) == (0, 62)
    assert cut.cut == 138
    assert "138 tokens at its end were not read." in cut.to_terminal()
    assert "138 tokens at its end were not read." in cut.to_html()


def test_blank_texts_have_no_words_or_are_refused() -> None:
    (found,) = explain(_classifier("gpt2"), [""], steps=1)
    assert (found.tokens, found.completeness_error) == ((), pytest.approx(0, abs=1e-6))
    loaded = _classifier("qwen2")
    loaded.forward_pass.tokenizer.eos_token = None
    with pytest.raises(DataError) as caught:
        explain(loaded, ["a", ""])
    assert str(caught.value) == "row 1: '' has no tokens, and this tokenizer no end token to stand for them."


def test_explaining_changes_no_answer_and_leaves_no_gradient() -> None:
    loaded = _classifier("bert")
    before = loaded.logits(TEXTS)
    explain(loaded, TEXTS[:2], steps=2)
    np.testing.assert_array_equal(loaded.logits(TEXTS), before)
    assert all(parameter.grad is None for parameter in loaded.model.parameters())
    assert not loaded.model.get_input_embeddings()._forward_hooks


def test_shares_of_word_pieces_are_summed() -> None:
    tokenizer = FAMILIES["bert"].tokenizer()
    row = tokenizer("lovelyfilm !", return_special_tokens_mask=True, return_offsets_mapping=True)
    shares = [float(i) for i in range(len(row["input_ids"]))]
    shares[0] = shares[-1] = 0.0
    tokens, sums = merge_into_words("lovelyfilm !", None, row, row.sequence_ids(), shares)
    assert tokens == [Token("lovelyfilm", 0, 10), Token("!", 11, 12)]
    assert sums == [sum(shares[1:-2]), shares[-2]]


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"target": "glda"}, ConfigError, "no label 'glda'; there are angry, calm, glad. Did you mean 'glad'?"),
        ({"steps": 0}, ConfigError, "steps must be at least 1, got 0."),
        ({"batch_size": 0}, ConfigError, "batch_size must be at least 1, got 0."),
    ],
)
def test_options_out_of_range_are_refused(options: dict[str, Any], error: type[Exception], message: str) -> None:
    with pytest.raises(error) as caught:
        explain(_classifier("bert"), ["a"], **options)
    assert str(caught.value) == message


def test_what_cannot_be_explained_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ConfigError, match="a regression has no labels"):
        explain(_classifier("bert", [], REGRESSION), ["a"], target="glad")
    exported: Any = SimpleNamespace(forward_pass=SimpleNamespace(model=object()))
    with pytest.raises(ModelError, match="no gradients to explain by; load the directory it was exported from"):
        explain(exported, ["a"])
    with pytest.raises(TypeError, match="takes a sequence of texts"):
        explain(_classifier("bert"), "a text")
    monkeypatch.setitem(sys.modules, "captum.attr", None)
    with pytest.raises(ConfigError) as caught:
        explain(_classifier("bert"), ["a"])
    assert str(caught.value) == "explaining needs captum; pip install 'nlp_ft[explain]'."


# What is shown.


EVIL = '<script>alert("1")</script> & \x1b[31mred\x1b[0m "quoted"'


def _shown(text: str = "so <b>good</b>", target: str = "<i>glad</i>") -> Explanation:
    words = [Token(match[0], match.start(), match.end()) for match in re.finditer(r"\w+", text)]
    shares = tuple((-1) ** i * 1.0 / (i + 1) for i in range(len(words)))
    return Explanation(text, None, target, 0.9, tuple(words), shares, 2.0, 0.5, 0.01, 0.02)


class _Page(HTMLParser):
    """Tags and text as a browser would see them."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.paragraph, self.text = False, ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.paragraph = tag == "p" or (self.paragraph and tag in ("mark", "span"))

    def handle_endtag(self, tag: str) -> None:
        self.paragraph = tag in ("sup", "span", "mark")

    def handle_data(self, data: str) -> None:
        self.text += data if self.paragraph else ""


@pytest.mark.parametrize("text", ["so <b>good</b>", EVIL, "a &amp; b < c"])
def test_a_page_shows_the_text_as_it_is_and_runs_none_of_it(text: str) -> None:
    html = _shown(text).to_html()
    seen = _Page()
    seen.feed(html)
    assert seen.text == text
    assert set(seen.tags) <= {
        "html",
        "head",
        "meta",
        "title",
        "style",
        "body",
        "main",
        "section",
        "h2",
        "p",
        "mark",
        "span",
        "sup",
        "small",
    }
    assert "&lt;i&gt;glad&lt;/i&gt;" in html
    assert not re.search(r"https?:|url\(|@import|src=", html)
    assert "default-src 'none'" in html


def test_every_coloured_word_of_a_page_has_its_sign_and_share() -> None:
    html = _shown("good bad fine").to_html()
    marks = re.findall(r'<mark style="background:(#\w{6})" title="([^"]*)">(\w+)<sup>(.)</sup></mark>', html)
    assert [(title.split()[0], word, sign) for _, title, word, sign in marks] == [
        ("+1.0000", "good", "+"),
        ("-0.5000", "bad", "\N{MINUS SIGN}"),
        ("+0.3333", "fine", "+"),
    ]
    for colour, *_ in marks:  # black on it is read: contrast of 4.5 at least (WCAG 2.2, 1.4.3)
        parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
        light = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in parts]
        assert (0.2126 * light[0] + 0.7152 * light[1] + 0.0722 * light[2] + 0.05) / (0.0056 + 0.05) >= 4.5


def test_a_terminal_gets_signs_or_colours_and_no_control_characters_of_the_text() -> None:
    plain = _shown("good bad fine").to_terminal()
    assert plain.splitlines()[1] == "+++good --bad +fine"
    assert "\x1b" not in _shown(EVIL, "x\x1b[2J").to_terminal()
    coloured = _shown("good bad fine").to_terminal(colour=True)
    assert re.sub(r"\x1b\[[\d;]*m", "", coloured).splitlines()[1] == "+good -bad +fine"
    assert coloured.count("\x1b[0m") == 3


def test_the_dictionary_is_json_and_holds_everything() -> None:
    (found,) = explain(_classifier("bert"), [TEXTS[0]], steps=2)
    again = json.loads(json.dumps(found.to_dict()))
    assert again["tokens"][1] == {
        "text": "lovely",
        "start": 2,
        "end": 8,
        "part": 0,
        "attribution": found.attributions[1],
    }
    assert {"text", "pair", "target", "score", "completeness_error", "relative_error", "cut"} <= set(again)


def test_the_command_prints_and_writes_what_explain_says(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model, tokenizer = classifier("bert")
    model.save_pretrained(tmp_path / "m")
    tokenizer.save_pretrained(tmp_path / "m")
    flags = ["--model", str(tmp_path / "m"), "--text", TEXTS[0], TEXTS[2], "--target", "calm", "--steps", "4"]
    written = [tmp_path / "a.html", tmp_path / "a.json"]
    explain_command([*flags, "--html", str(written[0]), "--json", str(written[1])])
    wanted = explain(Classifier(model, tokenizer, "cpu"), [TEXTS[0], TEXTS[2]], target="calm", steps=4)
    assert capsys.readouterr().out == "\n\n".join(one.to_terminal() for one in wanted) + "\n"
    assert written[0].read_text().count("<section>") == 2
    assert [one["target"] for one in json.loads(written[1].read_text())] == ["calm", "calm"]
    with pytest.raises(ConfigError, match=r"--html \S+ is there already"):
        explain_command([*flags, "--html", str(written[0])])
    with pytest.raises(ConfigError) as caught:
        explain_command([*flags, "--text_pair", "one"])
    assert str(caught.value) == "nlp-ft explain: 2 --text and 1 --text_pair; wanted the same number."
