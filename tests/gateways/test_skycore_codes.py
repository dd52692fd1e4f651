"""Every error code of the reference's section 8: what it makes of a ticket and of the run, by POST and by GET."""

import pytest

from posthorn.errors import (
    CredentialsRefused,
    CreditExhausted,
    GatewayError,
    OutcomeUnknown,
    PermissionMissing,
    RecipientRefused,
    RequestRefused,
    SlowDown,
    TryAgain,
)
from posthorn.gateways.skycore import codes
from posthorn.models import MessageState
from tests.gateways.skycore_scripted import Scripted, failure, response, ticket

# What the run does next
REJECT = "this ticket is rejected, the rest goes on"
STOP = "not taken, the run stops"
LATER = "not taken, to be tried again"
SLOW = "not taken, everyone waits"
UNKNOWN = "may have been taken, the rest goes on"

OF_THE_PAGE = {  # the seed page's "Related Errorcodes"
    "E110": (REJECT, RecipientRefused),
    "E111": (STOP, RequestRefused),
    "E241": (STOP, RequestRefused),
    "E620": (STOP, RequestRefused),
    "E621": (REJECT, RecipientRefused),
    "E623": (STOP, RequestRefused),
    "E626": (SLOW, SlowDown),
    "E628": (REJECT, RecipientRefused),
    "E629": (STOP, RequestRefused),
    "E630": (STOP, RequestRefused),
    "E631": (REJECT, RecipientRefused),
    "E632": (STOP, RequestRefused),
    "E633": (STOP, RequestRefused),
    "E713": (STOP, CreditExhausted),
    "E714": (STOP, RequestRefused),
    "E715": (REJECT, RecipientRefused),
}
OTHERS = {  # the rest of section 8
    "E100": (STOP, RequestRefused),
    "E101": (STOP, RequestRefused),
    "E102": (STOP, CredentialsRefused),
    "E103": (STOP, CredentialsRefused),
    "E104": (STOP, CredentialsRefused),
    "E105": (STOP, PermissionMissing),
    "E106": (SLOW, SlowDown),
    "E107": (STOP, PermissionMissing),
    "E108": (STOP, RequestRefused),
    "E109": (STOP, PermissionMissing),
    "E112": (STOP, CredentialsRefused),
    "E113": (SLOW, SlowDown),
    "E114": (REJECT, RecipientRefused),
    "E120": (SLOW, SlowDown),
    "E170": (STOP, RequestRefused),
    "E171": (STOP, RequestRefused),
    "E172": (UNKNOWN, OutcomeUnknown),
    "E200": (STOP, RequestRefused),
    "E201": (STOP, RequestRefused),
    "E405": (STOP, RequestRefused),
    "E503": (UNKNOWN, OutcomeUnknown),
    "E506": (STOP, RequestRefused),
    "E507": (STOP, RequestRefused),
    "E508": (STOP, RequestRefused),
    "E509": (STOP, RequestRefused),
    "E510": (SLOW, SlowDown),
    "E618": (LATER, TryAgain),
    "E619": (REJECT, RecipientRefused),
    "E622": (STOP, RequestRefused),
    "E624": (STOP, RequestRefused),
    "E625": (STOP, RequestRefused),
    "E627": (STOP, RequestRefused),
    "E650": (STOP, RequestRefused),
    "E651": (STOP, RequestRefused),
    "E712": (STOP, RequestRefused),
    "E901": (STOP, RequestRefused),
    "E902": (STOP, RequestRefused),
    "E903": (STOP, RequestRefused),
    "E904": (REJECT, RecipientRefused),
    "E905": (REJECT, RecipientRefused),
}
ALL = {**OF_THE_PAGE, **OTHERS}

# retryable, maybe_sent, stops_run, slows_all
FACTS = {
    STOP: (False, False, True, False),
    LATER: (True, False, False, False),
    SLOW: (True, False, False, True),
    UNKNOWN: (False, True, False, False),
}


def facts(error):
    return error.retryable, error.maybe_sent, error.stops_run, error.slows_all


async def refused(answer, transport="post"):
    with pytest.raises(GatewayError) as caught:
        await Scripted(answer, transport).gateway.send(ticket())
    return caught.value


def test_the_tables_hold_every_code_of_the_page_and_of_the_reference_and_no_other():
    assert len(OF_THE_PAGE) == 16
    assert len(ALL) == 56
    assert set(codes.CODES) == set(ALL)


