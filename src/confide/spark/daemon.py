"""PySpark's worker daemon, with an environment that holds no secret.

Spark starts it (`spark.python.daemon.module`) for the processes that run the program's functions. Those run
what the functions' authors wrote, so they get what they need and no more.
"""

from __future__ import annotations

import os

SECRET_PREFIXES = ("_SPARK_", "CONFIDE_", "PYSPARK_GATEWAY_", "SPARK_CONNECT_AUTHENTICATE_")
SECRET_NAMES = ("PYTHON_WORKER_FACTORY_SECRET",)
"""Not needed where Unix sockets in a closed folder take the place of the secret. Without them (Spark 3.5) the JVM shows
itself to its workers by it; it opens nothing else."""
UNIX_SOCKETS = "PYTHON_UNIX_DOMAIN_ENABLED"
"""Variable by which Spark tells its workers."""


def main() -> None:
    """Become PySpark's daemon."""
    unneeded = SECRET_NAMES if os.environ.get(UNIX_SOCKETS) == "true" else ()
    for name in list(os.environ):
        if name in unneeded or name.startswith(SECRET_PREFIXES):
            del os.environ[name]
    from pyspark.daemon import manager

    manager()


if __name__ == "__main__":
    main()
