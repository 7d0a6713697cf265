//! A browser's form becomes an object: who signed its policy, what that allows, and then the same write as a PUT.

use crate::access_check::check_headers;
use crate::acl::of_new_object;
use crate::auth::{open_session, unknown};
use crate::body_stream::body_error;
use crate::checksum::expected;
use crate::encryption::{answer_headers, asked, key_of};
use crate::error_map::{Refusal, refusal};
use crate::facts::Facts;
use crate::form::{
    Fields, Form, FormBodyError, FormSignature, PostPolicy, SuccessAction, Uploaded, put_headers, read_form,
};
use crate::headers::{attributes, storage_class, stored_headers, tags_from_xml};
use crate::host::{BucketHost, object_url};
use crate::judge::{Judge, Subject};
use crate::notes::Notes;
use crate::operations::{PUT_OBJECT, besides};
use cistern_access::Identity;
use cistern_net::Peer;
use cistern_objects::http_headers::content_md5;
use cistern_objects::{Attributes, BodyChecks, BodyError, Conditions, Objects, PutRequest, VersionRef};
use cistern_types::{BucketName, ObjectKey};
use futures::StreamExt;
use http::header::{CONTENT_TYPE, REFERER, USER_AGENT};
use http::request::Parts;
use http::{HeaderMap, HeaderValue, Response};
use s3s::Body;
use std::sync::Arc;

/// What a form is stored with.
pub(crate) struct FormUploads<'a> {
    pub(crate) objects: &'a Objects,
    pub(crate) judge: &'a Judge,
    pub(crate) hosts: Option<&'a BucketHost>,
    pub(crate) notes: &'a Notes,
}

/// A form whose file is stored.
struct Made {
    etag: String,
    version: Option<VersionRef>,
    fields: Fields,
    /// What the answer says of how it is encrypted.
    encryption: HeaderMap,
}

