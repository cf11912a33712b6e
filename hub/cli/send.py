"""`hub send`: HL7 v2 files over MLLP, one message in flight, every answer checked."""

from __future__ import annotations

import time
from collections import Counter
from pathlib import Path
from typing import Annotated, NamedTuple

import typer
from rich.progress import Progress

from hub.cli.common import BAD, DEFAULT_CONFIG, DIM, ConfigOption, JsonOption, complain, print_json, read_file, say
from hub.codecs.hl7v2.batch import split
from hub.codecs.hl7v2.peek import peek
from hub.codecs.mllp import FS, VT, Splitter
from hub.config import load
from hub.domain.errors import HubError, NotDelivered, OutcomeUnknown, Unreadable
from hub.transport.mllp_client import MllpClient

POSITIVE = ("AA", "CA")
START_SECONDS = 5.0  # how long a listener may take to come up


class Sent(NamedTuple):
    """What became of one message."""

    file: str
    n: int
    code: str  # MSA-1, or what went wrong
    milliseconds: float
    text: str = ""  # what a negative answer says: MSA-3, ERR-3, ERR-7, ERR-8


def register(app: typer.Typer) -> None:
    app.command()(send)


def send(
    files: Annotated[
        list[Path], typer.Argument(metavar="FILE...", help="HL7 v2 files: one message, several, batches, or MLLP frames.")
    ],
    config: ConfigOption = DEFAULT_CONFIG,
    channel: Annotated[str | None, typer.Option(help="Send to where this inbound channel of hub.toml listens.")] = None,
    host: Annotated[str, typer.Option(help="Where to send.")] = "127.0.0.1",
    port: Annotated[int | None, typer.Option(min=1, max=65535, help="Where to send; instead of --channel.")] = None,
    wait: Annotated[float, typer.Option(min=0.1, help="Seconds to wait for an answer.")] = 30.0,
    as_json: JsonOption = False,
) -> None:
    """Send HL7 v2 files over MLLP and say what was answered. Exit 1 unless every answer was AA or CA.

    Examples:

      hub send admission.hl7 --port 2575

      hub send feed/*.hl7 --channel ocs-in
    """
    if port is None:
        port = _port_of(config, channel)
    client = MllpClient(host, port, answer_seconds=wait)
    pieces = [(str(file), n, body) for file in files for n, body in enumerate(messages_in(read_file(file)), 1)]
    if not pieces:
        complain(f"no HL7 message in {', '.join(map(str, files))}")
        raise typer.Exit(1)
    results: list[Sent] = []
    patience = time.monotonic() + START_SECONDS
    try:
        with Progress(disable=as_json, transient=True) as progress:
            bar = progress.add_task("sending", total=len(pieces))
            for name, n, body in pieces:
                results.append(_send_one(client, name, n, body, patience))
                progress.advance(bar)
    finally:
        client.close()
    counts = Counter(sent.code for sent in results)
    if as_json:
        print_json({"sent": len(results), "answers": dict(counts), "messages": [sent._asdict() for sent in results]})
    else:
        for sent in results:
            if sent.code not in POSITIVE or len(results) <= 20:
                say(
                    f"{sent.file} message {sent.n}: {sent.code} after {sent.milliseconds:.0f} ms"
                    + (f": {sent.text}" if sent.text else ""),
                    "" if sent.code in POSITIVE else BAD,
                )
        say(f"{len(results)} sent: " + ", ".join(f"{code} {n}" for code, n in counts.most_common()), DIM)
    if any(sent.code not in POSITIVE for sent in results):
        raise typer.Exit(1)


def messages_in(data: bytes) -> list[bytes]:
    """The messages of a file, bytes as they stand: MLLP frames where there are any, else batches and plain messages."""
    bodies = Splitter(limit=len(data) + 1).feed(data) if data.startswith(VT) or (VT in data and FS in data) else [data]
    return [message for body in bodies for message in split(body) if message.strip()]


def _port_of(config: Path, channel: str | None) -> int:
    channels = load(config).channels
    listening = {
        name: one.settings["port"] for name, one in channels.items() if one.adapter.endswith("hl7_in") and "port" in one.settings
    }
    name = channel if channel is not None else next(iter(listening), None)
    if name is None or name not in listening:
        raise typer.BadParameter(f"give --port, or --channel with one of: {', '.join(listening) or 'none in this hub.toml'}")
    return int(listening[name])


def _answer(client: MllpClient, body: bytes, patience: float) -> bytes:
    """The answer; a listener that is not there yet may still be starting, so it is tried until `patience`."""
    control_id = peek(body).control_id
    while True:
        try:
            return client.send(body, control_id)
        except NotDelivered as error:
            if error.reached or time.monotonic() > patience:
                raise
            time.sleep(0.25)


def _send_one(client: MllpClient, name: str, n: int, body: bytes, patience: float) -> Sent:
    begun, text = time.perf_counter(), ""
    try:
        code, text = _read(_answer(client, body, patience))
    except Unreadable:
        code = "no HL7 message"
    except OutcomeUnknown as error:
        code = f"unknown: {error.reason}"
    except HubError as error:
        code = error.reason
    return Sent(name, n, code, (time.perf_counter() - begun) * 1000, text)


def _read(answer: bytes) -> tuple[str, str]:
    """MSA-1 of an answer, and where that is negative what it says: MSA-3, and of each ERR its location, code and texts."""
    segments = [segment.decode("utf-8", "replace").split("|") for segment in answer.split(b"\r")]
    msa = next((fields for fields in segments if fields[0] == "MSA" and len(fields) > 1), ["MSA", "no MSA"])
    if msa[1] in POSITIVE:
        return msa[1], ""
    said = [field for fields in segments if fields[0] == "ERR" for n, field in enumerate(fields) if n in (2, 3, 7, 8)]
    texts = [*msa[3:4], *said]
    return msa[1], "; ".join(dict.fromkeys("".join(c for c in text if c.isprintable()) for text in texts if text))
