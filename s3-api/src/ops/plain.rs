//! Configurations that no bucket has here: answered as S3 answers for a bucket without them. Notifications can be
//! cleared, the others cannot be set.

use super::{Answer, Operations};
use crate::error_map::Refusal;
use crate::notes::Notes;
use crate::notification;
use cistern_objects::ConfigurationKind;
use s3s::dto::{
    GetBucketAccelerateConfigurationInput, GetBucketAccelerateConfigurationOutput, GetBucketLoggingInput,
    GetBucketLoggingOutput, GetBucketNotificationConfigurationInput, GetBucketNotificationConfigurationOutput,
    GetBucketReplicationInput, GetBucketReplicationOutput, GetBucketRequestPaymentInput, GetBucketRequestPaymentOutput,
    GetBucketWebsiteInput, GetBucketWebsiteOutput, Payer, PutBucketNotificationConfigurationInput,
    PutBucketNotificationConfigurationOutput,
};
use s3s::{S3Request, S3Response};

/// Answers of functions that look at nothing: the access check has seen that the bucket is there.
macro_rules! always {
    ($($method:ident: $input:ty => $output:ty = $answer:expr;)*) => {$(
        pub(super) async fn $method(_: &Operations, _: &Notes, _: S3Request<$input>) -> Answer<$output> {
            $answer
        }
    )*};
}

always! {
    get_bucket_accelerate_configuration: GetBucketAccelerateConfigurationInput => GetBucketAccelerateConfigurationOutput =
        Ok(S3Response::new(GetBucketAccelerateConfigurationOutput::default()));
    get_bucket_logging: GetBucketLoggingInput => GetBucketLoggingOutput =
        Ok(S3Response::new(GetBucketLoggingOutput::default()));
    get_bucket_notification_configuration: GetBucketNotificationConfigurationInput => GetBucketNotificationConfigurationOutput =
        Ok(S3Response::new(GetBucketNotificationConfigurationOutput::default()));
    get_bucket_request_payment: GetBucketRequestPaymentInput => GetBucketRequestPaymentOutput =
        Ok(S3Response::new(GetBucketRequestPaymentOutput { payer: Some(Payer::from_static(Payer::BUCKET_OWNER)) }));
    get_bucket_replication: GetBucketReplicationInput => GetBucketReplicationOutput = Err(Refusal::new(
        ("ReplicationConfigurationNotFoundError", 404),
        "The replication configuration was not found",
    ));
    get_bucket_website: GetBucketWebsiteInput => GetBucketWebsiteOutput = Err(Refusal::new(
        ("NoSuchWebsiteConfiguration", 404),
        "The specified bucket does not have a website configuration",
    ));
}

pub(super) async fn put_bucket_notification_configuration(
    Operations { objects, .. }: &Operations,
    _notes: &Notes,
    request: S3Request<PutBucketNotificationConfigurationInput>,
) -> Answer<PutBucketNotificationConfigurationOutput> {
    notification::check(&request.input.notification_configuration)?;
    objects.set_configuration(&request.input.bucket.parse()?, ConfigurationKind::Notification, None).await?;
    Ok(S3Response::new(PutBucketNotificationConfigurationOutput::default()))
}
