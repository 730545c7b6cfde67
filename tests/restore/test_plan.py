"""What a plan decides, for any map, any digests and any directory; no disk is involved."""

import itertools
from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from tests.repo.drawn import block_maps, one_manifest
from wal_e.repo.blockmap import BLOCK_SIZE, DIGEST_SIZE, BlockMap, block_count
from wal_e.restore.parts import Parts
from wal_e.restore.plan import (
    WHOLE,
    Entry,
    RestorePlan,
    differing,
    flagged_runs,
    missing_bytes,
    missing_runs,
    pack_flags,
    report_plan,
    superfluous,
)

all_flags = st.lists(st.booleans(), max_size=300).map(bytes)
RECORD = next(iter(one_manifest().files))


@given(st.data())
def test_the_runs_of_a_map_are_its_missing_blocks_each_once_and_in_the_right_slot(data: st.DataObject) -> None:
    block_map: BlockMap = data.draw(block_maps())
    flags = bytes(data.draw(st.lists(st.booleans(), min_size=block_map.blocks, max_size=block_map.blocks)))
    places = {e.first + n: (e.frame, e.slot + n) for e in block_map.extents for n in range(e.count)}
    found = [
        (run.first + n, (run.frame, run.slot + n))
        for extent in block_map.extents
        for run in missing_runs(extent, flags)
        for n in range(run.count)
    ]
    assert dict(found) == {block: place for block, place in places.items() if flags[block]}
    assert len({block for block, _ in found}) == len(found)
    everything = [run for extent in block_map.extents for run in missing_runs(extent, None)]
    assert everything == list(block_map.extents)


@given(all_flags, st.integers(0, 300), st.integers(0, 300))
def test_runs_are_whole_and_stay_within_their_range(flags: bytes, start: int, stop: int) -> None:
    within = range(min(start, len(flags)), min(stop, len(flags)))
    runs = list(flagged_runs(flags, within))
    assert [block for run in runs for block in run] == [block for block in within if flags[block]]
    assert all(one.stop < other.start for one, other in itertools.pairwise(runs))


@given(st.lists(st.tuples(st.binary(min_size=DIGEST_SIZE, max_size=DIGEST_SIZE), st.booleans()), max_size=40))
def test_a_block_is_missing_if_and_only_if_its_digest_differs(blocks: list[tuple[bytes, bool]]) -> None:
    wanted = b"".join(digest for digest, _ in blocks)
    present = [bytes([digest[0] ^ changed]) + digest[1:] for digest, changed in blocks]
    assert differing(present, wanted) == bytes(changed for _, changed in blocks)


@given(all_flags, st.integers(1, BLOCK_SIZE))
def test_a_plan_keeps_flags_and_counts_their_bytes(flags: bytes, last: int) -> None:
    size = max(0, len(flags) - 1) * BLOCK_SIZE + last if flags else 0
    record = replace(RECORD, size=size)
    plan = RestorePlan({record.path: pack_flags(flags)})
    assert block_count(size) == len(flags)
    lengths = [BLOCK_SIZE] * (len(flags) - 1) + [last] if flags else []
    assert missing_bytes(plan, record) == sum(length for flag, length in zip(flags, lengths, strict=True) if flag)
    assert plan.fetches(record) == any(flags)
    if any(flags):
        assert plan.missing(record) == flags
    else:
        assert plan.reused[record.path] == WHOLE


def test_what_is_not_reused_is_fetched_whole() -> None:
    assert RestorePlan().missing(RECORD) is None
    assert missing_bytes(RestorePlan(), RECORD) == RECORD.size


names = st.lists(st.sampled_from(["a", "b", "ab", "a-", "a.1"]), min_size=1, max_size=4).map("/".join)


@given(
    st.dictionaries(names, st.sampled_from(["directory", "file", "shared", "link"]), max_size=12),
    st.sets(names, max_size=6),
    st.sets(names, max_size=6),
)
def test_after_the_removal_only_what_the_backup_has_is_left_and_nothing_is_removed_before_its_content(
    tree: dict[str, str], files: set[str], directories: set[str]
) -> None:
    parents = {path[:at] for path in tree for at in range(len(path)) if path[at] == "/"}
    tree |= dict.fromkeys(parents, "directory")
    found = [
        Entry(path, is_directory=kind == "directory", is_reusable=kind == "file") for path, kind in sorted(tree.items())
    ]
    left = dict(tree)
    whole = {path[:at] for path in files | directories for at in range(len(path)) if path[at] == "/"} | directories
    for entry in superfluous(found, files, whole):
        assert not any(path.startswith(f"{entry.path}/") for path in left)
        del left[entry.path]
    assert left == {
        path: kind
        for path, kind in tree.items()
        if (kind == "file" and path in files) or (kind == "directory" and path in whole)
    }


def test_a_report_counts_each_file_once() -> None:
    files = [replace(RECORD, path=f"base/{oid}/1", size=3 * BLOCK_SIZE) for oid in (5, 16384, 16385, 16386)]
    plan = RestorePlan(
        {"base/5/1": WHOLE, "base/16384/1": pack_flags(b"\0\1\1")},
        (Entry("x/y", 7, is_reusable=True), Entry("x", is_directory=True)),
        Parts(only_databases=frozenset({16384, 16385})),
    )
    report = report_plan(plan, files)
    assert (report.kept.count, report.kept.names) == (1, ["base/5/1"])
    assert (report.changed.count, report.changed.size) == (1, 2 * BLOCK_SIZE)
    assert (report.made.names, report.shells.names) == (["base/16385/1"], ["base/16386/1"])
    assert (report.removed.count, report.removed.size) == (1, 7)
    assert report.fetched == 5 * BLOCK_SIZE
