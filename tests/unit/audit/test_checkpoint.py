"""Signed notes as golang.org/x/mod/sumdb/note writes and reads them; checkpoints; the file that holds them."""

from __future__ import annotations

from pathlib import Path

import pytest

from hub.audit.checkpoint import BadNote, Checkpoint, Signer, Verifier, body, read
from hub.audit.file import CheckpointFile

# The example of golang.org/x/mod/sumdb/note
SKEY = "PRIVATE+KEY+PeterNeumann+c74f20a3+AYEKFALVFGyNhPJEMzD1QIDr+Y7hfZx09iUvxdXHKDFz"
VKEY = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW"
TEXT = "If you think cryptography is the answer to your problem,\nthen you don't know what your problem is.\n"
NOTE = TEXT + ("\n— PeterNeumann x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdngotpRZb6KE6RyyBwJnAM=\n")
SIGNER = Signer("log", bytes(range(32)))


def note(size: int, root: bytes = b"r" * 32, signer: Signer = SIGNER) -> str:
    return signer.sign(body(Checkpoint("log", size, root)))


def test_the_example_of_the_go_package() -> None:
    signer = Signer.parse(SKEY)
    assert signer.sign(TEXT) == NOTE
    assert signer.export() == SKEY
    assert str(signer.verifier) == VKEY
    assert Verifier.parse(VKEY).open_(NOTE) == TEXT


def test_a_checkpoint_is_read_as_written() -> None:
    head = Checkpoint("hospital-hub", 20_852_163, bytes(range(32)))
    assert body(head) == "hospital-hub\n20852163\nAAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=\n"
    assert read(body(head)) == head
    assert read(body(head) + "an extension\n") == head


def test_no_other_key_and_no_other_text_passes() -> None:
    signed = note(5)
    assert SIGNER.verifier.open_(signed)
    for changed in (
        signed.replace("\n5\n", "\n6\n"),
        signed.replace("— log ", "— gol "),
        signed[:-3] + "\n",
        signed[:40],
        "",
        "x\n\n",
    ):
        with pytest.raises(BadNote):
            SIGNER.verifier.open_(changed)
    with pytest.raises(BadNote):
        Signer.create("log").verifier.open_(signed)


@pytest.mark.parametrize(
    "text", ["", "log\n", "log\n5\n", "log\n05\ncnI=\n", "log\n-1\ncnI=\n", "log\n5\ncnI=\n", "log\n5\n???\n", "log\n٣\nAA==\n"]
)
def test_what_is_no_checkpoint(text: str) -> None:
    with pytest.raises(BadNote):
        read(text)


@pytest.mark.parametrize(
    "text", ["", "a", "a+b", "a+b+c", VKEY[:-4], VKEY.replace("c74f", "c74e"), VKEY.replace("Peter", "Petra"), SKEY]
)
def test_what_is_no_public_key(text: str) -> None:
    with pytest.raises(BadNote):
        Verifier.parse(text)


@pytest.mark.parametrize("text", ["", VKEY, SKEY[:-4], SKEY.replace("c74f", "c74e")])
def test_what_is_no_signing_key(text: str) -> None:
    with pytest.raises(BadNote) as raised:
        Signer.parse(text)
    assert "AYEK" not in str(raised.value)


@pytest.mark.parametrize("name", ["", "a b", "a+b", "a\n"])
def test_a_logs_name(name: str) -> None:
    with pytest.raises(BadNote):
        Signer.create(name)


def test_a_signing_key_is_not_printed() -> None:
    assert "seed" not in repr(SIGNER)


def test_the_file_is_appended_to(tmp_path: Path) -> None:
    file = CheckpointFile(tmp_path / "new" / "checkpoints.txt")
    assert file.last() is None
    assert list(file.notes()) == []
    for sizes in ([1], [2, 3], [], [40]):
        with file.appending() as appender:
            appender.append(note(size) for size in sizes)
    assert list(file.notes()) == [note(1), note(2), note(3), note(40)]
    last = file.last()
    assert last is not None
    assert last.size == 40


def test_a_write_cut_short_at_any_byte_costs_no_checkpoint(tmp_path: Path) -> None:
    path = tmp_path / "checkpoints.txt"
    whole = f"{note(1)}\n".encode()
    torn = f"{note(2)}\n".encode()
    for cut in range(len(torn) + 1):
        path.write_bytes(whole + torn[:cut])
        file = CheckpointFile(path)
        with file.appending() as appender:
            assert appender.last is not None
            lost = appender.last.size == 1
            appender.append([note(2)] if lost else [])
            assert lost or cut >= len(torn) - 1
        with file.appending() as appender:
            appender.append([note(3)])
        good = []
        for text in file.notes():
            try:
                good.append(read(SIGNER.verifier.open_(text)).size)
            except BadNote:
                continue
        assert sorted(set(good)) == [1, 2, 3], cut  # the same one twice does no harm
        assert good == sorted(good), cut
        assert file.path.read_bytes().startswith(whole + torn[:cut]), "a file that is only appended to"


def test_a_long_file_is_read_in_pieces(tmp_path: Path) -> None:
    file = CheckpointFile(tmp_path / "checkpoints.txt")
    one = note(1)
    file.path.write_text(f"{one}\n" * 8000)
    assert file.size() > 1 << 20
    assert sum(1 for text in file.notes() if text == one) == 8000
    assert sum(1 for _ in file.notes(len(f"{one}\n".encode()) * 10 + 5)) == 10
