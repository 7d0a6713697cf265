"""What an application does with obstore, the object_store crate's face in Python. usage: obstore_suite.py [WORD]"""

import urllib.request
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import obstore
from obstore.exceptions import AlreadyExistsError, PreconditionError
from obstore.store import S3Store

import suite
from suite import MIB, content, s3


def store(bucket, prefix=None):
    return S3Store(bucket, prefix=prefix, access_key_id=suite.KEY, secret_access_key=suite.SECRET, region=suite.REGION,
                   endpoint=suite.ENDPOINT, client_options={"allow_http": True}, retry_config={"max_retries": 0})


def refused(error, call, *arguments, **how):
    try:
        call(*arguments, **how)
    except error:
        return
    raise AssertionError(f"{call.__name__} was not refused with {error.__name__}")


def read(at, key):
    return bytes(obstore.get(at, key).bytes())


def check_odd_keys_are_written_read_listed_copied_and_removed(bucket):
    at = store(bucket)
    for seed, key in enumerate(suite.ODD_NAMES):
        data = content(seed, 60 + seed)
        obstore.put(at, key, data, use_multipart=False)
        assert read(at, key) == data and obstore.head(at, key)["size"] == len(data)
        obstore.copy(at, key, f"copy of {key}")
        obstore.rename(at, f"copy of {key}", f"renamed/{key}")
    keys = sorted(suite.keys(bucket))
    assert sorted(entry["path"] for page in obstore.list(at) for entry in page) == keys
    assert [len(suite.body(bucket, key)) for key in keys] == [obstore.head(at, key)["size"] for key in keys]
    assert len(keys) == 2 * len(suite.ODD_NAMES)
    grouped = obstore.list_with_delimiter(at, "renamed")
    assert len(grouped["objects"]) + len(grouped["common_prefixes"]) == len(suite.ODD_NAMES)
    obstore.delete(at, keys)
    assert suite.keys(bucket) == []
    refused(FileNotFoundError, obstore.get, at, "plain.txt")


def check_the_keys_are_those_that_were_meant(bucket):
    """object_store encodes what it finds unfit for a path; what is left must arrive as it is."""
    at = store(bucket)
    fit = [name for name in suite.ODD_NAMES if not set(name) & set('"#%*<>?[]\\^`{|}~')]
    for name in fit:
        obstore.put(at, name, name.encode())
    suite.same(suite.objects_below(bucket, ""), {name: name.encode() for name in fit})


def check_writes_are_conditional(bucket):
    at = store(bucket)
    first = obstore.put(at, "c", b"1", mode="create")
    refused(AlreadyExistsError, obstore.put, at, "c", b"2", mode="create")
    assert read(at, "c") == b"1"
    second = obstore.put(at, "c", b"2", mode={"e_tag": first["e_tag"]})
    refused(PreconditionError, obstore.put, at, "c", b"3", mode={"e_tag": first["e_tag"]})
    assert read(at, "c") == b"2" and obstore.head(at, "c")["e_tag"] == second["e_tag"]


def check_reads_are_conditional_and_ranged(bucket):
    at = store(bucket)
    data = content(1, 3 * MIB)
    tag = obstore.put(at, "r", data)["e_tag"]
    assert bytes(obstore.get(at, "r", options={"if_match": tag}).bytes()) == data
    refused(PreconditionError, obstore.get, at, "r", options={"if_match": '"0"'})
    assert bytes(obstore.get_range(at, "r", start=MIB - 1, end=MIB + 1)) == data[MIB - 1 : MIB + 1]
    assert bytes(obstore.get(at, "r", options={"range": {"suffix": 5}}).bytes()) == data[-5:]
    starts = [0, 5, 1000, 2 * MIB]
    pieces = obstore.get_ranges(at, "r", starts=starts, lengths=[10] * len(starts))
    assert [bytes(piece) for piece in pieces] == [data[start : start + 10] for start in starts]


def check_large_bodies_go_in_parts_and_stream_back(bucket):
    at = store(bucket)
    data = content(1, 32 * MIB + 7)
    obstore.put(at, "parts", data, use_multipart=True, chunk_size=5 * MIB, max_concurrency=4)
    assert s3.head_object(Bucket=bucket, Key="parts")["ETag"].endswith('-7"')
    assert b"".join(bytes(chunk) for chunk in obstore.get(at, "parts").stream(min_chunk_size=MIB)) == data
    with obstore.open_writer(at, "written", buffer_size=5 * MIB) as writer:
        for start in range(0, len(data), 3 * MIB):
            writer.write(data[start : start + 3 * MIB])
    assert suite.body(bucket, "written") == data
    reader = obstore.open_reader(at, "written")
    reader.seek(20 * MIB)
    assert bytes(reader.read(100)) == data[20 * MIB : 20 * MIB + 100]


def check_attributes_and_tags(bucket):
    attributes = {"Content-Type": "text/csv", "Cache-Control": "max-age=7", "colour": "blue"}
    obstore.put(store(bucket), "a", b"1,2\n", attributes=attributes, tags={"team": "red + blue"})
    found = s3.head_object(Bucket=bucket, Key="a")
    assert (found["ContentType"], found["CacheControl"], found["Metadata"]) == ("text/csv", "max-age=7", {"colour": "blue"})
    assert s3.get_object_tagging(Bucket=bucket, Key="a")["TagSet"] == [{"Key": "team", "Value": "red + blue"}]
    assert dict(obstore.get(store(bucket), "a").attributes) == attributes


def check_lists_are_long_and_begin_anywhere(bucket):
    at = store(bucket, prefix="in side")
    with ThreadPoolExecutor(4) as workers:
        list(workers.map(lambda n: obstore.put(at, f"{n:04}", b"x"), range(1200)))
    listed = [entry["path"] for page in obstore.list(at) for entry in page]
    assert listed == [f"{n:04}" for n in range(1200)]
    assert [entry["path"] for page in obstore.list(at, offset="1196") for entry in page] == ["1197", "1198", "1199"]
    obstore.delete(at, listed)
    assert suite.keys(bucket) == []


def check_addresses_are_signed(bucket):
    at = store(bucket)
    address = obstore.sign(at, "PUT", "a b+ü", timedelta(minutes=1))
    urllib.request.urlopen(urllib.request.Request(address, data=b"by address", method="PUT"))
    assert urllib.request.urlopen(obstore.sign(at, "GET", "a b+ü", timedelta(minutes=1))).read() == b"by address"
    assert suite.body(bucket, "a b+ü") == b"by address"


suite.main(globals())
