"""The owner's configuration of a serving workload: `serving.toml`, which is part of the image and so measured.

Format: docs/serving.md.
"""

from __future__ import annotations

import re
import tomllib
from typing import Annotated, Literal, Self

from pydantic import Field, ValidationError, field_validator, model_validator

from confide.attestation.evidence import describe
from confide.certificates import load_certificate
from confide.document import StrictModel
from confide.errors import InvalidFormat
from confide.serving.batcher import Limits

MAX_BYTES = 64 * 1024
MODEL_NAME = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._-]{0,62}[A-Za-z0-9])?")

Name = Annotated[str, Field(pattern=rf"^{MODEL_NAME.pattern}$")]


class ModelConfiguration(StrictModel):
    """What may be set for one model, in place of what holds for all.

    Attributes:
        max_batch: rows of one run; 1: requests are not put together.
        latency_ms: how long one run should take at most; larger batches are not made.
        max_queue: requests that may wait; more are answered 429.
    """

    max_batch: Annotated[int, Field(ge=1, le=4096)] | None = None
    latency_ms: Annotated[int, Field(ge=1, le=60_000)] | None = None
    max_queue: Annotated[int, Field(ge=1, le=65_536)] | None = None


class ClientConfiguration(StrictModel):
    """A client that may ask.

    Attributes:
        token_sha256: hash of each token of it, hex; `confide serving token` makes both.
        rate_per_s, burst: as for all, of this client alone, from whatever addresses.
    """

    token_sha256: Annotated[
        tuple[Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")], ...],
        Field(min_length=1, max_length=8, strict=False),
    ]
    rate_per_s: Annotated[int, Field(ge=1, le=1_000_000)] | None = None
    burst: Annotated[int, Field(ge=1, le=1_000_000)] | None = None


class TracesConfiguration(StrictModel):
    """Whom requests are traced for.

    Attributes:
        endpoint: where a collector of OpenTelemetry takes traces by OTLP over HTTP.
        authority: certificate (PEM) that its own chains to.
        ratio: of the requests whose clients do not say whether they are traced.
    """

    endpoint: Annotated[str, Field(pattern=r"^https://[!-~]{1,1000}$")]
    authority: Annotated[str, Field(max_length=16 * 1024)]
    ratio: Annotated[float, Field(ge=0, le=1, strict=False)] = 1.0

    @field_validator("authority")
    @classmethod
    def _one_certificate(cls, authority: str) -> str:
        try:
            load_certificate(authority.encode())
        except InvalidFormat:
            raise ValueError("no certificate") from None
        return authority


class Configuration(StrictModel):
    """The configuration.

    Attributes:
        version: of this format, 1.
        models: plain model files or folders beside it, which become part of the image.
        runtimes: what runs sealed models, beside what runs the plain ones; none of either: onnx.
        plain_requests: requests that are not sealed are answered too: TLS that ends in the enclave protects them.
        max_batch, latency_ms, max_queue: as of `ModelConfiguration`, for all models.
        deadline_ms: how long a request that names no deadline may wait.
        max_body_mib: size of one request.
        rate_per_s: requests a second of one client's address, sustained; `burst` of them at once.
        burst: requests of one address at once.
        refresh_s: how often the broker is asked again: for new versions of keys and models, and whether it may go on.
        detailed_metrics: `/metrics` tells anybody the rows of runs, and how sealed requests were answered.
        model: name -> what is set for that model alone.
        client: name -> a client that may ask; none: whoever reaches the worker may.
        traces: whom requests are traced for; none: nobody.
    """

    version: Annotated[int, Field(ge=1, le=1)] = 1
    models: Annotated[
        tuple[Annotated[str, Field(max_length=1024)], ...], Field(max_length=256, strict=False)
    ] = ()
    runtimes: Annotated[
        tuple[Literal["onnx", "xgboost", "lightgbm"], ...], Field(max_length=16, strict=False)
    ] = ()
    plain_requests: bool = False
    max_batch: Annotated[int, Field(ge=1, le=4096)] = 64
    latency_ms: Annotated[int, Field(ge=1, le=60_000)] = 50
    max_queue: Annotated[int, Field(ge=1, le=65_536)] = 1024
    deadline_ms: Annotated[int, Field(ge=1, le=600_000)] = 30_000
    max_body_mib: Annotated[int, Field(ge=1, le=1024)] = 16
    rate_per_s: Annotated[int, Field(ge=1, le=1_000_000)] = 10_000
    burst: Annotated[int, Field(ge=1, le=1_000_000)] = 10_000
    refresh_s: Annotated[int, Field(ge=1, le=86_400)] = 60
    detailed_metrics: bool = False
    model: Annotated[dict[Name, ModelConfiguration], Field(max_length=256)] = Field(default_factory=dict)
    client: Annotated[dict[Name, ClientConfiguration], Field(min_length=1, max_length=512)] = Field(
        default_factory=dict
    )
    traces: TracesConfiguration | None = None

    @model_validator(mode="after")
    def _tokens_differ(self) -> Self:
        digests = [digest for client in self.client.values() for digest in client.token_sha256]
        if len(set(digests)) != len(digests):
            raise ValueError("client: two have the same token")
        return self

    @classmethod
    def from_toml(cls, data: bytes) -> Self:
        """Parse the document.

        Raises:
            InvalidFormat: larger than 64 KiB, not TOML, or with faults; all are listed.
        """
        if len(data) > MAX_BYTES:
            raise InvalidFormat(f"serving.toml: {len(data)} bytes, at most {MAX_BYTES} are allowed")
        try:
            return cls.model_validate(tomllib.loads(data.decode()))
        except ValidationError as error:
            raise InvalidFormat(f"serving.toml: {describe(error)}") from None
        except (ValueError, RecursionError):
            raise InvalidFormat("serving.toml: not TOML") from None

    def limits(self, model: str) -> Limits:
        """Return the bounds of one model's queue."""
        own = self.model.get(model, ModelConfiguration())
        return Limits(
            max_batch=own.max_batch or self.max_batch,
            latency_s=(own.latency_ms or self.latency_ms) / 1000,
            max_queue=own.max_queue or self.max_queue,
        )
