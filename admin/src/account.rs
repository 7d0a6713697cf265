//! `/user`, `/accounts`, `/memberships`: what clients ask before they do anything. There is one user and one account.

use crate::envelope::{PageQuery, Success};
use crate::request::UrlQuery;
use crate::state::Admin;
use axum::extract::State;
use serde_json::{Value, json};

/// The name of the one account.
const ACCOUNT_NAME: &str = "Cistern";

pub(crate) async fn verify_token(State(admin): State<Admin>) -> Success {
    Success::new(json!({ "id": admin.access.account_id().to_string(), "status": "active" }))
}

pub(crate) async fn user(State(admin): State<Admin>) -> Success {
    Success::new(json!({ "id": admin.access.account_id().to_string(), "email": "root@localhost", "suspended": false }))
}

pub(crate) async fn accounts(State(admin): State<Admin>, UrlQuery(page): UrlQuery<PageQuery>) -> Success {
    Success::only_page(vec![account_body(&admin)], &page)
}

pub(crate) async fn account(State(admin): State<Admin>) -> Success {
    Success::new(account_body(&admin))
}

pub(crate) async fn memberships(State(admin): State<Admin>, UrlQuery(page): UrlQuery<PageQuery>) -> Success {
    let account = account_body(&admin);
    let membership = json!({
        "id": account["id"], "status": "accepted", "account": account, "roles": ["Super Administrator - All Privileges"],
    });
    Success::only_page(vec![membership], &page)
}

fn account_body(admin: &Admin) -> Value {
    json!({ "id": admin.access.account_id().to_string(), "name": ACCOUNT_NAME, "type": "standard" })
}
