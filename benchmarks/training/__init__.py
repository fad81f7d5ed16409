"""Training over sealed collectives, against plain gloo."""
