//! Access lists between the wire and the object store: canned names, grant headers, XML.

use crate::error_map::Refusal;
use crate::notes::Notes;
use cistern_access::Identity;
use cistern_objects::{BucketRecord, ObjectOwnership};
use cistern_types::{Acl, AclPermission, Grant, Grantee, Owner, OwnerId};
use http::{HeaderMap, HeaderValue};
use s3s::dto;

const ALL_USERS: &str = "http://acs.amazonaws.com/groups/global/AllUsers";
const AUTHENTICATED_USERS: &str = "http://acs.amazonaws.com/groups/global/AuthenticatedUsers";

/// Headers that grant one permission each.
const GRANT_HEADERS: [(&str, AclPermission); 5] = [
    ("x-amz-grant-full-control", AclPermission::FullControl),
    ("x-amz-grant-read", AclPermission::Read),
    ("x-amz-grant-read-acp", AclPermission::ReadAcp),
    ("x-amz-grant-write", AclPermission::Write),
    ("x-amz-grant-write-acp", AclPermission::WriteAcp),
];

/// The list that a write's headers ask for, for something of `owner` in a bucket of `bucket_owner`.
pub(crate) fn asked(headers: &HeaderMap, owner: &Owner, bucket_owner: &Owner) -> Result<Option<Acl>, Refusal> {
    let canned = headers.get("x-amz-acl").map(HeaderValue::as_bytes);
    let mut grants = Vec::new();
    for (name, permission) in GRANT_HEADERS {
        for value in headers.get_all(name) {
            for grantee in value.to_str().unwrap_or_default().split(',') {
                grants.push(Grant { grantee: grantee_of(grantee.trim())?, permission });
            }
        }
    }
    match (canned, grants.is_empty()) {
        (None, true) => Ok(None),
        (None, false) => Acl::new(grants).map(Some).ok_or_else(Refusal::malformed_acl),
        (Some(_), false) => {
            Err(Refusal::invalid_request("Specifying both Canned ACLs and Header Grants is not allowed"))
        }
        (Some(name), true) => {
            let acl = Acl::canned(std::str::from_utf8(name).unwrap_or_default(), owner, bucket_owner);
            acl.map(Some).ok_or_else(|| Refusal::invalid_argument("Unknown canned ACL."))
        }
    }
}

/// `id="..."` or `uri="..."`.
fn grantee_of(text: &str) -> Result<Grantee, Refusal> {
    let (kind, value) =
        text.split_once('=').ok_or_else(|| Refusal::invalid_argument("Argument format not recognized"))?;
    let value = value.trim().trim_matches('"');
    match kind.trim().to_ascii_lowercase().as_str() {
        "id" => owner_grantee(value),
        "uri" => group_of(value),
        "emailaddress" => Err(no_such_email()),
        _ => Err(Refusal::invalid_argument("Argument format not recognized")),
    }
}

fn owner_grantee(id: &str) -> Result<Grantee, Refusal> {
    let id: OwnerId = id.parse().map_err(|_| Refusal::invalid_argument("Invalid id"))?;
    Ok(Grantee::Owner { id, name: None })
}

fn group_of(uri: &str) -> Result<Grantee, Refusal> {
    match uri {
        ALL_USERS => Ok(Grantee::AllUsers),
        AUTHENTICATED_USERS => Ok(Grantee::AuthenticatedUsers),
        _ => Err(Refusal::invalid_argument("Invalid group uri")),
    }
}

fn no_such_email() -> Refusal {
    let text = "The e-mail address you provided does not match any account on record.";
    Refusal::new(("UnresolvableGrantByEmailAddress", 400), text)
}

/// The list of an XML body, which must be about something of `owner`.
pub(crate) fn from_xml(policy: dto::AccessControlPolicy, owner: &Owner) -> Result<Acl, Refusal> {
    let named = policy.owner.and_then(|owner| owner.id).ok_or_else(Refusal::malformed_acl)?;
    if named != owner.id.to_string() {
        return Err(Refusal::access_denied());
    }
    let grants = policy.grants.unwrap_or_default().into_iter().map(grant_from);
    Acl::new(grants.collect::<Result<_, _>>()?).ok_or_else(Refusal::malformed_acl)
}

fn grant_from(grant: dto::Grant) -> Result<Grant, Refusal> {
    let (grantee, permission) = grant.grantee.zip(grant.permission).ok_or_else(Refusal::malformed_acl)?;
    let permission = AclPermission::ALL.into_iter().find(|own| own.as_str() == permission.as_str());
    let permission = permission.ok_or_else(Refusal::malformed_acl)?;
    let grantee = match grantee.type_.as_str() {
        dto::Type::CANONICAL_USER => {
            // the name is for show, and not the sender's to give
            owner_grantee(&grantee.id.ok_or_else(Refusal::malformed_acl)?)?
        }
        dto::Type::GROUP => group_of(&grantee.uri.ok_or_else(Refusal::malformed_acl)?)?,
        dto::Type::AMAZON_CUSTOMER_BY_EMAIL => return Err(no_such_email()),
        _ => return Err(Refusal::malformed_acl()),
    };
    Ok(Grant { grantee, permission })
}

/// A list as answers show it; without one, that the owner may do everything.
pub(crate) fn grants_of(acl: Option<&Acl>, owner: &Owner) -> Vec<dto::Grant> {
    let private = Acl::canned("private", owner, owner).unwrap_or_default();
    acl.unwrap_or(&private).grants().iter().map(|grant| grant_of(grant, owner)).collect()
}

