"""Programs of others, run as they are with plain Spark and with `confide run`, and what they print compared."""
