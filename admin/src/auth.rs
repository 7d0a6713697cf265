//! Who may use the API: whoever has the token; and which account it is: ours.

use crate::error::{Error, Result};
use crate::state::Admin;
use axum::extract::rejection::RawPathParamsRejection;
use axum::extract::{RawPathParams, Request, State};
use axum::middleware::Next;
use axum::response::Response;
use http::HeaderMap;
use http::header::AUTHORIZATION;

/// Lets requests with the API token pass.
pub(crate) async fn require_token(State(admin): State<Admin>, request: Request, next: Next) -> Result<Response> {
    let token = bearer(request.headers()).ok_or(Error::Unauthorized)?;
    if !admin.access.api_token_matches(token) {
        return Err(Error::Unauthorized);
    }
    Ok(next.run(request).await)
}

/// Lets requests for this installation's account pass.
pub(crate) async fn require_account(
    State(admin): State<Admin>,
    params: Result<RawPathParams, RawPathParamsRejection>,
    request: Request,
    next: Next,
) -> Result<Response> {
    let params = params.map_err(|rejection| Error::Malformed { reason: rejection.body_text() })?;
    let given = params.iter().find(|(name, _)| *name == "account").map(|(_, value)| value);
    if given != Some(admin.access.account_id().to_string().as_str()) {
        return Err(Error::NoRoute { path: request.uri().path().into() });
    }
    Ok(next.run(request).await)
}

fn bearer(headers: &HeaderMap) -> Option<&str> {
    let (scheme, token) = headers.get(AUTHORIZATION)?.to_str().ok()?.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then_some(token.trim())
}
