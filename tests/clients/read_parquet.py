"""Reads every Parquet object of flights below BUCKET/PREFIX over S3 and prints the sums as one JSON object.

usage: read_parquet.py duckdb|pyarrow|polars BUCKET PREFIX     (address and key from the AWS_ variables)

Each engine reads with its own S3 client and adds up with its own code; only the shape of the answer is shared.
"""

import json
import os
import sys

ENDPOINT = os.environ["AWS_ENDPOINT_URL_S3"]
KEY = os.environ["AWS_ACCESS_KEY_ID"]
SECRET = os.environ["AWS_SECRET_ACCESS_KEY"]


def by_duckdb(bucket, prefix):
    import duckdb_over_s3

    db = duckdb_over_s3.connect()
    source = f"read_parquet('s3://{bucket}/{prefix}**/*.parquet', hive_partitioning = false, union_by_name = true)"
    totals = db.execute(
        f"SELECT count(*), sum(distance), sum(dep_delay), count(*) - count(dep_delay) FROM {source}"
    ).fetchone()
    carriers = db.execute(f"SELECT carrier, count(*) FROM {source} GROUP BY carrier").fetchall()
    return [*totals, dict(carriers)]


def by_pyarrow(bucket, prefix):
    import pyarrow.compute as compute
    import pyarrow.dataset as dataset
    from pyarrow.fs import FileSelector, FileType, S3FileSystem

    s3 = S3FileSystem(access_key=KEY, secret_key=SECRET, endpoint_override=ENDPOINT, region="auto")
    found = s3.get_file_info(FileSelector(f"{bucket}/{prefix}".rstrip("/"), recursive=True, allow_not_found=True))
    files = [info.path for info in found if info.type == FileType.File and info.path.endswith(".parquet")]
    table = dataset.dataset(files, filesystem=s3, format="parquet").to_table(["carrier", "distance", "dep_delay"])
    counts = table.group_by("carrier").aggregate([([], "count_all")]).to_pylist()
    return [
        table.num_rows,
        compute.sum(table["distance"]).as_py(),
        compute.sum(table["dep_delay"]).as_py(),
        table["dep_delay"].null_count,
        {row["carrier"]: row["count_all"] for row in counts},
    ]


def by_polars(bucket, prefix):
    import polars

    frame = polars.scan_parquet(
        f"s3://{bucket}/{prefix}**/*.parquet",
        hive_partitioning=False,
        storage_options={
            "aws_endpoint_url": ENDPOINT,
            "aws_access_key_id": KEY,
            "aws_secret_access_key": SECRET,
            "aws_region": "auto",
            "aws_allow_http": "true",
        },
    )
    column = polars.col
    totals = frame.select(
        polars.len().alias("rows"),
        column("distance").sum().alias("distance"),
        column("dep_delay").sum().alias("dep_delay"),
        column("dep_delay").null_count().alias("nulls"),
    ).collect()
    carriers = frame.group_by("carrier").agg(polars.len()).collect()
    return [*totals.row(0), dict(carriers.iter_rows())]


def main():
    engine, bucket, prefix = sys.argv[1:]
    readers = {"duckdb": by_duckdb, "pyarrow": by_pyarrow, "polars": by_polars}
    rows, distance, dep_delay, nulls, carriers = readers[engine](bucket, prefix)
    numbers = {"rows": rows, "distance": distance, "dep_delay": dep_delay, "dep_delay_nulls": nulls}
    print(json.dumps({name: int(value) for name, value in numbers.items()} | {"carriers": carriers}))


main()
