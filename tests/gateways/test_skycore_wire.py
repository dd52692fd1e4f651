"""What goes over the wire for a ticket: by POST and by GET as the sendMMSBarcode page's examples have it, and unharmed."""

from urllib.parse import parse_qsl, urlsplit

import pytest
from defusedxml import ElementTree
from hypothesis import given, settings
from hypothesis import strategies as st

from posthorn.errors import InputError
from posthorn.gateways.skycore.client import Skycore
from posthorn.settings import SkycoreSettings
from tests.gateways.raw_server import RawServer, ok
from tests.gateways.skycore_scripted import BASE, KEY, SUCCESS, Scripted, form, pairs, posted, query, ticket

PAGE_XML = """<REQUEST>
\t<ACTION> sendMMSBarcode </ACTION>
\t<API_KEY>qTFkykO9JTfahCOqJ0V2Wf5Cg1t8iWlZ</API_KEY>
\t<TO>16501234123</TO>
        <FROM>60856</FROM>
        <BARCODEID>Ticket_12345</BARCODEID>
        <CAMPAIGNREF>12333</CAMPAIGNREF>
\t<MMSID>35674</MMSID>
</REQUEST>"""
PAGE_GET = (
    "https://secure.skycore.com/API/wxml/1.3/index.php?action=sendmmsbarcode&api_key=qTFkykO9JTfahCOqJ0V2Wf5Cg1t8iWlZ"
    "&to=16501234123&from=60856&barcodeid=Ticket_12345&campaignref=12333&mmsid=35674"
)


async def sent(request, transport="post"):
    scripted = Scripted(transport=transport)
    await scripted.gateway.send(request)
    return scripted.request


async def test_a_post_says_what_the_pages_example_says_in_its_order():
    request = await sent(ticket(campaign_ref="12333"))
    example = [(tag, text.strip()) for tag, text in pairs(ElementTree.fromstring(PAGE_XML))]
    assert (request.method, str(request.url)) == ("POST", BASE)
    assert request.headers["content-type"] == "application/x-www-form-urlencoded"
    assert list(form(request)) == ["xml"], "one field, in lower case, and nothing beside it"
    assert posted(request) == example


async def test_a_get_is_the_pages_example_to_the_letter():
    request = await sent(ticket(campaign_ref="12333"), "get")
    assert (request.method, str(request.url)) == ("GET", PAGE_GET)
    assert request.content == b""


async def test_the_bytes_of_a_post_over_a_real_connection():
    async def behave(talk):
        await talk.request()
        await talk.say(ok(SUCCESS))

    async with RawServer(behave) as server:
        async with Skycore(SkycoreSettings(api_key=KEY, base_url=f"{server.url}/API/wxml/1.3/index.php")) as gateway:
            await gateway.send(ticket())
        (raw,) = server.executed
    head, body = raw.split(b"\r\n\r\n")
    assert head.split(b"\r\n")[0] == b"POST /API/wxml/1.3/index.php HTTP/1.1"
    assert KEY.encode() not in head
    assert [name for name, _ in parse_qsl(body.decode("ascii"), strict_parsing=True)] == ["xml"]


async def test_a_raw_post_is_the_same_document_as_the_body():
    request = await sent(ticket(campaign_ref="12333"), "raw")
    assert (request.method, str(request.url)) == ("POST", BASE)
    assert request.headers["content-type"] == "text/xml; charset=utf-8"
    posted_one = await sent(ticket(campaign_ref="12333"))
    assert request.content.decode("ascii") == form(posted_one)["xml"]


@pytest.mark.parametrize("reference", [None, ""])
async def test_a_campaign_is_named_only_when_it_is_given(reference):
    assert "CAMPAIGNREF" not in dict(posted(await sent(ticket(campaign_ref=reference))))
    assert "campaignref" not in query(await sent(ticket(campaign_ref=reference), "get"))


async def test_no_optional_parameter_is_sent_by_itself():
    assert [tag for tag, _ in posted(await sent(ticket()))] == ["ACTION", "API_KEY", "TO", "FROM", "BARCODEID", "MMSID"]


BASICS = 6  # parameters of a ticket without extras

