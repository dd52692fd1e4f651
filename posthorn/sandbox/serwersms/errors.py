"""SerwerSMS's own error codes, as its general communications page and its clients' tests list them. Values only."""

from __future__ import annotations


class ApiError(Exception):
    """A refusal of the whole request, answered with HTTP 200 and an ``error`` object."""

    def __init__(self, code: int, detail: str | None = None) -> None:
        super().__init__(code)
        self.code = code
        self.type, self.message = ERRORS.get(code, ("UnknownError", "Unknown error"))
        self.message = detail or self.message

    def document(self) -> dict[str, object]:
        """The three fields of the ``error`` object."""
        return {"code": self.code, "type": self.type, "message": self.message}


ERRORS: dict[int, tuple[str, str]] = {
    1000: ("InvalidAction", "Invalid action"),
    1001: ("InvalidUser", "Wrong login or password"),
    1002: ("InvalidRole", "This user may not use the API"),
    1003: ("InvalidIP", "Unauthorised IP address"),
    1004: ("InvalidID", "Invalid id"),
    1005: ("InvalidRole", "No permission"),
    1006: ("InvalidData", "Invalid data format"),
    1007: ("InvalidRole", "The account is not fully active"),
    1008: ("InvalidRole", "No permission to view numbers"),
    1009: ("InvalidIP", "Blocked IP address"),
    1010: ("SystemError", "System temporarily unavailable"),
    1011: ("InvalidToken", "The token has expired"),
    1012: ("InvalidToken", "Invalid token"),
    2000: ("ValidationRequiredError", "Required parameters are missing"),
    2001: ("ValidationPhoneError", "Invalid phone number"),
    2002: ("ValidationCodeError", "Invalid error code"),
    3000: ("SendError", "SMS ECO+ limit exhausted"),
    3001: ("SendError", "No permission to send SMS ECO+"),
    3002: ("SendError", "SMS FULL limit exhausted"),
    3003: ("SendError", "No permission to send SMS FULL"),
    3004: ("SendError", "MMS limit exhausted"),
    3005: ("SendError", "No permission to send MMS"),
    3006: ("SendError", "VOICE limit exhausted"),
    3007: ("SendError", "No permission to send VOICE"),
    3008: ("SendError", "No permission to send Flash SMS"),
    3009: ("SendError", "No permission to send SMS"),
    3100: ("SendError", "Sending is blocked"),
    3101: ("SendError", "The message is empty"),
    3102: ("SendError", "The message is too long"),
    3103: ("SendError", "Incorrect number"),
    3104: ("SendError", "No phone numbers"),
    3105: ("SendError", "Invalid message content"),
    3106: ("SendError", "The sender name cannot be used"),
    3107: ("SendError", "No permission to send personalised messages"),
    3108: ("SendError", "Invalid time of dispatch"),
    3109: ("SendError", "Invalid file"),
    3110: ("SendError", "Too many messages"),
    3111: ("SendError", "Uniqueness error"),
    3200: ("SendError", "Invalid characters in unique_id"),
    3201: ("SendError", "The unique_id values are not unique"),
    3202: ("SendError", "The numbers of messages and of unique_id values differ"),
    3330: ("MessageError", "No messages"),
    3331: ("MessageError", "Too many records to display"),
    4000: ("FileError", "The file is too large"),
    4001: ("FileError", "The file does not exist"),
    4002: ("FileInvalid", "Invalid file"),
    4102: ("PhoneError", "No permission to look numbers up (HLR)"),
    4500: ("SubaccountError", "No permission to the users section"),
    4600: ("BlacklistError", "No operation given"),
    4601: ("BlacklistPhoneExists", "The number is already on the list"),
    4602: ("BlacklistError", "The number was not found"),
}
