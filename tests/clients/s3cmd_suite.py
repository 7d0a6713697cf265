"""What people do with s3cmd. usage: s3cmd_suite.py [WORD]"""

import json
import uuid

import suite
from suite import MIB, content, output, refused, s3


def s3cmd(*arguments, **how):
    return output("s3cmd", *OPTIONS, *arguments, **how).decode()


OPTIONS = ["--config=/dev/null", "--no-ssl", f"--host={suite.HOST}", f"--host-bucket={suite.HOST}",
           f"--region={suite.REGION}", "--no-progress"]


def check_buckets_are_made_listed_and_removed(bucket):
    made = f"s3cmd-{uuid.uuid4().hex[:12]}"
    s3cmd("mb", f"s3://{made}")
    listed = [line.split()[-1] for line in s3cmd("ls").splitlines()]
    assert f"s3://{made}" in listed and f"s3://{bucket}" in listed, listed
    s3cmd("rb", f"s3://{made}")
    assert f"s3://{made}" not in s3cmd("ls")
    s3.put_object(Bucket=bucket, Key="a", Body=b"a")
    assert "BucketNotEmpty" in refused("s3cmd", *OPTIONS, "rb", f"s3://{bucket}")
    assert "does not exist" in refused("s3cmd", *OPTIONS, "ls", f"s3://{made}")


def check_a_tree_of_odd_names_is_synced_there_and_back(bucket):
    tree, files = suite.odd_tree()
    assert s3cmd("sync", f"{tree}/", f"s3://{bucket}/tree/").count("upload: ") == len(files)
    suite.same(suite.objects_below(bucket, "tree/"), files)
    assert "upload: " not in s3cmd("sync", f"{tree}/", f"s3://{bucket}/tree/"), "a second sync finds something to do"
    listed = s3cmd("ls", "--recursive", f"s3://{bucket}/tree/").splitlines()
    assert {line.split(f"s3://{bucket}/tree/")[1] for line in listed} == files.keys()
    back = suite.folder()
    s3cmd("sync", f"s3://{bucket}/tree/", f"{back}/")
    suite.same(suite.files_below(back), files)


def check_a_sync_removes_what_is_gone_and_brings_what_changed(bucket):
    tree, files = suite.odd_tree()
    s3cmd("sync", f"{tree}/", f"s3://{bucket}/")
    (tree / "a b.txt").unlink()
    (tree / "plus+sign.txt").write_bytes(b"changed")
    s3cmd("sync", "--delete-removed", f"{tree}/", f"s3://{bucket}/")
    del files["a b.txt"]
    suite.same(suite.objects_below(bucket, ""), files | {"plus+sign.txt": b"changed"})


def check_a_large_file_goes_in_parts_and_comes_back(bucket):
    file, back = suite.folder() / "large.bin", suite.folder() / "back.bin"
    file.write_bytes(content(1, 24 * MIB + 77))
    s3cmd("put", "--multipart-chunk-size-mb=5", file, f"s3://{bucket}/large.bin")
    assert s3.head_object(Bucket=bucket, Key="large.bin")["ETag"].endswith('-5"')
    s3cmd("get", f"s3://{bucket}/large.bin", back)
    assert back.read_bytes() == file.read_bytes()
    assert s3cmd("multipart", f"s3://{bucket}").splitlines()[2:] == [], "an upload is left"


def check_objects_are_copied_and_moved_under_odd_names(bucket):
    _, files = suite.odd_tree()
    for name, data in files.items():
        s3.put_object(Bucket=bucket, Key=f"from/{name}", Body=data)
    s3cmd("cp", "--recursive", f"s3://{bucket}/from/", f"s3://{bucket}/to/")
    suite.same(suite.objects_below(bucket, "to/"), files)
    s3cmd("mv", "--recursive", f"s3://{bucket}/to/", f"s3://{bucket}/moved/")
    suite.same(suite.objects_below(bucket, "moved/"), files)
    assert suite.keys(bucket, "to/") == []


def check_headers_metadata_and_tags(bucket):
    file = suite.folder() / "a.csv"
    file.write_bytes(b"1,2\n")
    address = f"s3://{bucket}/a.csv"
    s3cmd("put", "--mime-type=text/csv", "--add-header=x-amz-meta-colour:blue", "--add-header=Cache-Control:max-age=7",
          "--add-header=x-amz-tagging:team=red", file, address)
    found = s3.head_object(Bucket=bucket, Key="a.csv")
    assert (found["ContentType"], found["CacheControl"], found["Metadata"]["colour"]) == ("text/csv", "max-age=7", "blue")
    assert "team:\tred" in s3cmd("gettagging", address)
    s3cmd("settagging", address, "one=1&two=zwei 2")
    tags = {tag["Key"]: tag["Value"] for tag in s3.get_object_tagging(Bucket=bucket, Key="a.csv")["TagSet"]}
    assert tags == {"one": "1", "two": "zwei 2"}, tags
    s3cmd("modify", "--add-header=Content-Type:text/plain", "--add-header=x-amz-meta-shape:round", address)
    found = s3.head_object(Bucket=bucket, Key="a.csv")
    assert found["ContentType"] == "text/plain"
    assert (found["Metadata"]["shape"], found["Metadata"]["colour"]) == ("round", "blue")
    assert suite.body(bucket, "a.csv") == b"1,2\n"
    s3cmd("deltagging", address)
    assert s3.get_object_tagging(Bucket=bucket, Key="a.csv")["TagSet"] == []
    told = s3cmd("info", address)
    assert "MIME type: text/plain" in told and "x-amz-meta-shape: round" in told and "File size: 4" in told, told


