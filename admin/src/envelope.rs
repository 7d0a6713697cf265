//! The shape of every answer: `{"success", "errors", "messages", "result"[, "result_info"]}`.

use axum::Json;
use axum::response::{IntoResponse, Response};
use http::StatusCode;
use serde::Serialize;
use serde_json::{Value, json};

/// A success.
#[derive(Debug, Clone)]
pub(crate) struct Success {
    result: Value,
    info: Option<Value>,
    /// Further members of the envelope.
    extra: Vec<(&'static str, Value)>,
}

impl Success {
    /// A success with this result.
    pub(crate) fn new(result: impl Serialize) -> Self {
        let result = serde_json::to_value(result).expect("our own answers have text keys and finite numbers");
        Self { result, info: None, extra: Vec::new() }
    }

    /// With paging.
    #[must_use]
    pub(crate) fn info(mut self, info: Value) -> Self {
        self.info = Some(info);
        self
    }

    /// With one more member beside the result.
    #[must_use]
    pub(crate) fn member(mut self, name: &'static str, value: Value) -> Self {
        self.extra.push((name, value));
        self
    }

    /// A list whose only page this is, numbered as Cloudflare's clients expect; further pages are empty.
    pub(crate) fn only_page(items: Vec<Value>, page: &PageQuery) -> Self {
        let (total, number) = (items.len(), page.page.unwrap_or(1));
        let shown = if number > 1 { Vec::new() } else { items };
        let info = json!({
            "page": number, "per_page": total.max(1), "count": shown.len(), "total_count": total, "total_pages": 1,
        });
        Self::new(shown).info(info)
    }
}

/// The page a client asks for.
#[derive(Debug, Default, serde::Deserialize)]
pub(crate) struct PageQuery {
    page: Option<u64>,
}

impl IntoResponse for Success {
    fn into_response(self) -> Response {
        let mut body = json!({ "success": true, "errors": [], "messages": [], "result": self.result });
        if let Some(info) = self.info {
            body["result_info"] = info;
        }
        for (name, value) in self.extra {
            body[name] = value;
        }
        Json(body).into_response()
    }
}

/// The body of a failure.
pub(crate) fn failure(status: StatusCode, code: u32, message: &str) -> Response {
    let errors = [json!({ "code": code, "message": message })];
    (status, Json(json!({ "success": false, "errors": errors, "messages": [], "result": null }))).into_response()
}
