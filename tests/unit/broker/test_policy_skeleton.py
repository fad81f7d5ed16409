"""Policies from platforms that no test can make evidence of: which registers they demand, and what they leave open."""

from __future__ import annotations

import tomllib

import pytest

from confide.attestation.claims import Platform, Tcb, Tee
from confide.broker.policy_skeleton import OPEN, Code, policy_skeleton

NOW = 1_800_000_000
ZERO, SET = "00" * 32, "ab" * 32


def azure(tcb=None, **pcrs):
    registers = {f"pcr{index}": ZERO for index in range(24)} | {"mrtd": "ab" * 48, "td_attributes": "00" * 8}
    registers |= {"pcr4": SET} | pcrs
    return Platform(
        registers, {}, ("aa",), tcb or Tcb(status="UpToDate", smt=False), debug=False, expires=NOW
    )


def written(platform, tee=Tee.AZURE_TDX):
    return policy_skeleton(
        Code(tee, SET), platform, source="a test", owner="clinic", workload="study", now=NOW
    )


def registers(skeleton):
    return tomllib.loads(skeleton.toml)["workload"][0]["platform"]["registers"]


@pytest.mark.parametrize(
    ("boot", "pcrs"),
    [
        ({"pcr9": SET}, {"pcr4", "pcr8", "pcr9"}),
        ({"pcr8": SET, "pcr9": SET, "pcr7": SET}, {"pcr4", "pcr7", "pcr8", "pcr9"}),
        ({"pcr11": SET}, {"pcr4", "pcr11", "pcr12", "pcr13"}),
        ({"pcr9": SET, "pcr11": SET}, {"pcr4", "pcr8", "pcr9", "pcr11", "pcr12", "pcr13"}),
    ],
)
def test_command_lines_and_additions_are_pinned_even_where_there_were_none(boot, pcrs):
    skeleton = written(azure(**boot))
    assert set(registers(skeleton)) - {"mrtd", "td_attributes"} == pcrs
    assert all(value != [OPEN] for value in registers(skeleton).values())
    assert skeleton.refused_here == ()


@pytest.mark.parametrize("boot", [{}, {"pcr8": SET}, {"pcr4": ZERO, "pcr9": SET}])
def test_a_boot_of_which_nothing_says_what_runs(boot):
    skeleton = written(azure(**boot))
    zero = "pcr4" if "pcr4" in boot else "pcr9"
    assert registers(skeleton)[zero] == [OPEN]
    assert any(f"{zero} is zero" in reason for reason in skeleton.refused_here)


@pytest.mark.parametrize(("smt", "said"), [(True, "hyperthreads are on"), (None, "nothing says that")])
def test_hyperthreads_that_may_be_on(smt, said):
    skeleton = written(azure(Tcb(status="UpToDate", smt=smt), pcr9=SET))
    assert "\n# allow_smt = true\n" in skeleton.toml
    assert said in skeleton.refused_here[0]
