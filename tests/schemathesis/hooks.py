"""What no schema can say of a request, said to schemathesis: without it, it reports its own requests."""

import itertools
import re

import schemathesis
from schemathesis import GenerationMode

NUMBERS = itertools.count(1)


# Of two members that exclude one another the second is left out; `If-None-Match` beside `If-Match`, too.
EXCLUSIVE = [
    ("asOf", "include"),
    ("customerId", "customerExternalId"),
    ("fullname", "firstname"),
    ("fullname", "middlename"),
    ("fullname", "lastname"),
]


@schemathesis.hook
def before_call(context, case, kwargs):
    headers = case.headers or {}
    # A key names one request. Schemathesis sends the same few keys with ever other requests, which is refused.
    key = headers.get("Idempotency-Key")
    if key and len(key) < 200 and re.fullmatch(r"[!#-~][!-~]*", key):
        headers["Idempotency-Key"] = f"{key}-{next(NUMBERS)}"
    if case.meta is None or case.meta.generation.mode != GenerationMode.POSITIVE:
        return
    # The coverage phase drops the quotes of a text that it made by a pattern with quotes.
    tag = headers.get("If-Match")
    if tag and re.fullmatch(r"[0-9A-Za-z]+", tag):
        headers["If-Match"] = f'"{tag}"'
    if tag:
        headers.pop("If-None-Match", None)
    # A cursor is what an answer has given: a text made up is none.
    if case.query and case.query.get("after"):
        del case.query["after"]
    # Nobody waits half a minute for an event in each of hundreds of requests.
    if case.query and str(case.query.get("wait", "")).isdigit():
        case.query["wait"] = min(int(case.query["wait"]), 1)
    for members in (case.query, case.body):
        if isinstance(members, dict):
            for first, second in EXCLUSIVE:
                if first in members and second in members:
                    del members[second]
