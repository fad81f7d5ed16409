"""TPC-H: the same PySpark program on plain and on encrypted tables."""
