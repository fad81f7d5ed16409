"""The operator gives the executor's JVM flags of its own: by launch parameters, and by its own environment."""

import os

from confide.errors import LaunchRefused

CAUSE = r"executor 40\d ended: LaunchRefused: launch parameter java_options"
FLAGS = {
    "java_options": "-agentlib:jdwp=transport=dt_socket,server=y",
    "cores": "1 --conf spark.authenticate=false",
    "application": "x --driver-url spark://CoarseGrainedScheduler@192.0.2.1:1",
    "host": "127.0.0.1 -Dx=y",
    "args": "--anything",
}


def attack(stage):
    os.environ["JAVA_TOOL_OPTIONS"] = "-agentlib:jdwp=transport=dt_socket,server=y"
    try:
        for index, (name, value) in enumerate(FLAGS.items()):
            error = stage.attempt(stage.request(f"40{index}", **{name: value}))
            assert isinstance(error, LaunchRefused)
        for name in ("mesh_job", "driver", "application", "host", "cores"):
            assert isinstance(stage.attempt(stage.request("410", **{name: None})), LaunchRefused)
    finally:
        del os.environ["JAVA_TOOL_OPTIONS"]
