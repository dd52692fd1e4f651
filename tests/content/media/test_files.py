"""Media are checked before anything is sent: there, readable, of a listed type, and public where it is a URL."""

import hashlib

import pytest

from posthorn.content.media.files import CONTENT_TYPES, CURRENT_EXTENSIONS, check_media, media_name, retired_types_warning
from posthorn.errors import InputError
from posthorn.models import Media


def test_a_file_is_hashed_and_measured(tmp_path):
    content = b"\x89PNG" * 100_000
    (tmp_path / "Poster.PNG").write_bytes(content)
    assert check_media("Poster.PNG", tmp_path) == Media(
        source="Poster.PNG",
        name="Poster.PNG",
        content_type="image/png",
        path=str(tmp_path / "Poster.PNG"),
        sha256=hashlib.sha256(content).hexdigest(),
        size=len(content),
    )


def test_an_absolute_path_is_taken_as_it_is(tmp_path):
    (tmp_path / "a.txt").write_text("hello")
    assert check_media(str(tmp_path / "a.txt"), tmp_path / "elsewhere").size == 5


def test_a_url_is_not_fetched(tmp_path):
    assert check_media("https://example.com/a/map.png?v=2", tmp_path) == Media(
        source="https://example.com/a/map.png?v=2", name="map.png", content_type="image/png"
    )


@pytest.mark.parametrize(
    ("name", "content_type"),
    [
        ("a.jpg", "image/jpeg"),
        ("a.jpeg", "image/jpeg"),
        ("a.JPE", "image/jpeg"),
        ("a.gif", "image/gif"),
        ("a.png", "image/png"),
        ("a.txt", "text/plain"),
        ("a.mp3", "audio/mpeg"),
        ("a.avi", "video/avi"),
        ("a.3gp", "video/3gpp"),
        ("a.b.smil", "application/smil+xml"),
        ("a.vcf", "text/x-vcard"),
        ("a.otc", "application/vnd.oasis.opendocument.chart-template"),
    ],
)
def test_the_ending_tells_the_type(tmp_path, name, content_type):
    (tmp_path / name).write_bytes(b"x")
    assert check_media(name, tmp_path).content_type == content_type


def test_the_whole_table_of_the_page_is_known():
    assert len(CONTENT_TYPES) == 81
    assert len(set(CONTENT_TYPES.values())) == 42
    assert set(CONTENT_TYPES) > CURRENT_EXTENSIONS
    assert all(extension == extension.lower() and "/" in kind for extension, kind in CONTENT_TYPES.items())


@pytest.mark.parametrize(
    ("source", "said"),
    [
        pytest.param("none.jpg", "does not exist", id="no such file"),
        pytest.param("folder.jpg", "is a folder", id="a folder"),
        pytest.param("empty.jpg", "is empty", id="an empty file"),
        pytest.param("file.jpg/below.jpg", "does not exist", id="below a file"),
        pytest.param("a\x00.jpg", "does not exist", id="a NUL in the path"),
        pytest.param("movie.mkv", "the type .mkv is not known; the provider takes pictures", id="an unlisted type"),
        pytest.param("README", "no ending", id="no type"),
        pytest.param("", "no ending", id="nothing"),
        pytest.param("https://example.com/photo", "no ending", id="a URL without a type"),
        pytest.param("https://example.com/", "no ending", id="a URL without a name"),
        pytest.param("https:///a.jpg", "not a URL", id="no host"),
        pytest.param("https://example.com:x/a.jpg", "not a URL", id="a port that is none"),
        pytest.param("https://[::1/a.jpg", "not a URL", id="half an address"),
        pytest.param("https://example.com/a b.jpg", "not a URL", id="a space"),
        pytest.param("ftp://example.com/a.jpg", "expected a path, or a URL", id="another scheme"),
        pytest.param("file:///etc/a.jpg", "expected a path, or a URL", id="a file URL"),
    ],
)
def test_what_cannot_be_sent_is_refused(tmp_path, source, said):
    (tmp_path / "folder.jpg").mkdir()
    for name in ("empty.jpg", "movie.mkv", "README", "file.jpg"):
        (tmp_path / name).write_bytes(b"" if name == "empty.jpg" else b"x")
    with pytest.raises(InputError, match=r"^media: ") as caught:
        check_media(source, tmp_path)
    assert said in str(caught.value)


def test_a_password_in_a_url_is_refused_and_not_repeated(tmp_path):
    with pytest.raises(InputError) as caught:
        check_media("https://user:hunter2@example.com/a.jpg", tmp_path)
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize(
    "host",
    ["10.0.0.1", "192.168.1.1", "172.16.0.1", "169.254.169.254", "0.0.0.0", "[fe80::1]", "[fd00::1]", "224.0.0.1"]
    + ["intranet", "nas.local", "db.internal", "router.lan", "2130706433", "127.1", "nas.local."],
)
@pytest.mark.parametrize("allow_loopback", [False, True])
def test_what_the_provider_cannot_reach_is_refused(tmp_path, host, allow_loopback):
    with pytest.raises(InputError, match="expected a public host"):
        check_media(f"https://{host}/a.jpg", tmp_path, allow_loopback=allow_loopback)


@pytest.mark.parametrize("host", ["127.0.0.1:8080", "localhost:8080", "[::1]:8080", "x.localhost"])
def test_this_machine_is_for_the_sandbox_only(tmp_path, host):
    assert check_media(f"http://{host}/a.jpg", tmp_path, allow_loopback=True).name == "a.jpg"
    with pytest.raises(InputError, match="expected a public host"):
        check_media(f"http://{host}/a.jpg", tmp_path)


@pytest.mark.parametrize("host", ["example.com", "8.8.8.8", "[2001:4860:4860::8888]", "example.com:8443"])
@pytest.mark.parametrize("scheme", ["http", "https", "HTTPS"])
def test_public_hosts_are_taken(tmp_path, scheme, host):
    assert check_media(f"{scheme}://{host}/a.jpg", tmp_path).name == "a.jpg"


def test_types_of_the_older_page_only_are_named():
    assert retired_types_warning(["a.jpg", "b.txt", "c.GIF"]) is None
    warning = retired_types_warning(["a.jpg", "b.mp4", "c.jpe"])
    assert "may refuse b.mp4, c.jpe" in warning
    assert "a.jpg" not in warning


@pytest.mark.parametrize(
    ("source", "name"), [("a/b.jpg", "b.jpg"), ("https://e.com/x/y.png?z=/q.gif#f", "y.png"), ("https://e.com", "")]
)
def test_the_name_is_the_last_part(source, name):
    assert media_name(source) == name
