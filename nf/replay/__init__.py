"""Replay of captures through the kernel program, and the result files."""
