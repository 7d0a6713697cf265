//! `/pipelines/v1`: streams, sinks and SQL pipelines, in the shape of Cloudflare's API. Each is reached by its id or its name.
//!
//! ```text
//! stream.rs  /pipelines/v1/streams      make, list, show, PATCH http and worker_binding, delete
//! sink.rs    /pipelines/v1/sinks        make, list, show, delete; credentials are taken and forgotten
//! sql.rs     /pipelines/v1/pipelines    make, list, show, delete
//!            /pipelines/v1/validate_sql
//! ```
//! Clients that look something up by name ask for page after page until one is empty, so pages are real here.

pub(crate) mod sink;
pub(crate) mod sql;
pub(crate) mod stream;

use crate::envelope::Success;
use crate::error::{Error, Result};
use crate::state::Admin;
use serde::Deserialize;
use serde_json::{Value, json};

/// Items on a page when nothing is said.
const PER_PAGE_DEFAULT: u64 = 20;

/// The most items on a page.
const PER_PAGE_MAX: u64 = 100;

/// A stream, sink or pipeline in a path.
#[derive(Debug, Deserialize)]
pub(crate) struct V1Path {
    id: String,
}

/// Which items a client asks for.
#[derive(Debug, Deserialize)]
pub(crate) struct ListQuery {
    page: Option<u64>,
    per_page: Option<u64>,
    /// A part of the name, in whatever case.
    name: Option<String>,
    /// Only what belongs to this pipeline, by its id or name.
    pipeline_id: Option<String>,
}

/// How something is deleted.
#[derive(Debug, Deserialize)]
pub(crate) struct ForceQuery {
    /// Whether what depends on it goes with it.
    #[serde(default)]
    force: bool,
}

impl ListQuery {
    fn wants(&self, name: &str) -> bool {
        self.name.as_ref().is_none_or(|part| name.to_lowercase().contains(&part.to_lowercase()))
    }

    /// The page of `items` that was asked for, shown.
    fn shown<T>(&self, items: &[T], show: impl Fn(&T) -> Value) -> Result<Success> {
        let (page, per_page) = (self.page.unwrap_or(1), self.per_page.unwrap_or(PER_PAGE_DEFAULT));
        if page == 0 {
            return Err(Error::Malformed { reason: "page: pages count from 1".to_owned() });
        }
        if !(1..=PER_PAGE_MAX).contains(&per_page) {
            return Err(Error::Malformed { reason: format!("per_page: use 1 to {PER_PAGE_MAX}") });
        }
        let number = |value: u64| usize::try_from(value).unwrap_or(usize::MAX);
        let begin = number((page - 1).saturating_mul(per_page));
        let shown: Vec<Value> = items.iter().skip(begin).take(number(per_page)).map(show).collect();
        let total = items.len() as u64;
        let info = json!({
            "page": page, "per_page": per_page, "count": shown.len(), "total_count": total,
            "total_pages": total.div_ceil(per_page),
        });
        Ok(Success::new(shown).info(info))
    }
}

/// The pipeline that a list is narrowed to; `Some(None)` when there is no such pipeline.
async fn narrowed(admin: &Admin, query: &ListQuery) -> Result<Option<Option<cistern_pipelines::SqlPipeline>>> {
    let Some(id) = &query.pipeline_id else { return Ok(None) };
    match admin.pipelines.sql_pipeline(id).await {
        Ok(found) => Ok(Some(Some(found))),
        Err(cistern_pipelines::Error::NoSuchPipeline { .. }) => Ok(Some(None)),
        Err(error) => Err(error.into()),
    }
}

fn refuse(field: &'static str, reason: impl Into<String>) -> Error {
    Error::PipelineSetting { field, reason: reason.into() }
}
