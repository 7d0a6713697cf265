"""What an application does with Delta tables (delta-rs): commits that race, changes, old versions. usage: delta_suite.py [WORD]

delta_suite.py append BUCKET WRITER AT     what one of the racing writers runs: appends, beginning at AT (seconds since 1970)
"""

import sys
import time
from concurrent.futures import ThreadPoolExecutor

import pyarrow
from deltalake import CommitProperties, DeltaTable, write_deltalake

import suite

OPTIONS = {
    "AWS_ENDPOINT_URL": suite.ENDPOINT, "AWS_ALLOW_HTTP": "true", "AWS_ACCESS_KEY_ID": suite.KEY,
    "AWS_SECRET_ACCESS_KEY": suite.SECRET, "AWS_REGION": suite.REGION, "aws_conditional_put": "etag",
}
WRITERS = 4
COMMITS = 8
ROWS = 25


def rows(writer, commit):
    """What a writer appends in a commit: no two rows of all are alike."""
    return pyarrow.table({"writer": [writer] * ROWS, "commit": [commit] * ROWS, "row": list(range(ROWS))})


def append(bucket, writer, at):
    time.sleep(max(0.0, at - time.time()))
    for commit in range(COMMITS):
        write_deltalake(f"s3://{bucket}/a table", rows(writer, commit), mode="append", storage_options=OPTIONS,
                        commit_properties=CommitProperties(max_commit_retries=200))


def table(bucket, version=None):
    return DeltaTable(f"s3://{bucket}/a table", version=version, storage_options=OPTIONS)


def contents(found):
    """The rows as sorted tuples."""
    return sorted(tuple(row.values()) for row in found.to_pyarrow_table().select(["writer", "commit", "row"]).to_pylist())


def check_no_commit_of_racing_writers_is_lost(bucket):
    write_deltalake(f"s3://{bucket}/a table", rows(-1, 0), storage_options=OPTIONS)
    at = time.time() + 4

    def writer(number):
        environment = {"AWS_ENDPOINT_URL_S3": suite.ENDPOINT}
        suite.output(sys.executable, __file__, "append", bucket, number, at, environment=environment)

    with ThreadPoolExecutor(WRITERS) as workers:
        list(workers.map(writer, range(WRITERS)))
    found = table(bucket)
    assert found.version() == WRITERS * COMMITS, found.version()
    log = [key for key in suite.keys(bucket, "a table/_delta_log/") if key.endswith(".json")]
    assert log == [f"a table/_delta_log/{version:020}.json" for version in range(WRITERS * COMMITS + 1)], log
    expected = [row for writer in range(WRITERS) for commit in range(COMMITS) for row in rows(writer, commit).to_pylist()]
    expected = sorted(tuple(row.values()) for row in expected + rows(-1, 0).to_pylist())
    assert contents(found) == expected, f"{len(contents(found))} rows instead of {len(expected)}"
    race = [entry["commitInfo"] if "commitInfo" in entry else entry for entry in found.history()]
    assert len(race) == WRITERS * COMMITS + 1


def check_rows_are_changed_deleted_and_old_versions_read(bucket):
    address = f"s3://{bucket}/a table"
    write_deltalake(address, rows(0, 0), storage_options=OPTIONS, partition_by=["writer"])
    write_deltalake(address, rows(1, 0), mode="append", storage_options=OPTIONS)
    found = table(bucket)
    assert found.delete("row >= 20")["num_deleted_rows"] == 10
    assert found.update(predicate="row = 3", updates={"commit": "7"})["num_updated_rows"] == 2
    new = pyarrow.table({"writer": [0, 2], "commit": [9, 9], "row": [0, 0]})
    merge = found.merge(new, "t.writer = s.writer and t.row = s.row", source_alias="s", target_alias="t")
    merged = merge.when_matched_update_all().when_not_matched_insert_all().execute()
    assert (merged["num_target_rows_updated"], merged["num_target_rows_inserted"]) == (1, 1), merged
    now = [row for row in [tuple(row.values()) for row in rows(0, 0).to_pylist() + rows(1, 0).to_pylist()] if row[2] < 20]
    now = [(writer, 7 if row == 3 else commit, row) for writer, commit, row in now if (writer, row) != (0, 0)]
    assert contents(table(bucket)) == sorted([*now, (0, 9, 0), (2, 9, 0)])
    assert len(contents(table(bucket, version=1))) == 2 * ROWS
    found = table(bucket)
    found.restore(1)
    assert len(contents(table(bucket))) == 2 * ROWS


def check_checkpoints_compaction_and_vacuum(bucket):
    for commit in range(12):
        write_deltalake(f"s3://{bucket}/a table", rows(0, commit), mode="append", storage_options=OPTIONS)
    before = contents(table(bucket))
    found = table(bucket)
    found.create_checkpoint()
    assert "a table/_delta_log/_last_checkpoint" in suite.keys(bucket)
    assert found.optimize.compact()["numFilesRemoved"] == 12
    files = [key for key in suite.keys(bucket) if key.endswith(".parquet") and "_delta_log" not in key]
    assert len(files) == 13
    gone = found.vacuum(retention_hours=0, enforce_retention_duration=False, dry_run=False)
    assert len(gone) == 12, gone
    left = [key for key in suite.keys(bucket) if key.endswith(".parquet") and "_delta_log" not in key]
    assert len(left) == 1 and contents(table(bucket)) == before


if sys.argv[1:2] == ["append"]:
    append(sys.argv[2], int(sys.argv[3]), float(sys.argv[4]))
else:
    suite.main(globals())
