"""The agent: the background process that answers `wal-push` and `wal-fetch` quickly."""
