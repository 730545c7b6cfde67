"""The small stopped cluster, for deletions among real backups that share packs."""

from tests.backup.tiny import own_tiny, small_packs, tiny

__all__ = ["own_tiny", "small_packs", "tiny"]
