"""Lets `python -m wal_e` stand for `wal-e`."""

from wal_e.entry import main

if __name__ == "__main__":
    main()
