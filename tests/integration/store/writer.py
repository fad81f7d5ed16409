"""Writes to a store for as long as it lives, and says on standard output what is committed."""

import os
import sys
from pathlib import Path

from confide.broker.store import Store
from confide.keys.names import KeyName
from confide.keys.passphrase_file import PassphraseFile

folder = Path(sys.argv[1])
store = Store.open(folder / "store.db", PassphraseFile.open(folder / "root.json", b"x"))
policy = store.policy("clinic")
serial = 0 if policy is None else policy.serial
while True:
    serial += 1
    with store.transaction():
        store.create_key(KeyName("clinic", f"key-{serial}"))
        if serial > 1:
            store.rotate_key(KeyName("clinic", f"key-{serial - 1}"))
        store.put_policy("clinic", serial, {"payload": str(serial)}, b"serial = %d" % serial)
        index = store.audit.append({"kind": "round", "serial": serial})
    os.write(1, b"%d %d\n" % (serial, index))
