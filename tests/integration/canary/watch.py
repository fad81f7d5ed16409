"""Watchers of everything a run leaves behind: files (deleted ones too), loopback traffic, process tables.

Files: fanotify reports every file closed after writing on the watched file systems, with an open descriptor,
so that a file that was unlinked meanwhile is read all the same. Traffic: a packet socket on `lo`, meant to run
in a network namespace of its own, and one in each further namespace that the command's processes make (`inside`: of a
sandbox, where nobody else is). Processes: arguments and environments of every process, sampled.
Needs root and Linux.
"""

from __future__ import annotations

import base64
import contextlib
import ctypes
import os
import socket
import struct
import threading
import time
import zlib
from collections import defaultdict
from dataclasses import dataclass, field
from pathlib import Path

_FAN_NONBLOCK, _FAN_UNLIMITED = 0x2, 0x10
_FAN_MARK_ADD, _FAN_MARK_FILESYSTEM, _FAN_CLOSE_WRITE, _AT_FDCWD = 0x1, 0x100, 0x8, -100
_EVENT = struct.Struct("=IBBHQii")
_MAX_FILE = 512 * 1024 * 1024
_CLONE_NEWNET, _PR_SET_CHILD_SUBREAPER = 0x40000000, 36


@dataclass
class Hits:
    """Where needles were found: place -> needle's name -> count."""

    counts: dict[str, dict[str, int]] = field(default_factory=lambda: defaultdict(lambda: defaultdict(int)))
    paths: dict[str, set[str]] = field(default_factory=lambda: defaultdict(set))

    def add(self, place: str, names: dict[str, int], where: str) -> None:
        for name, count in names.items():
            self.counts[place][name] += count
            self.paths[place].add(f"{name}: {where}")

    def at(self, place: str) -> dict[str, int]:
        return dict(self.counts.get(place, {}))


class Needles:
    """Planted values, searched raw, in UTF-16, hex and base64 (each alignment), and inside zlib streams."""

    def __init__(self, values: dict[str, bytes]) -> None:
        self._forms = {name: self._forms_of(value) for name, value in values.items()}

    @staticmethod
    def _forms_of(value: bytes) -> list[bytes]:
        forms = [value, value.decode("latin-1").encode("utf-16-le"), value.hex().encode()]
        for shift in range(3):
            coded = base64.b64encode(b"\0" * shift + value)
            forms.append(coded[(0, 2, 3)[shift] if shift else 0 : len(coded) - 4])
        return forms

    def find(self, data: bytes) -> dict[str, int]:
        found: dict[str, int] = {}
        for name, forms in self._forms.items():
            count = sum(data.count(form) for form in forms)
            if count:
                found[name] = count
        return found

    def find_deep(self, data: bytes) -> dict[str, int]:
        """Search `data`, and whatever zlib and gzip streams inflate to at any offset that could start one."""
        found, view = self.find(data), memoryview(data)
        for magic, bits in ((b"\x78\x01", 15), (b"\x78\x9c", 15), (b"\x78\xda", 15), (b"\x1f\x8b\x08", 31)):
            start = 0
            for _ in range(20_000):
                start = data.find(magic, start)
                if start < 0:
                    break
                inflated = _inflate(view[start : start + 4_000_000], bits)
                for name, count in self.find(inflated).items():
                    found[name] = found.get(name, 0) + count
                start += 2
        return found


def _inflate(data: memoryview, bits: int) -> bytes:
    stream = zlib.decompressobj(bits)
    out = b""
    with contextlib.suppress(zlib.error):
        for offset in range(0, len(data), 4096):
            out += stream.decompress(data[offset : offset + 4096])
            if stream.eof:
                break
    return out


def keep_orphans() -> None:
    """Have processes whose parents end become children of this one, so that it knows them."""
    ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


