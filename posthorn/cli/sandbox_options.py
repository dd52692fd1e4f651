"""The options of ``posthorn sandbox`` for callbacks and its Skycore account, in the order ``--help`` lists them."""

from __future__ import annotations

from typing import Annotated, Literal

import typer

Titles = Annotated[
    Literal["kept", "cut", "rewritten"],
    typer.Option(help="How reports show titles: as sent, ten characters, or in capitals without accents"),
]
Zone = Annotated[str, typer.Option(help="Zone of the dates that it reads and writes")]
Skew = Annotated[float, typer.Option(help="Seconds its clock is ahead (negative: behind)")]
CallbackUrl = Annotated[
    str | None, typer.Option(help="URL to GET for each report, with #SMSID# #STAN# #DATA# #PRZYCZYNA# [default: none]")
]
CallbackDuplicates = Annotated[float, typer.Option(min=0, max=1, help="Share of callbacks that come twice")]
CallbackShuffle = Annotated[bool, typer.Option("--callback-shuffle", help="Callbacks come in any order")]
CallbackLost = Annotated[float, typer.Option(min=0, max=1, help="Share of callbacks that never come")]
CallbackForged = Annotated[float, typer.Option(min=0, max=1, help="Share of callbacks with another one about an unknown id")]
ApiKey = Annotated[str, typer.Option(help="Skycore: the one API key it accepts")]
Templates = Annotated[
    list[str] | None,
    typer.Option("--template", help="Skycore: id of a stored MMS with a barcode; repeatable [default: 35674]"),
]
PlainTemplates = Annotated[
    list[str] | None, typer.Option("--template-without-barcode", help="Skycore: id of a stored MMS without one; repeatable")
]
EncodingSeconds = Annotated[
    float, typer.Option("--encoding", min=0, help="Skycore: aged seconds until stored MMS can be sent (E626 before)")
]
Shortcodes = Annotated[
    list[str] | None, typer.Option("--shortcode", help="Skycore: a sender it accepts; repeatable [default: 60856]")
]
Campaigns = Annotated[
    list[str] | None, typer.Option("--campaign", help="Skycore: id of a campaign; repeatable [default: 12333]")
]
CampaignCheck = Annotated[
    bool, typer.Option("--enforce-campaign-check", help="Skycore: every ticket needs a campaign and a subscriber")
]
OptedOut = Annotated[list[str] | None, typer.Option("--opted-out", help="Skycore: a number that opted out; repeatable")]
Blacklist = Annotated[list[str] | None, typer.Option("--blacklist", help="Skycore: a blacklisted number (E114); repeatable")]
Unsupported = Annotated[float, typer.Option(min=0, max=1, help="Skycore: share of numbers whose operator is E628")]
Billing = Annotated[bool, typer.Option("--billing-problem", help="Skycore: refuse every ticket with E713")]
TicketCredit = Annotated[int | None, typer.Option(min=0, help="Skycore: tickets until E713 [default: no limit]")]
MinInterval = Annotated[float, typer.Option(min=0, help="Skycore: real seconds between two calls (E106)")]
Quota = Annotated[int | None, typer.Option(min=0, help="Skycore: calls until E120 [default: no limit]")]
Throughput = Annotated[int | None, typer.Option(min=1, help="Skycore: tickets a second (E113) [default: no limit]")]
LinkSms = Annotated[float, typer.Option(min=0, max=1, help="Skycore: share of tickets sent as an SMS with a link")]
LateFailure = Annotated[
    float, typer.Option("--late-barcode-failure", min=0, max=1, help="Skycore: share of taken tickets that end in E101")
]
TrackingIds = Annotated[Literal["seed", "base64"], typer.Option(help="Skycore: MMS_<n>, or base64 as since 2013-11")]
Vary = Annotated[bool, typer.Option("--vary", help="Skycore: vary order, padding and wording of answers")]
PostbackUrl = Annotated[str | None, typer.Option(help="Skycore: where postbacks are POSTed [default: nowhere]")]
PostbackShape = Annotated[Literal["new", "old"], typer.Option(help="Skycore: one event each, or batches as in 2013")]
PostbackAs = Annotated[Literal["raw", "xml"], typer.Option(help="Skycore: as the body, or in the form field xml")]
PostbackDuplicates = Annotated[float, typer.Option(min=0, max=1, help="Skycore: share of postbacks that come twice")]
PostbackShuffle = Annotated[bool, typer.Option("--postback-shuffle", help="Skycore: postbacks come in any order")]
