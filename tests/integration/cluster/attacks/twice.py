"""The operator starts one executor twice at the same time."""

from confide.errors import NoGrant

CAUSE = r"executor 2 ended: NoGrant"


def attack(stage):
    stage.begin(stage.request("2"))
    before = stage.releases()
    assert isinstance(stage.attempt(stage.request("2")), NoGrant)
    assert stage.releases() == before
