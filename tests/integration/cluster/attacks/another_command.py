"""The operator starts something else in the place of an executor: another program, or none that is in an enclave."""

from confide.errors import MeasurementRefused

CAUSE = r"executor 201 ended: MeasurementRefused"
ALSO = r"NotSslRecordException"


def attack(stage):
    other = stage.site.other_executor("print('another program')\n")
    error = stage.attempt(stage.request("201", image=other))
    assert isinstance(error, MeasurementRefused)
    stage.exchange(b"\x00" * 7 + b"\x2b\x03" + b"spark registration in clear" * 4)
