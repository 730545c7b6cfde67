"""Benchmarks: whole commands, ours against pgBackRest and against the raw limit, in one run on one machine."""