fn grant_of(grant: &Grant, owner: &Owner) -> dto::Grant {
    let group = |uri: &str| dto::Grantee {
        display_name: None,
        email_address: None,
        id: None,
        type_: dto::Type::from_static(dto::Type::GROUP),
        uri: Some(uri.to_owned()),
    };
    let grantee = match &grant.grantee {
        Grantee::AllUsers => group(ALL_USERS),
        Grantee::AuthenticatedUsers => group(AUTHENTICATED_USERS),
        Grantee::Owner { id, name } => dto::Grantee {
            display_name: name.clone().or_else(|| (*id == owner.id).then(|| owner.name.clone())),
            email_address: None,
            id: Some(id.to_string()),
            type_: dto::Type::from_static(dto::Type::CANONICAL_USER),
            uri: None,
        },
    };
    dto::Grant { grantee: Some(grantee), permission: Some(dto::Permission::from_static(grant.permission.as_str())) }
}

/// An owner as answers show it.
pub(crate) fn owner_of(owner: &Owner) -> dto::Owner {
    dto::Owner { display_name: Some(owner.name.clone()), id: Some(owner.id.to_string()) }
}

/// Whose a new object is, and its list, as the request's headers and the bucket's settings have it.
pub(crate) fn of_new_object(notes: &Notes, headers: &HeaderMap) -> Result<(Option<Owner>, Option<Acl>), Refusal> {
    let bucket = notes.bucket()?;
    let bucket_owner = bucket.owned_by();
    let writer = notes.asker().map_or_else(|| bucket_owner.clone(), Identity::owner);
    let gives_away = headers.get("x-amz-acl").is_some_and(|acl| acl == "bucket-owner-full-control");
    let ownership = bucket.settings.object_ownership;
    if bucket.enforces_owner() {
        let asks = !gives_away && asked(headers, &writer, &bucket_owner)?.is_some();
        return if asks { Err(no_acls()) } else { Ok((None, None)) };
    }
    let acl = asked(headers, &writer, &bucket_owner)?;
    check_public(bucket, acl.as_ref())?;
    let theirs = ownership == Some(ObjectOwnership::BucketOwnerPreferred) && gives_away;
    if writer.id == bucket_owner.id || theirs {
        return Ok((None, acl.filter(|_| !theirs)));
    }
    Ok((Some(writer), acl))
}

/// Refuses a public list where the bucket blocks them.
pub(crate) fn check_public(bucket: &BucketRecord, acl: Option<&Acl>) -> Result<(), Refusal> {
    let blocks = bucket.settings.public_access_block.is_some_and(|block| block.block_public_acls);
    if blocks && acl.is_some_and(Acl::is_public) { Err(Refusal::access_denied()) } else { Ok(()) }
}

/// Refuses a list where there are none.
pub(crate) fn no_acls() -> Refusal {
    Refusal::new(("AccessControlListNotSupported", 400), "The bucket does not allow ACLs")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn owner(byte: u8) -> Owner {
        Owner { id: OwnerId::from_bytes([byte; 32]), name: format!("owner {byte}") }
    }

    fn ask(pairs: &[(&'static str, &str)]) -> Result<Option<Acl>, String> {
        let pairs = pairs.iter().map(|(name, value)| ((*name).parse().unwrap(), value.parse().unwrap()));
        asked(&pairs.collect(), &owner(1), &owner(1)).map_err(|refusal| refusal.into_s3().code().as_str().to_owned())
    }

    #[test]
    fn headers_name_a_list_or_its_grants() {
        assert_eq!(ask(&[]), Ok(None));
        assert!(ask(&[("x-amz-acl", "public-read")]).unwrap().unwrap().is_public());
        let id = owner(2).id.to_string();
        let grants = ask(&[("x-amz-grant-read", &format!("id=\"{id}\", uri=\"{ALL_USERS}\""))]).unwrap().unwrap();
        assert!(grants.allows(Some(owner(2).id), AclPermission::Read, true));
        assert!(grants.is_public() && !grants.allows(None, AclPermission::Write, false));
        for (bad, code) in [
            (&[("x-amz-acl", "public-ready")][..], "InvalidArgument"),
            (&[("x-amz-acl", "private"), ("x-amz-grant-read", "id=x")], "InvalidArgument"),
            (&[("x-amz-grant-read", "emailAddress=\"a@b\"")], "UnresolvableGrantByEmailAddress"),
            (&[("x-amz-grant-read", "uri=\"http://x/\"")], "InvalidArgument"),
            (&[("x-amz-grant-read", "everybody")], "InvalidArgument"),
        ] {
            assert_eq!(ask(bad), Err(code.to_owned()), "{bad:?}");
        }
        assert_eq!(
            ask(&[("x-amz-acl", "private"), ("x-amz-grant-read", &format!("id={id}"))]),
            Err("InvalidRequest".into())
        );
    }

    #[test]
    fn lists_go_through_xml_and_come_back() {
        let acl = Acl::canned("public-read-write", &owner(1), &owner(1)).unwrap();
        let policy = |by: &Owner| dto::AccessControlPolicy {
            grants: Some(grants_of(Some(&acl), &owner(1))),
            owner: Some(owner_of(by)),
        };
        let back = from_xml(policy(&owner(1)), &owner(1)).unwrap();
        assert_eq!(grants_of(Some(&back), &owner(1)), grants_of(Some(&acl), &owner(1)));
        assert!(from_xml(policy(&owner(2)), &owner(1)).is_err(), "of another owner");
        let private = grants_of(None, &owner(1));
        assert_eq!(private.len(), 1);
        assert_eq!(private[0].permission.as_ref().unwrap().as_str(), "FULL_CONTROL");
    }
}
