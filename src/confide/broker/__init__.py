"""The key broker: policy rules (pure), store, audit log, and the KBS protocol over HTTP."""
