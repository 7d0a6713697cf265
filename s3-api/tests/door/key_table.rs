//! Keys of every kind, and nobody known, for every operation there is: what they may do in a bucket that is private, and in one
//! whose access lists have one grant, by the words of docs/guide/access.md and the columns of docs/s3-compatibility.md.

use crate::every_operation::{About, Open, Pass, Place, Row, furnish, place, rows};
use crate::house::{Answer, Call, House, house};
use cistern_access::Permission;

/// Who asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Asker {
    /// A key of the bucket's owner, bound to a bucket or not.
    Owners(Option<&'static str>, Permission),
    /// An admin key of another owner.
    Other,
    Nobody,
}

impl Asker {
    /// What he signs with, if he does.
    async fn pass(self, house: &House) -> Option<Pass> {
        let keys = match self {
            Self::Nobody => return None,
            Self::Other => house.key(Some("ada"), None, Permission::Admin).await,
            Self::Owners(bucket, permission) => house.key(None, bucket, permission).await,
        };
        Some(Pass { keys, token: None, presigned: false })
    }
}

fn asked(row: &Row, pass: Option<&Pass>) -> Call {
    pass.map_or_else(|| row.anonymous(), |pass| row.by(pass))
}

/// A house with `photos` and `cat` in it, under access lists with one grant to everybody.
async fn granting(grant: Option<&str>) -> (House, Place) {
    let house = house();
    furnish(&house, &house.root, "photos", Open::Not).await;
    let at = place(&house, &house.root, "photos", "cat", Open::Not).await;
    if let Some((what, permission)) = grant.and_then(|grant| grant.split_once(' ')) {
        let path = if what == "bucket" { "/photos?acl" } else { "/photos/cat?acl" };
        let name = format!("x-amz-grant-{}", permission.trim_matches('`').replace('_', "-").to_lowercase());
        let everybody = r#"uri="http://acs.amazonaws.com/groups/global/AllUsers""#;
        house.send(&Call::put(path).header(&name, everybody)).await.expect(200);
    }
    (house, at)
}

/// The asker may do the rows that `may` says, and is denied all others, which change nothing.
async fn check(grant: Option<&str>, asker: Asker, may: impl Fn(&Row) -> bool) {
    let (house, at) = granting(grant).await;
    let (pass, before) = (asker.pass(&house).await, house.state().await);
    for (index, row) in rows(&at).iter().enumerate() {
        let case = format!("{grant:?} {asker:?} {row:?}");
        if may(row) {
            let (house, at) = granting(grant).await;
            let (row, pass) = (&rows(&at)[index], asker.pass(&house).await);
            let answer = house.send(&asked(row, pass.as_ref())).await;
            assert!(row.is_done(&answer), "{case}: {} {}", answer.status, answer.text());
        } else {
            let answer = house.send(&asked(row, pass.as_ref())).await;
            assert!(is_refused(asker, row, &answer), "{case}: {} {}", answer.status, answer.text());
            assert!(house.state().await == before, "{case} changed something");
        }
    }
}

fn is_refused(asker: Asker, row: &Row, answer: &Answer) -> bool {
    // that a name is taken learns who may make buckets
    let taken = asker == Asker::Other && row.name == "CreateBucket";
    if taken { row.is_refused(answer, "BucketAlreadyExists", 409) } else { row.is_denied(answer) }
}

#[tokio::test]
async fn keys_of_the_owner_do_what_their_permission_says() {
    for permission in Permission::ALL {
        for bucket in [None, Some("photos")] {
            check(None, Asker::Owners(bucket, permission), |row| permission >= row.needs).await;
        }
    }
}

#[tokio::test]
async fn keys_for_another_bucket_do_nothing_but_list_it() {
    for permission in Permission::ALL {
        check(None, Asker::Owners(Some("logs"), permission), |row| row.about == About::Account).await;
    }
}

#[tokio::test]
async fn others_do_nothing_in_a_private_bucket() {
    check(None, Asker::Other, |row| row.about == About::Account).await;
    check(None, Asker::Nobody, |_| false).await;
}

#[tokio::test]
async fn a_grant_opens_to_others_what_the_page_says_and_nothing_else() {
    for grant in [
        "bucket `READ`",
        "bucket `WRITE`",
        "bucket `READ_ACP`",
        "bucket `WRITE_ACP`",
        "object `READ`",
        "object `READ_ACP`",
        "object `WRITE_ACP`",
    ] {
        let opens = |row: &Row| row.grant == grant && !row.takes_more();
        check(Some(grant), Asker::Other, |row| row.about == About::Account || opens(row)).await;
        let for_keys = |row: &Row| row.needs == Permission::Admin || row.name == "CreateMultipartUpload";
        check(Some(grant), Asker::Nobody, |row| opens(row) && !for_keys(row)).await;
    }
}
