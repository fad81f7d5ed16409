"""Settings of the whole suite."""

import os

from hypothesis import HealthCheck, settings

# No deadline: the machine that runs the tests may be busy. `make fuzz` looks longer.
settings.register_profile("default", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("long", parent=settings.get_profile("default"), max_examples=5000)
settings.load_profile(os.environ.get("CONFIDE_HYPOTHESIS", "default"))
