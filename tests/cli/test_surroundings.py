"""Whatever surrounds the command, it works or says one sentence: real processes, since that is what an environment is of."""

from __future__ import annotations

import os
import stat
import subprocess
from collections.abc import Callable

import pytest

from posthorn.process.proxies import UnusableProxy, settle_for, spare_loopback
from posthorn.process.surroundings import refusal
from tests.commands import COMMAND, PATIENCE_SECONDS, Desk, Ended
from tests.delivery.journey import numbers, write_campaign

POLISH = "zażółć-gęślą-jaźń"
NO_PASSWD = ["unshare", "--map-root-user", "--mount", "sh", "-c", 'mount --bind /dev/null /etc/passwd && exec "$@"', "sh"]


def shell(desk: Desk, script: str, *args: str, **more: str) -> Ended:
    """Run ``script``, in which ``"$@"`` is the command."""
    done = subprocess.run(
        ["bash", "-c", script, "bash", str(COMMAND), *args],
        cwd=desk.folder,
        env=desk.environment(more),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        timeout=PATIENCE_SECONDS,
        check=False,
    )
    return Ended(done.returncode, done.stdout.decode(errors="replace"), done.stderr.decode(errors="replace"))


def assert_in_words(ended: Ended) -> None:
    for said in (ended.out, ended.err):
        assert "Traceback" not in said
        assert "Exception ignored" not in said
        assert "unexpected error" not in said


@pytest.fixture
def sale(desk: Desk) -> Desk:
    write_campaign(desk.folder, numbers(60))
    return desk


WORKS: dict[str, tuple[str, dict[str, str]]] = {
    "an output that takes ASCII only": ('"$@"', {"PYTHONIOENCODING": "ascii"}),
    "the C locale without UTF-8": ('"$@"', {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}),
    "no locale, no terminal": ('"$@"', {"LANG": "", "TERM": "dumb", "NO_COLOR": "1"}),
    "warnings that are errors": ('"$@"', {"PYTHONWARNINGS": "error"}),
    "a time zone that is none": ('"$@"', {"TZ": "Nowhere/Odd"}),
    "no folder for temporary files": ('"$@"', {"TMPDIR": "/nonexistent"}),
    "no home": ('"$@"', {"HOME": "", "USER": ""}),
    "a home that is not there": ('"$@"', {"HOME": "/nonexistent/home"}),
    "a closed input": ('"$@" <&-', {}),
    "a closed output": ('"$@" >&-', {}),
    "everything closed": ('"$@" <&- >&- 2>&-', {}),
    "a reader that leaves": ('set -o pipefail; "$@" | true', {}),
    "a reader of errors that leaves": ('set -o pipefail; "$@" 2>&1 >/dev/null | true', {}),
    "proxies that are away": ('"$@"', {"HTTP_PROXY": "http://127.0.0.1:9", "ALL_PROXY": "socks5://127.0.0.1:9"}),
    "a file of settings that is a folder": ('mkdir -p .env; "$@"', {}),
    "a file of settings with a mark": ("printf '\\xef\\xbb\\xbfPOSTHORN_DEFAULT_REGION=PL\\n' > .env; \"$@\"", {}),
}


@pytest.mark.parametrize("what", WORKS)
def test_a_check_works_with(what: str, sale: Desk) -> None:
    script, more = WORKS[what]
    (sale.folder / "recipients.csv").write_text("phone\n+48600100200\nżółw\n", encoding="utf-8")
    ended = shell(sale, script, "campaign", "check", "sale.toml", **more)
    assert_in_words(ended)
    assert ended.code == 0, ended


@pytest.mark.parametrize("folder", [POLISH, "100% of %41 %(here)s", "what? #1 & more", "two\nlines", "a'b\"c d", "d" * 200])
def test_a_check_works_in_a_folder_called(folder: str, sale: Desk, running_sandbox) -> None:
    odd = Desk(sale.folder / folder, sale.variables)
    odd.folder.mkdir()
    write_campaign(odd.folder, numbers(60))
    ended = odd.run("campaign", "check", "sale.toml")
    assert_in_words(ended)
    assert ended.code == 0
    assert (odd.folder / ".posthorn" / "ledger.db").is_file()


