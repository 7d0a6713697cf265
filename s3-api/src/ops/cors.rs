//! The CORS rules of a bucket: set, read, removed. What follows from them for requests is `cors.rs` and the front.

use super::{Answer, Operations};
use crate::cors::{CorsConfiguration, CorsRule};
use crate::error_map::Refusal;
use crate::notes::Notes;
use cistern_objects::{ConfigurationKind, Objects};
use cistern_types::BucketName;
use s3s::dto::{
    self, DeleteBucketCorsInput, DeleteBucketCorsOutput, GetBucketCorsInput, GetBucketCorsOutput, PutBucketCorsInput,
    PutBucketCorsOutput,
};
use s3s::{S3Request, S3Response};

/// The rules of a bucket, if it has any.
pub(crate) async fn rules_of(objects: &Objects, bucket: &BucketName) -> Result<Option<CorsConfiguration>, Refusal> {
    let text = objects.configuration(bucket, ConfigurationKind::Cors).await?;
    text.map(|text| serde_json::from_str(&text).map_err(Refusal::internal)).transpose()
}

pub(super) async fn get_bucket_cors(
    Operations { objects, .. }: &Operations,
    _notes: &Notes,
    request: S3Request<GetBucketCorsInput>,
) -> Answer<GetBucketCorsOutput> {
    let rules = rules_of(objects, &request.input.bucket.parse()?)
        .await?
        .ok_or_else(|| Refusal::new(("NoSuchCORSConfiguration", 404), "The CORS configuration does not exist"))?;
    let some = |list: Vec<String>| Some(list).filter(|list| !list.is_empty());
    let rule = |rule: CorsRule| dto::CORSRule {
        allowed_headers: some(rule.allowed_headers),
        allowed_methods: rule.allowed_methods,
        allowed_origins: rule.allowed_origins,
        expose_headers: some(rule.expose_headers),
        id: rule.id,
        max_age_seconds: rule.max_age_seconds.and_then(|seconds| i32::try_from(seconds).ok()),
    };
    Ok(S3Response::new(GetBucketCorsOutput { cors_rules: Some(rules.rules.into_iter().map(rule).collect()) }))
}

pub(super) async fn put_bucket_cors(
    Operations { objects, .. }: &Operations,
    _notes: &Notes,
    request: S3Request<PutBucketCorsInput>,
) -> Answer<PutBucketCorsOutput> {
    let rule = |rule: dto::CORSRule| {
        let max_age_seconds = rule.max_age_seconds.map(u32::try_from).transpose();
        Ok(CorsRule {
            id: rule.id,
            allowed_origins: rule.allowed_origins,
            allowed_methods: rule.allowed_methods,
            allowed_headers: rule.allowed_headers.unwrap_or_default(),
            expose_headers: rule.expose_headers.unwrap_or_default(),
            max_age_seconds: max_age_seconds
                .map_err(|_| Refusal::invalid_request("MaxAgeSeconds cannot be negative."))?,
        })
    };
    let rules = request.input.cors_configuration.cors_rules.into_iter().map(rule).collect::<Result<_, Refusal>>()?;
    let configuration = CorsConfiguration { rules };
    configuration.check()?;
    let text = serde_json::to_string(&configuration).map_err(Refusal::internal)?;
    objects.set_configuration(&request.input.bucket.parse()?, ConfigurationKind::Cors, Some(text)).await?;
    Ok(S3Response::new(PutBucketCorsOutput::default()))
}

pub(super) async fn delete_bucket_cors(
    Operations { objects, .. }: &Operations,
    _notes: &Notes,
    request: S3Request<DeleteBucketCorsInput>,
) -> Answer<DeleteBucketCorsOutput> {
    objects.set_configuration(&request.input.bucket.parse()?, ConfigurationKind::Cors, None).await?;
    Ok(S3Response::new(DeleteBucketCorsOutput::default()))
}
