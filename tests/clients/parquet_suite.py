"""What engines do with tables of Parquet in a bucket: DuckDB, PyArrow and Polars write them, and each reads what the
others wrote. usage: parquet_suite.py [WORD]
"""

import pathlib

import duckdb
import duckdb_ext
import polars
import pyarrow
import pyarrow.dataset
import pyarrow.parquet
from pyarrow.fs import FileSelector, FileType, S3FileSystem

import suite
from suite import MIB, content, s3

ROWS = 300_000
PLACES = ["Zürich", "New York", "a+b", "50%"]
OPTIONS = {
    "aws_endpoint_url": suite.ENDPOINT, "aws_access_key_id": suite.KEY, "aws_secret_access_key": suite.SECRET,
    "aws_region": suite.REGION, "aws_allow_http": "true",
}
arrow = S3FileSystem(access_key=suite.KEY, secret_key=suite.SECRET, endpoint_override=suite.ENDPOINT, region=suite.REGION)


def table():
    numbers = list(range(ROWS))
    return pyarrow.table({"n": numbers, "square": [n * n for n in numbers], "place": [PLACES[n % 4] for n in numbers]})


TABLE = table()
EXPECTED = (ROWS, sum(range(ROWS)), sum(n * n for n in range(ROWS)), {place: ROWS // 4 for place in PLACES})


def duck():
    extension = next(pathlib.Path(list(duckdb_ext.__path__)[0]).rglob("httpfs.duckdb_extension"))
    db = duckdb.connect()
    db.execute(f"LOAD '{extension}'")
    db.execute(f"CREATE SECRET (TYPE s3, KEY_ID '{suite.KEY}', SECRET '{suite.SECRET}', REGION '{suite.REGION}', "
               f"ENDPOINT '{suite.HOST}', USE_SSL false, URL_STYLE 'path')")
    return db


def by_duckdb(bucket, prefix):
    db = duck()
    source = f"read_parquet('s3://{bucket}/{prefix}/**/*.parquet', hive_partitioning = true)"
    totals = db.execute(f"SELECT count(*), sum(n), sum(square) FROM {source}").fetchone()
    return *map(int, totals), dict(db.execute(f"SELECT place, count(*) FROM {source} GROUP BY place").fetchall())


def by_arrow(bucket, prefix):
    found = pyarrow.dataset.dataset(f"{bucket}/{prefix}", filesystem=arrow, format="parquet", partitioning="hive").to_table()
    places = found.group_by("place").aggregate([([], "count_all")]).to_pylist()
    sums = [pyarrow.compute.sum(found[column]).as_py() for column in ("n", "square")]
    return found.num_rows, *sums, {row["place"]: row["count_all"] for row in places}


def by_polars(bucket, prefix):
    frame = polars.scan_parquet(f"s3://{bucket}/{prefix}/**/*.parquet", hive_partitioning=True, storage_options=OPTIONS)
    column = polars.col
    totals = frame.select(polars.len(), column("n").sum(), column("square").sum()).collect().row(0)
    return *totals, dict(frame.group_by("place").agg(polars.len()).collect().iter_rows())


def read_by_all(bucket, prefix):
    for read in (by_duckdb, by_arrow, by_polars):
        found = read(bucket, prefix)
        assert found == EXPECTED, f"{read.__name__}: {found} instead of {EXPECTED}"


def check_duckdb_writes_what_all_read(bucket):
    source = TABLE  # DuckDB finds it by this name
    db = duck()
    db.execute(f"COPY (FROM source) TO 's3://{bucket}/one/all rows.parquet'")
    read_by_all(bucket, "one")
    db.execute(f"COPY (FROM source) TO 's3://{bucket}/parts' (FORMAT parquet, PARTITION_BY place)")
    assert len({key.split("/")[1] for key in suite.keys(bucket, "parts/")}) == 4
    read_by_all(bucket, "parts")
    found = db.execute(f"SELECT max(n) FROM 's3://{bucket}/parts/*/*.parquet' WHERE place = 'Zürich'").fetchone()
    assert found == (ROWS - 4,), found
    assert sum(1 for _ in db.execute(f"FROM glob('s3://{bucket}/**/*.parquet')").fetchall()) == len(suite.keys(bucket))


def check_duckdb_uploads_in_parts_and_reads_csv_and_json(bucket):
    db = duck()
    db.execute("SET s3_uploader_max_parts_per_file = 10000; SET s3_uploader_max_filesize = '50GB'")
    db.execute(f"COPY (SELECT i, hash(i)::VARCHAR || hash(i + 1)::VARCHAR AS h FROM range(600000) t(i)) "
               f"TO 's3://{bucket}/big.csv' (HEADER)")
    head = s3.head_object(Bucket=bucket, Key="big.csv")
    assert head["ContentLength"] > 20 * MIB and "-" in head["ETag"], head
    found = db.execute(f"SELECT count(*), sum(i), bool_and(h = hash(i)::VARCHAR || hash(i + 1)::VARCHAR) "
                       f"FROM 's3://{bucket}/big.csv'").fetchone()
    assert found == (600_000, sum(range(600_000)), True), found
    db.execute(f"COPY (FROM range(1000) t(i)) TO 's3://{bucket}/a b.json'")
    assert db.execute(f"SELECT sum(i) FROM 's3://{bucket}/a b.json'").fetchone() == (sum(range(1000)),)


def check_arrow_writes_what_all_read(bucket):
    pyarrow.parquet.write_table(TABLE, f"{bucket}/one/all.parquet", filesystem=arrow, row_group_size=50_000)
    read_by_all(bucket, "one")
    pyarrow.dataset.write_dataset(TABLE, f"{bucket}/parts", filesystem=arrow, format="parquet", partitioning=["place"],
                                  partitioning_flavor="hive")
    assert len([key for key in suite.keys(bucket, "parts/") if key.endswith(".parquet")]) == 4
    read_by_all(bucket, "parts")


def check_arrow_sees_the_bucket_as_folders(bucket):
    arrow.create_dir(f"{bucket}/made/deep", recursive=True)
    data = content(1, 24 * MIB + 7)
    with arrow.open_output_stream(f"{bucket}/made/a b+c%.bin", metadata={"Content-Type": "text/weird"}) as stream:
        stream.write(data)
    head = s3.head_object(Bucket=bucket, Key="made/a b+c%.bin")
    assert (head["ContentType"], head["ContentLength"]) == ("text/weird", len(data))
    with arrow.open_input_file(f"{bucket}/made/a b+c%.bin") as file:
        assert file.size() == len(data)
        file.seek(10 * MIB)
        assert file.read(1000) == data[10 * MIB : 10 * MIB + 1000]
        assert file.read_at(7, len(data) - 7) == data[-7:]
    arrow.copy_file(f"{bucket}/made/a b+c%.bin", f"{bucket}/made/deep/copy.bin")
    arrow.move(f"{bucket}/made/deep/copy.bin", f"{bucket}/made/deep/moved é.bin")
    assert suite.body(bucket, "made/deep/moved é.bin") == data
    found = {info.path: info.type for info in arrow.get_file_info(FileSelector(bucket, recursive=True))}
    assert found == {
        f"{bucket}/made": FileType.Directory, f"{bucket}/made/deep": FileType.Directory,
        f"{bucket}/made/a b+c%.bin": FileType.File, f"{bucket}/made/deep/moved é.bin": FileType.File,
    }, found
    arrow.delete_dir(f"{bucket}/made/deep")
    assert "made/deep/moved é.bin" not in suite.keys(bucket)
    arrow.delete_dir_contents(f"{bucket}/made")
    arrow.delete_file(f"{bucket}/made/") if arrow.get_file_info(f"{bucket}/made/").type == FileType.File else None
    assert arrow.get_file_info(f"{bucket}/made/a b+c%.bin").type == FileType.NotFound
    arrow.delete_dir(f"{bucket}/made")
    assert suite.keys(bucket) == []


def check_polars_writes_what_all_read(bucket):
    frame = polars.from_arrow(TABLE)
    frame.write_parquet(f"s3://{bucket}/one/all rows.parquet", storage_options=OPTIONS)
    read_by_all(bucket, "one")
    frame.lazy().sink_parquet(f"s3://{bucket}/sunk/all.parquet", storage_options=OPTIONS, row_group_size=50_000)
    read_by_all(bucket, "sunk")
    lazy = polars.scan_parquet(f"s3://{bucket}/one/*.parquet", storage_options=OPTIONS)
    found = lazy.filter(polars.col("n") == 7).select("square").collect().item()
    assert found == 49, found
    frame.head(100).write_csv(f"s3://{bucket}/a.csv", storage_options=OPTIONS)
    assert polars.scan_csv(f"s3://{bucket}/a.csv", storage_options=OPTIONS).collect().equals(frame.head(100))


suite.main(globals())
