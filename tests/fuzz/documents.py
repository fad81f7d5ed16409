"""Parsers of what owners, operators, brokers and storage hand over, each as a function of bytes."""

from __future__ import annotations

import base64
import io
import os
from contextlib import suppress
from functools import cache
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric import ec

from confide.broker.accepted_broker import AcceptedBroker
from confide.broker.attested_leaf import read_extension
from confide.broker.checkpoint import open_checkpoint, verifier_key
from confide.broker.introduction import MAX_BYTES as MAX_INTRODUCTION_BYTES
from confide.broker.introduction import Introduction
from confide.broker.jwe import open_sealed
from confide.broker.listing_signing import verify_listing
from confide.broker.merkle import HASH_BYTES, verify_consistency, verify_inclusion
from confide.broker.mesh_certificate import Member, requested_key
from confide.broker.policy import parse_policy
from confide.broker.policy_signing import verify_policy
from confide.broker.service import _parse_commit as parse_commit
from confide.broker.tokens import TokenIssuer
from confide.certificates import load_certificate
from confide.data.key_identifier import parse_identifier
from confide.data.listing_io import parse_listing
from confide.data.parquet_tail import TailedFile, read_tail
from confide.data.sealed_header import read_header
from confide.data.sealed_reader import SealedReader
from confide.enclave.image import Image, parse_image
from confide.enclave.launch import broker_urls, check_launch, split_arguments
from confide.enclave.script_metadata import read_metadata
from confide.errors import ConfideError
from confide.keys.aws_kms import KmsUri
from confide.keys.enclave_sealed import open_uri as open_sealing_uri
from confide.keys.material import Keyset, NamedKey
from confide.keys.names import KeyName, KeyVersion
from confide.keys.passphrase_file import path_of_uri
from confide.keys.pkcs11_uri import Pkcs11Uri
from confide.keys.provider import scheme_of
from confide.keys.recovery.documents import Answer, RecoverySet
from confide.keys.recovery.key import RecoveryPublicKey
from confide.keys.signing import private_key_from_raw, raw_public
from confide.keys.vault import VaultUri
from confide.serving.configuration import Configuration
from confide.serving.envelope import Target
from confide.serving.grpc_request import GrpcRequest
from confide.serving.identity import MAX_BYTES as MAX_SERVING_BYTES
from confide.serving.identity import AcceptedServing, verify_worker
from confide.serving.identity import Introduction as ServingIntroduction
from confide.serving.oip import Body, read_request
from confide.serving.pool_key import PoolKeys
from confide.serving.sealed import Opener

from .evidence import HOST
from .forms import json_object, message_object

NOW = 1_800_000_000
OWNER = private_key_from_raw(bytes(range(32)))
WORKLOAD = ec.derive_private_key(7, ec.SECP256R1())
TOKENS = TokenIssuer(ec.derive_private_key(9, ec.SECP256R1()), "https://broker")
KEYS = Keyset(
    {
        name: NamedKey(name, max(secrets), secrets)
        for name, secrets in {
            KeyName("clinic", "patients"): {1: b"\x01" * 32, 2: b"\x02" * 32},
            KeyName("bank", "ledger"): {1: b"\x03" * 32},
        }.items()
    }
)
"""Those of tests/vectors/sealed."""
POOL = PoolKeys(NamedKey(KeyName("clinic", "pool"), 2, {1: bytes(range(32)), 2: bytes(range(32, 64))}))
"""Those of tests/vectors/serving."""
ACCEPTED_SERVING = AcceptedServing.model_validate(
    {
        "version": 1,
        "tee": "simulated",
        "measurements": ("ab" * 32,),
        "hosts": (base64.b64encode(raw_public(HOST.public_key())).decode(),),
        "requests": "clinic/pool",
    }
)
IMAGE = {
    "name": "job",
    "profile": "python",
    "argv": ("/opt/confide/python/bin/python3", "-I"),
    "program": "/app/job.py",
    "args": ("--year=20[0-9]{2}", "[a-z]+"),
    "launch": {"cores": "[1-9][0-9]?"},
    "limits": {"memory_mib": 512, "scratch_mib": 64},
    "brokers": {"local": "PEM"},
    "files": ({"path": "app/job.py", "size": 1, "sha256": "0" * 64},),
}


def policy(data: bytes) -> None:
    parse_policy.__wrapped__(data).valid_at(NOW)  # what it remembers is not its time


def policy_jws(data: bytes) -> None:
    verify_policy(json_object(data), {"clinic": OWNER.public_key()}, NOW)


def listing(data: bytes) -> None:
    parse_listing(data)


def listing_jws(data: bytes) -> None:
    verify_listing(json_object(data), {"clinic": OWNER.public_key()})


