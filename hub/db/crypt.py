"""The hub's keys: sealing of bodies at rest, keyed digests, and the file that each key lives in (ADR 0031).

Two files, so that the one who may sign checkpoints need not be the one who may read bodies:

    data.key   0600  one line a key: `digest:<base64>`, `1:<base64>`, `2:<base64>`, …; the highest number seals
    audit.key  0600  the Ed25519 key that signs checkpoints
    audit.pub  0644  its public half: what an auditor gets

The environment variables HUB_DATA_KEY and HUB_AUDIT_KEY hold the same texts (lines may be joined by commas) and win
over the files. None of them is ever in the database or its backup.
"""

from __future__ import annotations

import base64
import binascii
import hmac
import os
from collections.abc import Mapping
from pathlib import Path

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from hub.audit.checkpoint import BadNote, Signer, Verifier
from hub.domain.errors import HubError, Misconfigured

DATA_KEY, AUDIT_KEY, AUDIT_PUBLIC = "data.key", "audit.key", "audit.pub"
_FORMAT = 1  # first byte of everything sealed; the second is the number of its key
_NONCE = 12  # bytes, random; NIST SP 800-38D §8.3 allows 2^32 seals a key with random nonces: rotate before
_DIGEST = 16


class CannotOpen(HubError):
    """A sealed value that is not what this hub wrote into this row: altered, swapped with another row's, or cut."""

    code = "cannot_open"


class KeyRing:
    """The keys in use (fulfils domain.ports.Keys). Thread-safe and fork-safe: it keeps no state but the keys."""

    def __init__(self, data: Mapping[int, bytes], digest: bytes, signer: Signer | None = None) -> None:
        """`data`: key number (1…255) -> 32 bytes; `digest`: 32 bytes, never rotated, since stored digests are compared."""
        self._ciphers = {number: AESGCM(_derive(key, "seal")) for number, key in data.items()}
        self.current = max(data)
        self._prefix = bytes((_FORMAT, self.current))
        self._encrypt = self._ciphers[self.current].encrypt
        self._digest_key = _derive(digest, "digest")
        self._signer = signer

    @classmethod
    def create(cls, folder: Path, origin: str = "hospital-hub") -> KeyRing:
        """Make all keys anew in `folder` (made if absent). `origin` is the audit log's name. Overwrites nothing:
        Misconfigured where a key is there already."""
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        signer = Signer.create(origin)
        lines = "".join(f"{name}:{_new_key()}\n" for name in ("digest", "1"))
        _write(folder / DATA_KEY, lines, 0o600)
        _write(folder / AUDIT_KEY, signer.export() + "\n", 0o600)
        _write(folder / AUDIT_PUBLIC, f"{signer.verifier}\n", 0o644)
        return cls.load(folder, environ={})

    @classmethod
    def load(cls, folder: Path | None, environ: Mapping[str, str] = os.environ) -> KeyRing:
        """Read the keys from `folder` or, where they are set, from HUB_DATA_KEY and HUB_AUDIT_KEY. Misconfigured where
        the data key is missing or unreadable; without a signing key the ring seals and opens, and `signer` raises."""
        text = environ.get("HUB_DATA_KEY") or _read(folder, DATA_KEY)
        if text is None:
            raise Misconfigured(f"no data key: neither HUB_DATA_KEY nor {folder}/{DATA_KEY}; `hub init` makes one")
        data, digest = _parse(text)
        signing = environ.get("HUB_AUDIT_KEY") or _read(folder, AUDIT_KEY)
        try:
            return cls(data, digest, Signer.parse(signing) if signing else None)
        except BadNote as error:
            raise Misconfigured(f"{AUDIT_KEY}: {error}") from None

    @property
    def signer(self) -> Signer:
        """The key that signs checkpoints."""
        if self._signer is None:
            raise Misconfigured(f"no audit signing key: neither HUB_AUDIT_KEY nor a file {AUDIT_KEY}")
        return self._signer

    @property
    def verifier(self) -> Verifier:
        """Its public half."""
        return self.signer.verifier

    def seal(self, table: str, row: int | str, plain: bytes) -> bytes:
        """AES-256-GCM with `table` and `row` as associated data: format, key number, nonce (12), ciphertext, tag (16)."""
        nonce = os.urandom(_NONCE)
        return self._prefix + nonce + self._encrypt(nonce, plain, f"{table}/{row}".encode())

    def open_(self, table: str, row: int | str, sealed: bytes) -> bytes:
        """What was sealed into this row. CannotOpen where it was not; Misconfigured where its key is not in the ring."""
        if len(sealed) < 2 + _NONCE + 16 or sealed[0] != _FORMAT:
            raise CannotOpen(f"{table}: this is not a sealed value")
        cipher = self._ciphers.get(sealed[1])
        if cipher is None:
            raise Misconfigured(f"{table}: sealed with data key {sealed[1]}, which is not in {DATA_KEY}")
        try:
            return cipher.decrypt(sealed[2 : 2 + _NONCE], sealed[2 + _NONCE :], f"{table}/{row}".encode())
        except InvalidTag:
            raise CannotOpen(f"{table}: altered, or sealed for another row or with another key") from None

    def digest(self, data: bytes) -> bytes:
        """HMAC-SHA-256 cut to 16 bytes (RFC 2104 §5), with a key of its own that no rotation changes."""
        return hmac.digest(self._digest_key, data, "sha256")[:_DIGEST]


