"""The protocol of Spark Connect, kind by kind: code travels as bytes, and every kind that has bytes is known to us.

The list of what is refused is Java's (`ClientMessages`); that it is refused is shown with a server.
"""

from __future__ import annotations

import re
from pathlib import Path

import pytest

pytest.importorskip("grpc", reason="clients of Spark Connect are not installed here")

from pyspark.sql.connect.proto import base_pb2

JAVA = Path(__file__).parents[3] / "jvm/spark43/confide/spark/ClientMessages.java"
REQUESTS = (
    "ExecutePlanRequest AnalyzePlanRequest ConfigRequest AddArtifactsRequest ArtifactStatusesRequest "
    "InterruptRequest ReattachExecuteRequest ReleaseExecuteRequest ReleaseSessionRequest "
    "FetchErrorDetailsRequest CloneSessionRequest GetStatusRequest"
).split()
DATA = {
    "spark.connect.AddArtifactsRequest.ArtifactChunk",  # refused by the artifact's name
    "spark.connect.Expression.Literal",
    "spark.connect.LocalRelation",  # Arrow
}
CLASSES = {"spark.connect.JavaUDF"}  # names a class instead


def kinds() -> dict:
    """Return every kind of message that a request can hold, by name."""
    found, todo = {}, [base_pb2.DESCRIPTOR.message_types_by_name[name] for name in REQUESTS]
    while todo:
        kind = todo.pop()
        if kind.full_name not in found:
            found[kind.full_name] = kind
            todo += [field.message_type for field in kind.fields if field.message_type is not None]
    return found


KINDS = kinds()


def refused() -> set[str]:
    text = JAVA.read_text()
    named = set(re.findall(r'PACKAGE \+ "([A-Za-z.]+)"', text)) - {"KeyValue", "ConfigRequest.GetWithDefault"}
    named = {name for name in named if not name.startswith("AddArtifactsRequest")}
    return {f"spark.connect.{name}" for name in named} | set(re.findall(r'"(google\.[A-Za-z.]+)"', text))


def test_no_request_of_the_protocol_is_left_out():
    service = base_pb2.DESCRIPTOR.services_by_name["SparkConnectService"]
    assert {method.input_type.name for method in service.methods} == set(REQUESTS)


def test_every_kind_with_bytes_is_refused_or_known_to_be_data():
    with_bytes = {name for name, kind in KINDS.items() if any(f.type == f.TYPE_BYTES for f in kind.fields)}
    assert with_bytes - refused() == DATA


def test_what_is_refused_is_what_the_protocol_has():
    assert refused() <= KINDS.keys()
    assert refused() >= CLASSES


@pytest.mark.parametrize("kind", ["SingleChunkArtifact", "BeginChunkedArtifact"])
def test_artifacts_have_names(kind):
    assert "name" in KINDS[f"spark.connect.AddArtifactsRequest.{kind}"].fields_by_name
