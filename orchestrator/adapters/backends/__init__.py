"""Backends: how one kind of agent program is started and its answer read, one file each."""
