//! Buckets: list, create, look at, delete; and the answers a fresh bucket gives about what it does not have.

use super::policy::{check_enforced, ownership_from};
use super::{Answer, Operations};
use crate::acl::{asked, owner_of};
use crate::error_map::Refusal;
use crate::headers::{tags_of, time_of};
use crate::notes::Notes;
use crate::ops::list::{decode_token, encode_token, page_limit};
use crate::ops::tagging::stored_tags;
use crate::r2::{BucketListing, IS_TRUNCATED, NEXT_TOKEN};
use cistern_access::Identity;
use cistern_objects::{BUCKET_TAGS_MAX, BucketRecord, BucketSpec, Error, ListBuckets, Objects, Tags};
use cistern_types::{Acl, BucketName, StorageClass};
use http::{HeaderMap, HeaderValue};
use s3s::dto::{
    Bucket, BucketInfo, BucketLocationConstraint, CreateBucketInput, CreateBucketOutput, DeleteBucketInput,
    DeleteBucketOutput, GetBucketLocationInput, GetBucketLocationOutput, HeadBucketInput, HeadBucketOutput,
    ListBucketsInput, ListBucketsOutput, LocationInfo, Tagging,
};
use s3s::xml::Deserializer;
use s3s::{S3Request, S3Response};
use std::sync::Arc;

/// The region of buckets made without one, as R2 has it.
const REGION: &str = "auto";

/// The longest location that is stored, in bytes.
const LOCATION_BYTES_MAX: usize = 64;

pub(super) async fn list_buckets(
    Operations { objects, .. }: &Operations,
    notes: &Notes,
    request: S3Request<ListBucketsInput>,
) -> Answer<ListBucketsOutput> {
    let identity = notes.identity()?;
    let asked = BucketListing::asked(request.uri.query(), &request.headers)?;
    let limit = page_limit(asked.limit.or(request.input.max_buckets))?;
    let after = asked.token.as_deref().map(decode_token).transpose()?.or(asked.start_after);
    let prefix = asked.prefix.clone().unwrap_or_default();
    let page = match &identity.key.bucket {
        None => {
            let owner = Some(identity.owner_id());
            let page = objects.buckets(ListBuckets { owner, prefix, after, limit }).await?;
            (page.buckets, page.next)
        }
        Some(bound) => (only_bucket(objects, identity, bound, &prefix, after.as_deref()).await?, None),
    };
    let buckets = page.0.into_iter().map(|bucket| Bucket {
        bucket_region: None,
        creation_date: Some(time_of(bucket.created)),
        name: Some(bucket.name.to_string()),
    });
    let token = page.1.as_deref().map(encode_token);
    let mut own = HeaderMap::new();
    own.insert(IS_TRUNCATED, HeaderValue::from_static(if token.is_some() { "true" } else { "false" }));
    if let Some(token) = token.as_deref().and_then(|token| HeaderValue::try_from(token).ok()) {
        own.insert(NEXT_TOKEN, token);
    }
    let output = ListBucketsOutput {
        buckets: Some(buckets.collect()),
        continuation_token: token,
        owner: Some(owner_of(&identity.owner())),
        prefix: asked.prefix,
    };
    Ok(S3Response::with_headers(output, own))
}

/// The one bucket that a bound key sees, if it is there and asked for.
async fn only_bucket(
    objects: &Objects,
    identity: &Identity,
    bound: &BucketName,
    prefix: &str,
    after: Option<&str>,
) -> Result<Vec<BucketRecord>, Refusal> {
    if !bound.as_str().starts_with(prefix) || after.is_some_and(|after| bound.as_str() <= after) {
        return Ok(Vec::new());
    }
    match objects.bucket(bound).await {
        Ok(bucket) if bucket.owner == identity.owner_id() => Ok(vec![Arc::unwrap_or_clone(bucket)]),
        Ok(_) | Err(Error::NoSuchBucket { .. }) => Ok(Vec::new()),
        Err(error) => Err(error.into()),
    }
}

