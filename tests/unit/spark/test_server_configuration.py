"""What a file that is a server of Spark may say."""

from __future__ import annotations

import pytest

from confide.cli.programs import ProgramOptions, image_of
from confide.errors import InvalidFormat, LaunchRefused, Misuse
from confide.spark.image_spec import check_settings
from confide.spark.server_configuration import MAX_BYTES, ServerConfiguration, is_server


def test_the_least_and_the_most_that_it_says():
    least = ServerConfiguration.from_toml(b'version = 1\nserver = "sql"\n')
    assert (least.server, least.python_functions) == ("sql", False)
    assert ServerConfiguration.from_toml(
        b'version = 1\nserver = "connect"\npython_functions = true\n'
    ).python_functions


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "version"),
        ('server = "connect"', "version"),
        ("version = 1", "server"),
        ('version = 2\nserver = "connect"', "version"),
        ('version = "1"\nserver = "connect"', "version"),
        ('version = 1\nserver = "thrift"', "server"),
        ('version = 1\nserver = "Connect"', "server"),
        ('version = 1\nserver = ["connect"]', "server"),
        ('version = 1\nserver = "connect"\npython_functions = "yes"', "python_functions"),
        ('version = 1\nserver = "connect"\npython_functions = 1', "python_functions"),
        ('version = 1\nserver = "sql"\npython_functions = true', "of Spark Connect alone"),
        ('version = 1\nserver = "connect"\ntoken = "abc"', "token"),
        ("version = 1\nserver = ", "not TOML"),
        ("#" * (MAX_BYTES + 1), "at most"),
    ],
)
def test_another_is_refused(text, reason):
    with pytest.raises(InvalidFormat, match=reason):
        ServerConfiguration.from_toml(text.encode())


def test_bytes_that_are_no_text_are_refused():
    with pytest.raises(InvalidFormat, match="not TOML"):
        ServerConfiguration.from_toml(b"\xff\xfe")


@pytest.mark.parametrize(
    ("program", "expected"),
    [("a.toml", True), ("/app/a.toml", True), ("a.py", False), ("toml", False), ("a.toml.py", False)],
)
def test_which_programs_are_servers(program, expected):
    assert is_server(program) is expected


def test_a_server_does_not_run_under_a_library_os(tmp_path):
    program = tmp_path / "a.toml"
    program.write_text('version = 1\nserver = "connect"\n')
    with pytest.raises(Misuse, match="enclaves of SGX"):
        image_of(program, {}, ProgramOptions(libos="gramine"))


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("spark.sql.variable.substitute", "true"),
        ("spark.sql.analyzer.singlePassResolver.enabled", "true"),
        ("spark.sql.sources.disabledJdbcConnProviderList", ""),
        ("spark.sql.catalog.mine", "a.Catalog"),
        ("spark.hadoop.hive.server2.use.SSL", "false"),
        ("spark.hadoop.hive.server2.authentication", "NONE"),
        ("spark.hadoop.hive.server2.enable.doAs", "true"),
        ("spark.hadoop.hive.server2.transport.mode", "http"),
        ("spark.hadoop.hive.ssl.protocol.blacklist", "SSLv2"),
        ("spark.connect.grpc.binding.port", "15002"),
        ("spark.connect.authenticate.token", "mine"),
        ("spark.plugins", ""),
    ],
)
def test_settings_that_weaken_a_server_are_refused_by_name(name, value):
    with pytest.raises(LaunchRefused, match=f"^{name}="):
        check_settings({name: value}, server=True)


def test_other_programs_may_have_catalogs_and_variables():
    check_settings({"spark.sql.variable.substitute": "true", "spark.sql.catalog.mine": "a.Catalog"})
