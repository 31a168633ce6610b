"""Captures through the kernel program, and the files that come out."""
