"""Who may ask a server on this machine: by which host names, and from pages of which origins."""

from __future__ import annotations

import pytest

from posthorn.loopback import is_loopback, refusal

OTHER_NAME, OTHER_ORIGIN = "host name", "another origin"
NAMES = ("mms.example.com",)

# What a request says, and what is wrong with it (nothing: it is answered).
REQUESTS: dict[str, tuple[dict[str, list[str]], str | None]] = {
    "a program": ({"Host": ["127.0.0.1:4200"]}, None),
    "a program, by name": ({"Host": ["LocalHost:4200"]}, None),
    "a program, IPv6": ({"Host": ["[::1]:4200"]}, None),
    "an old program that names no host": ({}, None),
    "another address of this machine": ({"Host": ["192.0.2.7:4200"]}, None),
    "a known name": ({"Host": ["MMS.example.com"]}, None),
    "a rebound name": ({"Host": ["evil.example:4200"]}, OTHER_NAME),
    "a rebound name that looks like ours": ({"Host": ["127.0.0.1.evil.example"]}, OTHER_NAME),
    "a rebound name that ends like ours": ({"Host": ["evil-mms.example.com"]}, OTHER_NAME),
    "a name below localhost": ({"Host": ["evil.localhost:4200"]}, OTHER_NAME),
    "the address of nowhere": ({"Host": ["0.0.0.0:4200"]}, OTHER_NAME),
    "the same, IPv6": ({"Host": ["[::]:4200"]}, OTHER_NAME),
    "an empty name": ({"Host": [""]}, OTHER_NAME),
    "no name at all": ({"Host": ["["]}, OTHER_NAME),
    "two names": ({"Host": ["127.0.0.1:4200", "127.0.0.1:4200"]}, OTHER_NAME),
    "our own page": ({"Host": ["127.0.0.1:4200"], "Origin": ["http://127.0.0.1:4200"]}, None),
    "our own page through a tunnel": ({"Host": ["localhost:8080"], "Origin": ["http://localhost:8080"]}, None),
    "our own page through a proxy": ({"Host": ["127.0.0.1:4200"], "Origin": ["https://mms.example.com"]}, None),
    "a foreign page": ({"Host": ["127.0.0.1:4200"], "Origin": ["https://evil.example"]}, OTHER_ORIGIN),
    "a page of another port": ({"Host": ["127.0.0.1:4200"], "Origin": ["http://127.0.0.1:3000"]}, OTHER_ORIGIN),
    "our page by another name": ({"Host": ["127.0.0.1:4200"], "Origin": ["http://localhost:4200"]}, OTHER_ORIGIN),
    "a page of no origin": ({"Host": ["127.0.0.1:4200"], "Origin": ["null"]}, OTHER_ORIGIN),
    "a page of no origin, no host": ({"Origin": ["null"]}, OTHER_ORIGIN),
    "a rebound page": ({"Host": ["evil.example:4200"], "Origin": ["http://evil.example:4200"]}, OTHER_NAME),
    "two origins": ({"Host": ["127.0.0.1:1"], "Origin": ["http://127.0.0.1:1", "http://evil.example"]}, OTHER_ORIGIN),
    "a foreign page's picture": ({"Sec-Fetch-Site": ["cross-site"], "Sec-Fetch-Mode": ["no-cors"]}, OTHER_ORIGIN),
    "another port's picture": ({"Sec-Fetch-Site": ["same-site"], "Sec-Fetch-Mode": ["no-cors"]}, OTHER_ORIGIN),
    "a link that is followed": ({"Sec-Fetch-Site": ["cross-site"], "Sec-Fetch-Mode": ["navigate"]}, None),
    "our own page's picture": ({"Sec-Fetch-Site": ["same-origin"], "Sec-Fetch-Mode": ["no-cors"]}, None),
}


@pytest.mark.parametrize("case", REQUESTS)
def test_a_request_is_judged_by_its_host_and_origin(case: str) -> None:
    said, wrong = REQUESTS[case]
    reason = refusal(lambda name: said.get(name, []), NAMES)
    assert reason is None if wrong is None else wrong in str(reason)


def test_a_server_whose_names_nobody_knows_still_refuses_foreign_pages() -> None:
    by_any_name = {"Host": ["posthorn:8030"]}
    assert refusal(lambda name: by_any_name.get(name, []), any_host=True) is None
    foreign = {**by_any_name, "Origin": ["https://evil.example"]}
    assert OTHER_ORIGIN in str(refusal(lambda name: foreign.get(name, []), any_host=True))


@pytest.mark.parametrize(
    ("host", "answer"),
    [("127.0.0.1", True), ("127.8.8.8", True), ("::1", True), ("localhost", True), ("0.0.0.0", False), ("ops", False)],
)
def test_what_only_this_machine_can_reach(host: str, answer: bool) -> None:
    assert is_loopback(host) is answer
