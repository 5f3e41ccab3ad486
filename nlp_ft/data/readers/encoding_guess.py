"""The likely encoding of a file that is not UTF-8.

Every candidate decodes a sample; the one whose characters are those of a language, at places where it writes them, is the
likeliest. Bytes 0x80 to 0x9f are control characters in Latin-1 and letters or quotation marks in what people save.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Iterable
from dataclasses import dataclass

_CONFIDENT = 0.45
_SAMPLE_BYTES = 1 << 18
_SCORED = 20_000  # characters
_WIDE = ("utf-16-le", "utf-16-be", "utf-32-le", "utf-32-be")
_OPENING, _CLOSING = "“‘„‚«‹¿¡", "”’»›"
_MARKS = frozenset("–—…€£¥°§•™®©·№\u00a0" + _OPENING + _CLOSING)

_GERMAN, _FRENCH, _SPANISH = "äöüß", "éèêëàâçîïôûùüœ", "áéíóúñü"
_PORTUGUESE, _ITALIAN, _NORDIC, _DUTCH = "ãõáéíóúâêôçà", "àèéìòù", "åäöæøé", "éëïöüè"
_ICELANDIC, _ESTONIAN = "áðéíóúýþæö", "õäöüšž"
_WESTERN = "".join(sorted({*_GERMAN, *_FRENCH, *_SPANISH, *_PORTUGUESE, *_ITALIAN, *_NORDIC, *_DUTCH}))
_POLISH, _CZECH, _HUNGARIAN = "ąćęłńóśźż", "áäčďéěíĺľňóôŕřšťúůýž", "áéíóöőúüű"
_CROATIAN, _ROMANIAN, _TURKISH = "čćđšž", "ăâîşţ", "çğıöşüâîûİ"
_LATVIAN, _LITHUANIAN = "āčēģīķļņšūž", "ąčęėįšųūž"
_GREEK = "αβγδεζηθικλμνξοπρσςτυφχψωάέήίόύώϊϋΐΰ"
_RUSSIAN, _UKRAINIAN = "абвгдеёжзийклмнопрстуфхцчшщъыьэюя", "абвгґдеєжзиіїйклмнопрстуфхцчшщьюя"
_HEBREW = "אבגדהוזחטיךכלםמןנסעףפץצקרשת"
_ARABIC = "ابتثجحخدذرزسشصضطظعغفقكلمنهويىةءآأؤإئ،؟ًٌٍَُِّْ"
_THAI = "านรอกเง่มยลวดท้สตะัีิืุไแำหบค์พขจปชโใถผธณศซูฟ็"  # the frequent ones: others fill the code page

# codec, what people call it, letters, weight
_SINGLE_BYTE = (
    *(
        ("cp1252", "Windows-1252", letters, 1.0)
        for letters in (_GERMAN, _FRENCH, _SPANISH, _PORTUGUESE, _ITALIAN, _NORDIC, _DUTCH, _ICELANDIC, _ESTONIAN)
    ),
    *(("cp1250", "Windows-1250", letters, 1.0) for letters in (_POLISH, _CZECH, _HUNGARIAN, _CROATIAN, _ROMANIAN)),
    *(("iso8859_2", "Latin-2", letters, 0.98) for letters in (_POLISH, _CZECH, _HUNGARIAN, _CROATIAN, _ROMANIAN)),
    ("cp1254", "Windows-1254", _TURKISH, 1.0),
    ("cp1257", "Windows-1257", _LATVIAN, 1.0),
    ("cp1257", "Windows-1257", _LITHUANIAN, 1.0),
    ("cp1255", "Windows-1255", _HEBREW, 1.0),
    ("cp1253", "Windows-1253", _GREEK, 1.0),
    ("iso8859_7", "ISO 8859-7", _GREEK, 0.98),
    ("cp1251", "Windows-1251", _RUSSIAN, 1.0),
    ("cp1251", "Windows-1251", _UKRAINIAN, 1.0),
    ("koi8_r", "KOI8-R", _RUSSIAN, 1.0),
    ("koi8_u", "KOI8-U", _UKRAINIAN, 0.98),
    ("cp866", "DOS 866", _RUSSIAN, 1.0),
    ("mac_cyrillic", "Mac Cyrillic", _RUSSIAN, 0.97),
    ("iso8859_5", "ISO 8859-5", _RUSSIAN, 0.98),
    ("cp1256", "Windows-1256", _ARABIC, 1.0),
    ("iso8859_6", "ISO 8859-6", _ARABIC, 0.95),
    ("cp874", "Thai TIS-620", _THAI, 1.0),
    ("cp1252", "Windows-1252", _WESTERN, 0.9),
    ("mac_roman", "Mac Roman", _WESTERN, 0.85),
    ("cp850", "DOS 850", _WESTERN, 0.8),
)

_SIMPLIFIED = frozenset(
    "的一是不了在人有我他这个们中来上大为和国地到以说时要就出会可也你对生能而子那得于着下自之年过发后作里用道行所然家种事成方多经么去法学如都同"
    "现当没动面起看定天分还进好小部其些主样理心她本前开但因只从想实日军者意无力它与长把机十民第公此已工使情明性知全三又关点正业外将两高间由问很最重"
    "并物手应战向头文体政美相见被利什二等产或新己制身果加西斯月话合回特代内信表化老给世位次度门任常先海通教儿原东声提立及比员解水名真论处走义各入几"
    "口认条平系气题活尔更别打女变四神总何电数安少报才结反受目太量再感建务做接必场件计管期市直德资命山金指克许统区保至队形社便空决治展马科司五基眼书"
    "非则听白却界达光放强即像难且权思王象完设式色路记南品住告类求据程北边死张该交规万取拉格望觉术领共确传师观清今切院让识候带导争运笔句吃喝酒店房间"
    "干净服务很差早餐味道电影喜欢推荐质量物流快递东西价格便宜贵卖家客态热冷汤菜饭买满意失错糟坏送收评论故剧演导员片看"
)
_TRADITIONAL = frozenset(
    "的一是不了在人有我他這個們中來上大為和國地到以說時要就出會可也你對生能而子那得於著下自之年過發後作裡用道行所然家種事成方多經麼去法學如都同"
    "現當沒動面起看定天分還進好小部其些主樣理心她本前開但因只從想實日者意無力它與長把機十民第公此已工使情明性知全三又關點正業外將兩高間由問很最重"
    "並物手應向頭文體政美相見被利什二等產或新己制身果加西月話合回特代內信表化老給世位次度門任常先海通教兒原東聲提立及比員解水名真論處走義各入幾"
    "口認條平系氣題活更別打女變四神總何電數安少報才結反受目太量再感建務做接必場件計管期市直德資命山金指許統區保至隊形社便空決治展馬科司五基眼書"
    "非則聽白卻界達光放強即像難且權思王象完設式色路記南品住告類求據程北邊死張該交規萬取拉格望覺術領共確傳師觀清今切院讓識候帶導爭運湯麵包飯店酒"
    "乾淨服務很差早餐味道電影喜歡推薦質量東西價格便宜貴賣家客態熱冷菜買滿意失錯糟壞送收評論鮮"
)
_HANGUL = frozenset(
    "이다는에을가의고하도지로한은사서기리를나어시자인그아대해라정수있게것보부전여과일장만들으와주원제면상니우안적비니동구요스조마소국었러공선신무세"
    "내했할성중오습때경연된방모문관되음실미진유생트계학화산영년습말분위없양개드입물진식교통강간단건결날남당데두람르명못바반발배번별불사새생속쪽심쓰"
    "아야않알약언업역였예왔외월육율용운워웠은음임잘재저점져조족종좋죠준줄중즐지직집째차참처천체초추출치친타터토투특파편평품피필합항행현형호회후히"
    "크래레력려련렇례료류르름릭림막많맛맞매먹며몇몸문밀박받백버벌법변병볼봐뵙빠뿐쁘삼색설섬성센셨송숙순술숨쉬슬승쓸씨악앞애액어얼엄에엔열영옆옥온올완왕욕움웃원웨윤응의"
    "갑겁겠격견고곡곧골곳과광괜교군굴권귀규균극근글금급길까깨께꼭꽃꾸끝끼난낮낸너넣노놀농높놓누눈늘능님다닥단달담답덕던덜덥돈돌됐둘뒤든등디따때떠떤또똑똘략랑량령록론"
    "별로정말딱딱차갑빵수프했호텔깨끗친절음식최고추천영화재미배송빠르제품실망너무"
)


@dataclass(frozen=True)
class Guess:
    """A codec of Python, and what people call it."""

    codec: str
    name: str


def guess_encoding(lines: Iterable[bytes]) -> Guess | None:
    """The likely encoding of lines that are not UTF-8; None where none is likely.

    lines: whole lines, those that could not be decoded.
    """
    sample = b"".join(lines)[:_SAMPLE_BYTES]
    best, best_score = None, _CONFIDENT
    for codec, name, letters, weight in _SINGLE_BYTE:
        score = weight * _score(sample, codec, _in_words(letters))
        if score > best_score:
            best, best_score = Guess(codec, name), score
    for codec, name, value in _MULTI_BYTE:
        score = _score(sample, codec, lambda text, at, value=value: value(text[at]))
        if score > best_score:
            best, best_score = Guess(codec, name), score
    return best


def guess_wide(sample: bytes) -> str | None:
    """UTF-16 or UTF-32 without a byte order mark, by the codec's name; None for anything else."""
    best, most = None, 0
    for codec in _WIDE:
        try:
            text = sample[: len(sample) - len(sample) % (2 if "16" in codec else 4)].decode(codec)
        except UnicodeDecodeError:
            continue
        fine = sum(character.isprintable() or character in "\r\n\t" for character in text)
        ascii_count = sum("\t" <= character <= "~" for character in text)
        ends = "\n" in text or "\r" in text  # of text in one byte that holds a stray NUL, none is left
        if ends and fine >= 0.95 * len(text) and ascii_count > max(most, 0.02 * len(text)):
            best, most = codec, ascii_count
    return best


