//! Clients that overwrite and delete the same few keys of a bucket with versions.

use super::{clients, race, rounds};
use crate::sandbox::server_with_bucket;
use anyhow::Context as _;
use cistern_tests::{Call, S3, wait};
use rand::RngExt as _;
use std::collections::BTreeMap;
use std::time::Instant;

const CLIENTS: usize = 16;
const KEYS: usize = 3;
const PAGE: usize = 37;

/// What a client was told about a version it made.
#[derive(Debug, Clone)]
struct Made {
    key: String,
    id: String,
    /// `None` for a delete marker.
    body: Option<String>,
    asked: Instant,
    answered: Instant,
    /// Its maker has deleted it since.
    removed: bool,
}

/// One row of a listing.
#[derive(Debug)]
struct Row {
    key: String,
    id: String,
    marker: bool,
    page: usize,
    latest: bool,
    modified: String,
}

/// Overwrites, sets delete markers and removes versions of its own.
fn work(s3: &mut S3, client: usize, steps: u32) -> anyhow::Result<Vec<Made>> {
    let mut made: Vec<Made> = Vec::new();
    for step in 0..steps {
        let key = format!("key-{}", rand::rng().random_range(0..KEYS));
        let path = format!("/races/{key}");
        let asked = wait::now();
        let (body, answer) = match rand::rng().random_range(0..8) {
            0 if !made.is_empty() => {
                let gone = rand::rng().random_range(0..made.len());
                let Made { key, id, removed, .. } = &mut made[gone];
                s3.send(&Call::new("DELETE", &format!("/races/{key}")).query("versionId", id))?.ok()?;
                *removed = true;
                continue;
            }
            0 | 1 => (None, s3.send(&Call::new("DELETE", &path))?.ok()?),
            _ => {
                let body = format!("{client} {step}");
                let answer = s3.send(&Call::new("PUT", &path).body(body.as_bytes()))?.ok()?;
                (Some(body), answer)
            }
        };
        let id = answer.header("x-amz-version-id").context("no version id")?.to_owned();
        made.push(Made { key, id, body, asked, answered: wait::now(), removed: false });
    }
    Ok(made)
}

/// All versions page by page, in the order of the listing.
fn listed(s3: &mut S3) -> Vec<Row> {
    let mut rows = Vec::new();
    let mut after: Option<(String, String)> = None;
    for page_number in 0.. {
        let mut call = Call::new("GET", "/races").query("versions", "").query("max-keys", &PAGE);
        if let Some((key, id)) = &after {
            call = call.query("key-marker", key).query("version-id-marker", id);
        }
        let page = s3.send(&call).unwrap().ok().unwrap();
        let text = page.text();
        let pieces = text.split("<Version>").flat_map(|piece| piece.split("<DeleteMarker>"));
        for piece in pieces.skip(1) {
            let field = |name: &str| {
                let (_, rest) = piece.split_once(&format!("<{name}>")).unwrap_or_else(|| panic!("no {name}: {piece}"));
                rest.split_once("</").unwrap().0.to_owned()
            };
            rows.push(Row {
                key: field("Key"),
                id: field("VersionId"),
                marker: piece.contains("</DeleteMarker>"),
                page: page_number,
                latest: field("IsLatest") == "true",
                modified: field("LastModified"),
            });
        }
        if page.xml("IsTruncated") != "true" {
            break;
        }
        after = Some((page.xml("NextKeyMarker"), page.xml("NextVersionIdMarker")));
    }
    rows
}

/// Newest first: nothing stands before what was asked for only after it had been answered. A page shows its versions before its delete
/// markers, so that within a page only rows of one kind have an order.
fn check_order(rows: &[Row], made: &BTreeMap<&str, &Made>) {
    for key in (0..KEYS).map(|key| format!("key-{key}")) {
        let of_key: Vec<&Row> = rows.iter().filter(|row| row.key == key).collect();
        let latest: Vec<&Row> = of_key.iter().copied().filter(|row| row.latest).collect();
        assert_eq!(latest.len(), usize::from(!of_key.is_empty()), "{key}: {latest:?} are the latest");
        let stands_before = |newer: &Row, older: &Row| {
            newer.page < older.page || newer.latest || (newer.page == older.page && newer.marker == older.marker)
        };
        for (place, newer) in of_key.iter().enumerate() {
            for older in of_key[place + 1..].iter().filter(|older| stands_before(newer, older)) {
                let (this, other) = (made[newer.id.as_str()], made[older.id.as_str()]);
                assert!(this.answered >= other.asked, "{key}: {} is listed as newer than {}", newer.id, older.id);
                assert!(newer.modified >= older.modified, "{key}: times go back, from {newer:?} to {older:?}");
            }
        }
        for older in of_key.iter().filter(|row| !row.latest) {
            let (this, other) = (made[latest[0].id.as_str()], made[older.id.as_str()]);
            assert!(this.answered >= other.asked, "{key}: {} is the latest, and older than {}", latest[0].id, older.id);
        }
    }
}

#[test]
fn every_acknowledged_version_is_listed_once_newest_first_and_readable() {
    let (_sandbox, server, mut s3) = server_with_bucket("races");
    let on = "<VersioningConfiguration><Status>Enabled</Status></VersioningConfiguration>";
    s3.send(&Call::new("PUT", "/races").query("versioning", "").body(on.as_bytes())).unwrap().ok().unwrap();
    let steps = rounds();
    let mut writing = clients(&server, CLIENTS);
    let made = race(&mut writing, 0, |client, s3| work(s3, client, steps)).concat();
    let ids: BTreeMap<&str, &Made> = made.iter().map(|version| (version.id.as_str(), version)).collect();
    assert_eq!(ids.len(), made.len(), "two versions have one id");
    let rows = listed(&mut s3);
    let mut expected: Vec<&str> = made.iter().filter(|version| !version.removed).map(|v| v.id.as_str()).collect();
    let mut found: Vec<&str> = rows.iter().map(|row| row.id.as_str()).collect();
    expected.sort_unstable();
    found.sort_unstable();
    assert_eq!(found, expected, "the listing and what was acknowledged differ");
    check_order(&rows, &ids);
    // of very many versions that took longer than the server lets a connection idle
    let mut s3 = server.s3().unwrap();
    for row in &rows {
        let version = ids[row.id.as_str()];
        assert_eq!((&row.key, row.marker), (&version.key, version.body.is_none()), "{row:?}");
        let read = s3.send(&Call::new("GET", &format!("/races/{}", row.key)).query("versionId", &row.id)).unwrap();
        match &version.body {
            Some(body) => assert_eq!((read.status, read.text()), (200, body.clone()), "{row:?}"),
            None => assert_eq!(read.status, 405, "{row:?}"),
        }
    }
    for version in made.iter().filter(|version| version.removed) {
        let call = Call::new("GET", &format!("/races/{}", version.key)).query("versionId", &version.id);
        assert_eq!(s3.send(&call).unwrap().status, 404, "{version:?} was removed");
    }
    println!("races: {} versions of {CLIENTS} clients, {} listed once each, in order", made.len(), rows.len());
}