def test_a_check_works_through_a_link_to_the_folder(sale: Desk) -> None:
    (sale.folder / "link").symlink_to(sale.folder)
    ended = Desk(sale.folder / "link", sale.variables).run("campaign", "check", "sale.toml")
    assert (ended.code, ended.err) == (0, "")


@pytest.mark.skipif(
    subprocess.run([*NO_PASSWD, "true"], capture_output=True, check=False).returncode != 0,
    reason="this machine lets nobody unshare, so the list of accounts cannot be hidden",
)
def test_an_account_without_an_entry_and_without_a_home_decides_all_the_same(sale: Desk) -> None:
    done = subprocess.run(
        [*NO_PASSWD, str(COMMAND), "campaign", "approve", "nobody"],
        cwd=sale.folder,
        env=sale.environment({"HOME": "", "USER": "", "LOGNAME": ""}),
        capture_output=True,
        text=True,
        timeout=PATIENCE_SECONDS,
        check=False,
    )
    assert "no campaign or event named 'nobody'" in done.stderr
    assert (done.returncode, done.stdout) == (2, "")


def gone(desk: Desk) -> str:
    (desk.folder / "gone").mkdir()
    return 'cd gone; rmdir ../gone; "$@"'


REFUSED: dict[str, tuple[Callable[[Desk], str] | str, dict[str, str], str, int]] = {
    "a folder that is gone": (gone, {}, "the current folder cannot be used", 2),
    "a folder whose name is not text": ("mkdir $'\\xff'; cd $'\\xff'; \"$@\"", {}, "is not text in UTF-8: ", 2),
    "an argument that is not text": ("\"$@\" $'\\xff'", {}, "an argument is not text in UTF-8: \\udcff", 2),
    "a full output": ('"$@" > /dev/full', {}, "the output could not be written (No space left on device)", 1),
    "settings of random bytes": (
        "printf '\\xff\\x00A=1' > .env; \"$@\"",
        {},
        ".env: expected a readable file of UTF-8 text",
        2,
    ),
    "a state folder that is a file": ('echo > .posthorn; "$@"', {}, "make that folder writable, or name another file", 1),
    "a ledger that is a folder": ('"$@"', {"POSTHORN_DATABASE_URL": "sqlite:///."}, "unable to open database file", 1),
    "a server that is away": (
        '"$@"',
        {"POSTHORN_DATABASE_URL": "postgresql://me:secret-word@127.0.0.1:9/db"},
        "Connection refused",
        1,
    ),
    "a server's port that is none": (
        '"$@"',
        {"POSTHORN_DATABASE_URL": "postgresql://me:secret-word@127.0.0.1:abc/db"},
        "POSTHORN_DATABASE_URL: expected postgresql://",
        2,
    ),
    "a proxy that is none": (
        '"$@"',
        {"POSTHORN_PROXY_URL": "secret-word"},
        "POSTHORN_PROXY_URL: expected http://host:port",
        2,
    ),
}


@pytest.mark.parametrize("what", REFUSED)
def test_one_sentence_is_said_of(what: str, sale: Desk) -> None:
    script, more, words, code = REFUSED[what]
    script = script if isinstance(script, str) else script(sale)
    ended = shell(sale, script, "campaign", "check", "sale.toml", **more)
    assert_in_words(ended)
    assert words in ended.err
    assert "secret-word" not in ended.err
    assert ended.code == code
    assert len(ended.err.splitlines()) == 1


@pytest.mark.parametrize("mask", ["000", "077", "777"])
def test_nobody_else_can_read_what_is_made(mask: str, sale: Desk) -> None:
    (sale.folder / "recipients.csv").write_text("phone\n+48600100200\nwrong\n")
    ended = shell(sale, f'umask {mask}; "$@"', "campaign", "check", "sale.toml")
    assert ended.code == 0
    made = [sale.folder / ".posthorn", *(sale.folder / ".posthorn").rglob("*")]
    assert "ledger.db" in {path.name for path in made}
    assert [path for path in made if stat.S_IMODE(path.stat().st_mode) & 0o077] == []
    assert all(os.access(path, os.R_OK) for path in made)


