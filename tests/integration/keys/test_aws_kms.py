"""The key provider `aws-kms:` on a server of AWS KMS's API, moto."""

from __future__ import annotations

import base64
import json
import ssl
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest

from confide.errors import Misuse, ProviderRefused, ProviderUnavailable, Tampered
from confide.keys.aws_kms import KmsUri, open_uri
from confide.keys.provider import open_provider

from .conftest import Misbehaving, authority, free_port, pem

REGION = "eu-central-1"
ARN = f"arn:aws:kms:{REGION}:123456789012:key/1234abcd-12ab-34cd-56ef-1234567890ab"


@dataclass(frozen=True)
class Kms:
    """A running server."""

    base: str
    ca: Path

    def uri(self, arn: str, **query: str) -> str:
        asked = {"endpoint": self.base, "ca": str(self.ca)} | query
        return f"aws-kms://{arn}?" + "&".join(f"{name}={value}" for name, value in asked.items())

    def call(self, operation: str, body):
        """As a signed call: moto looks only at the region in it."""
        answer = httpx.post(
            f"{self.base}/",
            content=json.dumps(body),
            headers={
                "X-Amz-Target": f"TrentService.{operation}",
                "Content-Type": "application/x-amz-json-1.1",
                "Authorization": f"AWS4-HMAC-SHA256 Credential=x/20260101/{REGION}/kms/aws4_request, "
                "SignedHeaders=host, Signature=x",
            },
            verify=ssl.create_default_context(cafile=self.ca),
            trust_env=False,
        )
        assert answer.status_code == 200, answer.text
        return answer.json() if answer.content else None

    def key(self, **properties) -> str:
        usage = {"KeyUsage": "ENCRYPT_DECRYPT"}  # AWS's default, which moto has not
        return self.call("CreateKey", usage | properties)["KeyMetadata"]["Arn"]


@pytest.fixture(scope="module")
def kms(tmp_path_factory, server_tls):
    pytest.importorskip("moto")
    port, log = free_port(), tmp_path_factory.mktemp("kms") / "log"
    command = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)]
    command += ["-c", str(server_tls / "tls.pem"), "-k", str(server_tls / "tls.key")]
    with log.open("wb") as output:
        server = subprocess.Popen(command, stdout=output, stderr=output)
    found = Kms(f"https://127.0.0.1:{port}", server_tls / "ca.pem")
    try:
        deadline = time.monotonic() + 60
        while True:
            try:
                found.call("ListKeys", {})
                break
            except httpx.TransportError:
                assert server.poll() is None, log.read_text()
                assert time.monotonic() < deadline, log.read_text()
                time.sleep(0.1)
        yield found
    finally:
        server.terminate()
        server.wait(30)


@pytest.fixture(autouse=True)
def credentials(monkeypatch, tmp_path):
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIAEXAMPLE")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "not-to-be-seen")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")


@pytest.fixture(scope="module")
def key(kms) -> str:
    return kms.key()


@pytest.fixture
def provider(kms, key):
    return open_provider(kms.uri(key), {})


def test_what_it_wrapped_it_unwraps(provider, kms, key):
    wrapped = provider.wrap(b"\0secret\xff", b"context")
    assert b"secret" not in wrapped
    assert open_provider(kms.uri(key), {}).unwrap(wrapped, b"context") == b"\0secret\xff"


def test_by_an_alias(provider, kms, key):
    kms.call("CreateAlias", {"AliasName": "alias/confide", "TargetKeyId": key})
    alias = key.rpartition(":")[0] + ":alias/confide"
    wrapped = open_provider(kms.uri(alias), {}).wrap(b"x", b"c")
    assert provider.unwrap(wrapped, b"c") == b"x"


def test_another_context_or_changed_bytes(provider):
    wrapped = provider.wrap(b"secret", b"context")
    for context in (b"", b"other", b"context\0"):
        with pytest.raises(Tampered):
            provider.unwrap(wrapped, context)
    changed = bytes([*wrapped[:-1], wrapped[-1] ^ 1])
    for other in (b"", changed, bytes(7000)):
        with pytest.raises(Tampered):
            provider.unwrap(other, b"context")


def test_another_key(provider, kms):
    with pytest.raises(ProviderRefused, match="AccessDenied"):  # AWS: IncorrectKeyException
        open_provider(kms.uri(kms.key()), {}).unwrap(provider.wrap(b"x", b"context"), b"context")


@pytest.mark.parametrize(
    ("made", "word"),
    [
        ({"KeySpec": "RSA_2048", "KeyUsage": "SIGN_VERIFY"}, "symmetric"),
        ({"KeySpec": "HMAC_256", "KeyUsage": "GENERATE_VERIFY_MAC"}, "symmetric"),
    ],
)
def test_a_key_that_does_not_suit(kms, made, word):
    with pytest.raises(ProviderRefused, match=word):
        open_provider(kms.uri(kms.key(**made)), {}).wrap(b"x", b"c")


def test_imported_material(kms, misbehaving, server_tls):
    metadata = {
        "KeySpec": "SYMMETRIC_DEFAULT",
        "KeyUsage": "ENCRYPT_DECRYPT",
        "Enabled": True,
        "Origin": "EXTERNAL",
    }
    Misbehaving.answer = (200, json.dumps({"KeyMetadata": metadata}).encode())
    with pytest.raises(ProviderRefused, match="known outside"):
        open_provider(_at(misbehaving, server_tls), {}).wrap(b"x", b"c")


