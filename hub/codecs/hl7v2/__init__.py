"""HL7 v2: bytes <-> segments, with our own positional reader and writer.

hl7apy has one door, `standard.py`; it is not imported here, because it costs 300 ms and 20 MB and the hot path needs
none of it: `from hub.codecs.hl7v2 import standard` where the standard's tables matter.
"""

from hub.codecs.hl7v2.charset import codec_for, python_codec
from hub.codecs.hl7v2.peek import Peek, peek
from hub.codecs.hl7v2.reader import DEFAULT_DELIMITERS, NULL, Delimiters, Message, Segment, parse, unescape
from hub.codecs.hl7v2.writer import escape, field_text, hl7_charset, write

__all__ = [
    "DEFAULT_DELIMITERS", "NULL", "Delimiters", "Message", "Peek", "Segment", "codec_for", "escape", "field_text", "hl7_charset",
    "parse", "peek", "python_codec", "unescape", "write",
]  # fmt: skip
