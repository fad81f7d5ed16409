"""Images as enclaves of Gramine: manifest, sizes, signature, start. Facts and rules: docs/enclaves.md."""
