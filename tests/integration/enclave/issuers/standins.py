"""Stand-ins for what a TEE's kernel shows: file systems with the same files, sizes, errors and moments of effect.

Run as a program: `standins.py KIND MOUNTPOINT`, settings as JSON on standard input. `fault` names a misbehaviour.
"""

from __future__ import annotations

import ctypes
import errno
import json
import os
import socket
import stat
import struct
import sys
import time

import mfusepy
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA384

BLOB_MAX = 32 * 1024
SNP_SIGNED_BYTES = 0x2A0


def sgx_quote(report_data, counter=1):
    """A quote of version 3 in form, unsigned: the fields that an issuer looks at."""
    header = struct.pack("<HHIHH", 3, 2, 0, 11, 16) + bytes(36)
    body = bytes(320) + report_data
    return header + body + struct.pack("<I", 64) + counter.to_bytes(8, "little") + bytes(56)


def tdx_quote(report_data):
    header = struct.pack("<HHI", 4, 2, 0x81) + bytes(40)
    return header + bytes(520) + report_data + struct.pack("<I", 64) + bytes(64)


def snp_report(report_data, vmpl, chip=None):
    """A report of version 3: unsigned, or by a chip, which is a key (PEM) and what else the signed part holds (hex)."""
    report = bytearray.fromhex(chip["report"]) if chip else bytearray(SNP_SIGNED_BYTES)
    report[0:4] = (3).to_bytes(4, "little")
    report[0x30:0x34] = vmpl.to_bytes(4, "little")
    report[0x50:0x90] = report_data
    r = s = 0
    if chip:
        key = serialization.load_pem_private_key(chip["key"].encode(), None)
        r, s = decode_dss_signature(key.sign(bytes(report), ec.ECDSA(SHA384())))
    return bytes(report) + r.to_bytes(72, "little") + s.to_bytes(72, "little") + bytes(368)


