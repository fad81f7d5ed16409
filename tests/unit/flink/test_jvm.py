from pathlib import PurePosixPath

from confide.flink import jvm
from confide.jvm.command import CLOSED
from confide.jvm.enclave import enclave_options


def command(**changes):
    return jvm.command(
        java=PurePosixPath("/opt/confide/java/bin/java"),
        class_path=[PurePosixPath("/our.jar"), PurePosixPath("/jars/a.jar")],
        log_config=PurePosixPath("/log4j2.properties"),
        scratch=PurePosixPath("/scratch"),
        storage=PurePosixPath("/data"),
        heap_mib=512,
        **{"main": jvm.GATEWAY_CLASS, **changes},
    )


def test_nothing_copies_memory_out():
    assert set(CLOSED) <= set(command())


def test_temporary_files_go_to_scratch():
    argv = command()
    assert "-Djava.io.tmpdir=/scratch/tmp" in argv
    assert "-XX:ErrorFile=/scratch/jvm-error.log" in argv


def test_the_main_class_comes_last_and_our_jar_first():
    argv = command()
    assert argv[-1] == "confide.flink.Gateway"
    assert argv[argv.index("-cp") + 1] == "/our.jar:/jars/a.jar"


def test_the_guard_finds_storage():
    assert "-Dconfide.storage=/data" in command()


def test_only_an_enclave_bounds_the_jvms_own_memory_and_says_that_others_see_its_loopback_device():
    loopback = "-Dconfide.loopback=open"
    own = {loopback, *enclave_options(512, 2, False, jvm.DIRECT_MIB)}
    assert own <= set(command(enclave_cores=2, spawn=False))
    assert not own & set(command())


def test_members_verify_certificates_and_no_addresses_and_their_network_is_the_hosts():
    flag = "defaultEndpointVerificationAlgorithm=NONE"
    assert any(flag in word for word in command(member=True))
    assert "-Dconfide.loopback=open" in command(member=True)
    assert not any(flag in word for word in command())


def test_the_jvms_own_messages_do_not_come_before_the_port():
    assert "-XX:+DisplayVMOutputToStderr" in command()


def test_names_of_hosts_come_from_a_file_where_there_is_one():
    assert "-Djdk.net.hosts.file=/run/hosts" in command(hosts=PurePosixPath("/run/hosts"))
    assert not any("hosts.file" in word for word in command())
