"""The operator records a true executor's registration and plays it again, and starts a copy of the executor."""

from confide.errors import NoGrant

from ..stage import recorder

CAUSE = r"executor 1 ended: NoGrant"
ALSO = r"(SSL|TLS|Tag|tag)\w*.*(Exception|mismatch)"


def attack(stage):
    with recorder(stage.job["driver"]) as (proxy, sent):
        true = stage.request("1", driver=proxy)
        stage.begin(true)
        stage.settled(sent)
        for recorded in list(sent):
            answer = stage.exchange(recorded)
            assert b"spark" not in answer.lower()
    before = stage.releases()
    error = stage.attempt(stage.request("1"))
    assert isinstance(error, NoGrant)
    assert stage.releases() == before
