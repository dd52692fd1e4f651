"""Every setting says what it expects, no secret is ever shown, and .env.example lists them all."""

import os
from pathlib import Path

import pytest
from pydantic import SecretStr, ValidationError

from posthorn.settings import PREFIX, Settings, SettingsError, load_settings, unknown_variables, variables

ROOT = Path(__file__).parents[1]
SECRET = "hunter2-hunter2"


@pytest.fixture(autouse=True)
def bare(monkeypatch, tmp_path):
    """No variable of this machine, and no .env."""
    for name in list(os.environ):
        if name.upper().startswith(PREFIX):
            monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def problems(monkeypatch):
    """What is said about some variables (without their prefix)."""

    def said(**values: str) -> list[str]:
        for name, value in values.items():
            monkeypatch.setenv(PREFIX + name, value)
        with pytest.raises(SettingsError) as caught:
            load_settings()
        return str(caught.value).splitlines()

    return said


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("SERWERSMS__CHUNK_SIZE", "0", "expected a whole number from 1 to 100000, got 0"),
        ("SERWERSMS__CHUNK_SIZE", "100001", "expected a whole number from 1 to 100000, got 100001"),
        ("SERWERSMS__CHUNK_SIZE", "1.5", "expected a whole number from 1 to 100000, got 1.5"),
        ("SERWERSMS__CONCURRENCY", "many", "expected a whole number from 1 to 64, got 'many'"),
        ("SERWERSMS__TIMEOUT_SECONDS", "0", "expected a number above 0 and up to 600, got 0"),
        ("SERWERSMS__TIMEOUT_SECONDS", "nan", "expected a number above 0 and up to 600, got 'nan'"),
        ("SERWERSMS__TIMEOUT_SECONDS", "inf", "expected a number above 0 and up to 600, got 'inf'"),
        ("SKYCORE__MIN_INTERVAL_SECONDS", "-1", "expected a number from 0 to 3600, got -1"),
        ("SERWERSMS__UPLOAD", "ftp", "expected auto or multipart or form or base64, got 'ftp'"),
        ("SERWERSMS__TEST_NUMBER", "500600700", "expected one number with its country code, such as +48500600700"),
        ("SERWERSMS__RESPONSE_FORMAT", "yaml", "expected json or xml, got 'yaml'"),
        ("SKYCORE__TRANSPORT", "PUT", "expected post or raw or get, got 'PUT'"),
        ("SERWERSMS__TIMEZONE", "Europe", "expected a time zone such as Europe/Warsaw, got 'Europe'"),
        ("SERWERSMS__TIMEZONE", "../x", "expected a time zone such as Europe/Warsaw, got '../x'"),
        ("DEFAULT_REGION", "Poland", "expected a two-letter region such as PL, DE or US, got 'Poland'"),
        ("SKYCORE__BASE_URL", "skycore", "expected a URL that starts with https://, got 'skycore'"),
        ("SKYCORE__BASE_URL", "https://[x", "expected a URL that starts with https://"),
        ("SERWERSMS__BASE_URL", "http://example.com", "expected https:// (plain http is allowed on this machine only, "),
        ("SERWERSMS", "x", "expected its parts, each set by itself"),
        ("SERWERSMS", "[1]", "expected its parts, each set by itself"),
    ],
)
def test_a_wrong_value_is_refused_with_what_is_expected(problems, name, value, said):
    (problem,) = problems(**{name: value})
    assert problem.startswith(f"{PREFIX}{name}: {said}")


def test_every_wrong_variable_is_named_at_once(problems):
    said = problems(SERWERSMS__CHUNK_SIZE="0", SKYCORE__CONCURRENCY="65", DEFAULT_REGION="XX", DATABASE_URL="x")
    assert [problem.split(":")[0].removeprefix(PREFIX) for problem in said] == [
        "DATABASE_URL",
        "DEFAULT_REGION",
        "SERWERSMS__CHUNK_SIZE",
        "SKYCORE__CONCURRENCY",
    ]


