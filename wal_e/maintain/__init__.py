"""Deciding what to keep, and deleting the rest."""
