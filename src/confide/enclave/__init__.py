"""What runs in a TEE: image and measurement, issuers of evidence, the agent."""