def test_an_error_that_nobody_foresaw_is_a_sentence_and_a_private_file(sale: Desk) -> None:
    """A package of Posthorn is broken for real: the error comes from where no message could have been prepared."""
    broken = sale.folder / "broken"
    broken.mkdir()
    (broken / "sitecustomize.py").write_text(
        "import sys, types\n"
        "class Broken(types.ModuleType):\n"
        "    def __getattr__(self, name):\n"
        "        raise RuntimeError('cannot reach https://me:secret-word@host for +48 600-100-200')\n"
        "sys.modules['posthorn.delivery.planning.check'] = Broken('posthorn.delivery.planning.check')\n"
    )
    ended = shell(sale, '"$@"', "campaign", "check", "sale.toml", PYTHONPATH=str(broken))
    assert ended.code == 1
    assert ended.err.startswith(
        "posthorn: unexpected error: RuntimeError: cannot reach https://***@host for +*** (the details"
    )
    assert len(ended.err.splitlines()) == 1
    (kept,) = (sale.folder / ".posthorn" / "crashes").iterdir()
    assert str(kept) in ended.err
    assert stat.S_IMODE(kept.stat().st_mode) == 0o600
    text = kept.read_text()
    assert "Traceback" in text
    assert "check_campaign" in text
    for secret in ("secret-word", "600-100-200", "600100200"):
        assert secret not in text + ended.err


def test_where_no_file_can_be_written_the_error_is_a_sentence_all_the_same(sale: Desk) -> None:
    broken = sale.folder / "broken"
    broken.mkdir()
    (broken / "sitecustomize.py").write_text("import sys\nsys.modules['posthorn.delivery.planning.check'] = object()\n")
    ended = shell(sale, '"$@"', "campaign", "check", "sale.toml", PYTHONPATH=str(broken), POSTHORN_STATE_DIR="/proc/none")
    assert "Traceback" not in ended.err
    assert ended.err.startswith("posthorn: unexpected error: ")
    assert ended.code == 1


def test_the_doctor_says_which_proxies_it_sees_and_what_they_are_for(sale: Desk) -> None:
    ended = sale.run("doctor", "--json", HTTP_PROXY="http://127.0.0.1:9", all_proxy="socks5://127.0.0.1:9")
    assert_in_words(ended)
    (proxy,) = [one for one in ended.json["findings"] if one["what"] == "proxy"]
    assert proxy["seen"] == "HTTP_PROXY, all_proxy: not used for providers, and never for loopback"
    assert (proxy["well"], "POSTHORN_PROXY_URL" in proxy["advice"]) == (True, True)


def test_a_proxy_that_a_server_elsewhere_would_need_is_refused_by_its_name(sale: Desk) -> None:
    elsewhere = {"PREFECT_API_URL": "http://prefect.example:4200/api", "ALL_PROXY": "socks5://127.0.0.1:9"}
    ended = sale.run("campaign", "send", "sale.toml", **elsewhere)
    assert_in_words(ended)
    assert "posthorn: ALL_PROXY: the Prefect client cannot use it: socks needs a library" in ended.err
    assert ended.code == 1


@pytest.mark.parametrize("name", ["NO_PROXY", "no_proxy"])
def test_who_wants_no_proxy_at_all_may_say_so_in_one_spelling(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(name, "*")
    monkeypatch.delenv(name.swapcase(), raising=False)
    spare_loopback()
    assert os.environ[name] == "*"


def test_an_exception_that_is_none_is_named_though_the_other_spelling_is_right(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_PROXY", "localhost")
    monkeypatch.setenv("no_proxy", "odd:name")
    with pytest.raises(UnusableProxy, match="NO_PROXY: the Prefect client cannot use it"):
        settle_for("https://prefect.example/api")


def test_a_nul_or_a_lone_surrogate_never_reaches_a_command() -> None:
    assert "not text" in str(refusal(["campaign", "\udcff"]))
    assert "NUL" in str(refusal(["a\0b"]))
    assert refusal(["campaign", POLISH]) is None