def _score(sample: bytes, codec: str, value: Callable[[str, int], float]) -> float:
    """Mean value of the characters that are not ASCII; those that cannot be decoded count against it."""
    text = sample.decode(codec, errors="replace")[:_SCORED]
    values = [-3.0 if text[at] == "\ufffd" else value(text, at) for at in range(len(text)) if text[at] > "~"]
    return sum(values) / len(values) if values else 0.0


def _in_words(letters: str) -> Callable[[str, int], float]:
    """How well a character fits its place in a language with these letters beside a to z."""
    known = {*letters, *letters.upper()}
    latin = "LATIN" in unicodedata.name(letters[0])

    def value(text: str, at: int) -> float:
        character = text[at]
        before, after = text[at - 1 : at], text[at + 1 : at + 2]
        if character in known:
            if character.isupper() and before.islower():
                return -1.0
            if before.isdigit() or after.isdigit():
                return 0.0
            if latin:
                return 1.0
            if _is_ascii_letter(before + after):
                return -1.0
            return 1.0 if before in known or after in known else 0.2  # words of one letter are few
        if character in _MARKS:
            return _mark(character, before, after)
        return -0.3 if character.isalpha() else -1.0

    return value


def _mark(character: str, before: str, after: str) -> float:
    """How well a punctuation mark fits between its neighbours."""
    if before.isalpha() and after.isalpha():
        return 1.0 if character in "’‘–—·\u00a0" else -1.0
    if character in _OPENING:
        return 1.0 if not before.isalpha() and after.strip() else 0.0
    if character in _CLOSING:
        return 1.0 if before.strip() else 0.0
    return 0.9


