"""Languages: what a text is told to be, and when a mix of languages is worth a word."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from nlp_ft.data.checks import language_id
from nlp_ft.data.checks.finding import Checked, Example, Split
from nlp_ft.data.checks.language_id import language
from nlp_ft.data.checks.languages import languages

Rows = Sequence[tuple[str, Any]]
SINGLE, MULTI, REGRESSION = "single_label_classification", "multi_label_classification", "regression"
EN = "The film was long and I did not like it"
FR = "Le film est très long et je me suis ennuyé"
DE = "Der Film war leider sehr langweilig und nicht gut"
RU = "Фильм очень скучный"


def check(problem: str = SINGLE, **splits: Rows) -> Checked:
    made = {
        name: Split(
            name, [row[0] for row in rows], None, [row[1] for row in rows], lambda row, name=name: f"{name}:{row}"
        )
        for name, rows in splits.items()
    }
    return Checked(made, problem, [] if problem == REGRESSION else ["bad", "good"])


def even(text: str, rows: int) -> list[tuple[str, int]]:
    """Rows of one text, their labels in turn."""
    return [(text, row % 2) for row in range(rows)]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (EN, "English"),
        (FR, "French"),
        (DE, "German"),
        (RU, "Russian"),
        ("La película es muy aburrida y no me gustó nada", "Spanish"),
        ("Il film è molto noioso e non mi è piaciuto", "Italian"),
        ("O filme é muito chato e eu não gostei", "Portuguese"),
        ("De film was erg saai en ik vond het niet leuk", "Dutch"),
        ("Filmen var väldigt tråkig och jag gillade den inte", "Swedish"),
        ("Filmen var kedelig, og jeg blev træt af de dårlige skuespillere efter en halv time", "Danish"),
        ("Jeg er veldig fornøyd med sykkelen, men leveringen tok altfor lang tid", "Norwegian"),
        ("Film był bardzo nudny i nie podobał mi się", "Polish"),
        ("Film çok sıkıcı ve hiç beğenmedim", "Turkish"),
        ("The battery died after two weeks and nobody answered my letters", "English"),
        ("Le vendeur a répondu vite et la montre fonctionne parfaitement", "French"),
        ("Die Lieferung kam zu spät und das Gehäuse war verkratzt", "German"),
        ("Il cameriere è stato gentile ma la pizza era fredda", "Italian"),
        ("De koffie was lekker maar we moesten heel lang wachten", "Dutch"),
        ("Skorna är bekväma men sulan gick sönder efter en månad", "Swedish"),
        ("Ruoka oli herkullista, mutta palvelu oli todella hidasta", "Finnish"),
        ("Obsługa była miła, ale jedzenie przyszło zimne", "Polish"),
        ("Pokoj byl čistý, ale snídaně mě velmi zklamala", "Czech"),
        ("A könyv nagyon érdekes volt, egy este alatt kiolvastam", "Hungarian"),
        ("Telefonul se încarcă repede, dar camera este slabă", "Romanian"),
        ("Kargo çok hızlı geldi ama ürün kırık çıktı", "Turkish"),
        ("Sách in rất đẹp nhưng giao hàng quá chậm", "Vietnamese"),
        ("Телефон хороший, но батарея садится слишком быстро", "Russian"),
        ("Храната беше вкусна, но чакахме прекалено дълго", "Bulgarian"),
        ("الفيلم ممل جدا ولم يعجبني على الإطلاق، لا أنصح به", "Arabic"),
        ("این گوشی خیلی خوب است ولی باتری آن زود خالی می‌شود", "Persian"),
        ("یہ کتاب بہت اچھی ہے لیکن اس کی قیمت زیادہ ہے", "Urdu"),
        ("यह फिल्म बहुत उबाऊ थी और मुझे बिल्कुल पसंद नहीं आई", "Hindi"),
        ("খাবারটা খুব ভালো ছিল কিন্তু পরিষেবা ধীর", "Bengali"),
    ],
)
def test_the_language_of_a_text_by_its_words(text: str, expected: str) -> None:
    assert language(text) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("この映画はとても退屈でした", "Japanese"),
        ("iPhoneが壊れた", "Japanese"),
        ("这部电影很无聊", "Chinese"),
        ("영화가 너무 지루했어요", "Korean"),
        ("הסרט היה משעמם", "Hebrew"),
        ("η ταινία ήταν βαρετή", "Greek"),
        ("படம் நன்றாக இருந்தது", "Tamil"),
        ("సినిమా బాగుంది", "Telugu"),
        ("อาหารอร่อยมาก", "Thai"),
        ("წიგნი კარგია", "Georgian"),
        ("Ֆիլմը լավն էր", "Armenian"),
        ("ፊልሙ በጣም ጥሩ ነው", "Ethiopic script"),
    ],
)
def test_the_language_of_a_text_by_its_script(text: str, expected: str) -> None:
    assert language(text) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("The best of Пётр and the rest of it", "English"),
        ("Мой новый iPhone сломался через неделю после покупки", "Russian"),
    ],
)
def test_words_in_another_script_do_not_count(text: str, expected: str) -> None:
    assert language(text) == expected


@pytest.mark.parametrize(
    "text",
    ["", "great phone", "12345 !!! :)", "the", "@the_and_is http://the.of/and", "die in", "я", "😂😂😂", "A1-B2 0x7f"],
)
def test_what_says_too_little_has_no_language(text: str) -> None:
    assert language(text) is None


@pytest.mark.parametrize("text", ["Barangnya bagus tetapi pengirimannya lama sekali", "फिल्म बहुत उबाऊ थी"])
def test_an_answer_below_nine_tenths_does_not_count(text: str) -> None:
    """Indonesian or Malay, Hindi or another language in its script."""
    code, probability = language_id._identifier().classify(text)
    assert code in language_id._LANGUAGES
    assert 0.2 < probability < 0.9
    assert language(text) is None


def test_every_language_of_the_model_has_a_name_and_its_global_state_stays() -> None:
    from py3langid import langid

    before = langid.IDENTIFIER
    assert set(language_id._identifier().labels) - {"zxx"} == set(language_id._LANGUAGES)
    language(EN)
    assert langid.IDENTIFIER is before


def test_threads_load_the_model_once_and_agree() -> None:
    language_id._load.cache_clear()
    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(language, [EN, FR, DE, RU] * 20)) == ["English", "French", "German", "Russian"] * 20
    assert language_id._load.cache_info().misses == 1


def test_rows_in_another_language_are_a_note() -> None:
    rows = even(EN, 94) + even(FR, 4) + even(RU, 2) + even("great phone", 20)
    (found,) = languages(check(train=rows))
    assert (found.check, found.severity, found.split, found.rows, found.of) == ("languages", "note", "train", 6, 120)
    assert found.message == (
        "not in English, as most of train is: French 4.0%, Russian 2.0% of 100 rows whose language is known"
    )
    assert found.advice == "leave these rows out, or take a checkpoint that was trained on all these languages."
    assert found.indices == {"train": [94, 95, 96, 97, 98, 99]}
    assert found.examples[:2] == [
        Example("train:94", FR, "bad", "French"),
        Example("train:98", RU, "bad", "Russian"),
    ]
    assert (found.drop, found.rewrite) == ({}, {})


@pytest.mark.parametrize(("english", "french"), [(96, 4), (10, 4), (990, 10)])
def test_few_rows_in_another_language_are_not_worth_a_word(english: int, french: int) -> None:
    assert languages(check(train=even(EN, english) + even(FR, french))) == []


def test_texts_of_unknown_language_alone_are_not_worth_a_word() -> None:
    assert languages(check(train=even("great phone", 50))) == []
    assert languages(check(train=[])) == []


def test_a_language_that_goes_with_a_label_is_a_warning() -> None:
    rows = [(EN, 0)] * 100 + [(EN, 1)] * 80 + [(FR, 1)] * 20
    (found,) = languages(check(train=rows))
    assert found.severity == "warning"
    assert found.message.endswith("; French is 20.0% of good and 0.0% of the other labels")
    assert found.advice.endswith(
        "; a model may learn the language in place of the label: collect each label in each language."
    )


def test_a_language_spread_evenly_over_the_labels_is_a_note() -> None:
    (found,) = languages(check(train=even(EN, 160) + even(FR, 40)))
    assert found.severity == "note"


def test_a_small_class_in_another_language_is_a_warning_though_few_rows_are_concerned() -> None:
    rows = even(EN, 4000)[::2] + [(EN, 1)] * 30 + [(FR, 1)] * 10
    (found,) = languages(check(train=rows))
    assert (found.severity, found.rows) == ("warning", 10)


def test_a_difference_that_chance_may_make_is_no_warning() -> None:
    """3 of 31 rows and 7 of 31: more than 10 points, but less than two standard errors."""
    rows = [(EN, 0)] * 28 + [(FR, 0)] * 3 + [(EN, 1)] * 24 + [(FR, 1)] * 7
    (found,) = languages(check(train=rows))
    assert found.severity == "note"


def test_a_split_in_other_languages_than_train_is_a_warning() -> None:
    found = languages(check(train=even(EN, 100), test=even(EN, 50) + even(DE, 50)))
    assert [(one.split, one.severity, one.rows) for one in found] == [("test", "warning", 50)]
    assert found[0].message.endswith("; German is 50.0% of test and 0.0% of train")
    assert "figures on test do not hold for the languages of train" in found[0].advice


def test_a_split_without_the_second_language_of_train_is_told_though_no_row_of_it_is_odd() -> None:
    found = {one.split: one for one in languages(check(train=even(EN, 120) + even(DE, 80), validation=even(EN, 100)))}
    assert found["train"].severity == "note"
    assert (found["validation"].severity, found["validation"].rows) == ("warning", 0)


def test_the_main_language_is_that_of_train_whatever_it_is() -> None:
    (found,) = languages(check(train=even(DE, 90) + even(EN, 10)))
    assert found.message.startswith("not in German, as most of train is: English 10.0%")


def test_multi_label_classes_are_compared_and_a_regression_has_none() -> None:
    multi = [(EN, [1, 0])] * 60 + [(FR, [1, 1])] * 40
    assert languages(check(MULTI, train=multi))[0].severity == "warning"
    values = [(EN, 0.1)] * 60 + [(FR, 0.9)] * 40
    (found,) = languages(check(REGRESSION, train=values))
    assert (found.severity, found.examples[0].label) == ("note", "0.9")


def test_of_many_rows_a_seeded_sample_is_read_and_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("nlp_ft.data.checks.languages._SAMPLE", 1000)
    rows = (even(EN, 95) + even(FR, 5)) * 20
    checked = check(train=rows)
    (found,) = languages(checked, seed=3)
    assert found.of == 1000
    assert 20 < found.rows < 80
    assert found.message.endswith(" rows whose language is known in a seeded sample of 1000 rows")
    assert all(rows[place][0] == FR for place in found.indices["train"])
    assert max(found.indices["train"]) > 1000
    assert languages(checked, seed=3) == [found]
    assert languages(checked, seed=4) != [found]
