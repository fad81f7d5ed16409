"""Passes of the program over the queries: to warm the JVM up, and those that count."""

WARM_UP, COUNTED = 1, 3
