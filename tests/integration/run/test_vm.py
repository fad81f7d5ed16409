"""A real virtual machine, in software emulation: measured boot, an image verified and run in it, keys or none."""

from __future__ import annotations

import gzip
import io
import shutil
from dataclasses import dataclass
from pathlib import Path

import pytest

from confide.broker.home import Home
from confide.broker.server import LOCAL_NAMES, EmbeddedBroker
from confide.enclave.build import Recipe, build_image
from confide.enclave.guest import qemu
from confide.enclave.guest.build import build_guest
from confide.enclave.guest.cpio import Entry, write_cpio
from confide.enclave.guest.disk import write_disk
from confide.enclave.guest.measure import PINNED, measured_boot
from confide.enclave.guest.qemu import GATEWAY, GuestMachine
from confide.enclave.guest.request import INITRD, KERNEL
from confide.enclave.guest.software_tpm import attestation_key
from confide.enclave.image import Limits, measurement
from confide.enclave.profile import ImageProfile
from confide.enclave.python_sources import distribution_files
from confide.enclave.verify import verify_image
from confide.errors import (
    AttestationRefused,
    FileChanged,
    MeasurementRefused,
    MissingDependency,
    PlatformRefused,
    Tampered,
)

from .conftest import CHEAP, Owner, Served, Site

pytestmark = [pytest.mark.slow, pytest.mark.vm, pytest.mark.timeout(900)]

OPTION_ROM = Path("/usr/lib/ipxe/qemu/efi-virtio.rom")
KERNEL_ROOT = Path(__file__).parents[3] / ".local/kernel"
AGENT = """\
from confide.enclave.agent import main

class Profile:
    def run(self, context):
        keys = " ".join(sorted(context.release.keys))
        (context.work / "out.txt").write_text(f"{keys} {(context.work / 'in.txt').read_text()}")
        context.started()
        return 3

main(Profile())
"""
"""The real agent, and a workload that imports nothing: emulated processors are slow."""

IMPORTED = ("cryptography", "dcap-qvl", "google-re2", "httpx", "joserfc", "pydantic", "rfc8785")


@dataclass
class Machine:
    """A host with QEMU, whose guests' TPM is enrolled at the owner's broker."""

    site: Site
    owner: Owner
    guest: GuestMachine
    profile: ImageProfile
    pcrs: dict[str, str]

    def allow(self, tee="tpm", **changed):
        registers = {name: self.pcrs[name] for name in PINNED} | changed
        platform = "".join(f'registers.{name} = ["{value}"]\n' for name, value in registers.items())
        grants = ("out", "write")
        self.owner.allow(self.site.image, grants, tee=tee, platform=platform if tee == "tpm" else "")

    def run(self, **changed):
        return self.site.run(**{"tee": "tpm", "machine": self.guest, **changed})

    def refusal(self):
        return list(self.owner.store.audit.entries(kind="refusal"))[-1].fields

    def states(self):
        return [status["state"] for status in self.site.said]


@pytest.fixture(scope="module")
def guest(site, tmp_path_factory):
    """A guest, built anew."""
    if not KERNEL_ROOT.is_dir():
        pytest.skip("needs a kernel for guests in .local/kernel (`make test` unpacks one)")
    try:
        folder = tmp_path_factory.mktemp("guest") / "guest"
        build_guest(folder, KERNEL_ROOT, site.cache)
        qemu.check_machine(GuestMachine(folder))
    except MissingDependency as missing:
        pytest.skip(str(missing))
    return GuestMachine(folder)


@pytest.fixture(scope="module")
def machine(site: Site, guest):
    home = site.stack.enter_context(Home.create(site.root / "broker", b"passphrase", CHEAP))
    home.store.enroll_tpm(attestation_key(site.host))
    names = (*LOCAL_NAMES, GATEWAY)
    server = site.stack.enter_context(EmbeddedBroker(home.store, allow_tpm=True, names=names))
    url = f"https://{GATEWAY}:{server.url.rpartition(':')[2]}"
    site.brokers["broker1"] = Served(home, url, server.ca_pem.decode())
    (site.data / "in.txt").write_text("from the host")
    (site.root / "agent.py").write_text(AGENT)
    files = {**distribution_files("confide"), "opt/confide/site/small_agent.py": site.root / "agent.py"}
    limits = Limits(memory_mib=256, scratch_mib=16)
    profile = ImageProfile("python", "small_agent", distributions=IMPORTED, files=files, limits=limits)
    site.build("", profile)
    pcrs = measured_boot(guest, site.host, verify_image(site.folder))
    return Machine(site, Owner("clinic", site.brokers["broker1"], site.root), guest, profile, pcrs)


