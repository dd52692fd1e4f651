"""A campaign file is taken as it is meant or refused with all that is wrong; its content has no paths."""

import io
import json
from datetime import UTC, datetime

import pytest
from PIL import Image

from posthorn.content.campaign import Campaign
from posthorn.content.definition import CampaignContent
from posthorn.content.inputfile import differences
from posthorn.errors import InputError
from tests.content.loading import load_campaign

WHOLE = """
name = "autumn-sale-2026"
title = "Autumn sale"
text = "Everything -30% until Sunday"
media = ["poster.jpg", "https://example.com/map.png"]
recipients = "recipients.csv"
send_at = 2026-11-30T09:00:00+01:00
test = true
chunk_size = 200
resend_unconfirmed = true
approve = true
allow_repeat = true
"""
SMALL = {"name": '"a"', "title": '"A"', "text": '"Hello"', "recipients": '"recipients.csv"'}
NOW = datetime(2026, 11, 1, tzinfo=UTC)


def jpeg(colour: str) -> bytes:
    content = io.BytesIO()
    Image.new("RGB", (8, 8), colour).save(content, "JPEG")
    return content.getvalue()


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "poster.jpg").write_bytes(jpeg("orange"))
    (tmp_path / "recipients.csv").write_text("phone\n500600700\n")
    return tmp_path


def write(folder, text: str, name: str = "campaign.toml"):
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return path


@pytest.fixture
def load(folder):
    """A campaign of the smallest file with some keys changed; a key that is None is left out."""

    def loaded(**changes: str | None) -> Campaign:
        keys = {**SMALL, **changes}
        text = "\n".join(f"{key} = {value}" for key, value in keys.items() if value is not None)
        return load_campaign(write(folder, text))

    return loaded


def said(call, *args, **kwargs) -> list[str]:
    with pytest.raises(InputError) as caught:
        call(*args, **kwargs)
    return str(caught.value).splitlines()


def test_a_gateway_is_part_of_the_content_only_where_it_is_named(load):
    """Else every campaign of an older ledger would have changed."""
    assert "gateway" not in load().content().as_kept()
    assert load(gateway='"serwersms"').content().as_kept()["gateway"] == "serwersms"
    assert said(load, gateway='"skycore"') == ["gateway: expected serwersms"]


@pytest.mark.parametrize("written", ['"  Autumn sale "', '"Autumn sale "', '" Autumn sale"'])
def test_a_title_is_what_a_lookup_will_find_it_as(written, load):
    """The provider's answer in XML has lost the spaces around it."""
    assert load(title=written).title == "Autumn sale"


def test_a_whole_file_is_read(folder):
    campaign = load_campaign(write(folder, WHOLE))
    campaign.check(NOW)
    assert campaign.model_dump() == {
        "name": "autumn-sale-2026",
        "title": "Autumn sale",
        "text": "Everything -30% until Sunday",
        "media": ["poster.jpg", "https://example.com/map.png"],
        "recipients": "recipients.csv",
        "column": None,
        "only_where": {},
        "landlines": False,
        "literal": False,
        "strict": False,
        "send_at": datetime.fromisoformat("2026-11-30T09:00:00+01:00"),
        "test": True,
        "chunk_size": 200,
        "gateway": None,
        "hold_minutes": None,
        "send_hours": None,
        "max_cost": None,
        "canary": None,
        "canary_wait": None,
        "ramp": None,
        "halt_at": None,
        "verify": "listed",
        "resend_unconfirmed": True,
        "approve": True,
        "on_repeat": None,
        "allow_repeat": True,
    }
    assert campaign.recipients_path == folder / "recipients.csv"
    assert [item.name for item in campaign.media_items()] == ["poster.jpg", "map.png"]
    assert campaign.warnings() == []


def test_a_small_file_has_defaults(load):
    campaign = load()
    assert (campaign.media, campaign.send_at, campaign.chunk_size, campaign.hold_minutes) == ([], None, None, None)
    assert (campaign.test, campaign.resend_unconfirmed) == (False, False)
    assert (campaign.approve, campaign.allow_repeat) == (False, False)


