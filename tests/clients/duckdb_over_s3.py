"""DuckDB with its own S3 client, on the server and with the key of the AWS_ variables."""

import os
import pathlib

import duckdb
import duckdb_ext


def connect():
    """A database in memory that reads `s3://` from the server."""
    folder = pathlib.Path(list(duckdb_ext.__path__)[0])
    extension = next(folder.rglob("httpfs.duckdb_extension"))
    key, secret = os.environ["AWS_ACCESS_KEY_ID"], os.environ["AWS_SECRET_ACCESS_KEY"]
    endpoint = os.environ["AWS_ENDPOINT_URL_S3"].split("://")[1]
    db = duckdb.connect()
    db.execute(f"LOAD '{extension}'")
    db.execute(
        f"CREATE SECRET (TYPE s3, KEY_ID '{key}', SECRET '{secret}', REGION 'auto', "
        f"ENDPOINT '{endpoint}', USE_SSL false, URL_STYLE 'path')"
    )
    return db
