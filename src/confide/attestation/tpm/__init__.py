"""Evidence of a machine whose boot a TPM 2.0 measured. Its memory is not confidential."""