@pytest.mark.parametrize(
    ("given", "used"),
    [
        ("sqlite:///ledger.db", "sqlite:///ledger.db"),
        ("sqlite:////var/lib/ledger.db", "sqlite:////var/lib/ledger.db"),
        ("postgres://u:p@h/d", "postgresql+psycopg://u:p@h/d"),
        ("postgresql://u:p@h:5433/d?sslmode=require", "postgresql+psycopg://u:p@h:5433/d?sslmode=require"),
        ("postgresql+psycopg://h/d", "postgresql+psycopg://h/d"),
        ("postgresql:///d", "postgresql+psycopg:///d"),
    ],
)
def test_a_database_url_is_taken_in_its_usual_spellings(monkeypatch, given, used):
    monkeypatch.setenv("POSTHORN_DATABASE_URL", given)
    assert load_settings().database_url == used


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("mysql://u:hunter2-hunter2@h/d", "expected sqlite:///path/to/file.db or postgresql://user@host/database"),
        ("postgresql+asyncpg://u:hunter2-hunter2@h/d", "expected sqlite:///"),
        ("ledger.db", "expected sqlite:///"),
        ("sqlite://", "expected sqlite:///"),
        ("sqlite://ledger.db", "expected sqlite:///"),
        ("postgresql://", "expected sqlite:///"),
        ("sqlite:///", "a ledger in memory forgets"),
        ("sqlite:///:memory:", "a ledger in memory forgets"),
        ("sqlite:///file:x?mode=memory&uri=true", "a ledger in memory forgets"),
    ],
)
def test_a_database_that_cannot_hold_the_ledger_is_refused(problems, url, said):
    (problem,) = problems(DATABASE_URL=url)
    assert said in problem
    assert SECRET not in problem


def test_the_sandbox_may_be_reached_by_plain_http(monkeypatch):
    monkeypatch.setenv("POSTHORN_SERWERSMS__BASE_URL", "http://127.0.0.1:8025/")
    assert load_settings().serwersms.base_url == "http://127.0.0.1:8025"


def test_an_empty_variable_means_its_default(monkeypatch):
    monkeypatch.setenv("POSTHORN_SERWERSMS__CHUNK_SIZE", "")
    monkeypatch.setenv("POSTHORN_SERWERSMS__TOKEN", "")
    settings = load_settings()
    assert settings.serwersms.chunk_size == 100
    assert not settings.serwersms.has_credentials()


def test_a_file_that_is_not_utf8_is_named(tmp_path):
    (tmp_path / ".env").write_bytes(b"POSTHORN_DEFAULT_REGION=\xff\xfe")
    with pytest.raises(SettingsError, match=r"^\.env: expected a readable file of UTF-8 text$"):
        load_settings()


@pytest.mark.parametrize(
    ("username", "password", "token", "complete"),
    [
        (None, None, None, False),
        ("user", None, None, False),
        (None, SECRET, None, False),
        ("user", "", None, False),
        ("user", SECRET, None, True),
        (None, None, SECRET, True),
    ],
)
def test_credentials_are_a_token_or_a_user_with_a_password(monkeypatch, username, password, token, complete):
    for name, value in {"USERNAME": username, "PASSWORD": password, "TOKEN": token}.items():
        if value is not None:
            monkeypatch.setenv(f"POSTHORN_SERWERSMS__{name}", value)
    assert load_settings().serwersms.has_credentials() is complete


def secrets() -> list[str]:
    return [name for name, info in variables() if SecretStr in (info.annotation, *getattr(info.annotation, "__args__", ()))]


def test_tokens_passwords_and_keys_are_secrets():
    endings = ("TOKEN", "PASSWORD", "API_KEY", "SECRET", "SLACK_URL", "WEBHOOK_URL", "SMTP_URL")
    assert secrets() == [name for name, _ in variables() if name.endswith(endings)]
    assert len(secrets()) == 7


def test_no_secret_is_shown_by_the_settings(monkeypatch):
    for name in secrets():
        monkeypatch.setenv(name, SECRET)
    monkeypatch.setenv("POSTHORN_DATABASE_URL", f"postgresql://user:{SECRET}@host/d")
    settings = load_settings()
    assert settings.serwersms.token.get_secret_value() == SECRET
    for shown in (repr(settings), str(settings), repr(settings.serwersms), f"{settings.skycore}"):
        assert SECRET not in shown


