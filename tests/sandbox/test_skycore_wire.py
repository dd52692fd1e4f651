"""The sandbox's Skycore reads what clients send in every way known and answers as the sendMMSBarcode page shows."""

from __future__ import annotations

import base64
import re
from urllib.parse import urlencode

import pytest
from defusedxml import ElementTree

WXML = "/API/wxml/1.3/index.php"

SEED_REQUEST = """<REQUEST>
\t<ACTION> sendMMSBarcode </ACTION>
\t<API_KEY>qTFkykO9JTfahCOqJ0V2Wf5Cg1t8iWlZ</API_KEY>
\t<TO>16501234123</TO>
        <FROM>60856</FROM>
        <BARCODEID>Ticket_12345</BARCODEID>
        <CAMPAIGNREF>12333</CAMPAIGNREF>
\t<MMSID>35674</MMSID>
</REQUEST>"""
SEED_QUERY = (
    "?action=sendmmsbarcode&api_key=qTFkykO9JTfahCOqJ0V2Wf5Cg1t8iWlZ"
    "&to=16501234123&from=60856&barcodeid=Ticket_12345&campaignref=12333&mmsid=35674"
)
SEED_SUCCESS = """<RESPONSE>
    <STATUS>Success</STATUS>
    <MMSID>35674</MMSID>
    <TRACKINGID>MMS_12346</TRACKINGID>
    <TO>16501234123</TO>
</RESPONSE>"""
SEED_FAILURE = """<RESPONSE>
    <STATUS>Failure</STATUS>
    <ERRORCODE>E713</ERRORCODE>
    <TO>16501234123</TO>
    <ERRORINFO>There is billing problem on your account</ERRORINFO>
</RESPONSE>"""
SEED_KEY = "qTFkykO9JTfahCOqJ0V2Wf5Cg1t8iWlZ"


@pytest.mark.parametrize("method", ["POST", "GET"])
async def test_the_pages_example_is_answered_as_the_page_does_by(skycore, method):
    async with skycore(api_key=SEED_KEY) as tickets:
        http = tickets.http
        asked = http.post(WXML, data={"xml": SEED_REQUEST}) if method == "POST" else http.get(WXML + SEED_QUERY)
        answer = await asked
        assert answer.status_code == 200
        assert re.sub("MMS_[0-9]+", "MMS_12346", answer.text) == SEED_SUCCESS
        assert await tickets.told("counts", provider="skycore") == {"16501234123 Ticket_12345": 1}


async def test_a_failure_looks_like_the_pages_example(skycore):
    async with skycore(api_key=SEED_KEY, billing_problem=True) as tickets:
        assert (await tickets.http.post(WXML, data={"xml": SEED_REQUEST})).text == SEED_FAILURE


XML = (
    "<REQUEST><MMSID> 35674 </MMSID><ACTION>SENDmmsBarcode</ACTION><API_KEY>sandbox-key</API_KEY>"
    "<BARCODEID>Ticket_12345</BARCODEID><FROM>60856</FROM><TO>16501234123\n</TO></REQUEST>"
)
PROLOG = '<?xml version="1.0" encoding="UTF-8"?>\n'
FORM = {"Content-Type": "application/x-www-form-urlencoded"}
PLAIN = {
    "action": "sendmmsbarcode",
    "api_key": "sandbox-key",
    "mmsid": "35674",
    "to": "16501234123",
    "from": "60856",
    "barcodeid": "Ticket_12345",
}
REQUESTS = {
    "the form field xml": {"data": {"xml": XML}},
    "the form field XML": {"data": {"XML": PROLOG + XML}},
    "a multipart field": {"files": {"XML": (None, XML)}},
    "a multipart file": {"files": {"xml": ("request.xml", XML)}},
    "a body of text/xml": {"content": PROLOG + XML, "headers": {"Content-Type": "text/xml; charset=utf-8"}},
    "a body of XML announced as a form": {"content": PROLOG + XML, "headers": FORM},
    "a body with a byte order mark": {"content": b"\xef\xbb\xbf" + (PROLOG + XML).encode()},
    "lower-case tags": {"data": {"xml": re.sub("</?[A-Z_]+", lambda tag: tag[0].lower(), XML)}},
    "plain form parameters": {"data": PLAIN},
    "plain multipart parameters": {"files": {name: (None, value) for name, value in PLAIN.items()}},
    "the folder as URL": {"url": "/API/wxml/1.3/", "data": {"xml": XML}},
    "a query with padded values": {"method": "GET", "params": {name: f" {value} " for name, value in PLAIN.items()}},
    "a query": {"method": "GET", "params": PLAIN},
}


@pytest.mark.parametrize("given", REQUESTS.values(), ids=REQUESTS)
async def test_a_ticket_is_taken_from(tickets, given):
    answer = await tickets.http.request(**{"method": "POST", "url": WXML, **given})
    assert ElementTree.fromstring(answer.text).findtext("STATUS") == "Success"
    (told,) = (await tickets.told("tickets"))["items"]
    assert (told["to"], told["barcode"], told["mms_id"], told["from"]) == ("16501234123", "Ticket_12345", "35674", "60856")
    assert tickets.box.truth()["requests"] == {"sendMMSBarcode": 1}


LONG = ("ąć&<>\"'" * 100)[:500]


