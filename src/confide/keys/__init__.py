"""Key names, key material, envelope encryption, key providers, owners' signatures."""
