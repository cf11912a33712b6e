"""hub.toml: what is filled in, and for every mistake the line, the fault and the remedy."""

# ruff: noqa: RUF009 - option() makes a dataclass field

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import pytest

from hub.config import Config, ConfigError, Secret, load, option, parse

GOOD = """\
[hub]
name = "서울 병원"
data_dir = "data"
[broker]
url = { env = "TEST_HUB_BROKER" }
[authority]
"Patient.telecom" = { systems = ["crm", "ocs"], policy = "newest" }
[channels.ocs-in]
adapter = "ocs.hl7_in"
system = "ocs"
port = 2575
accept = ["ADT"]
[channels.crm]
adapter = "crm.webhook"
system = "crm"
enabled = false
assigner = "CRM"
secrets = [{ file = "secrets/crm" }]
ca_file = "ca.pem"
retry = { base_seconds = 1 }
on_dead = "skip"
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("TEST_HUB_BROKER", "redis://:pw@127.0.0.1/0")
    (tmp_path / "secrets").mkdir()
    (tmp_path / "secrets/crm").write_text("whsec_abc\n")
    return tmp_path


def read(folder: Path, text: str) -> Config:
    file = folder / "hub.toml"
    file.write_text(text, encoding="utf-8")
    return load(file)


def test_what_is_written_and_what_is_filled_in(folder: Path) -> None:
    config = read(folder, GOOD)
    assert config.hub.name == "서울 병원"
    assert config.database.url == f"sqlite:///{folder}/data/hub.db"
    assert config.pid_file == folder / "data/hub.pid"
    assert config.keys.folder == folder / "secrets"
    assert config.audit.checkpoint_file == folder / "audit-checkpoints.txt"
    assert config.broker.url == "redis://:pw@127.0.0.1/0"
    assert config.authority["Patient.telecom"].systems == ("crm", "ocs")
    ocs, crm = config.channels["ocs-in"], config.channels["crm"]
    assert (ocs.assigner, ocs.timezone, ocs.accept, ocs.max_attempts) == ("HOSP", "Asia/Seoul", ("ADT",), 10)
    assert dict(ocs.settings) == {"port": 2575}
    assert (crm.assigner, crm.enabled, crm.on_dead, crm.retry.base_seconds, crm.retry.max_seconds) == (
        "CRM",
        False,
        "skip",
        1.0,
        600.0,
    )
    assert dict(crm.settings) == {"secrets": ["whsec_abc"], "ca_file": str(folder / "ca.pem")}


def test_an_empty_file_is_a_hub_without_channels(folder: Path) -> None:
    config = read(folder, "")
    assert not config.channels
    assert config.web.host == "127.0.0.1"
    assert config.broker.url is None


def test_secrets_are_not_shown(folder: Path) -> None:
    assert "whsec_abc" not in repr(read(folder, GOOD))
    assert ":pw@" not in repr(read(folder, GOOD))


def test_a_byte_order_mark_is_no_syntax_error(folder: Path) -> None:
    (folder / "hub.toml").write_bytes(b"\xef\xbb\xbf[hub]\nname = 'x'\n")
    assert load(folder / "hub.toml").hub.name == "x"


MISTAKES = [
    ('[hub]\nnmae = "x"\n', 2, 'unknown key "nmae" in [hub]', 'did you mean "name"?'),
    ("[hbu]\n", 1, "unknown [hbu]", 'did you mean "hub"?'),
    ('\nname = "x"\n', 2, 'unknown "name"', "known here"),
    ("[hub]\nname = 3\n", 2, '"name" cannot be 3', "a text in quotes"),
    ("[web]\nport = true\n", 2, '"port" cannot be true', "a whole number"),
    ("[web]\nport = 70000\n", 2, '"port" is 70000', "0 to 65535"),
    ("[web]\nport = 80\nport = 81\n", 3, "cannot overwrite a value", "once only"),
    ("[hub]\nname = Seoul\n", 2, "invalid value", "double quotes"),
    ('[hub]\ntimezone = "Seoul"\n', 2, 'no time zone "Seoul"', "Asia/Seoul"),
    ('[database]\nurl = "postgresql+psycopg://hub:hush@db/hub"\n', 2, "a password in it", '{ file = "secrets/database-url" }'),
    ('[broker]\nurl = "redis://:hush@db/0"\n', 2, "a password in it", '{ file = "secrets/broker-url" }'),
    ('[database]\nurl = "mysql://x/y"\n', 2, "no database that the hub knows", "postgresql+psycopg://"),
    ('[database]\nurl = "postgresql://x/y"\n', 2, "psycopg 3 only", "postgresql+psycopg://"),
    ('[database]\nurl = "sqlite:///:memory:"\n', 2, "in memory", "sqlite:///hub.db"),
    ('[broker]\nurl = "amqp://x"\n', 2, "no broker", "redis://"),
    ('[broker]\nurl = { env = "NOT_SET_ANYWHERE" }\n', 2, "no NOT_SET_ANYWHERE", "set NOT_SET_ANYWHERE"),
    ('[broker]\nurl = { file = "none" }\n', 2, "cannot read", "create the file"),
    ('[web]\ntls_cert = "x"\n', 1, "go together", "both"),
    ('[authority]\n"Patient.name" = ["ocs"]\n', 2, "says nothing of systems", "systems ="),
    ('[authority]\n"Patient.name" = { systems = [] }\n', 2, "nobody may set", "at least one"),
    (
        '[authority]\n"Patient.name" = { systems = ["ocs"], policy = "best" }\n',
        2,
        '"policy" cannot be "best"',
        '"ranked", "newest"',
    ),
    ('[channels.OCS]\nadapter = "a.b"\n', 1, "cannot name a channel", "small letters"),
    ("[channels.a]\n", 1, '[channels.a] has no "adapter"', "write adapter = …"),
    ('[channels.a]\nadapter = "a.b"\n', 1, 'has no "system"', "write system = …"),
    ('[channels.a]\nadapter = "hl7"\nsystem = "ocs"\n', 2, "cannot name an adapter", "ocs.hl7_in"),
    ('[channels.a]\nadapter = "a.b"\nsystem = "ocs"\naccept = "ADT"\n', 4, '"accept" is not a list', "accept = ["),
    ('[channels.a]\nadapter = "a.b"\nsystem = "ocs"\naccept = [\n "ADT",\n 7,\n]\n', 6, "cannot be 7", "a text in quotes"),
    (
        '[channels.a]\nadapter = "a.b"\nsystem = "x"\nretry = { base_seconds = 9, max_seconds = 1 }\n',
        4,
        "less than base",
        "greater",
    ),
    ('[channels.a]\nadapter = "a.b"\nsystem = "x"\nretry = { base = 9 }\n', 4, 'unknown key "base"', "base_seconds"),
    ("[channels]\na = 1\n", 2, '"a" is not a channel', "[channels.a]"),
    ('[routes]\nto = ["a"]\n', 1, "routes are a list", "[[routes]]"),
    ("[[routes]]\nevents = []\n", 1, 'has no "to"', "write to = …"),
    ("[[routes]]\nto = []\n", 2, '"to" is empty', "at least one"),
    (
        '[channels.a]\nadapter = "a.b"\nsystem = "x"\n[[routes]]\nto = ["a"]\nfields = []\n',
        6,
        '"fields" is empty',
        "leave it out",
    ),
    (
        '[channels.emr]\nadapter = "a.b"\nsystem = "x"\n[[routes]]\nto = ["emr"]\n[[routes]]\nto = [\n "emr",\n "erm"]\n',
        9,
        'there is no channel "erm"',
        'did you mean "emr"?',
    ),
    ('[[routes]]\nto = ["a"]\nfield = ["x"]\n', 3, 'unknown key "field"', 'did you mean "fields"?'),
]


@pytest.mark.parametrize(("text", "line", "problem", "instead"), MISTAKES, ids=[m[2] for m in MISTAKES])
def test_a_mistake_is_told_with_line_and_remedy(folder: Path, text: str, line: int, problem: str, instead: str) -> None:
    with pytest.raises(ConfigError) as caught:
        read(folder, text)
    assert caught.value.line == line
    assert problem in caught.value.problem
    assert instead in caught.value.instead
    assert str(caught.value).startswith(f"{folder}/hub.toml:{line}: ")


def test_a_missing_file_and_one_that_is_no_text(folder: Path) -> None:
    with pytest.raises(ConfigError, match="hub init"):
        load(folder / "none.toml")
    (folder / "hub.toml").write_bytes("[hub]\nname = '똠방'\n".encode("cp949"))
    with pytest.raises(ConfigError, match=r"hub\.toml:2: is not UTF-8"):
        load(folder / "hub.toml")


@dataclass(frozen=True)
class Settings:
    """An adapter's."""

    port: int = option(low=1, high=65535)
    token: Secret | None = option(None)
    mode: Literal["a", "b"] = option("a")
    ca_file: Path | None = option(None)
    accept: tuple[str, ...] = option(())
    timezone: str = option("")
    name: str = option("")
    codes: dict[str, str] = option(dict)

    def __post_init__(self) -> None:
        if self.codes.get("bad"):
            raise ValueError('"codes" has a bad one')


