"""People are told by e-mail, Slack and webhook: each is received once, and no address that is a secret is ever said."""

from __future__ import annotations

import json
import socketserver
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from pydantic import SecretStr

from posthorn.process.notices import NotTold, tell_people, ways
from posthorn.settings import NotifySettings


@pytest.fixture
def letters() -> Iterator[tuple[int, list[str]]]:
    """A mail server of this machine: its port, and what it received."""
    received: list[str] = []

    class Mail(socketserver.StreamRequestHandler):
        def handle(self) -> None:
            self.wfile.write(b"220 sink\r\n")
            while line := self.rfile.readline().decode().strip():
                if line.upper() == "DATA":
                    self.wfile.write(b"354 go on\r\n")
                    lines = iter(lambda: self.rfile.readline().decode().rstrip("\r\n"), ".")
                    received.append("\n".join(lines))
                    self.wfile.write(b"250 kept\r\n")
                elif line.upper() == "QUIT":
                    self.wfile.write(b"221 bye\r\n")
                    break
                else:
                    self.wfile.write(b"250 ok\r\n")

    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Mail) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server.server_address[1], received
        server.shutdown()


@pytest.fixture
def hooks() -> Iterator[tuple[str, list[dict[str, str]]]]:
    """A webhook of this machine: its address, and what it received; /no refuses everything."""
    received: list[dict[str, str]] = []

    class Hook(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            content = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            refused = self.path == "/no-secret"
            if not refused:
                received.append(content)
            self.send_response(403 if refused else 200)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *args: object) -> None:
            """It is quiet."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Hook) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}", received
        server.shutdown()


def test_each_way_is_received_once(letters: tuple[int, list[str]], hooks: tuple[str, list[dict[str, str]]]) -> None:
    (port, mail), (url, posted) = letters, hooks
    settings = NotifySettings(
        smtp_url=SecretStr(f"smtp://127.0.0.1:{port}"),
        email_to="ops@example.com, boss@example.com",
        slack_url=SecretStr(f"{url}/slack"),
        webhook_url=SecretStr(f"{url}/hook"),
    )
    assert tell_people(settings, "Posthorn: campaign sale has stopped", "no credit") == ["email", "slack", "webhook"]
    (letter,) = mail
    assert "Subject: Posthorn: campaign sale has stopped" in letter
    assert "To: ops@example.com, boss@example.com" in letter
    assert letter.endswith("no credit")
    assert posted == [
        {"text": "*Posthorn: campaign sale has stopped*\nno credit"},
        {"subject": "Posthorn: campaign sale has stopped", "text": "no credit"},
    ]


def test_one_way_that_fails_keeps_no_other_from_being_told_and_says_no_secret(
    hooks: tuple[str, list[dict[str, str]]],
) -> None:
    url, posted = hooks
    settings = NotifySettings(
        smtp_url=SecretStr("smtp://ops:hunter2@127.0.0.1:1"),
        email_to="ops@example.com",
        slack_url=SecretStr(f"{url}/no-secret"),
        webhook_url=SecretStr(f"{url}/hook"),
    )
    with pytest.raises(NotTold) as failed:
        tell_people(settings, "subject", "text")
    said = str(failed.value)
    assert ("slack: answered with HTTP 403" in said, "(notified: webhook)" in said) == (True, True), said
    assert not {"hunter2", "no-secret"} & set(said.replace("/", " ").replace(":", " ").split())
    assert len(posted) == 1


def test_nobody_is_told_where_nothing_is_set() -> None:
    assert ways(NotifySettings()) == []
    assert ways(NotifySettings(smtp_url=SecretStr("smtp://localhost"))) == [], "to whom is not said"
