//! Events over WebSocket and HTTP from clients of other people: websockets for Python, ws for Node.js as a page of a browser uses it,
//! and plain HTTP. `tests/clients` says what is checked.

use crate::ingest_kills::passes_over;
use crate::kafka_clients::{all_pass, parts_pass};
use cistern_tests::Server;

#[test]
fn websockets_sends_events_of_every_shape_and_is_told_what_happened() {
    parts_pass("websocket_suite.py", "check_sends_");
}

#[test]
fn websockets_is_let_in_or_refused() {
    parts_pass("websocket_suite.py", "check_refuses_");
}

#[test]
fn websockets_comes_back_and_goes_on() {
    parts_pass("websocket_suite.py", "check_resumes_");
}

#[test]
fn websockets_sends_twenty_thousand_events_in_time() {
    parts_pass("websocket_suite.py", "check_load_");
}

#[test]
fn pages_of_browsers_send() {
    all_pass("js/websocket.mjs");
}

#[test]
fn http_retries_are_stored_once() {
    all_pass("http_suite.py");
}

#[test]
fn producers_over_websocket_stay_over_kills_and_lose_and_double_nothing() {
    passes_over(&["websocket_kills.py"], Server::kill);
}

#[test]
fn producers_over_websocket_stay_over_restarts_and_lose_and_double_nothing() {
    passes_over(&["websocket_kills.py"], Server::stop);
}

#[test]
fn retries_over_http_stay_over_kills_and_lose_and_double_nothing() {
    passes_over(&["http_kills.py"], Server::kill);
}

#[test]
fn retries_over_http_stay_over_restarts_and_lose_and_double_nothing() {
    passes_over(&["http_kills.py"], Server::stop);
}
