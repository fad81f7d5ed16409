"""Who stands between two ranks: `python proxy.py PORT ATTACK WAY` listens at a port of its own, and says where.

Attacked are the messages of one rank alone, which go `to` the port or come `from` it. Of gloo it knows what anybody
can: whoever connects says a number of 8 bytes first; then each way is a row of frames, each with 48 bytes in front, of
which the second number says what it is (1: data), the fifth how many bytes follow.
"""

from __future__ import annotations

import socket
import struct
import sys
import threading

from confide.training.sealing import CHUNK_BYTES, OVERHEAD_BYTES

PREAMBLE = struct.Struct("<6Q")
DATA, WHOLE_CHUNK = 1, CHUNK_BYTES + OVERHEAD_BYTES


def main() -> None:
    target, attacks = int(sys.argv[1]), {"to": "none", "from": "none", sys.argv[3]: sys.argv[2]}
    with _beside(target) as listener:
        listener.listen()
        print(listener.getsockname()[1], flush=True)
        while True:
            here, _ = listener.accept()
            there = socket.create_connection(("127.0.0.1", target))
            for way in ((here, there, 8, attacks["to"]), (there, here, 0, attacks["from"])):
                threading.Thread(target=_pass, args=way, daemon=True).start()


def _beside(target: int) -> socket.socket:
    """Listen at a free port that gloo puts where it puts the target: the lower of two addresses listens.

    It compares ports as they lie in memory, in network order: on most processors by their lower bytes first.
    """
    for port in range(target + 256, 2**16, 256):
        listener = socket.socket()
        try:
            listener.bind(("127.0.0.1", port))
        except OSError:
            listener.close()
        else:
            return listener
    raise OSError("no port")


def _pass(source: socket.socket, sink: socket.socket, head: int, attack: str) -> None:
    stream, chunks, held = source.makefile("rb"), [], None
    sink.sendall(stream.read(head))
    while len(preamble := stream.read(PREAMBLE.size)) == PREAMBLE.size:
        _, kind, _, _, length, _ = PREAMBLE.unpack(preamble)
        payload = stream.read(length if kind == DATA else 0)
        if len(payload) == WHOLE_CHUNK:
            chunks.append(payload)
            if attack == "alter" and len(chunks) == 3:
                payload = payload[:5000] + bytes([payload[5000] ^ 1]) + payload[5001:]
            if attack == "replay" and len(chunks) == 6:
                payload = chunks[0]
            if attack == "reorder" and len(chunks) == 2:
                held = preamble
                continue
            if held is not None and len(chunks) == 3:
                sink.sendall(held + chunks[2])
                held, payload = None, chunks[1]
        sink.sendall(preamble + payload)
    sink.shutdown(socket.SHUT_WR)


if __name__ == "__main__":
    main()
