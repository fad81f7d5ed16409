"""A Spark server goes on for as long as its owners let it, and as its release holds."""

from __future__ import annotations

import base64
import time
from types import SimpleNamespace

import pytest

from confide.broker.release import Release, ReleasedKey
from confide.errors import BrokerUnavailable, MeasurementRefused
from confide.spark.server import Server

KEY = "clinic/analysts"


def release(left_s: float, *versions: int) -> Release:
    secrets = {str(n): base64.b64encode(bytes([n]) * 32).decode() for n in versions}
    keys = {KEY: ReleasedKey(current=max(versions), versions=secrets)}
    expires = int(time.time() + left_s)
    return Release(workload="a", owners=("clinic",), keys=keys, grants=(), requests=KEY, expires=expires)


class Java:
    """A process that ends after so many looks at it."""

    def __init__(self, looks: int) -> None:
        self.looks = looks

    def wait(self, timeout: float) -> int:
        assert timeout >= 0
        self.looks -= 1
        if self.looks:
            raise TimeoutError
        return 7


def attend(first: Release, *answers: Release | Exception) -> dict[str, object]:
    """Return the secrets after these answers of the broker."""
    following = iter(answers)

    def renew() -> Release:
        answer = next(following)
        if isinstance(answer, Exception):
            raise answer
        return answer

    context = SimpleNamespace(release=first, renew=renew, secrets={})
    assert Server(context, None, (), b"", None)._attend(Java(len(answers) + 1)) == 7
    return context.secrets


def test_what_is_released_now_counts():
    away = BrokerUnavailable("away")
    assert len(attend(release(60, 1), away, release(60, 1, 2), away)["tokens"]) == 2


def test_it_ends_with_its_release():
    away = BrokerUnavailable("away")
    with pytest.raises(BrokerUnavailable, match="until the release ended"):
        attend(release(0, 1), away)
    with pytest.raises(BrokerUnavailable, match="until the release ended"):
        attend(release(60, 1), away, release(0, 1), away)
    attend(release(0, 1), release(60, 1), away)


def test_it_ends_where_owners_say_no():
    with pytest.raises(MeasurementRefused):
        attend(release(60, 1), MeasurementRefused("withdrawn"))