def _is_ascii_letter(characters: str) -> bool:
    return any(character.isascii() and character.isalpha() for character in characters)


def _east_asian(character: str) -> float | None:
    """The value of what Chinese, Japanese and Korean share; None for the rest."""
    if "\u3000" < character < "\u3020" or "\uff01" <= character <= "\uff5e" or character in _MARKS:
        return 0.8
    return None if character.isalpha() else -0.5


def _chinese(common: frozenset[str], codec: str, most: int) -> Callable[[str], float]:
    """common: frequent characters; codec, most: the ordinary ones are those up to this first byte."""

    def value(character: str) -> float:
        if character in common:
            return 1.0
        shared = _east_asian(character)
        if shared is not None:
            return shared
        encoded = character.encode(codec, errors="ignore")
        ordinary = len(encoded) == 2 and "\u4e00" <= character <= "\u9fff" and encoded[0] <= most
        return 0.35 if ordinary else -0.4

    return value


def _japanese(character: str) -> float:
    if "\u3041" <= character <= "\u30fe":
        return 1.0
    shared = _east_asian(character)
    return shared if shared is not None else 0.35 if "\u4e00" <= character <= "\u9fff" else -0.4


def _korean(character: str) -> float:
    if character in _HANGUL:
        return 1.0
    shared = _east_asian(character)
    return shared if shared is not None else 0.1 if "\uac00" <= character <= "\ud7a3" else -0.4


_MULTI_BYTE: tuple[tuple[str, str, Callable[[str], float]], ...] = (
    ("gb18030", "Chinese GBK", _chinese(_SIMPLIFIED, "gb2312", 0xF7)),
    ("cp950", "Chinese Big5", _chinese(_TRADITIONAL, "big5", 0xC6)),
    ("cp932", "Japanese Shift_JIS", _japanese),
    ("euc_jp", "Japanese EUC-JP", _japanese),
    ("cp949", "Korean EUC-KR", _korean),
)
