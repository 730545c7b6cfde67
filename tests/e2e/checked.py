"""What `wal-e check --json` says, by the names of its findings."""

import json
from collections.abc import Mapping

from lab.postgres import Postgres
from tests.e2e.scene import Scene


def checked(
    scene: Scene, *words: str, server: Postgres | None = None, env: Mapping[str, str] | None = None
) -> tuple[int, dict[str, tuple[str, str]]]:
    """Exit code, and what was said under each name: the verdict, and the text with the hint."""
    libpq = server.dsn_environment() if server else {}
    done = scene.run("check", "--json", *words, env={**libpq, **(env or {})})
    findings = json.loads(done.stdout)["findings"]
    return done.returncode, {one["name"]: (one["verdict"], f"{one['seen']} {one['hint']}") for one in findings}


def bad(found: dict[str, tuple[str, str]]) -> dict[str, str]:
    return {name: verdict for name, (verdict, _) in found.items() if verdict in {"failed", "warning"}}
