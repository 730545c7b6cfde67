"""The main job of WAL-E shown on real servers: `python -m demo`, with STORE=swift on a real Swift."""
