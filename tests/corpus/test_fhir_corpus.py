"""HL7's own R4 examples and Synthea's patients, sent to our address: each resource of our kinds is applied, the others are
counted, none is lost in silence; and what the façade then gives out is valid R4: 100 %. docs/corpus-fhir.md has the figures.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import orjson
import pytest

from hub.codecs.fhir_resource import MAKERS, check
from hub.mapping import load_maps
from tests.fhir_kit import BASE, FhirKit, make_fhir_kit, transaction

ROOT = Path(__file__).parents[2]
CORPUS = Path(os.environ.get("HUB_CORPUS") or ROOT.parent / "shared" / "corpus") / "fhir"
pytestmark = [pytest.mark.corpus, pytest.mark.skipif(not CORPUS.is_dir(), reason="no corpus: set HUB_CORPUS")]
EXAMPLES, SYNTHEA = CORPUS / "r4-official-examples", CORPUS / "synthea-r4-bundles"
PAGE = ROOT / "docs" / "corpus-fhir.md"
ENDS = ("applied", "ignored", "refused")
ABOUT = ("Parameters", "OperationOutcome", "SubscriptionStatus")
MAPS = load_maps()
HEAD = """# FHIR R4 through a running hub

Written by `tests/corpus/test_fhir_corpus.py`, which fails where it is not true (`HUB_WRITE=1` writes it anew).

HL7's 380 official R4 examples, the single resources as one batch, each bundle by itself; then twelve whole patients of Synthea
as transactions. Each resource is a message: **applied** where the maps have its type, **ignored** (and counted) where they do
not, **refused** with a reason where nobody could take it. What the façade gives out of all that is valid R4 by fhir.resources:
100 %.
"""
NOBODYS = """Seven resources of our kinds name no patient (a herd, an oyster, a name without a number): they are applied, with a
note, and nothing is made of them.
"""
OURS = {name for name, _ in MAPS.events() if MAPS.handles_fhir(name) and not name.endswith(".deleted")}


class Told:
    """What was sent, by type, and what was refused, by reason."""

    def __init__(self, fhir: FhirKit) -> None:
        self.fhir = fhir
        self.stored: Counter[str] = Counter()
        self.known: Counter[str] = Counter()  # resources that stand in several files, word for word
        self.refused: Counter[str] = Counter()
        self.examples: Counter[tuple[str, str]] = Counter()  # how the messages of the official examples ended

    def bundle(self, document: dict[str, Any]) -> None:
        answer = self.fhir.send(document)
        if answer.status_code != 200:
            self.refused[answer.json()["issue"][0]["diagnostics"]] += 1
            return
        for entry, told in zip(_entries(document), answer.json()["entry"], strict=True):
            outcome = told["response"].get("outcome", {}).get("issue", [{}])[0].get("diagnostics", "stored")
            kind = entry.get("resource", {}).get("resourceType", "no resource")
            counts = {"stored": self.stored, "known already": self.known}.get(outcome)
            if counts is None:
                self.refused[f"{kind}: {outcome}"] += 1
            else:
                counts[kind] += 1

    def ends(self) -> Counter[tuple[str, str]]:
        return Counter((kind, outcome) for kind, outcome, _ in self.fhir.outcomes())


def _entries(bundle: dict[str, Any]) -> list[dict[str, Any]]:
    """Those that are answered: what a search or a subscription says of itself is no resource of anybody."""
    asked = bundle["type"] in ("transaction", "batch")
    found = bundle.get("entry", [])
    return [one for one in found if asked or one.get("resource", {}).get("resourceType") not in ABOUT]


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Told]:
    fhir = make_fhir_kit(tmp_path_factory.mktemp("hub"), max_body=8 << 20)
    made = Told(fhir)
    examples = [orjson.loads(path.read_bytes()) for path in sorted(EXAMPLES.rglob("*.json"))]
    made.bundle(transaction(*(one for one in examples if one["resourceType"] != "Bundle"), kind="batch", method="PUT"))
    for one in examples:
        if one["resourceType"] == "Bundle":
            made.bundle(one)
    fhir.kit.apply()
    made.examples = made.ends()
    for path in sorted(SYNTHEA.rglob("*.json")):
        made.bundle(orjson.loads(path.read_bytes()))
    fhir.kit.apply()
    yield made
    fhir.kit.close()


def test_each_resource_of_our_kinds_is_applied_and_the_others_are_counted(told: Told) -> None:
    ends = told.ends()
    for kind, count in told.stored.items():
        assert ends[kind, "applied" if kind in OURS else "ignored"] == count, kind
    kept = sum(count for reason, count in told.refused.items() if not reason.startswith("no resource"))
    assert kept == sum(count for (_, outcome), count in ends.items() if outcome == "refused")
    assert {outcome for _, outcome in ends} == {"applied", "ignored", "refused"}


def test_what_the_facade_gives_out_is_valid_r4(told: Told) -> None:
    seen: Counter[str] = Counter()
    for kind in MAKERS:
        url = f"{BASE}/{kind}?_count=200"
        while url:
            bundle = told.fhir.crm.get(url).json()
            check(bundle)
            seen[kind] += len(bundle.get("entry", ()))
            url = next((one["url"].partition("testserver")[2] for one in bundle["link"] if one["relation"] == "next"), "")
    stored = dict(told.fhir.kit.rows("SELECT kind, count(*) FROM resource WHERE status <> 'removed' GROUP BY kind"))
    assert {kind: seen[kind] for kind in MAKERS if seen[kind]} == {kind: stored[kind] for kind in MAKERS if kind in stored}


def test_the_figures_are_true(told: Told) -> None:
    page = _page(told)
    if os.environ.get("HUB_WRITE") == "1":
        PAGE.write_text(page, encoding="utf-8")
    assert PAGE.read_text(encoding="utf-8") == page


def _page(told: Told) -> str:
    synthea = told.ends() - told.examples
    reasons = "".join(f"| {reason} | {count} |\n" for reason, count in sorted(told.refused.items()))
    return (
        f"{HEAD}\n## Official examples\n\n{_table(told.examples)}\n"
        f"Entries and bundles that were not taken, with what their sender is told:\n\n| | count |\n| --- | --- |\n{reasons}\n"
        f"{NOBODYS}\n"
        f"## Synthea\n\n{_table(synthea)}"
    )


def _table(ends: Counter[tuple[str, str]]) -> str:
    kinds = sorted({kind for kind, _ in ends}, key=lambda kind: (kind not in OURS, kind))
    rows = [f"| {kind} | " + " | ".join(str(ends[kind, end] or "") for end in ENDS) + " |" for kind in kinds]
    total = "| **all** | " + " | ".join(str(sum(n for (_, end), n in ends.items() if end == one)) for one in ENDS) + " |"
    return "\n".join(["| type | " + " | ".join(ENDS) + " |", "| --- " * (len(ENDS) + 1) + "|", *rows, total]) + "\n"
