"""Encodings that are not UTF-8: the likely one is named once with the flag that reads it, and no text is garbled."""

from __future__ import annotations

import gzip
from pathlib import Path

import pytest

from nlp_ft.config import DataArguments
from nlp_ft.data import load_data, open_texts, read_table
from nlp_ft.errors import ConfigError, DataError

GUESSES = {  # what is written, in which encoding, what is to be guessed
    "curly quotes": ("The bread, he “said”, cost €5", "cp1252", "cp1252"),
    "a long dash": ("cold – and stale", "cp1252", "cp1252"),
    "German": ("Das Frühstück war schön und groß", "latin-1", "cp1252"),
    "French": ("Le déjeuner était très bon, ça va", "cp1252", "cp1252"),
    "Spanish": ("El niño comió mañana en la habitación", "cp1252", "cp1252"),
    "Portuguese": ("não é bom, coração", "cp1252", "cp1252"),
    "several western languages": ("Zürich, señor, résumé, smörgås", "cp1252", "cp1252"),
    "Polish": ("Zupa była zimna, chleb czerstwy, żółć", "cp1250", "cp1250"),
    "Czech": ("Polévka byla studená, příšerně žluťoučký kůň", "cp1250", "cp1250"),
    "Hungarian": ("A leves hideg volt, a kenyér száraz, őrült jó", "cp1250", "cp1250"),
    "Latin-2": ("Zupa była zimna, chleb czerstwy, okropność żółć", "iso8859_2", "iso8859_2"),
    "Turkish": ("Çorba soğuktu ve ekmek bayattı, şehir güzel", "cp1254", "cp1254"),
    "Lithuanian": ("Zupa buvo šalta, duona sena, labai blogai, ačiū", "cp1257", "cp1257"),
    "Russian": ("Суп был холодный, а хлеб чёрствый", "cp1251", "cp1251"),
    "Russian of Unix": ("Суп был холодный, а хлеб чёрствый", "koi8_r", "koi8_r"),
    "Russian of DOS": ("Суп был холодный, а хлеб чёрствый", "cp866", "cp866"),
    "Ukrainian": ("Суп холодний, їжа погана і дорога", "cp1251", "cp1251"),
    "Greek": ("Η σούπα ήταν κρύα και το ψωμί μπαγιάτικο", "cp1253", "cp1253"),
    "Hebrew": ("המרק היה קר והלחם ישן", "cp1255", "cp1255"),
    "Arabic": ("كان الحساء باردا والخبز قديما", "cp1256", "cp1256"),
    "Thai": ("ซุปเย็นและขนมปังเก่ามาก", "cp874", "cp874"),
    "Mac": ("It’s a café, “nice” and naïve", "mac_roman", "mac_roman"),
    "DOS": ("le café était très bon", "cp850", "cp850"),
    "Chinese": ("酒店很干净，服务也很好", "gbk", "gb18030"),
    "Chinese without common words": ("苹果手机屏幕碎裂", "gb2312", "gb18030"),
    "Chinese of Taiwan": ("湯是冷的，麵包也不新鮮，服務很差", "big5", "cp950"),
    "Japanese": ("スープは冷たくて、パンは古かった", "shift_jis", "cp932"),
    "Japanese of Unix": ("スープは冷たくて、パンは古かった", "euc_jp", "euc_jp"),
    "Korean": ("수프는 차갑고 빵은 딱딱했다", "euc_kr", "cp949"),
}


def written(path: Path, content: bytes) -> Path:
    path.write_bytes(content)
    return path


def rows(text: str, count: int = 30) -> str:
    return "text,label\n" + "".join(f'"{text} {n}",{"ab"[n % 2]}\n' for n in range(count))


def refusal(path: Path, **reading: str) -> str:
    with pytest.raises(DataError) as caught:
        read_table(path, **reading)  # type: ignore[arg-type]
    return str(caught.value).replace(str(path), path.name)


@pytest.mark.parametrize(("text", "encoding", "guess"), GUESSES.values(), ids=GUESSES)
def test_the_likely_encoding_is_told_once_and_reads_the_file(
    tmp_path: Path, text: str, encoding: str, guess: str
) -> None:
    path = written(tmp_path / "a.csv", rows(text).encode(encoding))
    message = refusal(path)
    assert message.count("\n") == 0
    assert f"which --encoding {guess} reads." in message
    assert "(30 lines are not)" in message
    assert list(read_table(path, encoding=guess).columns["text"]) == [f"{text} {n}" for n in range(30)]


@pytest.mark.parametrize("name", ["a.csv", "a.tsv", "a.jsonl", "a.json", "a.txt", "a.csv.gz"])
def test_every_text_format_takes_an_encoding(tmp_path: Path, name: str) -> None:
    texts = {
        "a.csv": "text,label\né “x”,b\n",
        "a.tsv": "text\tlabel\né “x”\tb\n",
        "a.jsonl": '{"text": "é “x”", "label": "b"}\n',
        "a.json": '[{"text": "é “x”", "label": "b"}]',
        "a.txt": "__label__b é “x”\n",
    }
    content = texts[name.removesuffix(".gz")].encode("cp1252")
    path = written(tmp_path / name, gzip.compress(content) if name.endswith(".gz") else content)
    assert "--encoding cp1252" in refusal(path, **({"file_format": "fasttext"} if name == "a.txt" else {}))
    assert read_table(path, encoding="windows-1252").columns == {"text": ["é “x”"], "label": ["b"]}


def test_texts_of_a_folder_and_texts_to_predict_take_an_encoding(tmp_path: Path) -> None:
    (tmp_path / "reviews/good").mkdir(parents=True)
    written(tmp_path / "reviews/good/1.txt", "schön".encode("latin-1"))
    assert read_table(tmp_path / "reviews", encoding="latin-1").columns["text"] == ["schön"]
    path = written(tmp_path / "a.csv", "text\nschön\n".encode("latin-1"))
    file = open_texts(path, encoding="latin-1")
    assert [file.texts(block) for block in file.blocks()] == [["schön"]]
    with pytest.raises(DataError, match=r"--encoding cp1252 reads\.$"):
        open_texts(path)


@pytest.mark.parametrize("encoding", ["utf-16-le", "utf-16-be", "utf-32-le", "utf-32-be"])
def test_wide_encodings_without_a_mark_are_recognised(tmp_path: Path, encoding: str) -> None:
    path = written(tmp_path / "a.csv", "text,label\nschön 酒店,b\n".encode(encoding))
    assert refusal(path) == (
        f"a.csv looks like {encoding[:6].upper()} without a byte order mark; read it with --encoding {encoding}."
    )
    assert read_table(path, encoding=encoding).columns == {"text": ["schön 酒店"], "label": ["b"]}


@pytest.mark.parametrize("encoding", ["utf-7", "iso2022_jp", "cp037", "utf-32", "utf-16", "utf-8-sig", "gb18030", "hz"])
def test_any_codec_of_python_reads(tmp_path: Path, encoding: str) -> None:
    text = "plain and ~" if encoding == "cp037" else "日本" if encoding == "iso2022_jp" else "酒店"
    path = written(tmp_path / "a.csv", f"text,label\n{text},b\nx,c\n".encode(encoding))
    assert read_table(path, encoding=encoding).columns == {"text": [text, "x"], "label": ["b", "c"]}


def test_a_wrong_encoding_is_refused_and_garbles_nothing(tmp_path: Path) -> None:
    path = written(tmp_path / "a.csv", "text,label\nschön,b\n".encode())
    assert (
        refusal(path, encoding="cp1252")
        == "a.csv is UTF-8 by its bytes; leave out --encoding cp1252, which would garble it."
    )
    assert read_table(path, encoding="utf-8").columns["text"] == ["schön"]
    path = written(tmp_path / "b.csv", "text,label\nschön,b\n".encode("utf-16"))
    assert refusal(path, encoding="cp1252") == (
        "b.csv begins with the byte order mark of UTF-16-LE; leave out --encoding cp1252."
    )
    path = written(tmp_path / "c.csv", b"text,label\nx \x81,b\n")
    assert refusal(path, encoding="cp1252") == (
        "c.csv:2: byte 0x81 at offset 13 is not cp1252 (--encoding); mend it, or name another --encoding."
    )


def test_an_unknown_encoding_names_the_nearest(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"^--encoding win-1252: Python knows .*\. Did you mean 'windows_1252'\?$"):
        DataArguments(encoding="win-1252")
    with pytest.raises(ConfigError, match=r"^--encoding base64: Python knows no text encoding"):
        read_table(tmp_path, encoding="base64")


def test_single_lines_in_another_encoding_are_told_as_such(tmp_path: Path) -> None:
    lines = [b"text,label\n", *(f"schön {n},{'ab'[n % 2]}\n".encode() for n in range(30))]
    lines[7] = "größer,a\n".encode("latin-1")
    path = written(tmp_path / "a.csv", b"".join(lines))
    message = refusal(path)
    assert message.startswith("a.csv:8: byte 0xf6 at offset ")
    assert message.endswith(
        "is not UTF-8; other lines are, so the file is of several encodings (these look like Windows-1252): mend or drop the "
        "lines that are not."
    )
    data = load_data(DataArguments(train_file=[str(path)], skip_bad_rows=True))
    assert len(data.rejected) == 1


def test_skip_bad_rows_never_leaves_out_all_rows_with_an_accent(tmp_path: Path) -> None:
    path = written(tmp_path / "a.csv", rows("schön").encode("latin-1"))
    with pytest.raises(DataError, match=r"--encoding cp1252 reads\.$"):
        read_table(path, skip_bad_rows=True)


def test_bytes_like_those_of_no_language_ask_for_the_encoding(tmp_path: Path) -> None:
    path = written(tmp_path / "a.csv", b"text,label\nx \xff 7\xfe y,b\n")
    assert refusal(path).endswith(
        "is not UTF-8; name its encoding with --encoding (such as cp1252, cp1251, gb18030 or cp932)."
    )
