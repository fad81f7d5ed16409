"""What starting costs: a program that does next to nothing."""
