"""What people do with restic: a repository that is filled, pruned, read through and restored. usage: restic_suite.py [WORD]"""

import json

import suite
from suite import MIB, content, output, refused


def check_backups_are_made_pruned_read_and_restored(bucket):
    how = {"environment": {"RESTIC_REPOSITORY": f"s3:{suite.ENDPOINT}/{bucket}/deep/er", "RESTIC_PASSWORD": "secret",
                           "RESTIC_CACHE_DIR": str(suite.folder())}}

    def restic(*arguments):
        return output("restic", "--json", "--quiet", *arguments, **how).decode()

    def snapshots():
        return [entry["short_id"] for entry in json.loads(restic("snapshots"))]

    tree, _ = suite.odd_tree()
    (tree / "large.bin").write_bytes(content(1, 24 * MIB))
    (tree / "going.bin").write_bytes(content(2, 6 * MIB))
    restic("init")
    assert "already" in refused("restic", "init", **how)
    restic("backup", tree)
    first = suite.files_below(tree)
    (tree / "going.bin").unlink()
    (tree / "a b.txt").write_bytes(b"changed")
    (tree / "new.bin").write_bytes(content(3, 5 * MIB))
    restic("backup", tree)
    second = suite.files_below(tree)
    ids = snapshots()
    assert len(ids) == 2
    for snapshot, expected in zip(ids, (first, second)):
        back = suite.folder()
        restic("restore", snapshot, "--target", back)
        suite.same(suite.files_below(back / tree.relative_to("/")), expected)

    def stored():
        objects = suite.s3.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix="deep/er/data/")
        return sum(entry["Size"] for page in objects for entry in page.get("Contents", []))

    before = stored()
    restic("forget", "--keep-last=1", "--prune")
    assert snapshots() == ids[1:]
    assert before - stored() > 5 * MIB, "pruning gave nothing back"
    output("restic", "check", "--read-data", **how)
    back = suite.folder()
    restic("restore", "latest", "--target", back)
    suite.same(suite.files_below(back / tree.relative_to("/")), second)
    assert restic("list", "locks").strip() == "", "a lock is left"


def check_damage_is_seen(bucket):
    how = {"environment": {"RESTIC_REPOSITORY": f"s3:{suite.ENDPOINT}/{bucket}", "RESTIC_PASSWORD": "secret",
                           "RESTIC_CACHE_DIR": str(suite.folder())}}
    tree, _ = suite.odd_tree()
    output("restic", "init", **how)
    output("restic", "backup", tree, **how)
    pack = suite.keys(bucket, "data/")[0]
    data = bytearray(suite.body(bucket, pack))
    data[len(data) // 2] ^= 1
    suite.s3.put_object(Bucket=bucket, Key=pack, Body=bytes(data))
    refused("restic", "check", "--read-data", **how)


suite.main(globals())
