"""One file for each kind of store; SDKs are imported here and nowhere else, and only when used."""
