"""Putting a manifest's JSON document, whatever is in it, into the stored form."""

import json
from typing import Any

from wal_e.codec.compress import compress


def packed(document: Any) -> bytes:
    """The document in the frames and lines that docs/format.md asks for, as far as it has the members for that."""
    if not isinstance(document, dict):
        return compress(json.dumps(document).encode())
    head = {name: document[name] for name in ("format", "summary") if name in document}
    rest = {name: value for name, value in document.items() if name not in {"format", "summary", "files"}}
    files = document.get("files")
    lines = ",\n".join(map(json.dumps, files)) if isinstance(files, list) else json.dumps(files)
    listed = f',\n"files":[\n{lines}\n]}}' if "files" in document else "}"
    texts = (json.dumps(head)[:-1], ",\n" + json.dumps(rest)[1:-1], listed)
    return b"".join(compress(text.encode()) for text in texts)