@pytest.fixture(autouse=True)
def forget(request):
    if "machine" in request.fixturenames:
        request.getfixturevalue("machine").site.said.clear()


def test_keys_are_released_to_the_measured_guest_and_image(machine):
    machine.allow()
    assert machine.run() == 3
    assert machine.states() == ["verified", "booted", "attested", "released", "started", "finished"]
    assert (machine.site.data / "out.txt").read_text() == "clinic/data from the host"
    released = list(machine.owner.store.audit.entries(kind="release"))[-1].fields
    assert released["tee"] == "tpm"
    assert released["measurement"] == measurement(machine.site.image)
    assert released["hardware_id"] == machine.owner.store.hosts()[0]


def test_a_changed_command_line_gets_none(machine, monkeypatch):
    machine.allow()
    line = qemu.command_line
    monkeypatch.setattr(qemu, "command_line", lambda measured: line(measured) + " confide.debug")
    with pytest.raises(PlatformRefused):
        machine.run()
    assert machine.states() == ["verified", "booted", "attested"]
    assert "pcr9 is" in machine.refusal()["detail"]


@pytest.mark.slow
@pytest.mark.skipif(not OPTION_ROM.is_file(), reason="needs the package ipxe-qemu")
def test_a_device_with_a_program_of_its_own_gets_none(machine, monkeypatch):
    """The firmware runs what a device brings along, before any kernel."""
    machine.allow()
    made = qemu._machine
    card = ("-device", f"virtio-rng-pci,romfile={OPTION_ROM}")
    monkeypatch.setattr(qemu, "_machine", lambda *arguments: [*made(*arguments), *card])
    with pytest.raises(PlatformRefused):
        machine.run()
    assert "pcr2 is" in machine.refusal()["detail"]


@pytest.mark.slow
def test_a_changed_initrd_gets_none(machine, tmp_path):
    machine.allow()
    shutil.copytree(machine.guest.folder, tmp_path / "guest")
    more = io.BytesIO()
    write_cpio(more, [Entry("etc/more", b"1")], ())
    with (tmp_path / "guest" / INITRD).open("ab") as initrd:  # the kernel unpacks one behind the other
        initrd.write(gzip.compress(more.getvalue()))
    with pytest.raises(PlatformRefused):
        machine.run(machine=GuestMachine(tmp_path / "guest"))
    assert "pcr" in machine.refusal()["detail"]


@pytest.mark.slow
def test_another_image_gets_none(machine, tmp_path):
    machine.allow()
    other = replaced(machine, tmp_path)
    with pytest.raises(MeasurementRefused):
        machine.run(image=other)
    assert machine.states() == ["verified", "booted", "attested"]


@pytest.mark.slow
def test_the_guest_refuses_another_image_than_it_was_started_for(machine, tmp_path, monkeypatch):
    other = replaced(machine, tmp_path)
    monkeypatch.setattr(qemu, "write_disk", lambda _, target: write_disk(other, target))
    with pytest.raises(Tampered, match="was started for"):
        machine.run()
    assert machine.states() == ["verified", "booted"]


@pytest.mark.slow
def test_the_guest_refuses_a_changed_file(machine, monkeypatch):
    def changed(image, target):
        write_disk(image, target)
        raw = target.read_bytes()
        assert raw.count(b"/ 'in.txt'") == 1
        target.write_bytes(raw.replace(b"/ 'in.txt'", b"/ 'on.txt'"))

    monkeypatch.setattr(qemu, "write_disk", changed)
    with pytest.raises(FileChanged, match="small_agent"):
        machine.run()


@pytest.mark.slow
def test_a_tpm_that_is_not_enrolled_gets_none(machine, tmp_path):
    machine.allow()
    with pytest.raises(AttestationRefused):
        machine.run(home=tmp_path)
    assert machine.states() == ["verified", "booted"]
    assert "not enrolled" in machine.refusal()["detail"]


def replaced(machine, folder):
    """The image with another program."""
    app = folder / "job.py"
    app.write_text("# another")
    recipe = Recipe(
        app, machine.profile, "job", {name: each.ca for name, each in machine.site.brokers.items()}
    )
    build_image(recipe, folder / "image", machine.site.cache)
    return folder / "image"


@pytest.mark.slow
def test_the_same_inputs_give_the_same_guest(guest, tmp_path):
    build_guest(tmp_path / "again", KERNEL_ROOT, tmp_path / "cache")
    for name in (KERNEL, INITRD):
        assert (tmp_path / "again" / name).read_bytes() == (guest.folder / name).read_bytes()
