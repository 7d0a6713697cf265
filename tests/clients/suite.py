"""What the suites of checks share: a bucket and a folder for each check, a second look through boto3, programs with a
time limit, programs that serve while a check runs, names that clients are known to stumble over, and the verdict.

A suite is a script of functions named check_*, each one check on a bucket of its own, and ends with `suite.main(globals())`.
That takes one argument, a WORD: only the checks whose name has it. It prints one line a check and `N passed, N failed`, and
exits 1 when one failed. Address and key come from the AWS_ variables.
"""

import contextlib
import os
import pathlib
import random
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import traceback
import uuid

import boto3
from botocore.config import Config

MIB = 1024 * 1024
ENDPOINT = os.environ["AWS_ENDPOINT_URL_S3"]
HOST = ENDPOINT.split("://")[1].rstrip("/")
KEY = os.environ["AWS_ACCESS_KEY_ID"]
SECRET = os.environ["AWS_SECRET_ACCESS_KEY"]
REGION = "auto"
PROGRAM_LIMIT_SECONDS = 120
SERVING_LIMIT_SECONDS = 60
ENDING_LIMIT_SECONDS = 10

# Names of files and keys, each with something that must be encoded, must not be, or has a meaning elsewhere.
ODD_NAMES = [
    "plain.txt",
    "a b.txt",
    "plus+sign.txt",
    "both + and space.txt",
    "per%cent%20x%2F.txt",
    "ünï/日本–語.txt",
    "😀.txt",
    "deep dir/é/x y+z.bin",
    "quote'&<>.txt",
    'double"quote.txt',
    "~=b;c,d@e$f!g(h).txt",
    "#hash.txt",
    "question?mark.txt",
    "[b]{c}^`|.txt",
    "star*.txt",
    "back\\slash.txt",
]

# The look from outside: another client than the one under test says what is there.
s3 = boto3.client("s3", config=Config(retries={"max_attempts": 1}, s3={"addressing_style": "path"}))
_scratch = tempfile.TemporaryDirectory(prefix="cistern-clients-")


def keys(bucket, prefix=""):
    """All keys below the prefix, in the server's order."""
    pages = s3.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix)
    return [entry["Key"] for page in pages for entry in page.get("Contents", [])]


def body(bucket, key):
    """The object's bytes."""
    return s3.get_object(Bucket=bucket, Key=key)["Body"].read()


def content(seed, length):
    """Bytes that a seed and a length name."""
    return random.Random(seed).randbytes(length)


def folder():
    """A new empty folder, gone when the suite ends."""
    return pathlib.Path(tempfile.mkdtemp(dir=_scratch.name))


def odd_tree():
    """A new folder with a file of each odd name; answers it and {name: bytes}."""
    root = folder()
    files = {name: content(seed, 100 + seed) for seed, name in enumerate(ODD_NAMES)}
    for name, data in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(data)
    return root, files


def files_below(root):
    """{name: bytes} of the files below a folder."""
    root = pathlib.Path(root)
    return {str(path.relative_to(root)): path.read_bytes() for path in root.rglob("*") if path.is_file()}


def objects_below(bucket, prefix):
    """{key without the prefix: bytes} of the objects below a prefix."""
    return {key[len(prefix):]: body(bucket, key) for key in keys(bucket, prefix)}


def same(found, expected):
    """Two {name: bytes} must be equal; says which names are not."""
    missing, extra = sorted(expected.keys() - found.keys()), sorted(found.keys() - expected.keys())
    differ = sorted(name for name in expected.keys() & found.keys() if expected[name] != found[name])
    assert not (missing or extra or differ), f"missing {missing}, too many {extra}, other bytes {differ}"