class Family(threading.Thread):
    """Know which processes the watched command started, and go on knowing it when they have ended."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self._halt = threading.Event()
        self._known: dict[int, bool] = {}

    def run(self) -> None:
        while not self._halt.wait(0.02):
            for name in os.listdir("/proc"):
                if name.isdigit():
                    self.descends(int(name))

    def descends(self, pid: int) -> bool | None:
        """Return whether a process comes from this one; None if it ended before anybody could tell."""
        if pid not in self._known:
            try:
                parent = pid
                while parent not in (0, os.getpid()):
                    stat = Path(f"/proc/{parent}/stat").read_bytes()
                    parent = int(stat.rsplit(b")", 1)[1].split()[1])
            except OSError:
                return None
            self._known[pid] = parent != 0
        return self._known[pid]

    def stop(self) -> None:
        self._halt.set()
        self.join()


class FileWatch(threading.Thread):
    """Search every file closed after writing on the file systems of `mounts`, except under `exempt`."""

    def __init__(
        self, needles: Needles, hits: Hits, family: Family, mounts: list[str], exempt: tuple[str, ...] = ()
    ) -> None:
        super().__init__(daemon=True)
        self._needles, self._hits, self._family, self._exempt = needles, hits, family, exempt
        self._halt = threading.Event()
        self.files = 0
        self.bytes = 0
        libc = ctypes.CDLL(None, use_errno=True)
        self._fd = libc.fanotify_init(
            _FAN_NONBLOCK | _FAN_UNLIMITED, os.O_RDONLY | os.O_CLOEXEC | os.O_LARGEFILE
        )
        if self._fd < 0:
            raise OSError(ctypes.get_errno(), "fanotify_init")
        for mount in mounts:
            flags = _FAN_MARK_ADD | _FAN_MARK_FILESYSTEM
            if libc.fanotify_mark(
                self._fd, flags, ctypes.c_uint64(_FAN_CLOSE_WRITE), _AT_FDCWD, mount.encode()
            ):
                raise OSError(ctypes.get_errno(), f"fanotify_mark {mount}")

    def run(self) -> None:
        while True:
            try:
                events = os.read(self._fd, 262_144)
            except BlockingIOError:
                if self._halt.is_set():
                    return
                time.sleep(0.01)
                continue
            offset = 0
            while offset < len(events):
                length, _, _, _, _, fd, pid = _EVENT.unpack_from(events, offset)
                offset += length
                if fd >= 0:
                    self._search(fd, pid)

    def _search(self, fd: int, pid: int) -> None:
        try:
            path = os.readlink(f"/proc/self/fd/{fd}")
            if pid == os.getpid() or path.startswith(self._exempt) or self._family.descends(pid) is False:
                return
            size = min(os.fstat(fd).st_size, _MAX_FILE)
            data = os.pread(fd, size, 0)
        except OSError:
            return
        finally:
            os.close(fd)
        self.files += 1
        self.bytes += len(data)
        found = self._needles.find_deep(data)
        if found:
            self._hits.add("files", found, path)

    def stop(self) -> None:
        self._halt.set()
        self.join()
        os.close(self._fd)


class Traffic(threading.Thread):
    """Capture every packet on `lo` (IPv4 and IPv6) and search each flow's payload.

    Made in the network that it captures: its socket stays there.
    """

    def __init__(self, needles: Needles, hits: Hits, place: str = "traffic") -> None:
        super().__init__(daemon=True)
        self._needles, self._hits, self._place = needles, hits, place
        self._halt = threading.Event()
        self._flows: dict[tuple[bytes, bytes], bytearray] = defaultdict(bytearray)
        self.packets = 0
        self._socket = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3))
        self._socket.setsockopt(socket.SOL_SOCKET, 33, 256 * 1024 * 1024)  # SO_RCVBUFFORCE
        self._socket.bind(("lo", 0))
        self._socket.settimeout(0.05)

    def run(self) -> None:
        while True:
            try:
                packet, address = self._socket.recvfrom(262_144)
            except TimeoutError:
                if self._halt.is_set():
                    return
                continue
            if address[2] == socket.PACKET_OUTGOING:  # lo shows every packet twice
                continue
            self.packets += 1
            self._keep(packet[14:])

    def _keep(self, packet: bytes) -> None:
        if not packet:
            return
        if packet[0] >> 4 == 4:
            header = (packet[0] & 15) * 4
            addresses, protocol = packet[12:20], packet[9]
        else:
            header, addresses, protocol = 40, packet[8:40], packet[6]
        transport = packet[header:]
        if protocol == 6 and len(transport) >= 20:
            payload = transport[(transport[12] >> 4) * 4 :]
        else:
            payload = transport[8:]
        self._flows[addresses, transport[:4]] += payload

    @property
    def bytes(self) -> int:
        return sum(map(len, self._flows.values()))

    def stop(self) -> None:
        self._halt.set()
        self.join()
        dropped = struct.unpack("II", self._socket.getsockopt(263, 6, 8))[1]  # SOL_PACKET, PACKET_STATISTICS
        self._socket.close()
        if dropped:
            raise AssertionError(f"the capture lost {dropped} packets: it proves nothing")
        for (_, ports), payload in self._flows.items():
            found = self._needles.find_deep(bytes(payload))
            if found:
                self._hits.add(self._place, found, "ports {} -> {}".format(*struct.unpack("!HH", ports)))


class Networks(threading.Thread):
    """Capture the traffic of each network that processes of the watched command make for themselves."""

    def __init__(self, needles: Needles, hits: Hits, family: Family) -> None:
        super().__init__(daemon=True)
        self._needles, self._hits, self._family = needles, hits, family
        self._halt = threading.Event()
        self._captures: dict[str, Traffic] = {}
        self._own = os.readlink("/proc/self/ns/net")

    def run(self) -> None:
        while not self._halt.wait(0.02):
            for folder in Path("/proc").glob("[0-9]*"):
                with contextlib.suppress(OSError):
                    network = os.readlink(folder / "ns/net")
                    if network not in (self._own, *self._captures) and self._family.descends(
                        int(folder.name)
                    ):
                        self._captures[network] = self._capture(folder / "ns/net")

    def _capture(self, network: Path) -> Traffic:
        libc = ctypes.CDLL(None, use_errno=True)
        with network.open() as there:
            if libc.setns(there.fileno(), _CLONE_NEWNET):  # of this thread alone
                raise OSError(ctypes.get_errno(), "setns")
        capture = Traffic(self._needles, self._hits, "inside")
        capture.start()
        return capture

    @property
    def bytes(self) -> int:
        return sum(capture.bytes for capture in self._captures.values())

    def stop(self) -> None:
        self._halt.set()
        self.join()
        for capture in self._captures.values():
            capture.stop()


class Processes(threading.Thread):
    """Sample the arguments and environments of every other process."""

    def __init__(self, needles: Needles, hits: Hits) -> None:
        super().__init__(daemon=True)
        self._needles, self._hits = needles, hits
        self._halt = threading.Event()
        self._seen: set[tuple[str, str, int]] = set()
        self.samples = 0

    def run(self) -> None:
        while not self._halt.is_set():
            for folder in Path("/proc").iterdir():
                if not folder.name.isdigit() or folder.name == str(os.getpid()):
                    continue
                for place in ("cmdline", "environ"):
                    with contextlib.suppress(OSError):
                        data = (folder / place).read_bytes()
                        mark = (folder.name, place, hash(data))
                        if mark in self._seen:
                            continue
                        self._seen.add(mark)
                        self.samples += 1
                        found = self._needles.find(data)
                        if found:
                            self._hits.add(place, found, f"process {folder.name}")
            time.sleep(0.05)

    def stop(self) -> None:
        self._halt.set()
        self.join()


class Watch:
    """All watchers as one context manager; `hits` is complete after the block."""

    def __init__(self, values: dict[str, bytes], mounts: list[str], exempt: tuple[str, ...] = ()) -> None:
        self.needles = Needles(values)
        self.hits = Hits()
        self.family = Family()
        self.files = FileWatch(self.needles, self.hits, self.family, mounts, exempt)
        self.traffic = Traffic(self.needles, self.hits)
        self.networks = Networks(self.needles, self.hits, self.family)
        self.processes = Processes(self.needles, self.hits)

    def __enter__(self) -> Watch:
        keep_orphans()
        for watcher in (self.family, self.files, self.traffic, self.networks, self.processes):
            watcher.start()
        return self

    def __exit__(self, *exception: object) -> None:
        for watcher in (self.files, self.traffic, self.networks, self.processes, self.family):
            watcher.stop()

    def summary(self) -> str:
        """Say how much was searched, so that a zero means something."""
        return (
            f"{self.files.files} files ({self.files.bytes:,} bytes), {self.traffic.packets} packets "
            f"({self.traffic.bytes:,} bytes; {self.networks.bytes:,} inside sandboxes), "
            f"{self.processes.samples} process samples"
        )