def test_a_disabled_and_a_missing_key(kms):
    disabled = kms.key()
    kms.call("DisableKey", {"KeyId": disabled.rpartition("/")[2]})
    with pytest.raises(ProviderRefused, match="enabled"):
        open_provider(kms.uri(disabled), {}).wrap(b"x", b"c")
    with pytest.raises(ProviderRefused, match="NotFoundException"):
        open_provider(kms.uri(ARN), {}).wrap(b"x", b"c")


def test_no_credentials(kms, key, monkeypatch):
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    with pytest.raises(ProviderUnavailable, match="no credentials"):
        open_provider(kms.uri(key), {})


def test_repr_shows_no_credentials(provider):
    assert "not-to-be-seen" not in repr(provider)
    assert "AKIAEXAMPLE" not in repr(provider)


def _at(server, server_tls) -> str:
    return f"aws-kms://{ARN}?endpoint=https://127.0.0.1:{server.server_port}&ca={server_tls / 'ca.pem'}"


@pytest.mark.parametrize(
    ("status", "body", "error", "word"),
    [
        (200, b"", ProviderUnavailable, "no Plaintext"),
        (200, b"{", ProviderUnavailable, "JSON"),
        (200, b"[" * 60000, ProviderUnavailable, "JSON"),
        (200, b'{"Plaintext": "!"}', ProviderUnavailable, "no Plaintext"),
        (200, b'{"Plaintext": 1}', ProviderUnavailable, "no Plaintext"),
        (200, b" " * 70000, ProviderUnavailable, "more than"),
        (307, b"", ProviderUnavailable, "307"),
        (500, b'{"__type": "KMSInternalException", "message": "oh"}', ProviderUnavailable, "oh"),
        (400, b'{"__type": "ThrottlingException"}', ProviderUnavailable, "Throttling"),
        (400, b'{"__type": "x#AccessDeniedException", "Message": "not you"}', ProviderRefused, "not you"),
        (400, b'{"__type": "ExpiredTokenException", "message": "old"}', ProviderRefused, "old"),
        (400, b'{"__type": "InvalidCiphertextException"}', Tampered, "authenticate"),
        (400, b'{"__type": "IncorrectKeyException"}', Tampered, "authenticate"),
    ],
)
def test_what_a_server_answers(misbehaving, server_tls, status, body, error, word):
    Misbehaving.answer = (status, body)
    with pytest.raises(error, match=word) as raised:
        open_provider(_at(misbehaving, server_tls), {}).unwrap(b"x", b"c")
    assert "not-to-be-seen" not in str(raised.value)


def test_what_is_sent_is_signed(provider, kms, key, monkeypatch):
    """Signature Version 4 over what goes out: botocore verifies nothing, so the header's form is looked at here."""
    import confide.keys.aws_kms as module

    sent = []
    call = module.call_json
    monkeypatch.setattr(module, "call_json", lambda *each: sent.append(each) or call(*each))
    provider.wrap(b"secret", b"context")
    for _, method, url, body, headers in sent:
        assert (method, url) == ("POST", f"{kms.base}/")
        assert f"/{REGION}/kms/aws4_request" in headers["Authorization"]
        assert "x-amz-target" in headers["Authorization"]
        assert "not-to-be-seen" not in repr(headers)
        assert json.loads(body)["KeyId"] == key
    assert json.loads(sent[-1][3])["EncryptionContext"] == {"confide": base64.b64encode(b"context").decode()}


def test_a_certificate_of_another_authority(kms, key, tmp_path):
    (tmp_path / "ca.pem").write_bytes(pem(authority("another")[1]))
    with pytest.raises(ProviderUnavailable, match="certificate is not accepted"):
        open_provider(kms.uri(key, ca=str(tmp_path / "ca.pem")), {}).wrap(b"x", b"c")


def test_a_server_below_tls_1_3(misbehaving, server_tls):
    misbehaving.tls.maximum_version = ssl.TLSVersion.TLSv1_2
    with pytest.raises(ProviderUnavailable, match=r"(?i)version|protocol"):
        open_provider(_at(misbehaving, server_tls), {}).unwrap(b"x", b"c")


def test_a_region_has_its_endpoint():
    assert KmsUri.parse(f"aws-kms://{ARN}").endpoint == f"https://kms.{REGION}.amazonaws.com"
    china = ARN.replace("aws:", "aws-cn:", 1).replace(REGION, "cn-north-1")
    assert KmsUri.parse(f"aws-kms://{china}").endpoint == "https://kms.cn-north-1.amazonaws.com.cn"


@pytest.mark.parametrize(
    "uri",
    [
        "aws-kms:",
        "aws-kms://",
        "aws-kms://1234abcd-12ab-34cd-56ef-1234567890ab",
        "aws-kms://alias/confide",
        f"aws-kms://{ARN.replace('kms', 's3')}",
        f"aws-kms://{ARN.replace(REGION, 'a.b')}",
        f"aws-kms://{ARN}?endpoint=http://127.0.0.1",
        f"aws-kms://{ARN}?endpoint=https://user:word@kms.example",
        f"aws-kms://{ARN}?endpoint=https://kms.example/path",
        f"aws-kms://{ARN}?endpoint=https://",
        f"aws-kms://{ARN}?endpoint=https://a&endpoint=https://b",
        f"aws-kms://{ARN}?ca=relative.pem",
        f"aws-kms://{ARN}?profile=x",
        f"aws-kms://{ARN}#x",
    ],
)
def test_what_is_no_uri(uri):
    with pytest.raises(Misuse):
        KmsUri.parse(uri)


def test_it_takes_no_secret():
    with pytest.raises(Misuse, match="no passphrase"):
        open_uri(f"aws-kms://{ARN}", {"passphrase": b"x"})