def commit(data: bytes) -> None:
    parse_commit(data)


def sealed_header(data: bytes) -> None:
    read_header(io.BytesIO(data))


def sealed_file(data: bytes) -> None:
    with SealedReader(io.BytesIO(data), KEYS) as reader:
        reader.readall()
        reader.seek(0)
        reader.read(1)


def parquet_tail(data: bytes) -> None:
    tail = read_tail(io.BytesIO(data))
    TailedFile(io.BytesIO(data), tail).read()


def parquet_identifier(data: bytes) -> None:
    parse_identifier(data.decode(errors="replace"))


def image(data: bytes) -> None:
    parse_image(data)


def launch(data: bytes) -> None:
    parameters = {name: value for name, value in message_object(data).items() if isinstance(value, str)}
    broker_urls(check_launch(_image(), parameters))


@cache
def _image() -> Image:
    return Image.model_validate(IMAGE)


def launch_arguments(data: bytes) -> None:
    split_arguments(data.decode(errors="replace"))


def checkpoint(data: bytes) -> None:
    open_checkpoint(data.decode(errors="replace"), verifier_key(OWNER.public_key()))


def checkpoint_key(data: bytes) -> None:
    open_checkpoint("", data.decode(errors="replace"))


def audit_proof(data: bytes) -> None:
    """Two sizes (8 bytes each), two hashes and a path of hashes."""
    numbers, roots, path = data[:16], data[16:80], data[80:]
    one, other = int.from_bytes(numbers[:8], "big"), int.from_bytes(numbers[8:], "big")
    steps = [path[at : at + HASH_BYTES] for at in range(0, len(path), HASH_BYTES)]
    with suppress(ConfideError):
        verify_inclusion(roots[:32], one, other, roots[32:], steps)
    verify_consistency(one, roots[:32], other, roots[32:], steps)


def resource(data: bytes) -> None:
    open_sealed(WORKLOAD, json_object(data))


def token(data: bytes) -> None:
    TOKENS.verify(data.decode(errors="replace"), NOW)


def accepted_broker(data: bytes) -> None:
    AcceptedBroker.from_toml(data)


def introduction(data: bytes) -> None:
    Introduction.parse(data, MAX_INTRODUCTION_BYTES).endorsements()


def serving_configuration(data: bytes) -> None:
    Configuration.from_toml(data)


def serving_request(data: bytes) -> None:
    """A length of JSON in two bytes, and a body."""
    length = int.from_bytes(data[:2], "big")
    read_request(Body(data[2:], None if length == 0xFFFF else length), lambda *_: None)


def grpc_request(data: bytes) -> None:
    GrpcRequest.parse(data).read(lambda *_: None)


def sealed_request(data: bytes) -> None:
    Opener(POOL).open(data, Target("infer", "iris", "3", "ward 7"), NOW * 1000)


def serving_introduction(data: bytes) -> None:
    verify_worker(ServingIntroduction.parse(data, MAX_SERVING_BYTES), ACCEPTED_SERVING, None, NOW)


def attested_certificate(data: bytes) -> None:
    """A certificate that `ssl` handed over."""
    read_extension(load_certificate(data, MAX_INTRODUCTION_BYTES))


def mesh_request(data: bytes) -> None:
    requested_key(data.decode(errors="replace"))


def mesh_member(data: bytes) -> None:
    """A certificate that `ssl` handed over."""
    _ = Member.of(load_certificate(data)).uri


@cache
def _program() -> int:
    return os.memfd_create("program")


def script_metadata(data: bytes) -> None:
    os.ftruncate(_program(), 0)
    os.pwrite(_program(), data, 0)
    read_metadata(Path(f"/proc/self/fd/{_program()}"))


def recovery_set(data: bytes) -> None:
    found = RecoverySet.parse(data)
    found.digest()
    for share in found.shares:
        found.share_info(share)


def recovery_answer(data: bytes) -> None:
    Answer.parse(data)


def recovery_key(data: bytes) -> None:
    found = RecoveryPublicKey.from_pem(data)
    _ = found.fingerprint, found.pem()


def key_uri(data: bytes) -> None:
    """As they go to a provider: once its scheme is known."""
    text = data.decode(errors="replace")
    target = scheme_of(text).target
    if "vault" in target:
        VaultUri.parse(text)
    elif "aws_kms" in target:
        KmsUri.parse(text)
    elif "pkcs11" in target:
        Pkcs11Uri.parse(text)
    elif "passphrase" in target:
        path_of_uri(text)
    else:
        open_sealing_uri(text, {})


def key_name(data: bytes) -> None:
    text = data.decode(errors="replace")
    with suppress(ConfideError):
        KeyName.parse(text)
    KeyVersion.parse(text)
