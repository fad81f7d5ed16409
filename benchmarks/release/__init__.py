"""What an attested release costs the broker."""