EXTRAS = {
    "a device discovery's text": ({"ddm_text": "Hi"}, [("DDMTEXT", "Hi")], {"ddmtext": "Hi"}),
    "a device discovery's title": (
        {"ddm_text": "Hi", "ddm_title": "Ours"},
        [("DDMTITLE", "Ours"), ("DDMTEXT", "Hi")],
        {"ddmtitle": "Ours", "ddmtext": "Hi"},
    ),
    "a device discovery's minutes": (
        {"ddm_text": "Hi", "ddm_timeout": 0},
        [("DDMTEXT", "Hi"), ("DDMTIMEOUT", "0")],
        {"ddmtext": "Hi", "ddmtimeout": "0"},
    ),
    "a handset": ({"device": "1234"}, [("DEVICE", "1234")], {"device": "1234"}),
    "a subject": ({"custom_subject": "Your ticket"}, [("CUSTOMSUBJECT", "Your ticket")], {"customsubject": "Your ticket"}),
    "a sender's name": ({"from_mask": "Gala"}, [("FROM_MASK", "Gala")], {"from_mask": "Gala"}),
    "texts of slides, in order": (
        {"custom_texts": {"10": "Bye", 2: "Seat 5"}},
        [
            ("CUSTOMTEXT", [("VALUE", "Seat 5"), ("SLIDE", "2")]),
            ("CUSTOMTEXT", [("VALUE", "Bye"), ("SLIDE", "10")]),
        ],
        {"customtext_2": "Seat 5", "customtext_10": "Bye"},
    ),
    "merge fields": (
        {"data": {"FIRST_NAME": "Ada", "seat": 5, "note": None}},
        [("DATA", [("FIRST_NAME", "Ada"), ("SEAT", "5"), ("NOTE", "")])],
        {"data_first_name": "Ada", "data_seat": "5", "data_note": ""},
    ),
    "empty ones": ({"device": "", "from_mask": None, "custom_texts": {}, "data": None}, [], {}),
}


@pytest.mark.parametrize(("extras", "elements", "parameters"), EXTRAS.values(), ids=EXTRAS)
async def test_each_optional_parameter_has_its_tag_by_post_and_its_name_by_get(extras, elements, parameters):
    assert posted(await sent(ticket(extras=extras)))[BASICS:] == elements
    by_get = query(await sent(ticket(extras=extras), "get"))
    assert dict(list(by_get.items())[BASICS:]) == parameters


async def test_every_get_name_is_in_lower_case():
    extras = {"ddm_text": "a", "device": "b", "custom_texts": {"1": "c"}, "data": {"First_NAME": "d"}, "from_mask": "e"}
    names = [name for name, _ in parse_qsl((await sent(ticket(extras=extras), "get")).url.query.decode())]
    assert len(names) == BASICS + 5
    assert [name for name in names if name != name.lower()] == []


SURVIVORS = {
    "an ampersand": "Smith & Sons &amp; Co",
    "angle brackets": "</DATA><TO>48500600700</TO>",
    "a Polish letter": "Łódź, ł",
    "quotes": "\"double\" 'single'",
    "the end of a CDATA section": "]]>",
    "an emoji": "\U0001f3ab",
    "plus, percent and equals": "1+1=2 100%25 ?a=b#c",
    "spaces around": "  in the middle  ",
    "line breaks": "one\r\ntwo\rthree\nfour\tfive",
    "five hundred characters": ("& <ł>\"'+%é" * 50)[:500],
}


@pytest.mark.parametrize("text", SURVIVORS.values(), ids=SURVIVORS)
async def test_a_value_survives_both_ways_unharmed(text):
    wanted = ticket(sender=f"s{text}", barcode_id=f"b{text}", extras={"data": {"note": text}, "custom_texts": {"1": text}})
    by_post = dict(posted(await sent(wanted)))
    by_get = query(await sent(wanted, "get"))
    assert by_post["FROM"] == by_get["from"] == f"s{text}"
    assert by_post["BARCODEID"] == by_get["barcodeid"] == f"b{text}"
    assert by_post["DATA"] == [("NOTE", text)]
    assert by_post["CUSTOMTEXT"] == [("VALUE", text), ("SLIDE", "1")]
    assert by_get["data_note"] == by_get["customtext_1"] == text


XML_TEXT = st.text(
    st.characters(codec="utf-8", exclude_categories=["Cc", "Cs"], exclude_characters="\ufffe\uffff"), max_size=40
)


@settings(max_examples=60, deadline=None)
@given(text=XML_TEXT)
async def test_whatever_text_xml_can_carry_survives_both_ways(text):
    wanted = ticket(extras={"data": {"note": text}})
    assert dict(posted(await sent(wanted)))["DATA"] == [("NOTE", text)]
    assert query(await sent(wanted, "get"))["data_note"] == text


async def test_what_is_posted_is_ascii_whatever_charset_the_provider_takes_it_for():
    assert form(await sent(ticket(extras={"custom_subject": "Łódź \U0001f3ab"})))["xml"].isascii()


