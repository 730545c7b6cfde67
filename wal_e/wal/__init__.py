"""What archive_command and restore_command do."""
