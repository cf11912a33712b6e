"""Signed heads of the log: the C2SP text formats `signed-note` and `tlog-checkpoint`, with Ed25519.

A note is a text, an empty line, and signature lines. A checkpoint's text is three lines: origin (the log's name), size,
root hash. Both are what golang.org/x/mod/sumdb/note writes, so that other tools read them:
https://c2sp.org/signed-note, https://c2sp.org/tlog-checkpoint.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import os
from dataclasses import dataclass, field

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

ED25519 = b"\x01"  # signed-note, "Signature types"
_PRIVATE = "PRIVATE+KEY+"


class BadNote(ValueError):
    """A text that is no note, a key that is no key, or a signature that does not hold."""


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """What a checkpoint says: the log `origin` had `size` entries, and `root` is the hash over all of them."""

    origin: str
    size: int
    root: bytes


@dataclass(frozen=True, slots=True)
class Verifier:
    """A public key with its name; its text form is `name+hash+base64` (signed-note, "Verifier keys")."""

    name: str
    key: bytes  # 32 bytes

    @classmethod
    def parse(cls, text: str) -> Verifier:
        """Read a verifier key's text form; BadNote where it is none."""
        parts = text.strip().split("+", 2)
        if len(parts) != 3:
            raise BadNote("a public key reads name+hash+base64")
        name, digest, encoded = parts
        raw = _base64(encoded)
        if len(raw) != 33 or raw[:1] != ED25519:
            raise BadNote("the public key is not an Ed25519 key")
        verifier = cls(name, raw[1:])
        if verifier.key_id.hex() != digest:
            raise BadNote("the public key does not fit the hash in its own text: it was copied wrongly")
        return verifier

    @property
    def key_id(self) -> bytes:
        """4 bytes that pick the signature line: SHA-256(name ‖ LF ‖ type ‖ key), cut."""
        return hashlib.sha256(self.name.encode() + b"\n" + ED25519 + self.key).digest()[:4]

    def __str__(self) -> str:
        return f"{self.name}+{self.key_id.hex()}+{base64.b64encode(ED25519 + self.key).decode()}"

    def open_(self, note: str) -> str:
        """The text that the note signs, with its final LF. BadNote where no signature of this key holds."""
        text, lines = _split(note)
        for name, raw in lines:
            if name == self.name and raw[:4] == self.key_id:
                try:
                    Ed25519PublicKey.from_public_bytes(self.key).verify(raw[4:], text.encode())
                except InvalidSignature:
                    raise BadNote("the signature does not hold") from None
                return text
        raise BadNote("no signature by this key")


@dataclass(frozen=True, slots=True)
class Signer:
    """A private key with its name; its text form is the one of golang.org/x/mod/sumdb/note, `PRIVATE+KEY+name+hash+base64`."""

    name: str
    seed: bytes = field(repr=False)  # 32 bytes

    @classmethod
    def create(cls, name: str) -> Signer:
        """A new key. `name` is the log's name: no spaces, no plus."""
        if not name or "+" in name or name.split() != [name]:
            raise BadNote("a log's name has neither spaces nor a plus sign")
        return cls(name, os.urandom(32))

    @classmethod
    def parse(cls, text: str) -> Signer:
        """Read a private key's text form; BadNote where it is none."""
        text = text.strip()
        parts = text.removeprefix(_PRIVATE).split("+", 2)
        raw = _base64(parts[2]) if text.startswith(_PRIVATE) and len(parts) == 3 else b""
        if len(raw) != 33 or raw[:1] != ED25519:
            raise BadNote("not an Ed25519 signing key as `hub init` writes it")
        signer = cls(parts[0], raw[1:])
        if signer.verifier.key_id.hex() != parts[1]:
            raise BadNote("the signing key does not fit the hash in its own text: it was copied wrongly")
        return signer

    @property
    def verifier(self) -> Verifier:
        """The public half."""
        public = Ed25519PrivateKey.from_private_bytes(self.seed).public_key()
        return Verifier(self.name, public.public_bytes(Encoding.Raw, PublicFormat.Raw))

    def export(self) -> str:
        """The text form, a secret."""
        return f"{_PRIVATE}{self.name}+{self.verifier.key_id.hex()}+{base64.b64encode(ED25519 + self.seed).decode()}"

    def sign(self, text: str) -> str:
        """The note over `text`, which ends with LF."""
        if not text.endswith("\n"):
            raise BadNote("a note's text ends with a line feed")
        raw = self.verifier.key_id + Ed25519PrivateKey.from_private_bytes(self.seed).sign(text.encode())
        return f"{text}\n— {self.name} {base64.b64encode(raw).decode()}\n"


def body(checkpoint: Checkpoint) -> str:
    """The text of a checkpoint, unsigned."""
    return f"{checkpoint.origin}\n{checkpoint.size}\n{base64.b64encode(checkpoint.root).decode()}\n"


def read(text: str) -> Checkpoint:
    """A checkpoint from its text (of a note already opened). BadNote where it is none. Extension lines are allowed."""
    lines = text.split("\n")
    if len(lines) < 4 or not lines[0] or not lines[1].isascii() or not lines[1].isdigit() or str(int(lines[1])) != lines[1]:
        raise BadNote("not a checkpoint: three lines of origin, size and root hash")
    root = _base64(lines[2])
    if len(root) != 32:
        raise BadNote("a root hash has 32 bytes")
    return Checkpoint(lines[0], int(lines[1]), root)


def _split(note: str) -> tuple[str, list[tuple[str, bytes]]]:
    """Text and (name, key id ‖ signature) of each signature line."""
    at = note.rfind("\n\n")
    if at < 0 or not note.endswith("\n"):
        raise BadNote("not a signed note: no signature lines")
    lines = []
    for line in note[at + 2 :].splitlines():
        mark, _, rest = line.partition(" ")
        name, _, encoded = rest.partition(" ")
        raw = _base64(encoded)
        if mark != "—" or not name or len(raw) < 5:
            raise BadNote("a signature line reads: em dash, name, base64")
        lines.append((name, raw))
    return note[: at + 1], lines


def _base64(text: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raise BadNote("not base64") from None
