"""The `orc` command: one file per verb, thin over the engine."""
