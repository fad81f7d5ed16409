"""Working fakes for users' own tests; never imported by the rest, never in an image."""
