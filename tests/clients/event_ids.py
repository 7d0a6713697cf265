"""Prints the `id` of every event in the Parquet objects below BUCKET/PREFIX, one a line, repeated as often as it is stored.

usage: event_ids.py BUCKET PREFIX     (address and key from the AWS_ variables)
"""

import os
import sys

import pyarrow.dataset as dataset
from pyarrow.fs import FileSelector, FileType, S3FileSystem

bucket, prefix = sys.argv[1:]
s3 = S3FileSystem(
    access_key=os.environ["AWS_ACCESS_KEY_ID"],
    secret_key=os.environ["AWS_SECRET_ACCESS_KEY"],
    endpoint_override=os.environ["AWS_ENDPOINT_URL_S3"],
    region="auto",
)
found = s3.get_file_info(FileSelector(f"{bucket}/{prefix}".rstrip("/"), recursive=True, allow_not_found=True))
files = [info.path for info in found if info.type == FileType.File and info.path.endswith(".parquet")]
if files:
    table = dataset.dataset(files, filesystem=s3, format="parquet").to_table(["id"])
    sys.stdout.writelines(f"{value}\n" for value in table["id"].to_pylist())
