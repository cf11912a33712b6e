"""Person names (VR PN, PS3.5 section 6.2.1): up to three groups, alphabetic=ideographic=phonetic, of five components each.

Korean sites write Hangul in whichever group their modality lets them: so a name is asked for its Hangul, not for a group.
"""

from __future__ import annotations

from typing import NamedTuple


class Name(NamedTuple):
    """One group's components."""

    family: str = ""
    given: str = ""
    middle: str = ""
    prefix: str = ""
    suffix: str = ""

    @property
    def text(self) -> str:
        """As a person would write it: Hangul and Hanja without a space between family and given name."""
        space = "" if is_korean(self.family + self.given) else " "
        return space.join(part for part in (self.family, self.given, self.middle) if part)


def groups(text: str) -> list[Name]:
    """Alphabetic, ideographic and phonetic, as many as there are. What stands behind the fifth component stays with it."""
    return [Name(*(part.strip() for part in group.split("^", 4))) for group in text.split("=", 2)]


def is_hangul(text: str) -> bool:
    """Whether a syllable or a letter of Hangul is in it."""
    return any("가" <= c <= "힣" or "ㄱ" <= c <= "ㆎ" or "ᄀ" <= c <= "ᇿ" for c in text)


def is_korean(text: str) -> bool:
    """Hangul, or Hanja."""
    return is_hangul(text) or any("一" <= c <= "鿿" or "豈" <= c <= "﫿" for c in text)


def best(text: str) -> Name:
    """The group in Hangul; else the ideographic one, else the first that says anything."""
    found = groups(text)
    for one in found:
        if is_hangul("".join(one)):
            return one
    said = [one for one in (*found[1:2], *found) if any(one)]
    return said[0] if said else Name()
