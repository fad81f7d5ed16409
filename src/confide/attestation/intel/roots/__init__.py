"""Intel's root of trust, as published at https://certificates.trustedservices.intel.com."""

from importlib.resources import files

SGX_ROOT = files(__name__).joinpath("intel-sgx-root-ca.der").read_bytes()
"""Certificate "Intel SGX Root CA" (DER), of SGX and TDX; SHA-256
44a0196b2b99f889b8e149e95b807a350e7424964399e885a7cbb8ccfab674d3."""
