"""Makes Parquet of a file of JSON lines with DuckDB on one thread, as a pipeline would: zstd, the schema inferred. Prints the CPU
seconds it took. usage: duckdb_convert.py JSON PARQUET
"""

import resource
import sys

import duckdb

source, target = sys.argv[1:]
db = duckdb.connect()
db.execute("SET threads = 1")


def seconds():
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


before = seconds()
db.execute(f"COPY (SELECT * FROM read_json('{source}', format = 'newline_delimited')) TO '{target}' (FORMAT parquet, COMPRESSION zstd)")
print(seconds() - before)
