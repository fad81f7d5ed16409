"""Evidence of AMD SEV-SNP: reports, the certificates of the keys that sign them, where AMD publishes those."""
