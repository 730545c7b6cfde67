"""The small stopped cluster that these tests back up and restore."""

from tests.backup.tiny import own_tiny, quiet, settled, small_packs, tiny, tiny_with_tablespace

__all__ = ["own_tiny", "quiet", "settled", "small_packs", "tiny", "tiny_with_tablespace"]
