"""The agent's line to the runner where there is nothing but two streams."""

from __future__ import annotations

import json
import os
import threading

import pytest

from confide.attestation.evidence import RuntimeData, StatedImage, TeePubkey
from confide.enclave.attester import attester, evidence_line
from confide.enclave.control import Control, read_line
from confide.errors import AttestationRefused, ConfideError

IMAGE = StatedImage(measurement="ab" * 32, role="driver", svn=0)


class Line:
    """Both ends: the agent's `Control`, and the runner's."""

    def __init__(self):
        answer_out, self.answers = os.pipe()
        self.said, said_in = os.pipe()
        self.control = Control(answer_out, said_in)

    def heard(self):
        return json.loads(read_line(self.said, 1 << 20))

    def answer(self, line: bytes):
        os.write(self.answers, line)


@pytest.fixture
def line():
    return Line()


def runtime_data(image: StatedImage = IMAGE) -> RuntimeData:
    key = TeePubkey(kty="EC", crv="P-256", alg="ECDH-ES+A256KW", x="A" * 43, y="A" * 43)
    return RuntimeData.model_construct(nonce="n", tee_pubkey=key, launch={}, image=image)


def test_states_are_lines_of_json(line):
    line.control.say("released", logs=True)
    assert line.heard() == {"state": "released", "logs": True}
    line.control.failed(ConfideError("why"), keys_released=False)
    assert line.heard()["message"] == "why"


def test_a_runner_that_went_away_is_none_of_the_workloads_business(line):
    os.close(line.said)
    line.control.say("started")


def test_evidence_is_asked_for_over_the_line(line):
    asked = []

    def runner():
        status = line.heard()
        asked.append(status)
        line.answer(b'{"evidence": {"quote": "q"}}\n')

    thread = threading.Thread(target=runner)
    thread.start()
    assert attester("simulated", line.control)(runtime_data()) == {"quote": "q"}
    thread.join()
    assert (asked[0]["state"], asked[0]["runtime_data"]["nonce"]) == ("attesting", "n")


def test_evidence_is_asked_for_while_notices_come_in(line):
    heard = []
    line.control.listen(heard.append)  # its end would end this process: the line stays open

    def runner():
        for number in (1, 2):
            assert line.heard()["state"] == "attesting"
            line.answer(b"notice\n")
            line.answer(b'{"evidence": {"number": %d}}\n' % number)

    thread = threading.Thread(target=runner)
    thread.start()
    ask = attester("simulated", line.control)
    assert [ask(runtime_data()) for _ in range(2)] == [{"number": 1}, {"number": 2}]
    thread.join()
    assert heard == ["notice", "notice"]


@pytest.mark.parametrize(
    "answer", [b"", b"nonsense\n", b"[]\n", b'{"evidence": "x"}\n', b'{"refused": "no"}\n', b"{}\n"]
)
def test_no_evidence(line, answer):
    line.answer(answer)
    os.close(line.answers)
    with pytest.raises(AttestationRefused):
        attester("simulated", line.control)(runtime_data())


def test_a_line_is_read_to_its_end_and_no_further_than_its_bound():
    reader, writer = os.pipe()
    os.write(writer, b"one\n")
    assert read_line(reader, 10) == b"one\n"
    os.write(writer, b"0123456789abcdef")
    assert len(read_line(reader, 10)) == 11
    os.close(writer)
    assert read_line(reader, 10) == b"bcdef"
    assert read_line(reader, 10) == b""


def test_the_runner_gives_evidence_for_its_own_image_alone():
    class Issuer:
        def issue(self, report_data):
            return {"made": True}

    for asked in (b"nonsense", b"null"):
        assert "refused" in json.loads(evidence_line(asked, Issuer(), IMAGE))
