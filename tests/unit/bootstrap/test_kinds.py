"""Adapters of a site's own packages: found by their entry point; what cannot be used says whose it is and what to change."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from hub.bootstrap import channels, kinds
from hub.config import ConfigError, load
from hub.domain.errors import Misconfigured

MODULE = """
from dataclasses import dataclass
from hub.domain.ports import Manifest

MANIFEST = Manifest(name="{name}", title="Lab", direction="{direction}", system="ocs", protocol="none", kit={kit})


@dataclass(frozen=True)
class Settings:
    url: str


def build(settings, name=""):
    return settings
"""
NO_BUILD = MODULE.replace("def build", "def make").format(name="acme.lab_in", kit=1, direction="in")
Install = Callable[..., None]


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Install]:
    """A package as pip leaves it: a module, and a dist-info that names the entry point."""

    def one(
        entry: str = "acme.lab_in", package: str = "acme_lab", body: str | None = None, *, name: str = "", kit: int = kinds.KIT,
        direction: str = "in",
    ) -> None:  # fmt: skip
        text = MODULE.format(name=name or entry, kit=kit, direction=direction) if body is None else body
        (tmp_path / f"{package}.py").write_text(text, encoding="utf-8")
        info = tmp_path / f"{package}-1.2.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {package}\nVersion: 1.2\n", encoding="utf-8")
        (info / "entry_points.txt").write_text(f"[hub.adapters]\n{entry} = {package}\n", encoding="utf-8")
        kinds.offered.cache_clear()

    monkeypatch.syspath_prepend(str(tmp_path))
    yield one
    for module in [name for name in sys.modules if name in ("acme_lab", "acme_own", "other_lab")]:
        del sys.modules[module]
    kinds.offered.cache_clear()


def why(name: str = "acme.lab_in") -> str:
    with pytest.raises(Misconfigured) as caught:
        kinds.module_of(name)
    return caught.value.reason


def test_a_sites_adapter_is_found_and_listed(install: Install) -> None:
    install()
    assert kinds.module_of("acme.lab_in").MANIFEST.title == "Lab"
    good, bad = kinds.manifests()
    assert {"acme.lab_in", "ocs.hl7_in", "crm.webhook"} <= {manifest.name for manifest in good}
    assert bad == {}


def test_hub_toml_takes_it_and_names_the_line_of_a_mistake(install: Install, tmp_path: Path) -> None:
    install()
    file = tmp_path / "hub.toml"
    file.write_text('[channels.lab]\nadapter = "acme.lab_in"\nsystem = "ocs"\nurl = "x"\n', encoding="utf-8")
    assert channels.settings_of(load(file).channels["lab"]).url == "x"
    file.write_text('[channels.lab]\nadapter = "acme.lab_on"\nsystem = "ocs"\n', encoding="utf-8")
    with pytest.raises(ConfigError, match=r'there is no adapter "acme.lab_on"; see hub channel kinds') as caught:
        channels.manifest_of(load(file).channels["lab"])
    assert caught.value.line == 2


def test_names_that_two_offer_are_nobodys(install: Install) -> None:
    install("ocs.hl7_in", "acme_own")
    assert why("ocs.hl7_in") == 'the adapter "ocs.hl7_in" is offered by acme_own 1.2 and the hub itself: rename one of them'
    install("acme.lab_in", "acme_lab")
    install("acme.lab_in", "other_lab")
    assert why() == 'the adapter "acme.lab_in" is offered by acme_lab 1.2 and other_lab 1.2: rename one of them'
    assert {"ocs.hl7_in", "acme.lab_in"} == set(kinds.manifests()[1])


@pytest.mark.parametrize(
    ("more", "text"),
    [
        ({"kit": kinds.KIT + 1}, "was written for adapter kit 2, this hub has 1: install a newer hub"),
        ({"kit": 0}, "was written for adapter kit 0, this hub has 1: install a newer version of that package"),
        ({"name": "acme.lab"}, 'calls itself "acme.lab" in its MANIFEST: write one name'),
        ({"direction": "both"}, 'needs direction "in" or "out" and a dataclass Settings'),
        ({"body": "X = 1\n"}, "acme_lab has no MANIFEST of hub.domain.ports.Manifest"),
        (
            {"body": MODULE.replace("def build", "def make").format(name="acme.lab_in", kit=1, direction="in")},
            "has no function build",
        ),
        ({"body": "import a_library_that_is_not_there\n"}, "No module named 'a_library_that_is_not_there'"),
        ({"body": "1 / 0\n"}, "cannot be imported (ZeroDivisionError); mend acme_lab"),
        ({"entry": "acmelab"}, 'write one like "acme.lab_in"'),
    ],
)
def test_what_cannot_be_used_says_why_and_harms_no_other(install: Install, more: dict[str, str], text: str) -> None:
    install(**more)
    name = more.get("entry", "acme.lab_in")
    assert text in why(name)
    assert "acme_lab 1.2" in why(name)
    good, bad = kinds.manifests()
    assert set(bad) == {name}
    assert "ocs.hl7_in" in {manifest.name for manifest in good}


def test_a_room_of_ours_is_no_adapter() -> None:
    assert why("ocs.hl7_lookup") == why("sql.clean").replace("sql.clean", "ocs.hl7_lookup")
    assert "there is no adapter" in why("..config")