CHANNEL = '[channels.a]\nadapter = "a.b"\nsystem = "x"\n'


def test_an_adapter_reads_its_own_keys(folder: Path) -> None:
    text = CHANNEL + 'port = 5\ntoken = { file = "secrets/crm" }\nca_file = "x.pem"\naccept = ["ADT"]\n'
    settings = read(folder, text).channels["a"].read(Settings)
    assert settings == Settings(5, Secret("whsec_abc"), "a", folder / "x.pem", ("ADT",), "Asia/Seoul", "a", {})


@pytest.mark.parametrize(
    ("more", "line", "problem"),
    [
        ("prot = 5\n", 4, 'unknown key "prot" in [channels.a]; did you mean "port"?'),
        ("port = 5\nmax_atempts = 5\n", 5, 'did you mean "max_attempts"?'),
        ("", 1, 'has no "port"'),
        ("port = 0\n", 4, '"port" is 0; write a number of 1 to 65535'),
        ('port = 5\ntoken = "hush"\n', 5, '"token" is a secret and must not stand in this file; write token = { file'),
        ('port = 5\nmode = "c"\n', 5, '"mode" cannot be "c"; write one of "a", "b"'),
        ('port = 5\ncodes = { bad = "x" }\n', 5, '"codes" has a bad one'),
    ],
)
def test_an_adapters_mistake_has_its_line(folder: Path, more: str, line: int, problem: str) -> None:
    with pytest.raises(ConfigError) as caught:
        read(folder, CHANNEL + more).channels["a"].read(Settings)
    assert caught.value.line == line
    assert problem in str(caught.value)
    assert "hush" not in str(caught.value)


