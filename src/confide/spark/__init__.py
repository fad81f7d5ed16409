"""The `spark` profile: an unmodified PySpark program, hardened."""
