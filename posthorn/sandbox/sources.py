"""Where each behaviour of the sandbox comes from, so that a green run is not mistaken for the provider's consent.

DOC: the provider's own pages. CLIENT: its official clients and their tests. INFER: our reading, nobody has said so.
"""

from __future__ import annotations

SOURCES: tuple[tuple[str, str], ...] = (
    ("DOC", "POST controller/action; Bearer token, or username and password in the body"),
    ("DOC", "errors are an object with code, type and message; error/<code> tells one"),
    ("DOC", "files/add by url or file gives an id of ten hex digits; files/index lists id, name, size, type, date"),
    (
        "DOC",
        "send_mms takes title (40), file_id (10), phone, text, details, date, test; an incorrect number is 3103 in its item",
    ),
    ("DOC", "without details no items; an item's text is the title; a refused item has an id and no parts"),
    ("DOC", "more than 100,000 numbers is 3110; the same request twice is two sets of messages"),
    ("DOC", "reports filter by id (500), phone, date_from, date_to, status; delete withdraws only what is scheduled"),
    ("DOC", "a message can stay sent for ever; account/limits tells values as text; blacklist 4601 and 4602"),
    ("CLIENT", "API errors come with HTTP 200; .json, .xml or no suffix; JSON and form bodies; four ways to write a list"),
    ("CLIENT", "XML lists hold <item>; XML errors carry their fields directly under the root"),
    ("CLIENT", "reports are paged (page, limit, order, paging.count = pages) and filter by type and stat_id"),
    ("CLIENT", "file types are gif, jpeg, jpg, png, txt; a test account lists no files; inline base64 in send_mms.file"),
    ("CLIENT", "messages/view, files/view and files/delete, blacklist/check, stats/index, recived and received"),
    ("INFER", "which code refuses what: missing parameter 2000, title too long 3102, file 3109, date 3108, body 1006"),
    ("INFER", "a URL on another machine is not fetched: a file of made-up size is stored, type taken from its name"),
    ("INFER", "a file may have 1,000,000 bytes; an unknown file in view or delete is 4001, an unknown message 1004"),
    ("INFER", "only +<number> and nine Polish digits are correct numbers; 48..., 0048..., spaces and dashes are 3103"),
    ("INFER", "blacklisted and foreign numbers are queued and become unsent with a reason"),
    ("INFER", "a scheduled message answers queued; test=true takes and charges nothing; unique_id is ignored"),
    ("INFER", "the limit running out is 3004 per item; withdrawing gives it back; duplicates in one request are sent twice"),
    ("INFER", "reports: pages of 100, newest first, 3331 for too many ids, gone after 14 days; attachments carry file ids"),
    ("INFER", "dates are Europe/Warsaw; the XML root is <response>, true and false are words, nothing is an empty element"),
    ("INFER", "in progress for 5 s, then sent, then reported within a minute, all on the sandbox's clock"),
)
