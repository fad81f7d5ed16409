"""What a file of evidence is, whatever it is written in. Nothing is verified here."""