def test_an_editor_may_leave_its_mark_and_line_ends(folder):
    text = "\ufeff" + WHOLE.replace("\n", "\r\n")
    assert load_campaign(write(folder, text)).title == "Autumn sale"


@pytest.mark.parametrize(
    ("key", "value", "problem"),
    [
        ("name", None, "name: is missing"),
        ("name", '"-a"', "name: expected 1 to 80 letters (a-z), digits, dots, dashes or underscores"),
        ("name", '"a/b"', "name: expected 1 to 80 letters"),
        ("name", '".."', "name: expected 1 to 80 letters"),
        ("name", '"jesień"', "name: expected 1 to 80 letters"),
        ("name", f'"{"a" * 81}"', "name: expected 1 to 80 letters"),
        ("name", "5", "name: expected text in quotes, got 5"),
        ("title", None, "title: is missing"),
        ("title", '""', "title: expected 1 to 40 characters (0 are given)"),
        ("title", '"   "', "title: expected 1 to 40 characters (3 are given)"),
        ("title", f'"{"ł" * 41}"', "title: expected 1 to 40 characters (41 are given)"),
        ("title", r'"a\nb"', "title: expected one line of printable characters"),
        ("text", None, "text: is missing, and so are media; expected at least one of them"),
        ("text", '" "', "text: expected some text; leave the key out if there is none"),
        ("media", '"a.jpg"', "media: expected a list in square brackets, got 'a.jpg'"),
        ("media", '["a.jpg", 5]', "media, item 2: expected text in quotes, got 5"),
        ("media", '["a.jpg", ""]', "media, item 2: expected a path or a URL"),
        ("media", f"{[f'{n}.jpg' for n in range(11)]}", "media: expected at most 10 items (11 are given)"),
        ("media", '["a.jpg", "a.jpg"]', "media: expected each item once; a.jpg is given again"),
        ("recipients", None, "recipients: is missing"),
        ("recipients", '""', "recipients: expected a path or a URL"),
        ("recipients", r'"a\u0000"', "recipients: expected a path or a URL"),
        ("send_at", "2026-11-30T09:00:00", "send_at: expected an offset from UTC, as in 2026-11-30T09:00:00+01:00"),
        ("send_at", "2026-11-30", "send_at: expected a date and time with its offset from UTC, such as 2026-11-30T09"),
        ("send_at", '"2026-11-30T09:00:00+01:00"', "send_at: expected a date and time with its offset from UTC"),
        ("test", '"yes"', "test: expected true or false, got 'yes'"),
        ("test", "1", "test: expected true or false, got 1"),
        ("chunk_size", "0", "chunk_size: expected a whole number of at least 1, got 0"),
        ("chunk_size", "100001", "chunk_size: expected a whole number from 1 to 100000"),
        ("chunk_size", "true", "chunk_size: expected a whole number of at least 1, got true"),
        ("hold_minutes", "-1", "hold_minutes: expected a whole number from 0 to 10080, got -1"),
        ("hold_minutes", "10081", "hold_minutes: expected a whole number from 0 to 10080, got 10081"),
        ("tittle", '"x"', "tittle: is not a key of a campaign file; did you mean title?"),
        ("_folder", '"/etc"', "_folder: is not a key of a campaign file"),
        ("zzz", "1", "zzz: is not a key of a campaign file"),
    ],
)
def test_a_wrong_key_is_refused_with_what_is_expected(load, key, value, problem):
    (line,) = said(load, **{key: value})
    assert line.startswith(problem)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("name", '"A.b_c-9"'),
        ("name", f'"{"a" * 80}"'),
        ("title", f'"{"ł" * 40}"'),
        ("chunk_size", "1"),
        ("chunk_size", "100000"),
        ("hold_minutes", "0"),
        ("hold_minutes", "10080"),
        ("media", f"{[f'{n}.jpg' for n in range(10)]}"),
        ("send_at", "2026-11-30T09:00:00Z"),
    ],
)
def test_the_last_value_within_bounds_is_taken(load, key, value):
    assert getattr(load(**{key: value}), key) is not None


