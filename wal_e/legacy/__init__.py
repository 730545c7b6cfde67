"""Archives that the original WAL-E and WAL-G left behind: read, never written."""
