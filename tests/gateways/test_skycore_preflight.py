"""Before the first ticket: are the template and the campaign the account's own? What cannot be asked is a warning."""

import httpx
import pytest

from posthorn.errors import (
    CredentialsRefused,
    GatewayError,
    PermissionMissing,
    RequestRefused,
    SlowDown,
    TryAgain,
    Unreachable,
)
from posthorn.gateways.skycore.client import Skycore
from posthorn.settings import SkycoreSettings
from tests.gateways.raw_server import RawServer
from tests.gateways.skycore_scripted import KEY, Scripted, failure, posted, query, response

both = pytest.mark.parametrize("transport", ["post", "get"])

TEMPLATES = response(STATUS="Success", MMSIDS="10011,35674,10634")
CAMPAIGNS = (
    b"<RESPONSE><STATUS>Success</STATUS><MMSCAMPAIGNS>"
    b"<CAMPAIGN><ID>12333</ID><NAME>Gala</NAME></CAMPAIGN><CAMPAIGN><ID>12334</ID><NAME>777</NAME></CAMPAIGN>"
    b"</MMSCAMPAIGNS></RESPONSE>"
)


async def warnings(templates=TEMPLATES, campaigns=CAMPAIGNS, *, mms_id="35674", campaign="12333", transport="post"):
    scripted = Scripted({"getmmsids": templates, "getmmscampaigns": campaigns}, transport)
    return list(await scripted.gateway.preflight(mms_id, campaign))


async def refused(*args, **values):
    with pytest.raises(GatewayError) as caught:
        await warnings(*args, **values)
    assert not caught.value.maybe_sent
    return caught.value


@both
async def test_a_listed_template_and_a_listed_campaign_need_no_words(transport):
    assert await warnings(transport=transport) == []


@pytest.mark.parametrize(
    ("campaign", "actions"), [("12333", ["getMmsIds", "getMmsCampaigns"]), (None, ["getMmsIds"]), ("", ["getMmsIds"])]
)
async def test_only_what_the_event_names_is_asked_for(campaign, actions):
    answers = {"getmmsids": TEMPLATES, "getmmscampaigns": CAMPAIGNS}
    by_post, by_get = Scripted(answers), Scripted(answers, "get")
    await by_post.gateway.preflight("35674", campaign)
    await by_get.gateway.preflight("35674", campaign)
    assert [posted(request) for request in by_post.requests] == [
        [("ACTION", action), ("API_KEY", KEY)] for action in actions
    ]
    assert [query(request) for request in by_get.requests] == [
        {"action": action.lower(), "api_key": KEY} for action in actions
    ]


LISTS = {
    "padded and wrapped": response(STATUS="Success", MMSIDS="\n 10011, \n 35674 "),
    "in lower-case tags": response(status="Success", mmsids="10011,35674"),
    "one by one": response(STATUS="Success", MMSID=["10011", "35674"]),
    "in blocks": b"<RESPONSE><STATUS>Success</STATUS><MMSIDS><MMSID>1</MMSID><MMSID>35674</MMSID></MMSIDS></RESPONSE>",
    "the only one": response(STATUS="Success", MMSIDS="35674"),
    "without a status": response(MMSIDS="35674"),
}


@pytest.mark.parametrize("listed", LISTS.values(), ids=LISTS)
async def test_a_template_is_found_however_the_list_is_written(listed):
    assert await warnings(listed) == []


@pytest.mark.parametrize("mms_id", ["3567", "5674", "356740", "10011,35674", "99999"])
async def test_a_template_that_is_not_listed_stops_before_anything_is_sent(mms_id):
    error = await refused(mms_id=mms_id)
    assert type(error) is RequestRefused
    assert f"mms_id {mms_id} is not among those" in str(error)


@pytest.mark.parametrize("campaign", ["1233", "777", "Success"])
async def test_a_campaign_that_is_not_listed_stops_before_anything_is_sent(campaign):
    error = await refused(campaign=campaign)
    assert type(error) is RequestRefused
    assert f"campaign_ref {campaign} is not among those" in str(error)


