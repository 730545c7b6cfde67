"""The command line: parse, render, exit codes."""