async def test_a_key_with_markup_is_escaped():
    for transport, read in (
        ("post", lambda request: dict(posted(request))["API_KEY"]),
        ("get", lambda r: query(r)["api_key"]),
    ):
        scripted = Scripted(transport=transport, api_key=" k<&>+%\n")
        await scripted.gateway.send(ticket())
        assert read(scripted.request) == "k<&>+%"


REFUSED = {
    "a bell in the barcode id": ({"barcode_id": "T\x07"}, "barcode_id"),
    "a null in the sender": ({"sender": "60\x00856"}, "from"),
    "an escape in the campaign": ({"campaign_ref": "1\x1b2"}, "campaign_ref"),
    "a control character in the template": ({"mms_id": "35674\x0b"}, "mms_id"),
    "a control character in the subject": ({"extras": {"custom_subject": "\x01"}}, "custom_subject"),
    "a control character in a slide": ({"extras": {"custom_texts": {"2": "\x1f"}}}, "custom_texts.2"),
    "a control character in a field": ({"extras": {"data": {"name": "Ada\x08"}}}, "data.name"),
    "half of a character": ({"extras": {"data": {"name": "\ud83c"}}}, "data.name"),
    "no character at all": ({"extras": {"data": {"name": "\uffff"}}}, "data.name"),
    "no sender": ({"sender": ""}, "from"),
    "no barcode id": ({"barcode_id": ""}, "barcode_id"),
    "a blank barcode id": ({"barcode_id": " \t"}, "barcode_id"),
    "no template": ({"mms_id": ""}, "mms_id"),
    "a blank campaign": ({"campaign_ref": " "}, "campaign_ref"),
    "a field with a blank in its name": ({"extras": {"data": {"first name": "Ada"}}}, "data"),
    "a field named with markup": ({"extras": {"data": {"a><TO": "Ada"}}}, "data"),
    "a field that XML keeps for itself": ({"extras": {"data": {"XmlName": "Ada"}}}, "data"),
    "one field in two spellings": ({"extras": {"data": {"name": "Ada", "NAME": "Bo"}}}, "data"),
    "fields that are no table": ({"extras": {"data": "name"}}, "data"),
    "slide zero": ({"extras": {"custom_texts": {"0": "Hi"}}}, "custom_texts"),
    "slide one hundred": ({"extras": {"custom_texts": {"100": "Hi"}}}, "custom_texts"),
    "a slide that is a word": ({"extras": {"custom_texts": {"one": "Hi"}}}, "custom_texts"),
    "a slide given as a number and as text": ({"extras": {"custom_texts": {1: "Hi", "1": "Ho"}}}, "custom_texts"),
    "half a minute": ({"extras": {"ddm_text": "Hi", "ddm_timeout": 0.5}}, "ddm_timeout"),
    "a minute less": ({"extras": {"ddm_text": "Hi", "ddm_timeout": -1}}, "ddm_timeout"),
    "a discovery's title without its text": ({"extras": {"ddm_title": "Ours"}}, "ddm_text"),
    "a discovery's minutes without its text": ({"extras": {"ddm_timeout": 5}}, "ddm_text"),
    "a parameter nobody knows": ({"extras": {"databaseid": "1"}}, "databaseid"),
}


@pytest.mark.parametrize("transport", ["post", "get"])
@pytest.mark.parametrize(("values", "field"), REFUSED.values(), ids=REFUSED)
async def test_what_cannot_be_sent_is_refused_by_name_before_any_request(values, field, transport):
    scripted = Scripted(transport=transport)
    with pytest.raises(InputError) as caught:
        await scripted.gateway.send(ticket(**values))
    assert caught.value.field == field
    assert "nothing was sent" in str(caught.value)
    assert scripted.requests == []


async def test_a_query_longer_than_servers_take_is_refused_before_any_request():
    fits = {"data": {f"field_{number}": "x" * 500 for number in range(14)}}
    assert len(str((await sent(ticket(extras=fits), "get")).url)) > 7000
    scripted = Scripted(transport="get")
    with pytest.raises(InputError, match="use post"):
        await scripted.gateway.send(ticket(extras={"data": {f"field_{number}": "x" * 500 for number in range(16)}}))
    assert scripted.requests == []


@pytest.mark.parametrize("transport", ["post", "get"])
async def test_an_address_of_the_accounts_own_is_kept(transport):
    scripted = Scripted(transport=transport, base_url="https://dev.example/API/wxml/1.3/index.php")
    await scripted.gateway.send(ticket())
    parts = urlsplit(str(scripted.request.url))
    assert (parts.hostname, parts.path) == ("dev.example", "/API/wxml/1.3/index.php")
