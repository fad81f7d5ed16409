from __future__ import annotations

import re
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from confide.enclave.image import Image
from confide.enclave.launch import ADDRESS, broker_urls, check_launch, join_arguments, split_arguments
from confide.errors import LaunchRefused

Make = Callable[..., Image]
BROKER = {"broker.local": "https://127.0.0.1:8443"}


@given(st.lists(st.text()))
def test_arguments_are_joined_unambiguously(arguments: list[str]) -> None:
    assert split_arguments(join_arguments(arguments)) == tuple(arguments)


@pytest.mark.parametrize("value", ["a  b", " a", "'a", "a\\ b", '"a"', "$(x)", "a;b"])
def test_values_that_join_never_makes(value: str) -> None:
    with pytest.raises(LaunchRefused):
        split_arguments(value)


def test_parameters_within_the_grammar(make_image: Make) -> None:
    parameters = {**BROKER, "broker.lab": "https://[::1]/", "args": "--year=2013 abc", "cores": "12"}
    assert check_launch(make_image(), parameters) == parameters
    assert broker_urls(parameters) == {"lab": "https://[::1]/", "local": "https://127.0.0.1:8443"}


@pytest.mark.parametrize(
    "parameters",
    [
        {"args": "--year=1999"},
        {"args": "--year=20133"},
        {"args": "x--year=2013"},
        {"args": "--year=2013 --other"},
        {"args": "''"},
        {"args": "'abc\n'"},
        {"args": "abc\0"},
        {"args": "a" * 4097},
        {"args": " ".join(["a"] * 65)},
        {"cores": "0"},
        {"cores": "1\n"},
        {"cores": ""},
        {"unknown": "1"},
        {"": "1"},
        {"env": "LD_PRELOAD=/work/x.so"},
        {"broker.other": "https://127.0.0.1"},
        {"broker.local": "http://127.0.0.1"},
        {"broker.local": "https://user@host"},
        {"broker.local": "https://host/path"},
        {"broker.local": "https://host?x"},
        {"broker.local": "https://"},
        {"broker.local": "file:///etc/passwd"},
    ],
    ids=lambda p: str(p)[:40],
)
def test_parameters_outside_the_grammar(make_image: Make, parameters: dict[str, str]) -> None:
    with pytest.raises(LaunchRefused):
        check_launch(make_image(), {**BROKER, **parameters})


def test_no_arguments_unless_declared(make_image: Make) -> None:
    assert check_launch(make_image(args=()), {**BROKER, "args": ""})
    with pytest.raises(LaunchRefused):
        check_launch(make_image(args=()), {**BROKER, "args": "a"})


def test_without_a_broker_nothing_starts(make_image: Make) -> None:
    with pytest.raises(LaunchRefused, match="broker"):
        check_launch(make_image(), {})


def test_a_member_of_a_job_needs_every_parameter_that_it_declares(make_image: Make) -> None:
    image = make_image(launch={"mesh_job": "[0-9a-f]{32}", "driver": ADDRESS, "cores": "[0-9]+"})
    given = {**BROKER, "mesh_job": "0" * 32, "driver": "127.0.0.1:7077", "cores": "2"}
    assert check_launch(image, given) == given
    for name in ("mesh_job", "driver", "cores"):
        with pytest.raises(LaunchRefused, match=name):
            check_launch(image, {key: value for key, value in given.items() if key != name})


def test_a_member_of_a_job_has_one_broker(make_image: Make) -> None:
    image = make_image(launch={"mesh_job": "[0-9a-f]{32}"})
    given = {**BROKER, "mesh_job": "0" * 32, "broker.lab": "https://127.0.0.1:8444"}
    with pytest.raises(LaunchRefused, match=r"one broker, .* and lab, local are named"):
        check_launch(image, given)
    assert check_launch(make_image(), {**BROKER, "broker.lab": "https://127.0.0.1:8444"})


@pytest.mark.parametrize(
    "address", ["host", "host:", ":1", "host:1:", "host:123456", "a b:1", "u@h:1", "[::1:7", "h/x:1", "h:1\n"]
)
def test_what_is_no_address(address: str) -> None:
    assert not re.fullmatch(ADDRESS, address)
