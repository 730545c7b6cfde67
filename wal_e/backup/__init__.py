"""Taking a base backup."""
