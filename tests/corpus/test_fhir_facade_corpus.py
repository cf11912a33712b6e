"""What the hub makes of the corpus's HL7 v2 messages is valid R4, page by page as the façade gives it out: 100 %."""

from __future__ import annotations

from collections import Counter

import pytest
from starlette.testclient import TestClient

from hub.codecs.fhir_resource import MAKERS, check
from hub.domain.errors import HubError
from hub.web.app import create_app
from hub.web.serve import web_hub
from tests.corpus.test_mapping_corpus import CORPUS, bodies
from tests.hub_kit import Kit, make_kit, received

pytestmark = [pytest.mark.corpus, pytest.mark.skipif(not CORPUS.is_dir(), reason="no corpus: set HUB_CORPUS")]
BASE = "/fhir/R4"


@pytest.fixture(scope="module")
def kit(tmp_path_factory: pytest.TempPathFactory) -> Kit:
    """A hub that was told the whole corpus, whatever of it can be read."""
    made = make_kit(tmp_path_factory.mktemp("hub"), "sqlite:///hub.db", on_dead="skip")
    for path in sorted(CORPUS.rglob("*")):
        for body in bodies(path.read_bytes()) if path.is_file() else ():
            try:
                made.intake.store([received(body, "ocs-in")])
            except HubError:  # refused at intake: not this test's matter
                continue
    made.apply()
    return made


def test_every_resource_of_the_corpus_is_valid_r4(kit: Kit, capsys: pytest.CaptureFixture[str]) -> None:
    hub = web_hub(kit.hub)
    client = TestClient(create_app(hub), headers={"Authorization": f"Bearer {hub.access.create_token('crm-1', 'crm', now=0)[1]}"})
    seen: Counter[str] = Counter()
    for kind in MAKERS:
        url = f"{BASE}/{kind}?_count=100"
        while url:
            answer = client.get(url)
            assert answer.status_code == 200, answer.text
            bundle = answer.json()
            check(bundle)
            for entry in bundle.get("entry", ()):
                check(entry["resource"])
                seen[kind] += 1
            url = next((one["url"].partition("testserver")[2] for one in bundle["link"] if one["relation"] == "next"), "")
    with capsys.disabled():
        print("\nvalid R4:", ", ".join(f"{kind} {count}" for kind, count in seen.most_common()))
    expected = dict(kit.rows("SELECT kind, count(*) FROM resource WHERE status <> 'removed' GROUP BY kind"))
    assert seen == Counter({kind: expected[kind] for kind in MAKERS if expected.get(kind)})
    assert min(seen[kind] for kind in ("Patient", "Encounter", "Appointment", "Practitioner", "Coverage")) > 0


def test_everything_of_every_patient_is_valid_r4(kit: Kit) -> None:
    hub = web_hub(kit.hub)
    client = TestClient(create_app(hub), headers={"Authorization": f"Bearer {hub.access.create_token('crm-2', 'crm', now=0)[1]}"})
    for (patient_id,) in kit.rows("SELECT id FROM resource WHERE kind = 'Patient' ORDER BY id LIMIT 40"):
        answer = client.get(f"{BASE}/Patient/{patient_id}/$everything?_count=500")
        assert answer.status_code == 200
        check(answer.json())
        answer = client.get(f"{BASE}/Patient/{patient_id}/_history")
        assert answer.status_code == 200
        check(answer.json())