def test_everything_wrong_is_said_at_once(load):
    lines = said(
        load, name=None, title="5", text=None, txt='"x"', chunk_size="0", hold_minutes="5", send_at="2026-11-30T09:00:00Z"
    )
    assert [line.split(":")[0] for line in lines] == ["name", "title", "chunk_size", "txt", "text", "hold_minutes"]


def test_holding_and_scheduling_exclude_each_other(load):
    (line,) = said(load, hold_minutes="5", send_at="2026-11-30T09:00:00Z")
    assert line == "hold_minutes: expected either this or send_at: both say when the provider dispatches"


def test_the_error_names_the_first_wrong_field(load):
    with pytest.raises(InputError) as caught:
        load(title="5", test="5")
    assert caught.value.field == "title"


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        pytest.param(b'name = "a"\ntitle = Autumn\n', "is not TOML: Invalid value (at line 2, column 9)", id="no TOML"),
        pytest.param(b'name = "a"\nname = "b"\n', "is not TOML: Cannot overwrite a value (at line 2", id="a key twice"),
        pytest.param("name = 'ł'".encode("cp1250"), "is not text in UTF-8", id="another encoding"),
        pytest.param(b"PK\x03\x04\x00", "is not TOML", id="no text at all"),
    ],
)
def test_a_broken_file_is_refused_with_the_place(folder, content, problem):
    (folder / "campaign.toml").write_bytes(content)
    (line,) = said(load_campaign, folder / "campaign.toml")
    assert line.startswith(f"campaign file: {folder / 'campaign.toml'} {problem}")


def test_what_is_no_file_is_refused(folder):
    assert "does not exist" in said(load_campaign, folder / "none.toml")[0]
    assert "is a folder" in said(load_campaign, folder)[0]
    assert "does not exist" in said(load_campaign, folder / "poster.jpg" / "x.toml")[0]


def test_the_check_says_all_that_is_wrong_outside_the_file(load):
    campaign = load(send_at="2026-10-31T23:59:00Z", recipients='"none.csv"', media='["none.jpg", "poster.jpg", "x.mkv"]')
    lines = said(campaign.check, NOW)
    assert [line.split(":")[0] for line in lines] == ["send_at", "media", "media", "recipients"]
    assert "has passed" in lines[0]
    assert [line.split(":")[1].strip() for line in lines[1:3]] == ["none.jpg", "x.mkv"]


@pytest.mark.parametrize(("send_at", "passed"), [("2026-11-01T01:00:00+01:00", True), ("2026-11-01T00:00:01Z", False)])
def test_a_moment_is_compared_with_its_offset(load, send_at, passed):
    campaign = load(send_at=send_at)
    if passed:
        assert said(campaign.check, NOW)[0].startswith("send_at: 2026-11-01 01:00+01:00 has passed")
    else:
        campaign.check(NOW)


def test_the_sandbox_may_serve_media(load):
    campaign = load(media='["http://127.0.0.1:8025/a.png"]')
    campaign.check(NOW, allow_loopback=True)
    assert "expected a public host" in said(campaign.check, NOW)[0]


@pytest.mark.parametrize(
    ("changes", "warned"),
    [
        ({"chunk_size": "49", "media": '["poster.jpg"]'}, "chunk_size: 49 is outside the 50 to 200"),
        ({"chunk_size": "201", "media": '["poster.jpg"]'}, "chunk_size: 201 is outside the 50 to 200"),
        ({"media": '["poster.jpg", "https://example.com/a.mp4"]'}, "media: the provider may refuse a.mp4"),
        ({}, "media: there are none"),
    ],
)
def test_what_is_allowed_but_unwise_is_warned_of(load, changes, warned):
    (caution,) = load(**changes).warnings()
    assert caution.message.startswith(warned)


