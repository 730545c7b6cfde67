"""The files that a restore makes itself: label, tablespace map, recovery settings, backup_manifest."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from wal_e.codec.crc32c import crc32c
from wal_e.pg.backup_manifest import ManifestFile, WalRange, manifest_version, render
from wal_e.pg.recovery import AUTO_CONF, SIGNALS_SINCE, RecoverySettings, recovery_files
from wal_e.repo.manifest import Manifest
from wal_e.restore.tablespaces import Places, render_tablespace_map

BACKUP_LABEL: Final = "backup_label"
TABLESPACE_MAP: Final = "tablespace_map"
BACKUP_MANIFEST: Final = "backup_manifest"
_MANIFEST_SINCE: Final = 13
_IN_PLACE_SINCE: Final = {10: 22, 11: 17, 12: 12, 13: 8, 14: 5}
"""By major, the minor that learnt allow_in_place_tablespaces, and to insist on it; later majors always had it."""
_NANOSECONDS: Final = 1_000_000_000
_LAST_SECOND: Final = 253_402_300_799


@dataclass(frozen=True, slots=True)
class AsTaken:
    """
    The copy is what pg_basebackup would have written: no recovery settings, and no signal file.

    With `wal` it has the WAL in its pg_wal that makes it consistent.
    """

    wal: bool


Recovery = RecoverySettings | AsTaken | None


def in_place_files(target: Path, manifest: Manifest) -> Mapping[str, str]:
    """The restored files that recovery settings are written into, as text."""
    if all(record.path != AUTO_CONF for record in manifest.files):
        return {}
    return {AUTO_CONF: (target / AUTO_CONF).read_text("utf-8", "surrogateescape")}


def final_files(
    manifest: Manifest,
    places: Places,
    existing: Mapping[str, str],
    recovery: Recovery,
    *,
    whole: bool = True,
) -> dict[str, bytes]:
    """
    What to write at the end, path to content, in the order of writing; pg_control is not among it. Pure.

    A copy that is not `whole` gets no backup_manifest, which its shells would contradict.
    """
    files: dict[str, bytes] = {}
    if manifest.backup_label:
        files[BACKUP_LABEL] = _encode(manifest.backup_label)
    tablespace_map = _tablespace_map(manifest, places)
    if tablespace_map:
        files[TABLESPACE_MAP] = tablespace_map
    if whole and manifest.summary.major >= _MANIFEST_SINCE:
        files[BACKUP_MANIFEST] = _backup_manifest(manifest, files)
    texts = _recovery(manifest, existing.get(AUTO_CONF, ""), recovery)
    if any(place is None for place in places.values()) and _knows_in_place(manifest.summary.pg_version):
        # Recovery stops at a plain directory in pg_tblspc unless the server is told to expect one.
        before = texts.get(AUTO_CONF, existing.get(AUTO_CONF, ""))
        texts[AUTO_CONF] = before + "allow_in_place_tablespaces = 'on'\n"
    return files | {path: _encode(text) for path, text in texts.items()}


def _recovery(manifest: Manifest, auto_conf: str, recovery: Recovery) -> dict[str, str]:
    major = manifest.summary.major
    if isinstance(recovery, AsTaken):
        return {}
    if recovery is not None:
        return recovery_files(recovery, major, auto_conf)
    if major < SIGNALS_SINCE or manifest.summary.offline:
        return {}
    return recovery_files(RecoverySettings(), major, auto_conf)


def _knows_in_place(pg_version: int) -> bool:
    return pg_version % 10000 >= _IN_PLACE_SINCE.get(pg_version // 10000, 0)


def _tablespace_map(manifest: Manifest, places: Places) -> bytes:
    """The server's own text where nothing moved; an offline backup has none, and links are all it needs."""
    original = {tablespace.oid: Path(tablespace.location) for tablespace in manifest.summary.tablespaces}
    if not manifest.backup_label:
        return b""
    if dict(places) == original:
        return _encode(manifest.tablespace_map)
    return _encode(render_tablespace_map(places, manifest.summary.major))


def _backup_manifest(manifest: Manifest, written: Mapping[str, bytes]) -> bytes:
    summary = manifest.summary
    listed = [
        ManifestFile(
            path=record.path,
            size=record.size,
            mtime=_moment(record.mtime_ns),
            crc32c=record.crc32c,
        )
        for record in manifest.files
        if not record.path.startswith("pg_wal/")
    ]
    listed += [ManifestFile(path, len(data), summary.stop_time, crc32c(data)) for path, data in written.items()]
    version = manifest_version(summary.major)
    ranges = [WalRange(summary.timeline, summary.start_lsn, summary.stop_lsn)]
    return render(listed, ranges, summary.system_identifier if version > 1 else None, version)


def _moment(nanoseconds: int) -> datetime:
    """A file's time as a date; what no calendar has, and a file system may, becomes the nearest one."""
    return datetime.fromtimestamp(min(max(nanoseconds // _NANOSECONDS, 0), _LAST_SECOND), UTC)


def _encode(text: str) -> bytes:
    return text.encode("utf-8", "surrogateescape")