def check_a_stream_comes_in_and_goes_out(bucket):
    s3cmd("put", "-", f"s3://{bucket}/stream", stdin=b"from a pipe\n")
    assert suite.body(bucket, "stream") == b"from a pipe\n"
    assert s3cmd("get", f"s3://{bucket}/stream", "-") == "from a pipe\n"


def check_a_bucket_is_set_up(bucket):
    address = f"s3://{bucket}"
    s3cmd("setversioning", address, "enable")
    s3cmd("settagging", address, "team=red")
    assert "team:\tred" in s3cmd("gettagging", address)
    allow = {"Effect": "Allow", "Principal": "*", "Action": "s3:GetObject", "Resource": f"arn:aws:s3:::{bucket}/*"}
    policy = suite.folder() / "policy.json"
    policy.write_text(json.dumps({"Version": "2012-10-17", "Statement": [allow]}))
    s3cmd("setpolicy", policy, address)
    cors = suite.folder() / "cors.xml"
    cors.write_text("<CORSConfiguration><CORSRule><AllowedOrigin>https://a.example</AllowedOrigin>"
                    "<AllowedMethod>GET</AllowedMethod></CORSRule></CORSConfiguration>")
    s3cmd("setcors", cors, address)
    s3cmd("expire", "--expiry-days=30", "--expiry-prefix=tmp/", address)
    assert "<Days>30</Days>" in s3cmd("getlifecycle", address).replace("\n", "").replace("\t", "")
    told = s3cmd("info", address)
    for line in ("Versioning:Enabled", "s3:GetObject", "https://a.example", "objects with key prefix 'tmp/' will expire"):
        assert line in told, f"no {line} in\n{told}"
    for command in ("delpolicy", "delcors", "dellifecycle", "deltagging"):
        s3cmd(command, address)
    told = s3cmd("info", address)
    assert "Policy:    none" in told and "CORS:      none" in told and "Expiration rule: none" in told, told


def expiring(bucket, prefix):
    """Sets a lifecycle from a file with that XML as the prefix; answers the prefix the server has read."""
    rules = suite.folder() / "rules.xml"
    rules.write_text(f"<LifecycleConfiguration><Rule><ID>one</ID><Filter><Prefix>{prefix}</Prefix></Filter>"
                     "<Status>Enabled</Status><Expiration><Days>30</Days></Expiration></Rule></LifecycleConfiguration>")
    s3cmd("setlifecycle", rules, f"s3://{bucket}")
    return s3.get_bucket_lifecycle_configuration(Bucket=bucket)["Rules"][0]["Filter"]["Prefix"]


def check_a_prefix_in_a_section_of_character_data_is_not_lost(bucket):
    for written, read in (("<![CDATA[tmp/&]]>", "tmp/&"), ("a<![CDATA[b]]>c", "abc")):
        assert expiring(bucket, written) == read, f"{written} is read as {expiring(bucket, written)!r}"


def check_a_prefix_in_references_to_characters_is_read(bucket):
    for written, read in (("&amp;&#228;&#x65e5;", "&ä日"), ("&#128512;/", "😀/"), ("&#x1F600;/", "😀/")):
        assert expiring(bucket, written) == read, written


def check_an_access_list_is_set_and_taken_back(bucket):
    address = f"s3://{bucket}/a"
    s3.put_object(Bucket=bucket, Key="a", Body=b"a")
    s3.put_bucket_ownership_controls(Bucket=bucket, OwnershipControls={"Rules": [{"ObjectOwnership": "ObjectWriter"}]})
    s3cmd("setacl", "--acl-public", address)
    assert "*anon*: READ" in s3cmd("info", address)
    s3cmd("setacl", "--acl-private", address)
    assert "*anon*" not in s3cmd("info", address)


def check_all_is_counted_and_removed(bucket):
    tree, files = suite.odd_tree()
    s3cmd("put", "--recursive", f"{tree}/", f"s3://{bucket}/")
    size, count = s3cmd("du", f"s3://{bucket}").split()[:2]
    assert (int(size), int(count)) == (sum(map(len, files.values())), len(files))
    s3cmd("del", f"s3://{bucket}/a b.txt")
    assert "a b.txt" not in suite.keys(bucket)
    s3cmd("del", "--recursive", "--force", f"s3://{bucket}")
    assert suite.keys(bucket) == []


suite.main(globals())