def test_the_content_is_kept_as_json_and_holds_no_path(folder):
    campaign = load_campaign(write(folder, WHOLE))
    definition = json.loads(json.dumps(campaign.content().as_kept()))
    assert CampaignContent.read(definition) == campaign.content()
    assert definition["send_at"] == "2026-11-30T08:00:00+00:00"
    assert definition["media"][0].startswith("sha256:")
    assert definition["media"][1] == "https://example.com/map.png"
    assert str(folder) not in json.dumps(definition)
    assert "recipients.csv" not in json.dumps(definition)


@pytest.mark.parametrize(
    "edit",
    [
        pytest.param(("chunk_size = 200", "chunk_size = 50"), id="another chunk size"),
        pytest.param(("allow_repeat = true", "allow_repeat = false"), id="no repeat"),
        pytest.param(("approve = true", "approve = false"), id="no approval"),
        pytest.param(("0.19", "0.20"), id="another price"),
        pytest.param(("09:00:00+01:00", "08:00:00Z"), id="the same moment in another zone"),
        pytest.param(('"poster.jpg"', '"./poster.jpg"'), id="another way to write a path"),
    ],
)
def test_pace_and_paths_do_not_change_what_a_campaign_is(folder, edit):
    before = load_campaign(write(folder, WHOLE)).content().in_full()
    after = load_campaign(write(folder, WHOLE.replace(*edit), "other.toml")).content().in_full()
    assert differences(before, after) == []
    assert before == after


@pytest.mark.parametrize(
    ("edit", "sentence"),
    [
        (('"Autumn sale"', '"Winter sale"'), 'title was "Autumn sale", is now "Winter sale"'),
        (('text = "Everything -30% until Sunday"', ""), 'text was "Everything -30% until Sunday", is now not set'),
        (("test = true", ""), "test was true, is now false"),
        (
            ("09:00:00+01:00", "10:00:00+01:00"),
            'send_at was "2026-11-30T08:00:00+00:00", is now "2026-11-30T09:00:00+00:00"',
        ),
        ((', "https://example.com/map.png"', ""), "media: there were 2 items, there are now 1"),
        (("map.png", "plan.png"), "media: item 2 changed"),
        (
            ('"poster.jpg", "https://example.com/map.png"', '"https://example.com/map.png", "poster.jpg"'),
            "media: the same items in another order",
        ),
    ],
)
def test_each_difference_is_a_sentence(folder, edit, sentence):
    before = load_campaign(write(folder, WHOLE)).content().in_full()
    after = load_campaign(write(folder, WHOLE.replace(*edit))).content().in_full()
    assert differences(before, after) == [sentence]


def test_a_changed_file_of_media_is_a_difference_and_a_changed_list_is_another_list(folder):
    campaign = load_campaign(write(folder, WHOLE))
    before, list_before = campaign.content().in_full(), campaign.list_hash("PL")
    (folder / "recipients.csv").write_text("phone\n500600701\n")
    (folder / "poster.jpg").write_bytes(jpeg("blue"))
    assert differences(before, campaign.content().in_full()) == ["media: item 1 changed"]
    assert campaign.list_hash("PL") != list_before


def test_a_long_text_is_shown_by_its_beginning():
    assert differences({"text": "a" * 100}, {"text": "b"}) == [f'text was "{"a" * 60}…" (100 characters), is now "b"']


def test_content_without_its_files_is_an_input_error(load):
    assert said(lambda: load(recipients='"none.csv"').list_hash("PL"))[0].startswith("recipients: ")
    assert said(load(media='["none.jpg"]').content)[0].startswith("media: none.jpg")


@pytest.mark.parametrize(("length", "is_fine"), [(5_000, True), (5_001, False)])
def test_a_text_has_a_bound(tmp_path, length, is_fine):
    content = WHOLE.replace("Everything -30% until Sunday", "x" * length)
    if is_fine:
        assert len(load_campaign(write(tmp_path, content)).text) == length
        return
    with pytest.raises(InputError, match="at most 5,000 characters \\(5,001 are given\\); Posthorn's own limit"):
        load_campaign(write(tmp_path, content))
