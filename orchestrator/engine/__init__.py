"""Verbs of the engine: one file for each thing orc does with a job."""
