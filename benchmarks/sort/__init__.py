"""What a sort costs that all goes through a shuffle."""
