//! The paths. What needs the token stands under `/client/v4`, what does not beside it.

use crate::error::Error;
use crate::state::Admin;
use crate::{account, auth, bucket, dashboard, health, key, metrics, object, pipeline, status, v1};
use axum::Router;
use axum::middleware::{from_fn, from_fn_with_state};
use axum::routing::{delete, get, post};
use http::{Method, Uri};

/// The whole door as a service, without a socket.
pub fn router(admin: Admin) -> Router {
    let r2 = Router::new()
        .route("/r2/buckets", get(bucket::list).post(bucket::create))
        .route("/r2/buckets/{bucket}", get(bucket::show).patch(bucket::update).delete(bucket::delete))
        .route("/r2/buckets/{bucket}/objects", get(object::list))
        .route(
            "/r2/buckets/{bucket}/objects/{*key}",
            get(object::get).head(object::head).put(object::put).delete(object::delete),
        )
        .route("/r2/temp-access-credentials", post(key::create_temporary))
        .route_layer(from_fn(bucket::require_default_jurisdiction));
    let of_account = Router::new()
        .route("/", get(account::account))
        .merge(r2)
        .route("/pipelines", get(pipeline::list).post(pipeline::create))
        .route(
            "/pipelines/{pipeline}",
            get(pipeline::show).put(pipeline::replace).patch(pipeline::patch).delete(pipeline::delete),
        )
        .route("/pipelines/{pipeline}/tail", get(pipeline::tail))
        .route("/pipelines/{pipeline}/replay", post(pipeline::replay))
        .route("/pipelines/{pipeline}/compact", post(pipeline::compact))
        .nest("/pipelines/v1", pipelines_v1())
        .route("/cistern/keys", post(key::create).get(key::list))
        .route("/cistern/keys/{key}", delete(key::revoke))
        .route("/cistern/status", get(status::status))
        .route("/cistern/drives/scrub", post(status::scrub))
        .route("/cistern/drives/heal", post(status::heal))
        .route("/cistern/drives/replace", post(status::replace))
        .route_layer(from_fn_with_state(admin.clone(), auth::require_account));
    let api = Router::new()
        .route("/user", get(account::user))
        .route("/user/tokens/verify", get(account::verify_token))
        .route("/memberships", get(account::memberships))
        .route("/accounts", get(account::accounts))
        .nest("/accounts/{account}", of_account)
        .route_layer(from_fn_with_state(admin.clone(), auth::require_token));
    Router::new()
        .route("/", get(dashboard::dashboard))
        .route("/healthz", get(health::healthz))
        .route("/readyz", get(health::readyz))
        .route("/metrics", get(metrics::metrics))
        .nest("/client/v4", api)
        .fallback(no_route)
        .method_not_allowed_fallback(method_not_allowed)
        .with_state(admin)
}

/// Streams, sinks and SQL pipelines.
fn pipelines_v1() -> Router<Admin> {
    use v1::{sink, sql, stream};
    Router::new()
        .route("/streams", get(stream::list).post(stream::create))
        .route("/streams/{id}", get(stream::show).patch(stream::patch).delete(stream::delete))
        .route("/sinks", get(sink::list).post(sink::create))
        .route("/sinks/{id}", get(sink::show).delete(sink::delete))
        .route("/pipelines", get(sql::list).post(sql::create))
        .route("/pipelines/{id}", get(sql::show).delete(sql::delete))
        .route("/validate_sql", post(sql::validate))
}

async fn no_route(uri: Uri) -> Error {
    Error::NoRoute { path: uri.path().into() }
}

async fn method_not_allowed(method: Method) -> Error {
    Error::MethodNotAllowed { method: method.to_string() }
}
