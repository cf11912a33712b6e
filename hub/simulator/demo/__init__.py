"""`hub demo`: a hub and a small hospital on SQLite, a story played through the real protocols, and a summary that can fail."""

from __future__ import annotations

import signal
import sys
import time
from pathlib import Path
from types import FrameType

import httpx
import orjson

from hub.domain.errors import HubError
from hub.simulator.demo.api import UnexpectedAnswer
from hub.simulator.demo.house import House, HouseError
from hub.simulator.demo.reckoning import reckon
from hub.simulator.demo.screen import Screen
from hub.simulator.demo.story import Story
from hub.simulator.demo.verdict import Verdict

__all__ = ["main"]


def main(
    *, once: bool = False, folder: Path | None = None, patients: int = 30, seed: int = 7, web_port: int = 0, as_json: bool = False
) -> int:
    """Plays the story; 0 where every expectation held. With `as_json` stdout holds the summary alone, one line.

    Unless `once`, the hub and its console stay until Ctrl-C.
    """
    signal.signal(signal.SIGTERM, _interrupt)
    screen = Screen(quiet=as_json)
    verdict = Verdict()
    code = 130
    try:
        screen.note("setting up a hub and a hospital")
        with House(folder, web_port=web_port) as house:
            with screen.live(house):
                _play(house, verdict, screen, patients=patients, seed=seed)
            summary = verdict.summary()
            code = 0 if summary["ok"] else 1
            if not as_json:
                screen.summary(summary)
            if not once:
                screen.invite(house, str(summary.get("four_systems", {}).get("one_of_them", "")))
            if as_json:
                sys.stdout.write(orjson.dumps(summary).decode() + "\n")
                sys.stdout.flush()
            while not once:
                time.sleep(0.5)
                house.must_live()
    except HouseError as error:
        screen.complain(str(error))
        return 1
    except KeyboardInterrupt:  # before the end: 130; from the open console: how the story went
        return code
    return code


def _play(house: House, verdict: Verdict, screen: Screen, *, patients: int, seed: int) -> None:
    """The whole story; an answer of the hub that no scene asks for ends it, and counts as failed."""
    story = Story(house, verdict, screen.note, patients=patients, seed=seed)
    try:
        story.play()
        screen.note("what every peer holds is compared with the hub; the audit log is verified")
        reckon(story)
    except (UnexpectedAnswer, HubError, httpx.HTTPError) as error:
        verdict.failed.append(f"the story broke off: {error}")


def _interrupt(_number: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt
