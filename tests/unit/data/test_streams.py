"""Rows that are sent to a stream whose Redis does not always answer."""

from __future__ import annotations

import pytest

from confide.data.records import RecordOpener
from confide.data.streams import AT_ONCE, StreamWriter
from confide.keys.material import Keyset, NamedKey
from confide.keys.names import KeyName

KEY = KeyName.parse("clinic/pulses")
KEYSET = Keyset({KEY: NamedKey(KEY, 1, {1: bytes(32)})})


class Failing:
    """Answers each call but the second; what it was given then is lost, or there all the same."""

    def __init__(self, *, taken: bool) -> None:
        self.taken, self.calls, self.records = taken, 0, dict[int, bytes]()

    def eval(self, _script, _count, _stream, _producers, _producer, _data_key, first, *records):
        self.calls += 1
        assert len(records) <= AT_ONCE
        if self.calls != 2 or self.taken:
            self.records |= dict(enumerate(records, first))
        if self.calls == 2:
            raise ConnectionError


@pytest.mark.parametrize("taken", [False, True])
@pytest.mark.parametrize("further", [[], [b"further"] * 300])
def test_what_is_missing_is_appended_with_the_next_call(taken, further):
    redis = Failing(taken=taken)
    writer, rows = StreamWriter(redis, "pulses", KEYSET, KEY), [b"%d" % i for i in range(1000)]
    with pytest.raises(ConnectionError):
        writer.send(rows)
    assert writer.appended == AT_ONCE
    writer.send(further)
    assert writer.appended == 1000 + len(further)
    opener = RecordOpener(KEYSET, KEY, "pulses")
    assert [opener.open(redis.records[number]) for number in sorted(redis.records)] == rows + further
