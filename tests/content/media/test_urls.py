"""A media URL is looked at once, at a public host only; whatever is found there is a warning."""

import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from posthorn.content.media.urls import look_at_url

PNG = b"\x89PNG\r\n\x1a\n" + bytes(100)


class Pages(BaseHTTPRequestHandler):
    def do_GET(self):
        where = {"/away.png": "http://169.254.169.254/x.png", "/near.png": "/a.png", "/round.png": "/round.png"}.get(
            self.path
        )
        self.server.asked.append(self.path)
        self.send_response(302 if where else 404 if self.path == "/none.png" else 200)
        if where:
            self.send_header("Location", where)
        content = b"<!DOCTYPE html>" if self.path == "/page.png" else PNG
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_):
        pass


@pytest.fixture
def pages():
    with ThreadingHTTPServer(("127.0.0.1", 0), Pages) as server:
        server.asked = []
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.mark.parametrize(
    ("path", "said"),
    [
        ("/a.png", None),
        ("/near.png", None),
        ("/page.png", "what is there now is an HTML page"),
        ("/none.png", "HTTP 404"),
        ("/away.png", "it redirects to another host"),
        ("/round.png", "it redirects too often"),
    ],
)
def test_what_is_there_is_said(pages, path, said):
    found = look_at_url(f"http://127.0.0.1:{pages.server_port}{path}", allow_loopback=True)
    assert (found is None) if said is None else said in found.message


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "[::ffff:127.0.0.1]", "[::1]", "0.0.0.0"])
def test_no_private_host_is_asked(pages, host):
    found = look_at_url(f"http://{host}:{pages.server_port}/a.png")
    assert "could not be checked" in found.message
    assert pages.asked == []


def test_a_host_that_cannot_be_reached_is_a_warning():
    found = look_at_url("http://127.0.0.1:1/a.png", allow_loopback=True)
    assert (found.code, "could not be checked" in found.message) == ("media_unreachable", True)