@pytest.mark.parametrize(
    "text",
    [
        "DRIVER=x;PWD=geheim",
        "DRIVER={MariaDB Unicode};SERVER=10.1.2.3;UID=hub;pwd = {geheim};DATABASE=ocs",
        "DSN=ocs;Password=geheim",
        "PWD=geheim;DSN=ocs",
        "oracle+oracledb://hub:geheim@10.1.2.3:1521/?service_name=ocs",
        "mariadb+pymysql://hub:12geheim@db/ocs",
        "postgresql+psycopg://hub:12@db/ocs",
        "postgresql+psycopg://hub@db/ocs?sslmode=require&password=geheim",
        "https://hub:geheim@emr.example/fhir",
    ],
)
def test_a_password_never_stands_in_the_file(folder: Path, text: str) -> None:
    """docs/configuration.md, Secrets: also inside of a connection string, of whatever adapter, and in a list."""
    for written, line in ((f"connection = '{text}'", 4), (f"many = [\n '{text}' ]", 5), (f"t = {{ connection = '{text}' }}", 4)):
        with pytest.raises(ConfigError) as caught:
            read(folder, CHANNEL + written + "\n")
        assert caught.value.line == line
        assert "has a password in it" in str(caught.value)
        assert '{ file = "secrets/a-' in str(caught.value)
        assert "geheim" not in str(caught.value)
    (folder / "secrets/odbc").write_text(text)
    assert read(folder, CHANNEL + 'connection = { file = "secrets/odbc" }').channels["a"].settings["connection"] == text


@pytest.mark.parametrize(
    "text",
    [
        "DRIVER={SQLite3};Database=ocs.sqlite;Timeout=5000",
        "DSN=ocs;UID=hub;PWD=",
        "sqlite:////srv/ocs.sqlite",
        "postgresql+psycopg://hub@db:5432/ocs",
        "http://127.0.0.1:9/fhir?x=a@b",
        "https://emr.example:8443/fhir/a@b",
        "SELECT PANO, PASSWORD FROM T WHERE A = 1; password = x",
        "urn:oid:1.2.3",
    ],
)
def test_what_holds_no_password_may(folder: Path, text: str) -> None:
    assert read(folder, CHANNEL + f"connection = '{text}'").channels["a"].settings["connection"] == text


def test_parse_needs_no_file(tmp_path: Path) -> None:
    assert parse('[hub]\nname = "x"\n', tmp_path / "nowhere.toml").hub.name == "x"