async def test_every_character_of_a_value_arrives_by_post(tickets):
    data = f"<DATA><FIRST_NAME>Łucja &amp; Żak</FIRST_NAME><NOTE>{httpx_escape(LONG)}</NOTE></DATA>"
    slides = "".join(f"<CUSTOMTEXT><VALUE>a &lt; {n}</VALUE><SLIDE>{n}</SLIDE></CUSTOMTEXT>" for n in (1, 2))
    xml = XML.replace("Ticket_12345", "A&amp;B&lt;ł&gt;").replace("</REQUEST>", data + slides + "</REQUEST>")
    await tickets.http.post(WXML, data={"xml": xml})
    (told,) = (await tickets.told("tickets"))["items"]
    assert told["barcode"] == "A&B<ł>"
    assert told["data"] == {
        "data_first_name": "Łucja & Żak",
        "data_note": LONG,
        "customtext_1": "a < 1",
        "customtext_2": "a < 2",
    }


def httpx_escape(text):
    return text.replace("&", "&amp;").replace("<", "&lt;")


async def test_every_character_of_a_value_arrives_by_get(tickets):
    await tickets.get(barcodeid="A&B<ł>+ =", data_note=LONG, customtext_2="a < 2")
    (told,) = (await tickets.told("tickets"))["items"]
    assert (told["barcode"], told["data"]) == ("A&B<ł>+ =", {"data_note": LONG, "customtext_2": "a < 2"})


async def test_what_is_echoed_is_escaped(tickets):
    answer = await tickets.post(to="1<&>2")
    assert (answer.findtext("ERRORCODE"), answer.findtext("TO")) == ("E110", "1<&>2")


NOTHING = {
    "an empty form": {},
    "a form without an action": {"data": {"to": "1"}},
    "an empty field": {"data": {"xml": ""}},
    "an empty query": {"method": "GET"},
    "another method": {"method": "PUT", "data": {"xml": XML}},
    "another root": {"data": {"xml": "<ORDER/>"}},
}
BROKEN = {
    "an open tag": {"data": {"xml": "<REQUEST><TO>1"}},
    "a bare ampersand": {"data": {"xml": "<REQUEST><TO>1 & 2</TO></REQUEST>"}},
    "the typo of the later page": {"data": {"xml": "<REQUEST></CUSTOMSUBJECT>x</CUSTOMSUBJECT></REQUEST>"}},
    "values that were not encoded for a form": {"content": f"xml={XML.replace('Ticket', 'A&amp;B')}", "headers": FORM},
    "bytes that are not UTF-8": {"content": XML.encode().replace(b"Ticket", b"\xff")},
    "a form that is not UTF-8": {"content": urlencode({"xml": b"<REQUEST>\xff</REQUEST>"}), "headers": FORM},
    "an entity of its own": {"data": {"xml": '<!DOCTYPE a [<!ENTITY b "c">]><REQUEST><TO>&b;</TO></REQUEST>'}},
    "a JSON body": {"content": '{"xml": 1}', "headers": {"Content-Type": "application/json"}, "code": "E100"},
}
CASES = {name: {"code": "E100", **given} for name, given in NOTHING.items()}
CASES |= {name: {"code": "E108", **given} for name, given in BROKEN.items()}


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
async def test_there_is_nothing_to_read_in(tickets, case):
    given = {"method": "POST", "url": WXML, **case}
    code = given.pop("code")
    root = ElementTree.fromstring((await tickets.http.request(**given)).text)
    assert (root.findtext("STATUS"), root.findtext("ERRORCODE"), root.find("TO")) == ("Failure", code, None)
    assert tickets.box.truth()["requests"] == {"unknown": 1}


async def test_other_paths_beneath_are_not_found(tickets):
    assert (await tickets.http.post("/API/wxml/1.3/other.php", data={"xml": XML})).status_code == 404


async def test_the_other_provider_keeps_the_paths_that_are_not_skycores(tickets):
    answer = await tickets.http.post("/messages/send_mms", json={})
    assert answer.json()["error"]["code"] == 1001


async def test_varied_answers_look_different_and_say_the_same(skycore):
    rows = []
    for seed in (1, 1, 2):
        async with skycore(vary=True, seed=seed) as tickets:
            texts = [(await tickets.http.post(WXML, data={"xml": XML.replace("16501", "+")})).text for _ in range(20)]
            rows.append(texts)
    assert rows[0] == rows[1] != rows[2]
    assert len(set(rows[0])) > 5
    for text in rows[0]:
        root = ElementTree.fromstring(text)
        told = {child.tag: (child.text or "").strip() for child in root}
        assert told.pop("ERRORINFO") in ("Invalid receiver number", "Receiver number is invalid")
        assert told == {"STATUS": "Failure", "ERRORCODE": "E110", "TO": "+234123"}
    assert len({tuple(child.tag for child in ElementTree.fromstring(text)) for text in rows[0]}) > 1
    assert any(ElementTree.fromstring(text).findtext("ERRORINFO").startswith("\n") for text in rows[0])


async def test_tracking_ids_are_plain_or_base64(skycore):
    async with skycore(tracking_ids="seed") as tickets:
        assert re.fullmatch("MMS_[0-9]+", (await tickets.post()).findtext("TRACKINGID"))
    async with skycore(tracking_ids="base64") as tickets:
        tracking_id = (await tickets.post()).findtext("TRACKINGID")
        assert tracking_id.endswith("=")
        assert re.fullmatch(b"MMS_[0-9]+", base64.b64decode(tracking_id))


async def test_tracking_ids_of_another_run_are_other_ones(skycore):
    ids = []
    for _ in range(3):
        async with skycore() as tickets:
            ids += [(await tickets.post()).findtext("TRACKINGID") for _ in range(3)]
            await tickets.order("POST", "reset", {})
            ids.append((await tickets.post()).findtext("TRACKINGID"))
    assert len(set(ids)) == 12
