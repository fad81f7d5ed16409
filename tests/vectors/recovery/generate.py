"""Write the vector anew: `python tests/vectors/recovery/generate.py`. Sealing is random, so every run differs."""

from pathlib import Path

from confide.keys.passphrase_file import LEAST_COST
from confide.keys.recovery.key import RecoveryKey
from confide.keys.recovery.recover import answer, split_root

HERE = Path(__file__).parent
PASSPHRASE = b"correct horse battery staple"


def main() -> None:
    """Make keys of three owners and of a machine, a set of 2 of 3, and the answers of the first and third."""
    names = ("ana", "ben", "cleo", "machine")
    keys = {name: RecoveryKey.create(HERE / f"{name}.key", PASSPHRASE, LEAST_COST) for name in names}
    machine = keys.pop("machine")
    given = split_root(bytes(range(32)), "0f" * 16, 2, {name: key.public for name, key in keys.items()})
    (HERE / "set.json").write_bytes(given.canonical())
    (HERE / "machine.pem").write_bytes(machine.public.pem())
    for name in ("ana", "cleo"):
        (HERE / f"{name}.answer.json").write_bytes(answer(given, keys[name], machine.public).canonical())


if __name__ == "__main__":
    main()
