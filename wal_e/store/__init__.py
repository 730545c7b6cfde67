"""Bytes under keys: the seam to Swift, a folder and memory, and the wrappers around it."""
