"""Near-duplicates: shingles and Jaccard by hand, the odds of banding, planted copies found, templates kept in bounds."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence

import numpy as np
import pytest

from nlp_ft.data.checks.finding import Checked, Finding, Split
from nlp_ft.data.checks.near_duplicates.candidates import candidates
from nlp_ft.data.checks.near_duplicates.minhash import BANDS, ROWS, Sketches, agreement_probability, minima
from nlp_ft.data.checks.near_duplicates.search import near_duplicates
from nlp_ft.data.checks.near_duplicates.shingles import jaccard, shingle_sets, shingles

SYLLABLES = ("ba", "lo", "ti", "ne", "su", "ram", "kel", "dor", "vis", "po", "gri", "mun", "fa", "het", "oc", "zu")
VOCABULARY = ["".join(random.Random(n).choices(SYLLABLES, k=1 + n % 3)) for n in range(600)]
TAILS = ("#monday", "!!!", "lol so true", "- a must see", "what do you think?")


def split(name: str, texts: Sequence[str], pairs: Sequence[str] | None = None) -> Split:
    return Split(name, texts, pairs, [0] * len(texts), lambda row: f"{name}.csv:{row + 2}")


def check(**splits: Sequence[str]) -> Checked:
    texts = {name: split(name, rows) for name, rows in splits.items()}
    return Checked(texts, "single_label_classification", ["fine"])


def sentences(count: int, seed: int, least: int = 8, most: int = 20) -> list[str]:
    """Random ones, no two alike."""
    draw = random.Random(seed)
    return [" ".join(draw.choices(VOCABULARY, k=draw.randint(least, most))) for _ in range(count)]


def one_word(text: str, change: Callable[[str], str], draw: random.Random) -> str:
    words = text.split()
    at = draw.randrange(len(words))
    words[at] = change(words[at])
    return " ".join(words).replace("  ", " ").strip()


def swapped(text: str, draw: random.Random) -> str:
    words = text.split()
    one, two = draw.sample(range(len(words)), 2)
    words[one], words[two] = words[two], words[one]
    return " ".join(words)


def typo(word: str, draw: random.Random) -> str:
    at = draw.randrange(len(word))
    return word[:at] + draw.choice("xyz") + word[at + draw.randrange(2) :]


PLANTS: dict[str, Callable[[str, random.Random], str]] = {
    "a word changed": lambda text, draw: one_word(text, lambda _: draw.choice(VOCABULARY), draw),
    "a word dropped": lambda text, draw: one_word(text, lambda _: "", draw),
    "two words swapped": swapped,
    "a tail": lambda text, draw: f"{text} {draw.choice(TAILS)}",
    "two typos": lambda text, draw: one_word(
        one_word(text, lambda word: typo(word, draw), draw), lambda word: typo(word, draw), draw
    ),
    "case and punctuation": lambda text, draw: text.title().replace(" ", ", ", 2) + " :)",
    "entities and quotes": lambda text, draw: f"&quot;{text.replace(' ', '&nbsp;', 1)}&#39;”",
    "cut": lambda text, draw: text[: round(len(text) * 0.9)],
}


def named(findings: list[Finding], check: str) -> Finding:
    (found,) = (finding for finding in findings if finding.check == check)
    return found


def test_jaccard_by_hand() -> None:
    # " good film " has the 4-grams " goo" "good" "ood " "od f" "d fi" " fil" "film" "ilm ", " good " the first three
    one, other = shingle_sets(["good film", "good"])
    assert (len(one), len(other), len(one & other)) == (8, 3, 3)
    assert jaccard(one, other) == 3 / 8
    assert jaccard(one, one) == 1
    assert jaccard(one, set()) == 0
    assert jaccard(set(), set()) == 1


@pytest.mark.parametrize(
    "text",
    [
        "DON'T  stop , now!",
        "“don’t stop—now”",
        "dont stop now \N{GRINNING FACE}\ufe0f",
        "don&#39;t stop&nbsp;now",
        "do\u00adn't \u200bstop\tnow",
        "\uff44\uff4f\uff4e\uff54 stop now",
    ],
)
def test_case_punctuation_quotes_entities_and_emoji_do_not_count(text: str) -> None:
    assert shingle_sets([text]) == shingle_sets(["dont stop now"])


def test_letters_marks_and_digits_count() -> None:
    texts = ["room 12", "room 13", "cafe au lait", "café au lait", "किताब", "किताबे"]
    sets = shingle_sets(texts)
    assert len({frozenset(one) for one in sets}) == len(texts)
    assert shingle_sets(["cafe\u0301 au lait"]) == [sets[3]]


def test_a_batch_gives_each_text_its_own_shingles() -> None:
    texts = ["", "a", "one text", "!!", "another, text", "我很喜欢这个地方", ""]
    hashes, counts = shingles(texts)
    assert counts.tolist() == [0, 0, 7, 0, 11, 15, 0]
    assert len(hashes) == 33
    assert [frozenset(one) for one in shingle_sets(texts)] == [frozenset(*shingle_sets([text])) for text in texts]
    assert shingles([])[0].size == 0


def test_the_odds_of_a_candidate() -> None:
    assert agreement_probability(0.5, bands=2, rows=3) == 1 - (7 / 8) ** 2
    assert (agreement_probability(0), agreement_probability(1)) == (0, 1)
    assert agreement_probability(0.65) == pytest.approx(0.98, abs=0.005)
    assert agreement_probability(0.7) == pytest.approx(0.997, abs=0.001)
    assert agreement_probability(0.1) < 0.001


@pytest.mark.parametrize("similarity", [0.2, 0.5, 0.8])
def test_estimates_and_bands_agree_with_theory(similarity: float) -> None:
    """2000 pairs of sets of 100 with a known Jaccard similarity."""
    draw, pairs = np.random.default_rng(1), 2000
    common = round(200 * similarity / (1 + similarity))
    truth = common / (200 - common)
    sets = draw.integers(0, 1 << 64, (pairs, 200 - common), dtype=np.uint64)
    hashes = np.stack([sets[:, :100], sets[:, -100:]], axis=1)
    sketches = Sketches.empty(2 * pairs)
    counts = np.full(2 * pairs, 100)
    sketches.fill(0, minima(hashes.ravel(), counts), counts)
    indices = np.arange(pairs) * 2
    estimates = sketches.estimate(indices, indices + 1)
    error = (truth * (1 - truth) / (BANDS * ROWS)) ** 0.5
    assert estimates.mean() == pytest.approx(truth, abs=0.01)
    assert estimates.std() == pytest.approx(error, rel=0.15)
    agree = (sketches.bands[:, indices] == sketches.bands[:, indices + 1]).any(0).mean()
    assert agree == pytest.approx(agreement_probability(truth), abs=0.04)


def test_planted_copies_of_every_kind_are_found_and_nothing_else() -> None:
    train = sentences(600, seed=1)
    draw = random.Random(2)
    kinds = [kind for kind in PLANTS for _ in range(40)]
    sources = draw.sample(range(600), len(kinds))
    planted = [PLANTS[kind](train[row], draw) for kind, row in zip(kinds, sources, strict=True)]
    found = named(near_duplicates(check(train=train, test=planted)), "near_leak")
    hit = set(found.indices["test"])
    assert len(hit) >= 0.97 * len(kinds)
    for kind in PLANTS:
        rows = [row for row, one in enumerate(kinds) if one == kind and planted[row] not in train]
        assert len(hit & set(rows)) >= 0.9 * len(rows), kind
    assert set(found.indices["train"]) <= set(sources)
    assert found.drop == {"train": sorted(found.indices["train"])}


def test_unrelated_texts_are_no_duplicates() -> None:
    assert near_duplicates(check(train=sentences(1500, 3), test=sentences(500, 4))) == []


def test_a_near_leak_shows_the_pair_its_similarity_and_what_to_do() -> None:
    train = [*sentences(20, 5), "We stayed in room 12 for a week and it was fine"]
    test = [*sentences(5, 6), "We stayed in room 13 for a week, and it was fine!"]
    (found,) = near_duplicates(check(train=train, test=test))
    one, other = shingle_sets([train[-1], test[-1]])
    similarity = jaccard(one, other)
    assert 0.8 < similarity < 0.9
    assert (found.check, found.severity, found.split, found.rows, found.of) == (
        "near_leak",
        "warning",
        "train/test",
        1,
        21,
    )
    assert found.message == "1 of 6 texts of test (16.7%) are nearly the same as one of train (similarity from 0.65)"
    assert found.advice == "look at the pairs; where they are versions of one text, take them out of train."
    assert found.indices == {"train": [20], "test": [5]}
    assert found.scores == {"train": [similarity], "test": [similarity]}
    assert found.drop == {"train": [20]}
    (shown,) = found.examples
    assert (shown.where, shown.text, shown.label) == ("test.csv:7", test[-1], "fine")
    assert shown.note == f"{similarity:.2f} like train.csv:22 (fine): {train[-1]}"


def test_near_duplicates_within_a_split_are_shown_by_group_and_never_dropped() -> None:
    base = sentences(30, 7)
    train = [*base, f"{base[3]} yes", f"{base[3]} no", base[8].title() + "!"]
    (found,) = near_duplicates(check(train=train))
    assert (found.check, found.severity, found.split, found.of) == ("near_duplicates", "warning", "train", 33)
    assert found.message == "texts that are nearly the same (similarity from 0.65): 2 groups, the largest of 3"
    assert sorted(found.indices["train"]) == [3, 8, 30, 31, 32]
    assert (found.indices["train"][:2], found.scores["train"][:2]) == ([8, 32], [1, 1])
    assert found.measures == {"groups": 2, "largest_group": 3}
    assert found.drop == {}
    assert [one.where for one in found.examples] == ["train.csv:33", "train.csv:34"]
    assert found.examples[0].note.startswith("one of 3 in its group; 0.")
    assert found.examples[1].note == f"1.00 like train.csv:10 (fine): {base[8]}"


def test_equal_texts_are_left_to_the_exact_check_but_all_their_rows_are_dropped() -> None:
    text = "the very same words stand here more than once"
    assert near_duplicates(check(train=[text, text.upper()], test=[text])) == []
    (found,) = near_duplicates(check(train=[text, f"  {text.upper()}"], test=[f"{text} again", text]))[:1]
    assert (found.check, found.drop, found.indices["test"]) == ("near_leak", {"train": [0, 1]}, [0])


def test_validation_is_never_changed_and_less_than_a_test_row_is_worth_a_note() -> None:
    text = "the very same words stand here more than once"
    found = near_duplicates(check(train=[f"{text} or"], validation=[f"{text} and"], test=[f"{text} but"]))
    assert [(one.split, one.severity, one.drop) for one in found] == [
        ("train/test", "warning", {"train": [0]}),
        ("train/validation", "note", {"train": [0]}),
        ("validation/test", "note", {}),
    ]


@pytest.mark.parametrize(
    ("one", "other", "alike"),
    [
        ("pretty good", "it's pretty good", False),  # 0.71: enough for a long text
        ("great buy", "a great buy!", True),  # 0.8
        ("value for money", "Value for money...", True),
        (
            "the menus are easy to navigate and so are the buttons",
            "menus are easy to navigate, so are the buttons",
            True,
        ),
    ],
)
def test_short_texts_must_be_more_alike(one: str, other: str, alike: bool) -> None:
    assert bool(near_duplicates(check(train=[one, other]))) is alike


def test_pairs_are_alike_only_if_both_texts_are() -> None:
    premise = "a man in a blue coat walks his two dogs along the river"
    firsts = [premise, premise, f"{premise} today"]
    seconds = [
        "a man is outdoors with some animals",
        "nobody at all is to be seen there",
        "a man is outdoors with some animal",
    ]
    train = split("train", firsts, seconds)
    (found,) = near_duplicates(Checked({"train": train}, "single_label_classification", ["fine"]))
    assert sorted(found.indices["train"]) == [0, 2]


def test_chinese_texts_with_one_word_changed_are_alike() -> None:
    train = [
        "这家酒店的房间很干净服务也非常好下次还会再来",
        "这家酒店的房间很干净服务也非常差下次还会再来",
        "今天的天气真不错我们去公园走走吧好不好",
    ]
    (found,) = near_duplicates(check(train=train))
    assert sorted(found.indices["train"]) == [0, 1]


def test_thousands_of_rows_of_one_template_stay_few_pairs_one_group_and_undropped() -> None:
    draw = random.Random(8)
    texts = [
        f"Your order has been shipped and will be with you on day {number} of the year"
        for number in draw.sample(range(10**6), 3000)
    ]
    sketches = Sketches.empty(3000)
    hashes, counts = shingles(texts)
    sketches.fill(0, minima(hashes, counts), counts)
    pairs = candidates(sketches, np.ones(3000, np.uint8), 0.65, lambda done, total: None)
    assert len(np.unique(pairs)) == 3000
    assert len(pairs) < 15 * 3000  # of 4.5 million
    leak, train, _ = near_duplicates(check(train=texts[:2900], test=texts[2900:]))
    assert (leak.rows, len(leak.indices["test"]), leak.drop) == (2900, 100, {})
    assert leak.advice.endswith("; --fix keeps 2900 rows of groups of more than 20, which look like a template.")
    assert (train.check, train.rows, train.measures["largest_group"]) == ("near_duplicates", 2900, 2900)
    assert len(train.examples) == 1


def test_copies_that_share_long_boilerplate_with_all_rows_are_found() -> None:
    """Half of every text is the same: bands of that half are buckets of all rows."""
    head = "this review was collected as part of a promotion and all opinions are my own "
    own = sentences(1200, 9, 12, 14)
    draw = random.Random(10)
    planted = [head + one_word(text, lambda _: draw.choice(VOCABULARY), draw) for text in own[:60]]
    found = named(near_duplicates(check(train=[head + text for text in own], test=planted)), "near_leak")
    assert len(found.indices["test"]) >= 58
    assert set(found.indices["train"]) == set(found.indices["test"])


def test_it_says_how_far_it_is() -> None:
    seen: list[tuple[int, int]] = []
    train = sentences(300, 11)
    near_duplicates(check(train=train, test=[f"{text} too" for text in train]), progress=lambda *at: seen.append(at))
    assert seen == sorted(seen)
    assert seen[-1] == (100, 100)
    assert {at for at, _ in seen} >= {60, 70, 80}


@pytest.mark.parametrize("texts", [[], ["one text that stands alone"], ["", "!"], ["a", "A!", "b"]])
def test_tables_with_nothing_to_compare_have_no_findings(texts: list[str]) -> None:
    assert near_duplicates(check(train=texts, test=[])) == []


def test_the_same_table_gives_the_same_findings() -> None:
    train, test = sentences(200, 12), [f"{text} too" for text in sentences(200, 12)]
    assert near_duplicates(check(train=train, test=test)) == near_duplicates(check(train=train, test=test))
