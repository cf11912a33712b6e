"""Korean names and phone numbers: derive what can be derived, keep what came.

Sources: the two-syllable family names of Statistics Korea's 2015 survey that are in living use; telephone numbering by
전기통신번호관리세칙 (area codes 02, 031–064; 010/01X mobile; 050X personal, 070 VoIP, 1XXX-XXXX national).
"""

from __future__ import annotations

import re
import unicodedata
from functools import lru_cache

from hub.mapping.times import BadValue

TWO_SYLLABLE_FAMILY_NAMES = frozenset({
    "남궁", "황보", "제갈", "사공", "선우", "독고", "서문",
    "동방", "망절", "어금", "장곡", "강전", "소봉", "을지", "공손", "등정",
})  # fmt: skip

_NOT_DIAL = re.compile(r"[\s\-().·/]+")
_ACCESS = re.compile(r"(?:00\d{0,3}82|00700\s*82|\+\(?82\)?|82)0?(?=[1-9])")
_NATIONAL = re.compile(r"0(?:2\d{7,8}|[3-6]\d{8,9}|1[016789]\d{7,8}|7\d{9}|50\d{8,9}|80\d{7,8})\Z")
_SERVICE = re.compile(r"1[3568]\d{6}\Z")
_MOBILE = re.compile(r"\+821[016789]")


def is_hangul(text: str) -> bool:
    """Whether every letter of `text` is a Hangul syllable."""
    return bool(text) and all("가" <= c <= "힣" for c in text)


def is_han(text: str) -> bool:
    """Whether every letter of `text` is a CJK ideograph (한자)."""
    return bool(text) and all("\u4e00" <= c <= "\u9fff" or "\u3400" <= c <= "\u4dbf" or "\uf900" <= c <= "\ufaff" for c in text)


def split_name(text: str) -> tuple[str, str] | None:
    """`홍길동` -> (`홍`, `길동`), `남궁민수` -> (`남궁`, `민수`); None where it is not two to five Hangul syllables.

    Only derived: the text stays the truth. A two-syllable name is one and one (`남궁` alone is 남 궁).
    """
    if not 2 <= len(text) <= 5 or not is_hangul(text):
        return None
    cut = 2 if len(text) > 2 and text[:2] in TWO_SYLLABLE_FAMILY_NAMES else 1
    return text[:cut], text[cut:]


def normalise_phone(raw: str) -> str:
    """A Korean number in E.164 (`010-1234-5678` -> `+821012345678`), a foreign one with its digits, else BadValue.

    Takes what is met in the field: full-width digits, `0082-10…`, `+ (82) 0…`, a leading zero lost (`10-1234-5678`). A
    number that fits no Korean plan is kept as its digits: an extension or a foreign number without country code.
    """
    return _normalise(raw)


@lru_cache(maxsize=4096)
def _normalise(raw: str) -> str:
    text = raw if raw.isascii() else unicodedata.normalize("NFKC", raw)
    text = _NOT_DIAL.sub("", text)
    international = text.startswith("+")
    digits = text.removeprefix("+")
    if not digits.isascii() or not digits.isdigit() or len(digits) > 18:
        raise BadValue("not a phone number")
    match = _ACCESS.match(text)
    if match is not None and len(text) - match.end() >= 7:
        national = "0" + text[match.end() :]
        if _NATIONAL.match(national) or _SERVICE.match(national[1:]):
            return "+82" + national[1:]
    if international:
        return text
    if _NATIONAL.match(digits):
        return "+82" + digits[1:]
    if _SERVICE.match(digits):
        return "+82" + digits
    if len(digits) == 10 and digits.startswith("10"):
        return "+82" + digits
    return digits


def is_mobile(e164: str) -> bool:
    """Whether a normalised number is a Korean mobile number (010 and the old 01X)."""
    return _MOBILE.match(e164) is not None