class Standin(mfusepy.Operations):
    """Files by path in `self.files()`: path -> mode. Handles number the openings."""

    use_ns = True

    def __init__(self, settings):
        self.settings = settings
        self.fault = settings.get("fault")
        self.handles = 0
        self.written = {}
        self.opened = {}

    def files(self):
        raise NotImplementedError

    def folders(self):
        return {"/"}

    def load(self, path):
        """What an opening for reading gives."""
        raise mfusepy.FuseOSError(errno.EACCES)

    def save(self, path, value):
        """A value takes effect."""
        raise mfusepy.FuseOSError(errno.EACCES)

    def getattr(self, path, fh=None):
        if path in self.folders():
            mode = stat.S_IFDIR | 0o755
        elif path in self.files():
            mode = stat.S_IFREG | self.files()[path]
        else:
            raise mfusepy.FuseOSError(errno.ENOENT)
        return {"st_mode": mode, "st_nlink": 1, "st_uid": os.getuid(), "st_gid": os.getgid(), "st_size": 0}

    def readdir(self, path, fh):
        prefix = path.rstrip("/") + "/"
        names = {p[len(prefix) :] for p in {*self.files(), *self.folders()} if p.startswith(prefix)}
        return [".", "..", *sorted(name for name in names if name and "/" not in name)]

    def open(self, path, flags):
        self.handles += 1
        wanted = flags & os.O_ACCMODE
        mode = self.files()[path]
        if (wanted == os.O_RDONLY and not mode & 0o400) or (wanted == os.O_WRONLY and not mode & 0o200):
            raise mfusepy.FuseOSError(errno.EACCES)
        if wanted == os.O_RDONLY:
            self.opened[self.handles] = self.load(path)
        return self.handles

    def read(self, path, size, offset, fh):
        return self.opened[fh][offset : offset + size]

    def write(self, path, data, offset, fh):
        if self.fault == "short write":
            data = data[: len(data) // 2]
        self.written.setdefault(fh, bytearray())[offset : offset + len(data)] = data
        return len(data)

    def truncate(self, path, length, fh=None):
        return 0

    def flush(self, path, fh):
        if fh in self.written:
            self.save(path, bytes(self.written.pop(fh)))
        return 0

    def release(self, path, fh):
        self.opened.pop(fh, None)
        return 0


class Gramine(Standin):
    """`/dev/attestation`. Values are saved when a file is closed; a quote is made when `quote` is opened."""

    report_data = bytes(64)
    quotes = 0

    def files(self):
        files = {"/attestation_type": 0o400, "/user_report_data": 0o600}
        return files if self.settings["type"] == "none" else {**files, "/quote": 0o400}

    def load(self, path):
        if path == "/attestation_type":
            return self.settings["type"].encode()
        if path == "/user_report_data":
            return self.report_data
        if self.fault in ("EACCES", "EIO"):
            raise mfusepy.FuseOSError(getattr(errno, self.fault))
        if self.fault == "someone else asks":
            self.report_data = b"\1" * 64
        self.quotes += 1
        quote = sgx_quote(self.report_data, self.quotes)
        return {"oversized": quote + bytes(64 * 1024), "empty": b"", "cut": quote[:400]}.get(
            self.fault, quote
        )

    def save(self, path, value):
        self.report_data = value[:64].ljust(64, b"\0")


class ConfigfsTsm(Standin):
    """`/sys/kernel/config/tsm/report`. `inblob` takes effect when it is closed; a report is made when it is read."""

    def __init__(self, settings):
        super().__init__(settings)
        self.requests = {}
        self.shown = 0

    def folders(self):
        return {"/", *self.requests}

    def files(self):
        attributes = {"provider": 0o400, "generation": 0o400, "inblob": 0o200, "outblob": 0o400}
        if self.settings["provider"] == "sev_guest":
            attributes |= {"privlevel": 0o200, "privlevel_floor": 0o400}
            if self.fault != "no auxblob":
                attributes["auxblob"] = 0o400
            if self.fault == "no floor":
                del attributes["privlevel_floor"]
        return {f"{request}/{name}": mode for request in self.requests for name, mode in attributes.items()}

    def mkdir(self, path, mode):
        if self.fault == "ENXIO":
            raise mfusepy.FuseOSError(errno.ENXIO)
        if path.count("/") != 1:
            raise mfusepy.FuseOSError(errno.EPERM)
        self.requests[path] = {"generation": 0, "inblob": b"", "privlevel": 0, "made": None}
        return 0

    def rmdir(self, path):
        del self.requests[path]
        return 0

    def load(self, path):
        request, name = os.path.split(path)
        state = self.requests[request]
        if name == "provider":
            self.shown += 1
            changed = self.fault == "provider changes" and self.shown > 1
            return (("tdx_guest" if self.settings["provider"] == "sev_guest" else "sev_guest") if changed
                    else self.settings["provider"]).encode() + b"\n"  # fmt: skip
        if name == "generation":
            return b"%d\n" % state["generation"]
        if name == "privlevel_floor":
            return b"%d\n" % self.settings.get("floor", 0)
        return self.report(state)[0 if name == "outblob" else 1]

    def report(self, state):
        if len(state["inblob"]) != 64:
            raise mfusepy.FuseOSError(errno.EINVAL)
        if self.fault in ("EIO", "EBUSY", "ETIMEDOUT", "EACCES"):
            raise mfusepy.FuseOSError(getattr(errno, self.fault))
        if self.fault == "someone else asks" and state["made"] is None:
            state["inblob"], state["generation"] = b"\1" * 64, state["generation"] + 1
        if self.fault == "someone asks the same" and state["made"] is None:
            state["generation"] += 1
        if state["made"] is None or state["made"][0] != state["generation"]:
            out = (tdx_quote(state["inblob"]) if self.settings["provider"] == "tdx_guest"
                   else snp_report(state["inblob"], state["privlevel"], self.settings.get("chip")))  # fmt: skip
            if self.fault == "oversized":
                out += bytes(BLOB_MAX)
            state["made"] = (state["generation"], out, bytes.fromhex(self.settings.get("auxblob", "")))
        return state["made"][1:]

    def write(self, path, data, offset, fh):
        if os.path.basename(path) == "inblob" and offset + len(data) > 64:
            raise mfusepy.FuseOSError(errno.EFBIG)
        return super().write(path, data, offset, fh)

    def save(self, path, value):
        request, name = os.path.split(path)
        state = self.requests[request]
        if name == "privlevel":
            level = int(value)
            if not self.settings.get("floor", 0) <= level <= 3:
                raise mfusepy.FuseOSError(errno.EINVAL)
            state["privlevel"] = level
        elif self.fault == "write is lost":  # configfs does not tell what went wrong as a file was closed
            return
        else:
            state["inblob"] = value
        state["generation"] += 1


class Occlum(Standin):
    """`/dev/sgx`: the pointers of the second ioctl are followed into the memory of the process that asks."""

    def files(self):
        return {"/sgx": 0o600}

    def load(self, path):
        return b""

    def ioctl(self, path, cmd, arg, fh, flags, data):
        request = cmd & 0xFFFFFFFF
        if self.fault in ("EIO", "ENOTTY"):
            raise mfusepy.FuseOSError(getattr(errno, self.fault))
        size = {"huge": 1 << 30, "zero": 0}.get(self.fault, len(sgx_quote(bytes(64))))
        if request == 0x80047307:
            ctypes.memmove(data, struct.pack("=I", size), 4)
            return 0
        if request != 0xC0187308:
            raise mfusepy.FuseOSError(errno.ENOSYS)
        report_data, length, buffer = struct.unpack("=3Q", ctypes.string_at(data, 24))
        asker = mfusepy.fuse_get_context()[2]
        with open(f"/proc/{asker}/mem", "r+b", buffering=0) as memory:
            memory.seek(length)
            if struct.unpack("=I", memory.read(4))[0] < size:
                raise mfusepy.FuseOSError(errno.EINVAL)
            memory.seek(report_data)
            quote = sgx_quote(b"\1" * 64 if self.fault == "someone else asks" else memory.read(64))
            memory.seek(buffer)
            memory.write(quote)
            if self.fault == "says more":
                memory.seek(length)
                memory.write(struct.pack("=I", 1 << 30))
        return 0


class TpmDevice(Standin):
    """`/dev/tpmrm0`: a write is a command, a read its answer; a TPM behind a Unix socket thinks."""

    def files(self):
        return {"/tpmrm0": 0o600}

    def open(self, path, flags):
        self.handles += 1
        return self.handles

    def write(self, path, data, offset, fh):
        if self.fault == "EIO":
            raise mfusepy.FuseOSError(errno.EIO)
        if self.fault == "short write":
            return len(data) - 1
        command = struct.unpack_from(">I", data, 6)[0]
        if command == 0x17E and (
            self.fault == "PCRs always change" or self.settings.pop("change once", False)
        ):
            extend = struct.pack(">HIIIIIHBHIH", 0x8002, 65, 0x182, 23, 9, 0x40000009, 0, 0, 0, 1, 0xB)
            self.ask(extend + os.urandom(32))
        answer = self.ask(data)
        self.opened[fh] = {"no answer": b"", "cut": answer[:-1], "another size": answer + b"\0"}.get(
            self.fault, answer
        )
        return len(data)

    def read(self, path, size, offset, fh):
        return self.opened.pop(fh, b"")[:size]

    def flush(self, path, fh):
        return 0

    def ask(self, command):
        """Like the kernel, ask again where the TPM says TPM_RC_RETRY."""
        delay = 0.02
        while (answer := self.ask_once(command))[6:10] == b"\0\0\x09\x22" and delay < 2:
            time.sleep(delay)
            delay *= 2
        return answer

    def ask_once(self, command):
        with socket.socket(socket.AF_UNIX) as tpm:
            tpm.connect(self.settings["socket"])
            tpm.sendall(command)
            answer = b""
            while len(answer) < 10 or len(answer) < struct.unpack_from(">I", answer, 2)[0]:
                answer += tpm.recv(4096)
        return answer


KINDS = {"gramine": Gramine, "configfs-tsm": ConfigfsTsm, "occlum": Occlum, "tpm": TpmDevice}

if __name__ == "__main__":
    kind, place = sys.argv[1:]
    standin = KINDS[kind](json.load(sys.stdin))
    mfusepy.FUSE(standin, place, foreground=True, nothreads=True, direct_io=True)
