"""What writing an encrypted table from Spark costs."""
