"""Facts about PostgreSQL: names, files, formats and the one session that a backup needs."""