def rotate(folder: Path) -> int:
    """Add a new data key to `folder`/data.key and return its number. Old rows stay readable; a running hub seals with it
    after its next start or reload. Misconfigured where the file is missing or full."""
    text = _read(folder, DATA_KEY)
    if text is None:
        raise Misconfigured(f"{folder}/{DATA_KEY} is missing")
    number = max(_parse(text)[0]) + 1
    if number > 255:
        raise Misconfigured(f"{DATA_KEY} holds key 255, the last there can be")
    fresh = folder / f"{DATA_KEY}.new"
    fresh.unlink(missing_ok=True)
    _write(fresh, f"{text.rstrip()}\n{number}:{_new_key()}\n", 0o600)
    fresh.replace(folder / DATA_KEY)
    _sync_folder(folder)
    return number


def _derive(key: bytes, purpose: str) -> bytes:
    """HKDF-SHA-256 (RFC 5869): one key a purpose, so that no two uses ever share one."""
    return HKDF(algorithm=SHA256(), length=32, salt=None, info=f"hospital-hub/{purpose}/1".encode()).derive(key)


def _parse(text: str) -> tuple[dict[int, bytes], bytes]:
    """Data keys by number, and the digest key. Says which line is wrong, never what stands in it."""
    data: dict[int, bytes] = {}
    digest = b""
    for n, line in enumerate(text.replace(",", "\n").split(), 1):
        name, _, encoded = line.partition(":")
        try:
            key = base64.b64decode(encoded, validate=True)
        except (binascii.Error, ValueError):
            key = b""
        if len(key) != 32:
            raise Misconfigured(f"{DATA_KEY} line {n}: expected `name:` and 32 bytes in base64")
        if name == "digest":
            digest = key
        elif name.isascii() and name.isdigit() and 1 <= int(name) <= 255 and int(name) not in data:
            data[int(name)] = key
        else:
            raise Misconfigured(f"{DATA_KEY} line {n}: a key is named `digest` or has a number from 1 to 255 of its own")
    if not data or not digest:
        raise Misconfigured(f"{DATA_KEY}: needs a line `digest:…` and at least a line `1:…`")
    return data, digest


def _new_key() -> str:
    return base64.b64encode(os.urandom(32)).decode()


def _read(folder: Path | None, name: str) -> str | None:
    """A key file's text. Misconfigured where others than its owner may read it."""
    if folder is None:
        return None
    path = folder / name
    try:
        with path.open() as file:
            if os.fstat(file.fileno()).st_mode & 0o077:
                raise Misconfigured(f"{path} can be read by others than its owner: chmod 600 {path}")
            return file.read()
    except FileNotFoundError:
        return None
    except (OSError, UnicodeDecodeError) as error:
        raise Misconfigured(f"{path} cannot be read: {type(error).__name__}") from None


def _write(path: Path, text: str, mode: int) -> None:
    """A new file with its final mode from the start, on disk when this returns."""
    try:
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    except FileExistsError:
        raise Misconfigured(f"{path} is there already; a key is never overwritten") from None
    with os.fdopen(handle, "w") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    _sync_folder(path.parent)


def _sync_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
