"""Leaves that turn bytes into stored bytes: compression."""
