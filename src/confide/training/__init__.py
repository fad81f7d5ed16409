"""Training: distributed PyTorch whose ranks seal what they send one another."""