impl FormUploads<'_> {
    /// Stores the file of a form in `bucket`, or says why not. Nothing is visible before the form has ended as it should.
    pub(crate) async fn answer(&self, parts: &Parts, bucket: &str, body: Body) -> Result<Response<Body>, Refusal> {
        let content_type = parts.headers.get(CONTENT_TYPE).cloned().unwrap_or(HeaderValue::from_static(""));
        let form = read_form(&content_type, body).await?;
        let key = form.fields.key()?.to_owned();
        let name = bucket.parse::<BucketName>()?;
        let asker = self.signer(&form.fields).await?;
        let policy = match form.fields.get("policy") {
            Some(text) if asker.is_some() => {
                let policy = PostPolicy::parse(text)?;
                policy.check(self.notes.received, name.as_str(), &form.fields)?;
                Some(policy)
            }
            _ => None,
        };
        let mut headers = put_headers(&form.fields)?;
        check_headers(&headers)?;
        if let Some(xml) = form.fields.get("tagging").filter(|xml| !xml.is_empty()) {
            let tags = tags_from_xml(xml)?.to_query();
            headers.insert("x-amz-tagging", HeaderValue::try_from(tags).map_err(Refusal::internal)?);
        }
        for name in [REFERER, USER_AGENT] {
            if let Some(value) = parts.headers.get(&name) {
                headers.insert(name, value.clone());
            }
        }
        let peer = parts.extensions.get::<Peer>().copied();
        let facts = Facts::new(&headers, &parts.uri, self.notes.received, peer).of_form();
        let bucket = self.judge.bucket(asker.as_deref(), &PUT_OBJECT, (&name, Some(&key)), &facts).await?;
        let subject = Subject { bucket: &bucket, key: Some(&key), version: None };
        self.judge.check(asker.as_deref(), &PUT_OBJECT, subject, &facts).await?;
        for besides in besides(&headers) {
            self.judge.check(asker.as_deref(), &besides, subject, &facts).await?;
        }
        self.notes.set_bucket(bucket);
        if let Some(asker) = asker {
            self.notes.set_asker(asker);
        }
        let length = policy.and_then(|policy| policy.length_range());
        let made = self.store(key.parse()?, &headers, form, length).await?;
        let url = object_url(self.hosts, &parts.headers, &parts.extensions, (name.as_str(), &key));
        let uploaded = Uploaded { object_url: &url, bucket: name.as_str(), key: &key, etag: &made.etag };
        let mut answer = SuccessAction::of(&made.fields).answer(&uploaded).map(Body::from);
        if let Some(version) = made.version.filter(|version| *version != VersionRef::Null)
            && let Ok(version) = HeaderValue::try_from(version.to_string())
        {
            answer.headers_mut().insert("x-amz-version-id", version);
        }
        answer.headers_mut().extend(made.encryption);
        Ok(answer)
    }

    /// Whose signature the form carries; `None` when it carries none.
    async fn signer(&self, fields: &Fields) -> Result<Option<Arc<Identity>>, Refusal> {
        let signature = FormSignature::of(fields)?;
        let Some(id) = signature.access_key() else { return Ok(None) };
        let access = &self.judge.access;
        let identity = match fields.get("x-amz-security-token") {
            Some(token) => open_session(access, id, token).await?,
            None => access.identity(&id.parse().map_err(|_| unknown())?).await?.ok_or_else(unknown)?,
        };
        if !signature.verify(identity.secret.expose()) {
            let text = "The request signature we calculated does not match the signature you provided.";
            return Err(Refusal::new(("SignatureDoesNotMatch", 403), text));
        }
        Ok(Some(identity))
    }

    async fn store(
        &self,
        key: ObjectKey,
        headers: &HeaderMap,
        form: Form<Body>,
        length: Option<std::ops::RangeInclusive<u64>>,
    ) -> Result<Made, Refusal> {
        let Form { fields, file, .. } = form;
        let bucket = self.notes.bucket()?;
        let (owner, acl) = of_new_object(self.notes, headers)?;
        let carried = Attributes { owner, acl, ..attributes(headers)? };
        let (checksum, trailer) = expected(headers, None)?;
        let encryption = asked(headers)?;
        let customer_key = key_of(&encryption).cloned();
        let request = PutRequest {
            bucket: bucket.name.clone(),
            key,
            headers: stored_headers(headers)?,
            attributes: carried,
            encryption,
            class: storage_class(headers)?,
            checks: BodyChecks { length: None, content_md5: content_md5(headers)?, sha256: None, checksum, trailer },
            conditions: Conditions::default(),
        };
        let file = match length {
            Some(range) => file.bounded(range),
            None => file,
        };
        let body = file.map(|piece| piece.map_err(file_error));
        let made = self.objects.put_in(bucket, request, body).await.map_err(form_refusal)?;
        let encryption = answer_headers(made.encryption, customer_key.as_ref());
        Ok(Made { version: made.shown_version, etag: made.etag.quoted(), fields, encryption })
    }
}

fn file_error(error: FormBodyError) -> BodyError {
    match error {
        FormBodyError::Body(error) => body_error(&error),
        error => BodyError::Io(std::io::Error::other(error)),
    }
}

/// What the object store says of a body that the form's reader refused is in the reader's words.
fn form_refusal(error: cistern_objects::Error) -> Refusal {
    if let cistern_objects::Error::Body(BodyError::Io(io)) = &error
        && let Some(cause) = io.get_ref().and_then(|cause| cause.downcast_ref::<FormBodyError>())
    {
        return Refusal::from_form_body(cause);
    }
    error.into()
}

/// A form must be about a bucket and nothing else, and signs itself.
pub(crate) fn check_head(parts: &Parts, key: Option<&str>) -> Result<(), Refusal> {
    if key.is_some_and(|key| !key.is_empty()) {
        return Err(Refusal::from(refusal(
            ("MethodNotAllowed", 405),
            "The specified method is not allowed against this resource.",
        )));
    }
    let signed = parts.headers.contains_key(http::header::AUTHORIZATION)
        || parts.uri.query().is_some_and(|query| crate::query::Query::parse(query).has("X-Amz-Signature"));
    if signed {
        return Err(Refusal::invalid_argument("Only one auth mechanism allowed: a form carries its own signature."));
    }
    Ok(())
}
