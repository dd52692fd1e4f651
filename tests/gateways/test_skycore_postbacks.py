"""Postbacks in every shape the pages show, and in some they do not."""

from __future__ import annotations

from functools import partial
from urllib.parse import urlencode

import pytest

from posthorn.content.stopwords import StopWords
from posthorn.gateways.descriptor import Unreadable
from posthorn.gateways.skycore import postbacks
from posthorn.gateways.skycore.bounds import MAX_POSTBACK_BYTES
from posthorn.models import MessageState

read = partial(postbacks.read, stop_words=StopWords("STOP,WYPISZ"))

FLAT = (
    "<?xml version='1.0'?><POSTBACK><ORIGIN>MMS_MT</ORIGIN><CODE>{code}</CODE><SENTAS>MMS</SENTAS><STATUS>{status}</STATUS>"
    "<MMSID>35674</MMSID><FROM>60856</FROM><TO>16501234123</TO><TRACKINGID>TU1TXzEyMzQ2=</TRACKINGID>"
    "<SPID>0001890</SPID><TIMESTAMP>2011-08-02T07:20:44-04:00</TIMESTAMP></POSTBACK>"
)
OLD = (
    '<NOTIFICATION ID="326" CREATED="2011-08-02 07:20:52.332193-04"><ORIGIN>MMS_MT</ORIGIN><CODE>{code}</CODE><BODY>'
    "<HISTORYID>249687</HISTORYID><MMSID>35674</MMSID><TO>16501234123</TO><TRACKINGID>MMS_12346</TRACKINGID>"
    '<SPID>000189</SPID><STATUS {status} PROVIDER="1000" /><TIMESTAMP>2011-08-02 07:20:49-04</TIMESTAMP></BODY>'
    "</NOTIFICATION>"
)
SENT, DELIVERED, LOST = MessageState.ACCEPTED, MessageState.DELIVERED, MessageState.UNDELIVERED

FLAT_STATES = [
    ("N101", "Message Sent", SENT),
    ("N101", "Message Failed", LOST),
    ("N102", "Message Sent/Delivered", DELIVERED),
    ("N102", "Message Sent/Expired", LOST),
    ("N102", "Message Sent/Rejected", LOST),
    ("E101", "Message Failed", LOST),
    ("E102", "Message Sent/NotSupported", LOST),
    ("N202", "Message Sent/Delivered", DELIVERED),
    ("E202", "Message Sent/Failed", LOST),
    ("E999", "", LOST),
    ("N502", "Message Sent/Delivered", None),
    ("N301", "", None),
    ("X123", "who knows", None),
]


@pytest.mark.parametrize(("code", "status", "state"), FLAT_STATES)
def test_what_a_code_and_its_status_say_of_the_ticket(code: str, status: str, state: MessageState | None) -> None:
    (event,) = read("text/xml", FLAT.format(code=code, status=status).encode())
    assert (event.code, event.state) == (code, state)
    assert (event.tracking_id, event.phone, event.mms_id) == ("TU1TXzEyMzQ2=", 16501234123, "35674")


@pytest.mark.parametrize(
    ("status", "state"),
    [
        ('CELLY="20" TEXT="Retrieved"', DELIVERED),
        ('celly="30" text="whatever"', LOST),
        ('CELLY="35"', LOST),
        ('CELLY="0" TEXT="Expired"', LOST),
    ],
)
def test_the_old_shape_says_it_in_attributes(status: str, state: MessageState) -> None:
    (event,) = read("", OLD.format(code="N102", status=status).encode())
    assert (event.state, event.tracking_id) == (state, "MMS_12346")


def test_a_batch_holds_several_events() -> None:
    batch = "<POSTBACK>" + OLD.format(code="N101", status="") + OLD.format(code="N102", status="CELLY='20'")
    events = read("text/xml", f"{batch}</POSTBACK>".encode())
    assert [event.state for event in events] == [SENT, DELIVERED]


@pytest.mark.parametrize("field", ["xml", "XML"])
def test_a_form_field_holds_the_same(field: str) -> None:
    body = urlencode({field: FLAT.format(code="N102", status="Message Sent/Delivered")}).encode()
    (event,) = read("application/x-www-form-urlencoded", body)
    assert event.state == DELIVERED


def test_raw_xml_is_read_whatever_its_type_says() -> None:
    body = FLAT.format(code="N101", status="Message Sent").encode()
    assert read("application/x-www-form-urlencoded", body)[0].state == SENT


BOMB = '<!DOCTYPE a [<!ENTITY b "bbbbbbbbbb"><!ENTITY c "&b;&b;&b;&b;">]><POSTBACK><CODE>&c;</CODE></POSTBACK>'


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"hello",
        b"<POSTBACK><CODE>N101",
        b"<POSTBACK><CODE>N101</CODE></POSTBACK>",
        b"<html><body>no</body></html>",
        BOMB.encode(),
        b"<POSTBACK>" + b" " * MAX_POSTBACK_BYTES + b"</POSTBACK>",
        b"other=1",
    ],
)
def test_anything_else_is_refused_without_quoting_it(body: bytes) -> None:
    with pytest.raises(Unreadable) as refused:
        read("application/x-www-form-urlencoded" if b"=" in body[:6] else "text/xml", body)
    assert "N101" not in str(refused.value)
