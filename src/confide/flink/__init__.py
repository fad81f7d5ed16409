"""The Flink profile: an unmodified PyFlink program, its JVM and its mini cluster in one enclave."""