pub(super) async fn create_bucket(
    Operations { objects, .. }: &Operations,
    notes: &Notes,
    request: S3Request<CreateBucketInput>,
) -> Answer<CreateBucketOutput> {
    let name: BucketName = request.input.bucket.parse()?;
    let location = request.input.create_bucket_configuration.and_then(|asked| asked.location_constraint);
    let location = location.map(|location| location.as_str().to_owned()).filter(|location| !location.is_empty());
    if location.as_ref().is_some_and(|location| location.len() > LOCATION_BYTES_MAX || !location.is_ascii()) {
        return Err(Refusal::new(
            ("InvalidLocationConstraint", 400),
            "The specified location-constraint is not valid: use at most 64 ASCII characters.",
        ));
    }
    let owner = notes.identity()?.owner();
    let class = crate::headers::storage_class(&request.headers)?.unwrap_or(StorageClass::Standard);
    let object_lock = request.input.object_lock_enabled_for_bucket.unwrap_or(false);
    let object_ownership = match request.headers.get("x-amz-object-ownership") {
        None => None,
        Some(value) => Some(
            ownership_from(value.to_str().unwrap_or_default())
                .ok_or_else(|| Refusal::invalid_argument("Invalid x-amz-object-ownership header"))?,
        ),
    };
    let acl = asked(&request.headers, &owner, &owner)?;
    check_enforced(object_ownership, acl.as_ref())?;
    let private = Acl::canned("private", &owner, &owner);
    let tags = notes.xml().filter(|xml| !xml.is_empty()).map(|xml| tags_of_new(xml)).transpose()?.flatten();
    let spec = BucketSpec { name: name.clone(), owner, class, location, object_lock, acl, object_ownership, tags };
    let asked = spec.acl.clone().or_else(|| private.clone());
    loop {
        match objects.create_bucket(spec.clone()).await {
            Ok(_) => break,
            // S3 answers a repeated request of the owner like the first, where nothing would be different
            Err(Error::BucketAlreadyOwnedByYou { bucket }) => {
                let present = match objects.bucket(&bucket).await {
                    Err(Error::NoSuchBucket { .. }) => continue, // deleted at this moment
                    present => present?,
                };
                let same = present.settings.acl.as_ref().or(private.as_ref()) == asked.as_ref()
                    && present.settings.object_ownership == object_ownership
                    && present.settings.object_lock.is_some() >= object_lock
                    && (spec.tags.is_none() || spec.tags == stored_tags(objects, &bucket).await?);
                if same {
                    break;
                }
                return Err(Error::BucketAlreadyExists { bucket }.into());
            }
            Err(error) => return Err(error.into()),
        }
    }
    Ok(S3Response::new(CreateBucketOutput { location: Some(format!("/{name}")) }))
}

/// The tags in the body of a CreateBucket, which s3s passes over.
fn tags_of_new(xml: &[u8]) -> Result<Option<Tags>, Refusal> {
    let mut tag_set = Vec::new();
    let read = Deserializer::new(xml).named_element("CreateBucketConfiguration", |reader| {
        reader.for_each_element(|reader, name| match name {
            b"Tags" => reader.for_each_element(|reader, _| reader.content().map(|tag| tag_set.push(tag))),
            b"Bucket" => reader.content::<BucketInfo>().map(drop),
            b"Location" => reader.content::<LocationInfo>().map(drop),
            _ => reader.text(|_| Ok(())),
        })
    });
    read.map_err(|_| Refusal::malformed_xml())?;
    let tags = tags_of(Tagging { tag_set }, BUCKET_TAGS_MAX)?;
    Ok(Some(tags).filter(|tags| !tags.is_empty()))
}

pub(super) async fn head_bucket(
    Operations { objects, .. }: &Operations,
    _notes: &Notes,
    request: S3Request<HeadBucketInput>,
) -> Answer<HeadBucketOutput> {
    let bucket = objects.bucket(&request.input.bucket.parse()?).await?;
    let region = bucket.location.clone().unwrap_or_else(|| REGION.to_owned());
    Ok(S3Response::new(HeadBucketOutput { bucket_region: Some(region), ..HeadBucketOutput::default() }))
}

pub(super) async fn delete_bucket(
    Operations { objects, .. }: &Operations,
    _notes: &Notes,
    request: S3Request<DeleteBucketInput>,
) -> Answer<DeleteBucketOutput> {
    objects.delete_bucket(&request.input.bucket.parse()?).await?;
    Ok(S3Response::with_status(DeleteBucketOutput::default(), http::StatusCode::NO_CONTENT))
}

pub(super) async fn get_bucket_location(
    Operations { objects, .. }: &Operations,
    _notes: &Notes,
    request: S3Request<GetBucketLocationInput>,
) -> Answer<GetBucketLocationOutput> {
    let bucket = objects.bucket(&request.input.bucket.parse()?).await?;
    let location_constraint = bucket.location.clone().map(BucketLocationConstraint::from);
    Ok(S3Response::new(GetBucketLocationOutput { location_constraint }))
}
