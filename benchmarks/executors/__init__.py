"""What executors cost until they are there."""
