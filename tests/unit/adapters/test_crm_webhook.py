"""The webhook adapter without a network: bodies, what each status means, Retry-After, settings."""

from __future__ import annotations

import time
from email.utils import formatdate
from typing import Any

import orjson
import pytest

from hub.adapters.crm import webhook
from hub.adapters.crm.webhook import LONGEST_WAIT, Settings, event_body, retry_after
from hub.codecs.http1 import HttpAnswer
from hub.codecs.webhook import new_secret
from hub.config import Secret
from hub.domain.errors import HubError, Misconfigured, NotDelivered, Refused
from tests.contract.case import CANARIES, patient_updated

SECRET = Secret(new_secret())
TABLE: dict[str, Any] = {"url": "https://crm.example.org/hooks/hub", "secrets": [SECRET]}


@pytest.mark.parametrize(
    ("status", "error", "code"),
    [
        (301, NotDelivered, "redirect"), (302, NotDelivered, "redirect"), (307, NotDelivered, "redirect"),
        (304, NotDelivered, "redirect"), (400, Refused, "http_400"), (401, Misconfigured, "unauthorized"),
        (403, Refused, "http_403"), (404, Refused, "http_404"), (408, NotDelivered, "http_408"), (409, Refused, "http_409"),
        (410, Misconfigured, "gone"), (413, Refused, "http_413"), (422, Refused, "http_422"), (425, NotDelivered, "http_425"),
        (429, NotDelivered, "http_429"), (500, NotDelivered, "http_500"), (503, NotDelivered, "http_503"),
        (599, NotDelivered, "http_599"),
    ],
)  # fmt: skip
def test_each_status_has_one_meaning(status: int, error: type[HubError], code: str) -> None:
    answer = HttpAnswer(status, {"retry-after": "9"}, "홍길동".encode(), True)
    with pytest.raises(HubError) as caught:
        webhook._judge(answer)
    assert type(caught.value) is error
    assert caught.value.code == code
    assert caught.value.answer == "홍길동".encode()
    assert "홍길동" not in str(caught.value)
    if isinstance(caught.value, NotDelivered):
        assert caught.value.reached
        assert caught.value.retry_after == (9.0 if code != "redirect" else None)


@pytest.mark.parametrize("status", [200, 201, 202, 204, 299])
def test_any_2xx_is_delivered(status: int) -> None:
    webhook._judge(HttpAnswer(status, {}, b"", True))


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        (None, None), ("", None), ("0", 0.0), ("120", 120.0), ("999999999999999999999", LONGEST_WAIT), ("-5", None),
        ("soon", None), ("1.5", None), ("Wed, 21 Oct 2015 07:28:00 GMT", 0.0), ("99 Foo 2015", None),
    ],
)  # fmt: skip
def test_retry_after_is_seconds_or_a_date_or_nothing(value: str | None, seconds: float | None) -> None:
    assert retry_after(value) == seconds


def test_retry_after_a_date_in_the_future() -> None:
    wait = retry_after(formatdate(time.time() + 100, usegmt=True))
    assert wait is not None
    assert 97 < wait <= 100


def test_a_stored_event_is_the_same_bytes_whatever_order_it_was_read_in() -> None:
    one = patient_updated(1, event={"type": "x", "timestamp": "t", "data": {"b": 1, "a": "뷁"}})
    two = patient_updated(1, event={"data": {"a": "뷁", "b": 1}, "timestamp": "t", "type": "x"})
    assert event_body(one) == event_body(two)


def test_without_a_stored_event_the_body_is_made_of_the_resource() -> None:
    body = orjson.loads(event_body(patient_updated(1)))
    assert set(body) == {"type", "timestamp", "data"}
    assert body["type"] == "patient.updated"
    assert body["timestamp"].endswith("Z")
    assert body["data"]["version"] == 3
    assert body["data"]["changed"] == ["telecom.mobile"]
    assert body["data"]["kind"] == "Patient"
    assert body["data"]["id"] == body["data"]["patientId"]
    assert body["data"]["resource"]["name"][0]["text"] == "홍길동"


@pytest.mark.parametrize(
    ("more", "says"),
    [
        ({"secrets": []}, "one secret, or two"),
        ({"secrets": [SECRET] * 3}, "one secret, or two"),
        ({"secrets": [Secret("hunter2")]}, "whsec_"),
        ({"secrets": ["whsec_x"]}, "must not stand in this file"),
        ({"timeout_seconds": 0}, "0.1 to 60"),
        ({"timeout_seconds": "fast"}, "number"),
        ({"ulr": "x"}, "url"),
    ],
)
def test_a_wrong_setting_says_what_to_write(more: dict[str, Any], says: str) -> None:
    with pytest.raises(Misconfigured) as caught:
        Settings.from_table({**TABLE, **more})
    assert says in str(caught.value)
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize(
    "url", ["crm.example.org", "ftp://x/y", "http://user:pw@x/", "http://x/y?token=z", "http://:80/", "http://x:99999/"]
)
def test_a_url_that_cannot_be_posted_to_stops_the_channel(url: str) -> None:
    with pytest.raises(Misconfigured) as caught:
        webhook.build(Settings.from_table({**TABLE, "url": url}))
    assert "pw" not in str(caught.value)
    assert "token" not in str(caught.value)


def test_secrets_are_in_no_text_of_the_settings() -> None:
    settings = Settings.from_table(TABLE)
    assert str(SECRET) not in repr(settings)
    assert not any(canary in repr(settings) for canary in CANARIES)
