"""Evidence of Azure's confidential VMs: a hardware report for the firmware's TPM, and that TPM's quote for the rest."""
