"""Names that a broker and the members of a job agree on. Format: docs/formats/mesh.md."""

from __future__ import annotations

DRIVER = "driver"
"""Role of who opens a job."""
JOB = "mesh_job"
"""Launch parameter: the job that a member joins."""
MEMBER = "mesh_member"
"""Launch parameter: the name that a member has in its job; each joins once."""
