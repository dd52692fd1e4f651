"""The list of gateways: light to import, and what it says is what everybody else goes by."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from posthorn.delivery.planning.plan import plan_file
from posthorn.errors import InputError
from posthorn.gateways import registry
from posthorn.models import Kind
from posthorn.settings import SerwerSmsSettings, Settings
from tests.delivery.journey import numbers, write_campaign


def test_a_status_imports_no_http_client(tmp_path: Path) -> None:
    settings = Settings(database_url=f"sqlite:///{tmp_path / 'ledger.db'}", state_dir=tmp_path)
    plan_file(write_campaign(tmp_path, numbers(3)), settings)
    told = subprocess.run(
        [sys.executable, "-X", "importtime", "-m", "posthorn", "campaign", "status", "sale"],
        env={
            "POSTHORN_DATABASE_URL": settings.database_url,
            "HOME": str(tmp_path),
            "PYTHONPATH": str(Path(__file__).parents[2]),
        },
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    imported = {line.rpartition("|")[2].strip() for line in told.stderr.splitlines() if line.startswith("import time:")}
    assert "3" in told.stdout
    assert "posthorn.gateways.registry" in imported
    assert {"httpx", "prefect", "aiohttp"} & imported == set()


def test_each_gateway_has_a_name_of_its_own_and_no_two_share_an_address() -> None:
    names = [gateway.name for gateway in registry.GATEWAYS]
    paths = [route.path for gateway in registry.GATEWAYS for route in gateway.routes]
    assert len(set(names)) == len(names)
    assert len(set(paths)) == len(paths)


@pytest.mark.parametrize("kind", Kind)
def test_a_file_that_names_no_gateway_goes_through_the_first_of_its_kind(kind: Kind) -> None:
    first = registry.for_kind(kind)[0]
    assert registry.chosen(kind, None) is first
    assert registry.chosen(kind, first.name) is registry.by_name(first.name)
    with pytest.raises(InputError, match=f"gateway: expected one of {first.name}"):
        registry.chosen(kind, "pigeon")


def test_nobody_but_its_package_its_settings_and_its_stand_in_names_a_provider() -> None:
    root = Path(__file__).parents[2]
    may_name = ("posthorn/gateways/", "posthorn/sandbox/", "posthorn/settings.py", "posthorn/cli/sandbox")
    names = re.compile("|".join(gateway.name for gateway in registry.GATEWAYS), re.IGNORECASE)
    naming = [
        str(path.relative_to(root))
        for folder in ("posthorn", "flows", "tasks", "deployments")
        for path in sorted((root / folder).rglob("*.py"))
        if names.search(path.read_text(encoding="utf-8"))
    ]
    assert [path for path in naming if not path.startswith(may_name)] == []


def test_an_account_is_named_by_its_address_and_login_and_gives_neither_away() -> None:
    def key(**values: str) -> str:
        settings = Settings(serwersms=SerwerSmsSettings(**values))
        return registry.by_name("serwersms").account(settings).key

    keys = [
        key(token="secret-token"),
        key(token="another-token"),
        key(token="secret-token", base_url="https://other.example"),
        key(username="webapi_a", password="x"),
        key(username="webapi_b", password="x"),
    ]
    assert len(set(keys)) == len(keys)
    assert key(username="webapi_a", password="changed") == keys[3], "a new password is no new account"
    assert not any(word in one for one in keys for word in ("secret", "webapi"))
