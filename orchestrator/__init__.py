"""orc: a Git-native, file-based orchestrator of AI agents. Importing this package does nothing."""

__version__ = "0.1.0"
