"""Skycore's own error codes, as Appendix B and the method pages list them. Values only."""

from __future__ import annotations


class ApiError(Exception):
    """A refusal, answered with HTTP 200 and a ``RESPONSE`` whose STATUS is Failure. ``detail`` replaces the usual text."""

    def __init__(self, code: str, detail: str | None = None) -> None:
        super().__init__(code)
        self.code = code
        self.info = detail or ERRORS.get(code, "Unknown error")


ERRORS: dict[str, str] = {
    "E100": "Invalid request. Use GET, or POST with valid XML in the field 'xml'",
    "E101": "Parameter 'action' is required or invalid",
    "E102": "Parameter 'user' or 'api_key' is required",
    "E103": "Parameter 'pass' as MD5 is required",
    "E104": "User authentication failed",
    "E105": "Your account has no rights to use the API",
    "E106": "You can call API every X seconds",
    "E107": "You have no rights to use this action",
    "E108": "XML parse error",
    "E109": "The API is not activated for your account",
    "E110": "Invalid receiver number",
    "E111": "Invalid shortcode",
    "E112": "IP address is not whitelisted. API call rejected",
    "E113": "Throughput exceeded for this action. API call rejected",
    "E114": "Number is blacklisted. API call rejected",
    "E120": "Account reached its API request limit",
    "E200": "No MMS Templates were created in this account.",
    "E241": "This content does not exist",
    "E405": "There are no MMS campaigns in this account",
    "E503": "Internal error",
    "E506": "Parameter 'start_date' is required",
    "E507": "'start_date' or 'end_date' does not match the format",
    "E508": "'start_date' or 'end_date' cannot be read as a date",
    "E509": "The lookup period is too long",
    "E510": "Lookups are too frequent",
    "E620": "Parameter 'mmsid' is required",
    "E621": "Parameter 'to' is required",
    "E623": "Parameter 'to' can contain up to 100 numbers",
    "E626": "Content is unavailable, encoding is in progress. Try again later",
    "E628": "Operator is not supported",
    "E629": "Unrecognized content type",
    "E630": "Parameter 'databaseid' is required",
    "E631": "Parameter 'barcodeid' is required",
    "E632": "Invalid 'databaseid'",
    "E633": "MMS does not contain a barcode object",
    "E713": "There is billing problem on your account",
    "E714": "Missing or invalid campaignid",
    "E715": "Number is not subscribed to this campaign",
    "E901": "Parameter 'mobile' is required",
    "E902": "Parameter 'campaignid' is required",
    "E903": "Invalid campaignid",
    "E904": "Could not subscribe this number",
    "E905": "Could not unsubscribe this number",
}

VARIANTS: dict[str, str] = {
    "E713": "There is a billing problem on your account.",
    "E715": "Number is not subscribed in this campaign",
    "E903": "Campaignid is invalid",
    "E110": "Receiver number is invalid",
}
"""Other wordings of the same refusals. The pages differ from each other, so only the code is reliable."""
