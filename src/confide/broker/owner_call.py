"""What an owner's signed calls and the broker that takes them agree on."""

CALL_TYP = "confide-call+json"
"""Type in the header of a call's signature."""
