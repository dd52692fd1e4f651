"""The source of each behaviour of the sandbox, so that a green run is not taken for proof about the provider.

DOC: the provider's own pages. CLIENT: its clients and their tests. INFER: our reading, which nobody confirms. UNKNOWN: no
source suggests anything, so we chose.
"""

from __future__ import annotations

_SERWERSMS: tuple[tuple[str, str], ...] = (
    ("DOC", "POST controller/action; Bearer token, or username and password in the body"),
    ("DOC", "errors are an object with code, type and message; error/<code> describes one"),
    ("DOC", "files/add by url or file gives an id of ten hex digits; files/index lists id, name, size, type, date"),
    (
        "DOC",
        "send_mms takes title (40), file_id (10), phone, text, details, date, test; an incorrect number is 3103 in its item",
    ),
    ("DOC", "without details no items; an item's text is the title; a refused item has an id and no parts"),
    ("DOC", "more than 100,000 numbers is 3110; the same request twice is two sets of messages"),
    ("DOC", "reports filter by id (500), phone, date_from, date_to, status; delete withdraws only what is scheduled"),
    ("DOC", "a message can stay sent for ever; account/limits gives values as text; blacklist 4601 and 4602"),
    ("CLIENT", "API errors come with HTTP 200; .json, .xml or no suffix; JSON and form bodies; four ways to write a list"),
    ("CLIENT", "XML lists hold <item>; XML errors carry their fields directly under the root"),
    ("CLIENT", "reports are paged (page, limit, order, paging.count = pages) and filter by type and stat_id"),
    ("CLIENT", "file types are gif, jpeg, jpg, png, txt; a test account lists no files; inline base64 in send_mms.file"),
    ("CLIENT", "messages/view, files/view and files/delete, blacklist/check, stats/index, recived and received"),
    ("CLIENT", "blacklist/index is paged; report items carry flash, utf, cost, method, mnc, country, network; account/help"),
    ("CLIENT", "lists as text with commas, spaces around them do not count; files/view and delete name the type"),
    ("DOC", "files/add is for mms and voice, recived lists incoming answers, with read only once"),
    ("INFER", "voice takes wav and mp3 only; a file of the other type is 4001 in view and delete"),
    ("UNKNOWN", "how a file from disk must be encoded: --upload; unseen is 2000, not base64 is 4002"),
    ("INFER", "a file that comes with send_mms is judged as files/add judges it"),
    ("CLIENT", "send_nd and send_ndi are not sent: success is false, without an error"),
    ("UNKNOWN", "whether test=true is respected by every account: --ignores-test does not"),
    ("INFER", "an answer STOP blacklists the number; what an MMS account may not do is 3009, 3107, 3007, 4102, 4500, 1005"),
    ("INFER", "which code refuses what: missing parameter 2000, title too long 3102, file 3109, date 3108, body 1006"),
    ("INFER", "a URL on another machine is not fetched: a file of made-up size is stored, type taken from its name"),
    ("INFER", "a file may have 1,000,000 bytes; an unknown file in view or delete is 4001, an unknown message 1004"),
    ("INFER", "only +<number> and nine Polish digits are correct numbers; 48..., 0048..., spaces and dashes are 3103"),
    ("INFER", "blacklisted and foreign numbers are queued and become unsent with a reason"),
    ("UNKNOWN", "whether reports show a title as it was sent: --titles cut or rewritten does not"),
    ("INFER", "a scheduled message answers queued; test=true takes and charges nothing; unique_id is ignored"),
    ("INFER", "the limit running out is 3004 per item; withdrawing gives it back; duplicates in one request are sent twice"),
    ("INFER", "reports: pages of 100, newest first, 3331 for too many ids, gone after 14 days; attachments carry file ids"),
    ("INFER", "dates are Europe/Warsaw; the XML root is <response>, true and false are words, nothing is an empty element"),
    (
        "INFER",
        "callbacks, if a URL is set: one GET per message and state, in the words of the reports, never tried again",
    ),
    ("INFER", "in progress for 5 s, then sent, then reported within a minute, all on the sandbox's clock"),
)

_SKYCORE: tuple[tuple[str, str], ...] = (
    (
        "DOC",
        "sendMMSBarcode with the page's parameters by GET, or by POST as XML in the form field xml; order is irrelevant",
    ),
    ("DOC", "answers are RESPONSE with STATUS; success has MMSID, TRACKINGID, TO, failure ERRORCODE, TO, ERRORINFO"),
    ("DOC", "TO is country code and number in digits only; API_KEY per request; the passed BARCODEID is always used"),
    (
        "DOC",
        "the codes and what they are about; a template without a barcode object is E633, one being encoded E626 until N003",
    ),
    (
        "DOC",
        "getMmsIds and E200, getMmsCampaigns and E405, subscribe and unsubscribe; who opted out cannot be subscribed again",
    ),
    (
        "DOC",
        "TRACKINGID is MMS_<n>, since November 2013 its base64; Success means accepted, delivery comes by postback only",
    ),
    (
        "DOC",
        "postbacks N101, N102, E101, E102, N202, E202 in the flat shape, or NOTIFICATIONs batched by the minute (seed era)",
    ),
    ("DOC", "a postback is sent again 5 minutes later unless HTTP 200 comes within 10 seconds, at most five times"),
    (
        "CLIENT",
        "field XML, multipart and a raw XML body are read; action names without case; action, key, mmsid, to in this order",
    ),
    ("CLIENT", "E101 with a failed database lookup follows a Success (a sample of 2013): the late barcode failure"),
    (
        "INFER",
        "every answer is HTTP 200; values are trimmed; tags in any case, names of GET only in lower case; plain form fields",
    ),
    ("INFER", "the same number and barcode again is taken again, with a new TRACKINGID: no page knows a duplicate error"),
    (
        "INFER",
        "checks after barcodeid: from E111, E633, E626, campaign E714 and E715, blacklist E114, operator E628, billing E713",
    ),
    ("INFER", "E106, E120 and E113 refuse before anything is done, and what is refused counts for no limit"),
    ("INFER", "postbacks come in no certain order and can come twice; an undelivered link SMS is reported as Failed"),
    (
        "UNKNOWN",
        "rate limits, the quota's window, lengths of numbers, charset and length of BARCODEID: nothing is limited unasked",
    ),
    ("INFER", "who answers STOP is unsubscribed for good, and N302 reports it"),
    ("UNKNOWN", "the symbology: the account's template decides; the sandbox draws QR"),
    ("UNKNOWN", "SPID, HANDSET, AGGREGATORID, PROVIDER and how long anything takes are made up"),
    (
        "UNKNOWN",
        "the answer of getSendingStatus: a link in an element URL; its report names neither TRACKINGID nor BARCODEID",
    ),
)

SOURCES: dict[str, tuple[tuple[str, str], ...]] = {"serwersms": _SERWERSMS, "skycore": _SKYCORE}
"""Label and sentence, by provider."""
