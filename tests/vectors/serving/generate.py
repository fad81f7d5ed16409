"""Write the vectors anew: `python -m tests.vectors.serving.generate`. Sealing is random, so every run differs."""

from __future__ import annotations

import itertools
import json
from dataclasses import asdict
from pathlib import Path

from confide.keys.material import NamedKey
from confide.keys.names import KeyName
from confide.serving.envelope import ReplyContent, RequestContent, Target
from confide.serving.oip import Body
from confide.serving.pool_key import PoolKeys
from confide.serving.sealed import HEADER_BYTES, seal_fresh, seal_ticketed
from confide.serving.ticket import TICKET_BYTES, HeldTicket, Session, new_ticket

FILE = Path(__file__).with_name("requests.json")
SECRETS = {1: bytes(range(32)), 2: bytes(range(32, 64))}
NOW_MS = 1_800_000_000_000
TARGET = Target("infer", "iris", "3", "ward 7")
TOKEN = "0123456789abcdef" * 4
CONTENT = RequestContent(Body(b'{"inputs":[]}\1\2\3', 13), NOW_MS + 30_000)


def main() -> None:
    """Make requests that open, and far more that do not."""
    pool = PoolKeys(NamedKey(KeyName("clinic", "pool"), 2, SECRETS))
    one, two = (pool.key(key.id) for key in pool.public)
    now_s = NOW_MS // 1000
    ticket, secret, expires, uses = new_ticket(two, now_s)
    session = Session.of(secret, expires, uses)
    held = HeldTicket(ticket, two.public.id, Session.of(secret, 2**40, uses))
    fresh, fresh_reply = seal_fresh(CONTENT, TARGET, two.public, bytes(range(16)))
    ticketed, ticketed_reply = seal_ticketed(CONTENT, TARGET, held)
    padded = RequestContent(CONTENT.body, CONTENT.not_after_ms, padded=True)
    known = RequestContent(CONTENT.body, CONTENT.not_after_ms, token=TOKEN)
    good = {
        "fresh": fresh,
        "fresh, under the older version": seal_fresh(CONTENT, TARGET, one.public)[0],
        "fresh, padded": seal_fresh(padded, TARGET, two.public)[0],
        "fresh, with a token": seal_fresh(known, TARGET, two.public)[0],
        "under a ticket": ticketed,
        "under a ticket, its second use": seal_ticketed(CONTENT, TARGET, held)[0],
    }
    cases = [_case(name, data) for name, data in good.items()]
    replies = []
    for name, data, reply in (("fresh", fresh, fresh_reply), ("under a ticket", ticketed, ticketed_reply)):
        sealed = reply.seal(ReplyContent(200, Body(b'{"outputs":[]}', None)), padded=False)
        replies.append({"to": name, "request": data.hex(), "reply": sealed.hex()})

    def bad(name: str, data: bytes, error: str, target: Target = TARGET, now_ms: int = NOW_MS) -> None:
        cases.append(_case(name, data, target, now_ms, error))

    for what, data in (("fresh", fresh), ("under a ticket", ticketed)):
        bad(f"{what}: for another model", data, "Tampered", Target("infer", "wine", "3", "ward 7"))
        bad(f"{what}: for another version", data, "Tampered", Target("infer", "iris", "4", "ward 7"))
        bad(f"{what}: for no version", data, "Tampered", Target("infer", "iris", "", "ward 7"))
        bad(f"{what}: in another context", data, "Tampered", Target("infer", "iris", "3", "ward 8"))
        bad(f"{what}: for another operation", data, "Tampered", Target("metadata", "iris", "3", "ward 7"))
        bad(f"{what}: text moved between fields", data, "Tampered", Target("infer", "iris3", "", "ward 7"))
        bad(f"{what}: of another version of the format", b"\2" + data[1:], "InvalidRequest")
        bad(f"{what}: of an unknown kind", data[:1] + b"\7" + data[2:], "InvalidRequest")
        bad(f"{what}: of the other kind", data[:1] + bytes([3 - data[1]]) + data[2:], "Tampered")
        bad(f"{what}: of the kind of a reply", data[:1] + b"\3" + data[2:], "InvalidRequest")
        bad(f"{what}: to an unknown key", _flip(data, 2), "UnknownKey")
        bad(f"{what}: to the other version's key", data[:2] + one.public.id + data[18:], "Tampered")
        bad(f"{what}: with another id", _flip(data, HEADER_BYTES - 1), "Tampered")
        bad(f"{what}: last byte changed", _flip(data, len(data) - 1), "Tampered")
        bad(f"{what}: a byte more", data + b"\0", "Tampered")
        bad(f"{what}: a byte less", data[:-1], "Tampered")
        bad(f"{what}: cut off in its header", data[: HEADER_BYTES - 1], "InvalidRequest")
        bad(f"{what}: nothing behind its header", data[:HEADER_BYTES], "InvalidRequest")
        bad(f"{what}: at its end", data, "Expired", now_ms=CONTENT.not_after_ms)
        bad(
            f"{what}: its end ten minutes ahead",
            data,
            "InvalidRequest",
            now_ms=CONTENT.not_after_ms - 600_001,
        )
    bad("fresh: encapsulated key changed", _flip(fresh, HEADER_BYTES), "Tampered")
    bad("fresh: encapsulated key of low order", fresh[:HEADER_BYTES] + bytes(32) + fresh[66:], "Tampered")
    bad("under a ticket: the ticket changed", _flip(ticketed, HEADER_BYTES + 20), "Tampered")
    other = HeldTicket(new_ticket(two, now_s)[0], two.public.id, held.session)
    bad("under a ticket: another session's ticket", seal_ticketed(CONTENT, TARGET, other)[0], "Tampered")
    behind = ticketed[HEADER_BYTES + TICKET_BYTES :]
    swapped = ticketed[:HEADER_BYTES] + other.ticket + behind
    bad("under a ticket: the ticket swapped", swapped, "Tampered")
    late = HeldTicket(ticket, two.public.id, held.session)
    end_ms = session.expires * 1000
    at_end = RequestContent(CONTENT.body, end_ms + 30_000)
    bad(
        "under a ticket: the ticket's hour is over",
        seal_ticketed(at_end, TARGET, late)[0],
        "Expired",
        now_ms=end_ms,
    )
    endless = Session(held.session.request, held.session.reply, 2**40, 2**40)
    used = HeldTicket(ticket, two.public.id, endless, itertools.count(uses))
    bad("under a ticket: used up", seal_ticketed(CONTENT, TARGET, used)[0], "Expired")
    form = CONTENT.encode()
    for name, content in {
        "content: cut off": form[:10],
        "content: unknown flags": b"\4" + form[1:],
        "content: a token that is not there": b"\2" + form[1:],
        "content: a token that is cut off": known.encode()[: len(form) + 63],
        "content: longer than it is": form[:13] + b"\0\0\0\x7f" + form[17:],
        "content: JSON longer than the body": form[:9] + b"\0\0\0\x7f" + form[13:],
        "content: padding that is not zero": form + b"\0\1",
    }.items():
        bad(f"fresh, {name}", seal_fresh(_Raw(content), TARGET, two.public)[0], "InvalidRequest")  # type: ignore[arg-type]
    document = {
        "key": "clinic/pool",
        "secrets": {str(version): secret.hex() for version, secret in SECRETS.items()},
        "current": 2,
        "target": asdict(TARGET),
        "now_ms": NOW_MS,
        "body": CONTENT.body.data.hex(),
        "json_bytes": CONTENT.body.json_bytes,
        "not_after_ms": CONTENT.not_after_ms,
        "token": TOKEN,
        "requests": cases,
        "replies": replies,
    }
    FILE.write_text(json.dumps(document, indent=1) + "\n")


class _Raw:
    def __init__(self, data: bytes) -> None:
        self._data = data

    def encode(self) -> bytes:
        return self._data


def _flip(data: bytes, place: int) -> bytes:
    return data[:place] + bytes([data[place] ^ 1]) + data[place + 1 :]


def _case(
    name: str, data: bytes, target: Target = TARGET, now_ms: int = NOW_MS, error: str | None = None
) -> dict[str, object]:
    case: dict[str, object] = {"name": name, "data": data.hex()}
    if target != TARGET:
        case["target"] = asdict(target)
    if now_ms != NOW_MS:
        case["now_ms"] = now_ms
    return case | ({"error": error} if error else {})


if __name__ == "__main__":
    main()
