"""A message in another charset, for a receiver that reads only one: its text is the same, and so is every byte of ASCII.

HL7 v2 says in MSH-18 what it is in, so that field is written anew; nothing else is. What the target's charset has not is refused
before anything is sent, by its code point: the rest of the message never stands in an error.
"""

from __future__ import annotations

from hub.adapters.settings import wrong
from hub.codecs.hl7v2 import hl7_charset, python_codec
from hub.codecs.hl7v2.charset import decode, encode
from hub.codecs.hl7v2.reader import find_header
from hub.domain.errors import Refused, Unmappable, Unreadable
from hub.domain.ports import Outbound

MSH18 = 17  # of the fields of a line that begins with MSH: its first mark is MSH-1
OPTION = "charset of what is sent: cp949, utf-8 … (MSH-18 says so, too); default: the bytes as they came"


def check(charset: str) -> None:
    """Raises Misconfigured for a charset that nobody knows."""
    try:
        python_codec(charset or "utf-8")
    except LookupError:
        raise wrong(f'charset "{charset}" is not known', 'write "utf-8" or "cp949", or leave it out') from None


def in_charset(message: Outbound, charset: str) -> bytes:
    """The body as it came, or in `charset`. Raises Refused where it cannot be said in it."""
    body = message.as_received
    if not charset or python_codec(charset) == python_codec(message.charset or "utf-8"):
        return body
    try:
        text = decode(body, python_codec(message.charset or "utf-8"))
        return encode(_declared(body, text, charset), python_codec(charset))
    except (Unreadable, Unmappable) as error:
        raise Refused(f"it cannot be sent in {charset}: {error}", code=error.code) from None


def _declared(body: bytes, text: str, charset: str) -> str:
    """With its MSH-18. What is no HL7 v2 message (a row) declares nothing."""
    try:
        start, delimiters = find_header(body)
    except Unreadable:
        return text
    start = len(body[:start].decode("utf-8"))  # a byte order mark is one character
    end = min((at for at in (text.find("\r", start), text.find("\n", start)) if at >= 0), default=len(text))
    fields = text[start:end].split(delimiters.field)
    fields += [""] * (MSH18 + 1 - len(fields))
    fields[MSH18] = hl7_charset(charset)
    return delimiters.field.join(fields) + text[end:]