@pytest.mark.parametrize(
    "values",
    [
        pytest.param({"DATABASE_URL": f"mysql://user:{SECRET}@host/d"}, id="in a database URL"),
        pytest.param({"DATABASE_URL": SECRET}, id="instead of a database URL"),
        pytest.param({"SERWERSMS__BASE_URL": f"https://user:{SECRET}@host"}, id="in a base URL"),
        pytest.param({"SERWERSMS__CHUNK_SIZE": SECRET}, id="instead of a number"),
        pytest.param({"SERWERSMS__TIMEZONE": SECRET}, id="instead of a zone"),
        pytest.param({"SERWERSMS": SECRET}, id="instead of a group"),
        pytest.param({"SERWERSMS": f'{{"token": ["{SECRET}"]}}'}, id="in a list"),
        pytest.param({"SERWERSMS": f'["{SECRET}"]'}, id="in a list instead of a group"),
        pytest.param({"SERWERSMS__TOKEN": SECRET, "SERWERSMS__CHUNK_SIZE": "0"}, id="beside a wrong value"),
    ],
)
def test_no_secret_is_shown_by_an_error(monkeypatch, problems, values):
    assert SECRET not in "\n".join(problems(**values))
    with pytest.raises((ValidationError, ValueError)) as caught:
        Settings()
    assert SECRET not in str(caught.value)
    assert SECRET not in repr(caught.value)


def test_a_number_in_place_of_a_secret_is_not_shown(problems):
    (problem,) = problems(SERWERSMS='{"token": 123456}')
    assert problem == "POSTHORN_SERWERSMS__TOKEN: expected text"


def test_a_slip_of_the_pen_is_noticed():
    assert unknown_variables({"POSTHORN_SERWERSMS__TOKN": "x", "PATH": "y", "POSTHORN_DATABASE_URL": "z"}) == [
        "POSTHORN_SERWERSMS__TOKN is not a setting of Posthorn; did you mean POSTHORN_SERWERSMS__TOKEN?"
    ]


def test_every_setting_is_described():
    assert all(info.description and not info.description.endswith(".") for _, info in variables())


def example() -> list[tuple[str, str, str]]:
    """Description, name and value of every setting in .env.example."""
    blocks = (ROOT / ".env.example").read_text(encoding="utf-8").strip().split("\n\n")[1:]
    pairs = [[line.removeprefix("# ") for line in block.splitlines()] for block in blocks]
    return [(description, *assignment.split("=", 1)) for description, assignment in pairs]


def test_the_example_lists_every_setting_with_its_description_and_default():
    assert example() == [
        (info.description, name, "" if info.default is None else str(info.default)) for name, info in variables()
    ]


def test_the_example_changes_nothing_until_it_is_edited(tmp_path):
    text = (ROOT / ".env.example").read_text(encoding="utf-8")
    assert all(line.startswith("#") for line in text.splitlines() if line)
    (tmp_path / ".env").write_text("\n".join(f"{name}={value}" for _, name, value in example()))
    assert load_settings() == Settings(_env_file=None)


def test_the_ticket_gateways_address_is_kept_to_the_letter(monkeypatch):
    monkeypatch.setenv("POSTHORN_SKYCORE__BASE_URL", "https://secure.skycore.com/API/wxml/1.3/")
    monkeypatch.setenv("POSTHORN_SERWERSMS__BASE_URL", "https://api2.serwersms.pl/")
    settings = load_settings()
    assert settings.skycore.base_url == "https://secure.skycore.com/API/wxml/1.3/"
    assert settings.serwersms.base_url == "https://api2.serwersms.pl"


@pytest.mark.parametrize(
    ("settle", "timeout", "is_fine"), [("0", None, False), ("29.9", None, False), ("30", None, True), ("9", "10", False)]
)
def test_a_settle_time_below_the_timeout_is_refused_with_both_names(monkeypatch, settle, timeout, is_fine):
    monkeypatch.setenv("POSTHORN_SERWERSMS__SETTLE_SECONDS", settle)
    if timeout:
        monkeypatch.setenv("POSTHORN_SERWERSMS__TIMEOUT_SECONDS", timeout)
    if is_fine:
        assert load_settings().serwersms.settle_seconds == float(settle)
        return
    with pytest.raises(SettingsError) as caught:
        load_settings()
    assert "POSTHORN_SERWERSMS__SETTLE_SECONDS: expected " in str(caught.value)
    assert f"at least POSTHORN_SERWERSMS__TIMEOUT_SECONDS, which is {timeout or 30}" in str(caught.value)


def test_the_longest_timeout_needs_no_other_settle_time(monkeypatch):
    monkeypatch.setenv("POSTHORN_SERWERSMS__TIMEOUT_SECONDS", "600")
    assert load_settings().serwersms.settle_seconds == 600