def launched(name, *arguments, environment=None):
    """The command line and the environment of a program of the Python environment or of PATH, with our account and nothing of the
    user's."""
    ours = os.path.dirname(sys.executable)
    path = f"{ours}:{os.environ['PATH']}"
    program = shutil.which(name, path=path)
    assert program, f"no {name}: `cargo xtask setup` installs it"
    account = {
        "AWS_ACCESS_KEY_ID": KEY, "AWS_SECRET_ACCESS_KEY": SECRET, "AWS_REGION": REGION, "AWS_DEFAULT_REGION": REGION,
        "AWS_EC2_METADATA_DISABLED": "true",
    }
    plain = {"PATH": path, "HOME": _scratch.name, "LC_ALL": "C.UTF-8", "TMPDIR": _scratch.name}
    return [program, *map(str, arguments)], plain | account | (environment or {})


def run(name, *arguments, environment=None, stdin=None):
    """Runs such a program to its end; answers the process."""
    command, environment = launched(name, *arguments, environment=environment)
    return subprocess.run(command, env=environment, input=stdin or b"", capture_output=True, timeout=PROGRAM_LIMIT_SECONDS)


def free_port():
    """A port of 127.0.0.1 that nobody listens at."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@contextlib.contextmanager
def serving(port, name, *arguments, environment=None):
    """Such a program while it serves at a port of 127.0.0.1: the block begins when it listens, and ends it whatever happens."""
    command, environment = launched(name, *arguments, environment=environment)
    told = folder() / "told"
    with told.open("wb") as log:
        child = subprocess.Popen(command, env=environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
    try:
        limit = time.monotonic() + SERVING_LIMIT_SECONDS
        while not _listens(port):
            said = told.read_text(errors="replace")[-4000:]
            assert child.poll() is None, f"{name} ended with {child.returncode}:\n{said}"
            assert time.monotonic() < limit, f"{name} does not listen at {port}:\n{said}"
            time.sleep(0.05)
        yield
    finally:
        _end(child)


def _listens(port):
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def _end(child):
    child.terminate()
    try:
        child.wait(timeout=ENDING_LIMIT_SECONDS)
    except subprocess.TimeoutExpired:
        child.kill()
        child.wait()


def output(name, *arguments, **how):
    """The same for a program that must succeed; answers its stdout as bytes."""
    done = run(name, *arguments, **how)
    said = (done.stdout + done.stderr)[-4000:].decode(errors="replace")
    assert done.returncode == 0, f"{name} {' '.join(map(str, arguments))} ended with {done.returncode}:\n{said}"
    return done.stdout


def refused(name, *arguments, **how):
    """The same for a program that must fail; answers what it said."""
    done = run(name, *arguments, **how)
    said = (done.stdout + done.stderr).decode(errors="replace")
    assert done.returncode != 0, f"{name} {' '.join(map(str, arguments))} was not refused:\n{said}"
    return said


def empty(bucket):
    """Removes the bucket with all versions in it."""
    for upload in s3.list_multipart_uploads(Bucket=bucket).get("Uploads", []):
        s3.abort_multipart_upload(Bucket=bucket, Key=upload["Key"], UploadId=upload["UploadId"])
    for page in s3.get_paginator("list_object_versions").paginate(Bucket=bucket):
        entries = page.get("Versions", []) + page.get("DeleteMarkers", [])
        gone = [{"Key": entry["Key"], "VersionId": entry["VersionId"]} for entry in entries]
        if gone:
            errors = s3.delete_objects(Bucket=bucket, Delete={"Objects": gone, "Quiet": True}).get("Errors")
            assert not errors, errors
    s3.delete_bucket(Bucket=bucket)


def main(names):
    """Runs the check_* functions of a script."""
    word = sys.argv[1] if len(sys.argv) > 1 else ""
    checks = [(name, check) for name, check in names.items() if name.startswith("check_") and word in name]
    failed = 0
    for name, check in checks:
        bucket = f"suite-{uuid.uuid4().hex[:12]}"
        start = time.monotonic()
        try:
            s3.create_bucket(Bucket=bucket)
            check(bucket)
            empty(bucket)
            print(f"passed {name} ({time.monotonic() - start:.1f} s)", flush=True)
        except Exception:
            failed += 1
            print(f"FAILED {name}\n{traceback.format_exc()}", flush=True)
    _scratch.cleanup()
    print(f"{len(checks) - failed} passed, {failed} failed")
    sys.exit(failed > 0 or not checks)
