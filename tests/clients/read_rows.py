"""Reads every Parquet object below BUCKET/PREFIX with DuckDB and prints its rows in the order of their `id`, one JSON object a line.

usage: read_rows.py BUCKET PREFIX     (address and key from the AWS_ variables)
"""

import json
import sys

import duckdb_over_s3

bucket, prefix = sys.argv[1:]
read = duckdb_over_s3.connect().execute(
    f"SELECT * FROM read_parquet('s3://{bucket}/{prefix}**/*.parquet', hive_partitioning = false, union_by_name = true) ORDER BY id"
)
names = [column[0] for column in read.description]
for row in read.fetchall():
    print(json.dumps(dict(zip(names, row)), default=str))
