//! `/r2/buckets`: list, make, show, change, delete. The token sees the buckets of all owners; those it makes are the root owner's.

use crate::envelope::Success;
use crate::error::{Error, Result};
use crate::object::CLASS_HEADER;
use crate::request::{UrlPath, UrlQuery, read_json};
use crate::state::Admin;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::Response;
use cistern_objects::{BucketRecord, BucketSpec, ListBuckets};
use cistern_types::{BucketName, StorageClass};
use http::{HeaderMap, HeaderName};
use serde::Deserialize;
use serde_json::{Value, json};

/// Buckets of a page, when the client does not say.
const PAGE_BUCKETS: usize = 1000;

/// Where Cloudflare's clients name the jurisdiction whose buckets they mean.
const JURISDICTION_HEADER: HeaderName = HeaderName::from_static("cf-r2-jurisdiction");

/// Refuses requests for buckets of another jurisdiction: there is one here, and its buckets are not those that are meant.
pub(crate) async fn require_default_jurisdiction(request: Request, next: Next) -> Result<Response> {
    match request.headers().get(JURISDICTION_HEADER) {
        Some(named) if named != "default" => {
            let reason = format!("there is no jurisdiction but `default` here; leave {JURISDICTION_HEADER} out");
            Err(Error::Malformed { reason })
        }
        _ => Ok(next.run(request).await),
    }
}

/// The bucket in a path.
#[derive(Debug, Deserialize)]
pub(crate) struct BucketPath {
    bucket: String,
}

impl BucketPath {
    pub(crate) fn name(&self) -> Result<BucketName> {
        Ok(self.bucket.parse()?)
    }
}

#[derive(Debug, Deserialize)]
pub(crate) struct ListQuery {
    name_contains: Option<String>,
    start_after: Option<String>,
    cursor: Option<String>,
    per_page: Option<usize>,
    order: Option<String>,
    direction: Option<String>,
}

impl ListQuery {
    /// Refuses orders that the list does not come in.
    fn check_order(&self) -> Result<()> {
        let order = self.order.as_deref().is_none_or(|order| order == "name");
        let direction = self.direction.as_deref().is_none_or(|direction| direction == "asc");
        let reason = "buckets are listed by name, upwards: leave order and direction out".into();
        if order && direction { Ok(()) } else { Err(Error::Malformed { reason }) }
    }
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct CreateBody {
    name: String,
    #[serde(rename = "locationHint")]
    location_hint: Option<String>,
    #[serde(rename = "storageClass")]
    storage_class: Option<String>,
}

/// The longest location that is kept, in bytes.
const LOCATION_BYTES_MAX: usize = 64;

pub(crate) async fn list(State(admin): State<Admin>, UrlQuery(query): UrlQuery<ListQuery>) -> Result<Success> {
    query.check_order()?;
    let limit = query.per_page.unwrap_or(PAGE_BUCKETS).clamp(1, PAGE_BUCKETS);
    let mut after = query.cursor.filter(|cursor| !cursor.is_empty()).or(query.start_after);
    let wanted = |bucket: &BucketRecord| match &query.name_contains {
        Some(text) => bucket.name.as_str().contains(text.as_str()),
        None => true,
    };
    let mut found: Vec<BucketRecord> = Vec::new();
    // One more than the page tells whether there is another page.
    while found.len() <= limit {
        let request = ListBuckets { owner: None, prefix: String::new(), after, limit: PAGE_BUCKETS };
        let page = admin.objects.buckets(request).await?;
        found.extend(page.buckets.into_iter().filter(wanted));
        after = page.next;
        if after.is_none() {
            break;
        }
    }
    let more = found.len() > limit;
    found.truncate(limit);
    let cursor = found.last().filter(|_| more).map(|last| last.name.to_string()).unwrap_or_default();
    let info = json!({ "cursor": cursor, "per_page": limit });
    let buckets: Vec<Value> = found.iter().map(body).collect();
    Ok(Success::new(json!({ "buckets": buckets })).info(info))
}

pub(crate) async fn create(State(admin): State<Admin>, request: Body) -> Result<Success> {
    let wanted: CreateBody = read_json(request).await?;
    let class = wanted.storage_class.as_deref().map(str::parse).transpose()?;
    let location = wanted.location_hint.map(|hint| hint.chars().take(LOCATION_BYTES_MAX).collect());
    let spec = BucketSpec {
        name: wanted.name.parse()?,
        owner: admin.access.root_owner(),
        class: class.unwrap_or(StorageClass::Standard),
        location,
        object_lock: false,
        acl: None,
        object_ownership: None,
        tags: None,
    };
    Ok(Success::new(body(&admin.objects.create_bucket(spec).await?)))
}

pub(crate) async fn show(State(admin): State<Admin>, UrlPath(path): UrlPath<BucketPath>) -> Result<Success> {
    Ok(Success::new(body(&*admin.objects.bucket(&path.name()?).await?)))
}

/// Changes the class, which stands in a header; that is how Cloudflare's clients send it.
pub(crate) async fn update(
    State(admin): State<Admin>,
    UrlPath(path): UrlPath<BucketPath>,
    headers: HeaderMap,
) -> Result<Success> {
    let class = headers.get(CLASS_HEADER).and_then(|class| class.to_str().ok());
    let class =
        class.ok_or_else(|| Error::Malformed { reason: format!("name the class in the header {CLASS_HEADER}") })?;
    Ok(Success::new(body(&admin.objects.set_bucket_class(&path.name()?, class.parse()?).await?)))
}

pub(crate) async fn delete(State(admin): State<Admin>, UrlPath(path): UrlPath<BucketPath>) -> Result<Success> {
    admin.objects.delete_bucket(&path.name()?).await?;
    Ok(Success::new(json!({})))
}

fn body(bucket: &BucketRecord) -> Value {
    json!({
        "name": bucket.name,
        "creation_date": bucket.created.to_string(),
        "location": bucket.location,
        "storage_class": bucket.class.api_name(),
        "jurisdiction": "default",
    })
}
