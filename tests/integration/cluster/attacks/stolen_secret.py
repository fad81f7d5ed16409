"""The operator has the secret and a certificate of another job, and runs Spark's executor with them."""

import ssl

from ..stage import address

CAUSE = r"SaslException: DIGEST-MD5"


def attack(stage):
    host, port = address(stage.job["driver"])
    shown = ssl.PEM_cert_to_DER_cert(ssl.get_server_certificate((host, port)))
    said = stage.stock_executor(stage.another_job(), shown)
    assert "SaslException" in said