async def test_a_campaign_named_in_words_is_found():
    listed = response(STATUS="Success", CAMPAIGNREF=["Spring gala, 2027", "Campaign123"])
    for campaign in ("Spring gala, 2027", "Campaign123"):
        assert await warnings(campaigns=listed, campaign=campaign) == []
    assert type(await refused(campaigns=listed, campaign="Spring")) is RequestRefused


@both
@pytest.mark.parametrize("code", ["E101", "E107"])
async def test_an_action_that_the_account_lacks_is_a_warning_and_the_rest_is_still_checked(code, transport):
    (warning,) = await warnings(failure(code), transport=transport)
    assert "getMmsIds" in warning
    assert code in warning
    assert "mms_id 35674 is not checked" in warning
    (warning,) = await warnings(campaigns=failure(code), transport=transport)
    assert "getMmsCampaigns" in warning
    assert "campaign_ref 12333 is not checked" in warning
    assert len(await warnings(failure(code), failure(code), transport=transport)) == 2
    assert type(await refused(failure(code), campaign="1", transport=transport)) is RequestRefused


@pytest.mark.parametrize(
    "answer",
    [response(STATUS="Success"), response(STATUS="Success", MMSIDS=" "), response(STATUS="Success", TEMPLATES="35674")],
    ids=["nothing", "an empty list", "another list"],
)
async def test_an_answer_without_a_list_is_a_warning(answer):
    (warning,) = await warnings(answer, campaign=None)
    assert "without a list" in warning


NONE_AT_ALL = {"templates": ({"templates": failure("E200")}, "E200"), "campaigns": ({"campaigns": failure("E405")}, "E405")}


@pytest.mark.parametrize(("answers", "code"), NONE_AT_ALL.values(), ids=NONE_AT_ALL)
async def test_an_account_that_has_none_at_all_stops_before_anything_is_sent(answers, code):
    error = await refused(**answers)
    assert (type(error), error.code) == (RequestRefused, code)


ELSE = {
    "a refused key": (failure("E104"), CredentialsRefused),
    "an account without API": (failure("E109"), PermissionMissing),
    "too fast": (failure("E106"), SlowDown),
    "an internal error": (failure("E503"), TryAgain),
    "a code nobody has heard of": (failure("E999"), RequestRefused),
    "HTML": (b"<html></html>", TryAgain),
    "nothing": (b"", TryAgain),
    "HTTP 500": (httpx.Response(500), TryAgain),
    "HTTP 500 around a list": (httpx.Response(500, content=TEMPLATES), TryAgain),
    "HTTP 401": (httpx.Response(401), CredentialsRefused),
    "HTTP 404": (httpx.Response(404), RequestRefused),
    "HTTP 429": (httpx.Response(429), SlowDown),
    "a redirect": (httpx.Response(302, headers={"Location": "/login"}), RequestRefused),
}


@both
@pytest.mark.parametrize(("answer", "kind"), ELSE.values(), ids=ELSE)
async def test_anything_else_is_an_error_that_never_claims_a_ticket_was_sent(answer, kind, transport):
    assert type(await refused(answer, campaign=None, transport=transport)) is kind


async def test_a_lost_answer_to_a_preflight_may_be_asked_again():
    async def hang_up(talk):
        await talk.request()

    async with RawServer(hang_up) as server, Skycore(SkycoreSettings(api_key=KEY, base_url=server.url)) as gateway:
        with pytest.raises(TryAgain) as caught:
            await gateway.preflight("35674", None)
        assert type(caught.value) is TryAgain


async def test_a_provider_that_cannot_be_reached_is_unreachable():
    async with RawServer(lambda talk: talk.forever()) as server:
        gone = server.url
    async with Skycore(SkycoreSettings(api_key=KEY, base_url=gone)) as gateway:
        with pytest.raises(Unreachable):
            await gateway.preflight("35674", None)