@pytest.mark.parametrize("transport", ["post", "get"])
@pytest.mark.parametrize("code", [code for code, (next_, _) in ALL.items() if next_ == REJECT])
async def test_a_recipients_own_code_rejects_that_ticket_and_stops_nothing(code, transport):
    answer = await Scripted(failure(code), transport).gateway.send(ticket())
    (receipt,) = answer.receipts
    assert (receipt.state, receipt.error, receipt.provider_id) == (MessageState.REJECTED, code, None)
    assert (answer.stop, answer.raw) == (None, failure(code))


@pytest.mark.parametrize("transport", ["post", "get"])
@pytest.mark.parametrize("code", [code for code, (next_, _) in ALL.items() if next_ != REJECT])
async def test_any_other_code_is_an_error_that_carries_the_decision(code, transport):
    next_, kind = ALL[code]
    error = await refused(failure(code), transport)
    assert type(error) is kind
    assert facts(error) == FACTS[next_]
    assert (error.code, error.evidence.status, error.evidence.raw) == (code, 200, failure(code))
    assert code in str(error), "the operator reads which code it was"
    assert codes.CODES[code].meaning in str(error), "and what it means"


@pytest.mark.parametrize("code", ["E999", "E000", "E1", "E7130", "E211", "E640"])
async def test_a_code_nobody_has_heard_of_leaves_the_ticket_unknown_and_stops_the_run(code):
    error = await refused(failure(code))
    assert type(error) is OutcomeUnknown
    assert (error.code, *facts(error)) == (code, False, True, True, False)


UNREADABLE_CODES = {
    "none": response(STATUS="Failure"),
    "an empty one": response(STATUS="Failure", ERRORCODE=""),
    "a word": response(STATUS="Failure", ERRORCODE="Billing"),
    "two at once": response(STATUS="Failure", ERRORCODE=["E110", "E713"]),
    "more than a code": response(STATUS="Failure", ERRORCODE="E110 E713"),
    "digits of another script": response(STATUS="Failure", ERRORCODE="E٧١٣"),
}


@pytest.mark.parametrize("answer", UNREADABLE_CODES.values(), ids=UNREADABLE_CODES)
async def test_a_failure_without_a_readable_code_leaves_the_ticket_unknown_and_stops_the_run(answer):
    error = await refused(answer)
    assert type(error) is OutcomeUnknown
    assert (error.code, *facts(error)) == (None, False, True, True, False)


@pytest.mark.parametrize("written", ["E713", "e713", " E713\n", "713"])
async def test_a_code_is_known_however_it_is_written(written):
    assert (await refused(response(STATUS="Failure", ERRORCODE=written))).code == "E713"


@pytest.mark.parametrize("info", ["", "Everything is fine", "E110", "<b>Success</b>"])
async def test_only_the_code_decides_never_its_wording(info):
    assert type(await refused(failure("E713", info))) is CreditExhausted


SECONDS = {
    "You can call API every 5 seconds": 5.0,
    "You can call API every 1 second": 1.0,
    "  you can call api every 0.5 Seconds. ": 0.5,
    "You can call API every 2,5 sec": 2.5,
    "You can call API every 3 secs": 3.0,
    "You can call API every 10s": 10.0,
    "You can call API every 86400 seconds": 3600.0,
    "You can call API every X seconds": None,
    "You can call API every 5 minutes": None,
    "Account 12345 called twice": None,
    "": None,
}


@pytest.mark.parametrize(("info", "seconds"), SECONDS.items(), ids=[text or "nothing" for text in SECONDS])
async def test_the_seconds_of_e106_are_waited_for_at_most_an_hour(info, seconds):
    error = await refused(failure("E106", info))
    assert type(error) is SlowDown
    assert error.retry_after_seconds == seconds


@pytest.mark.parametrize("code", ["E113", "E120"])
async def test_no_other_code_is_read_for_seconds(code):
    assert (await refused(failure(code, "wait 5 seconds"))).retry_after_seconds is None


@pytest.mark.parametrize("code", sorted({*ALL, "E999"} - codes.NO_SUCH_ACTION))
async def test_on_a_call_that_sends_nothing_a_code_never_claims_that_a_ticket_may_have_been_sent(code):
    with pytest.raises(GatewayError) as caught:
        await Scripted(failure(code, "every 5 seconds")).gateway.preflight("35674", None)
    kind = {"E503": TryAgain, "E172": TryAgain, "E999": RequestRefused}.get(code) or ALL[code][1]
    assert type(caught.value) is kind
    assert (caught.value.code, caught.value.maybe_sent) == (code, False)
    assert caught.value.retry_after_seconds == (5.0 if code == "E106" else None)
