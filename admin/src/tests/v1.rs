//! Streams, sinks and SQL pipelines: the requests that wrangler 4.164.0 and 4.20.0 were seen to send, and each refusal.

use super::*;

/// What `wrangler pipelines streams create` sends.
fn events() -> Value {
    json!({
        "name": "events",
        "format": { "type": "json" },
        "http": { "enabled": true, "authentication": true },
        "worker_binding": { "enabled": true },
        "schema": { "fields": [
            { "name": "id", "type": "int64", "required": true },
            { "name": "at", "type": "timestamp", "required": false, "unit": "microsecond" },
            { "name": "blob", "type": "bytes", "required": false },
            { "name": "tags", "type": "list", "required": false, "items": { "type": "string", "required": false } },
        ] },
    })
}

/// What `wrangler pipelines sinks create` sends.
fn lake() -> Value {
    json!({
        "name": "lake",
        "type": "r2",
        "format": { "type": "parquet", "compression": "zstd", "row_group_bytes": 268_435_456 },
        "config": {
            "account_id": "0123456789abcdef0123456789abcdef",
            "bucket": "logs",
            "path": "raw",
            "partitioning": { "time_pattern": "year=%Y/month=%m" },
            "credentials": { "access_key_id": "an-access-key", "secret_access_key": "a-secret" },
            "rolling_policy": { "interval_seconds": 60, "file_size_bytes": 104_857_600 },
        },
    })
}

const SQL: &str = "INSERT INTO lake SELECT id, at FROM events WHERE id > 0";

impl Door {
    /// With a bucket, a stream and a sink.
    async fn with_stream_and_sink() -> Self {
        let door = Self::with_bucket().await;
        for (path, body) in [("streams", events()), ("sinks", lake())] {
            door.made(path, &body).await;
        }
        door
    }

    async fn made(&self, path: &str, body: &Value) -> Value {
        let made = self.post(&format!("/pipelines/v1/{path}"), body).await;
        assert_eq!(made.status, StatusCode::OK, "{path}: {}", made.text());
        made.json()["result"].clone()
    }

    async fn patch(&self, path: &str, body: &Value) -> Answer {
        self.call(Method::PATCH, path, body.to_string()).await
    }

    async fn delete(&self, path: &str) -> Answer {
        self.call(Method::DELETE, path, "").await
    }
}

fn is_id(value: &Value) -> bool {
    value.as_str().is_some_and(|id| id.len() == 32 && id.bytes().all(|byte| byte.is_ascii_hexdigit()))
}

/// What every list, get and delete of wrangler does with a name: by id, then page after page of a search by name.
#[tokio::test]
async fn names_are_looked_up_as_wrangler_does() {
    let door = Door::with_stream_and_sink().await;
    door.made("pipelines", &json!({ "name": "flow", "sql": SQL })).await;
    for (kind, name, code) in [("streams", "events", 1016), ("sinks", "lake", 1015), ("pipelines", "flow", 1000)] {
        let path = format!("/pipelines/v1/{kind}");
        refused(&door.get(&format!("{path}/nothing")).await, 404, code, "nothing");
        let by_name = door.result(&format!("{path}/{name}")).await;
        let found = door.get(&format!("{path}?page=1&per_page=100&name={name}")).await.json();
        assert_eq!(found["result"], json!([by_name]), "{kind}");
        let info = json!({ "page": 1, "per_page": 100, "count": 1, "total_count": 1, "total_pages": 1 });
        assert_eq!(found["result_info"], info, "{kind}");
        let after = door.get(&format!("{path}?page=2&per_page=100&name={name}")).await.json();
        assert_eq!(after["result"], json!([]), "{kind}: the page after the last ends the search");
        assert_eq!(door.result(&format!("{path}?page=1&per_page=100&name=NoThing")).await, json!([]));
        let part = name[1..3].to_uppercase();
        assert_eq!(door.result(&format!("{path}?name={part}")).await, json!([by_name]), "{kind}: a part, in any case");
        let id = by_name["id"].as_str().unwrap();
        assert!(is_id(&by_name["id"]), "{by_name}");
        assert_eq!(door.result(&format!("{path}/{id}")).await, by_name);
        refused(&door.get(&format!("{path}?per_page=101")).await, 400, 10040, "per_page: use 1 to 100");
        refused(&door.get(&format!("{path}?page=0")).await, 400, 10040, "pages count from 1");
    }
    for (kind, name) in [("pipelines", "flow"), ("sinks", "lake"), ("streams", "events")] {
        let path = format!("/pipelines/v1/{kind}");
        let id = door.result(&format!("{path}/{name}")).await["id"].as_str().unwrap().to_owned();
        let gone = door.delete(&format!("{path}/{id}")).await;
        assert_eq!((gone.status, &gone.json()["result"]), (StatusCode::OK, &Value::Null), "{kind}");
        assert_eq!(door.result(&path).await, json!([]), "{kind}");
    }
}

#[tokio::test]
async fn lists_have_pages() {
    let door = Door::with_bucket().await;
    for number in 0..5 {
        door.made("streams", &json!({ "name": format!("s{number}") })).await;
    }
    let page = async |query: &str| {
        let listed = door.get(&format!("/pipelines/v1/streams?{query}")).await.json();
        let names: Vec<String> =
            listed["result"].as_array().unwrap().iter().map(|one| one["name"].as_str().unwrap().to_owned()).collect();
        (names.join(" "), listed["result_info"]["total_count"].clone(), listed["result_info"]["total_pages"].clone())
    };
    assert_eq!(page("page=1&per_page=2").await, ("s0 s1".to_owned(), json!(5), json!(3)));
    assert_eq!(page("page=3&per_page=2").await, ("s4".to_owned(), json!(5), json!(3)));
    assert_eq!(page("page=4&per_page=2").await, (String::new(), json!(5), json!(3)));
    assert_eq!(page("page=18446744073709551615&per_page=100").await.0, "");
    assert_eq!(page("").await, ("s0 s1 s2 s3 s4".to_owned(), json!(5), json!(1)));
}

#[tokio::test]
async fn a_stream_is_shown_as_it_was_made_and_its_token_once() {
    let door = Door::with_bucket().await;
    let mut made = door.made("streams", &events()).await;
    let token = made.as_object_mut().unwrap().remove("send_token").unwrap();
    assert!(token.as_str().unwrap().starts_with("cst_"));
    let mut expected = events();
    for (name, value) in [
        ("id", made["id"].clone()),
        ("version", json!(1)),
        ("created_at", json!("2023-11-14T22:13:20Z")),
        ("modified_at", json!("2023-11-14T22:13:20Z")),
        ("endpoint", json!("http://127.0.0.1:8443/events")),
    ] {
        expected[name] = value;
    }
    assert_eq!(made, expected);
    assert_eq!(door.result("/pipelines/v1/streams/events").await, expected);

    // Without a schema, as `streams create` answers "no" to the question for one.
    let plain = json!({
        "name": "plain",
        "format": { "type": "json", "unstructured": true },
        "http": { "enabled": true, "authentication": false, "cors": { "origins": ["https://a.example"] } },
        "worker_binding": { "enabled": false },
    });
    let made = door.made("streams", &plain).await;
    assert_eq!(made["schema"], Value::Null);
    assert!(made.get("send_token").is_none(), "everybody may send");
    for field in ["format", "http", "worker_binding"] {
        assert_eq!(made[field], plain[field], "{field}");
    }
    let mut other = events();
    other["name"] = "other".into();
    other["format"] = json!({ "type": "json", "timestamp_format": "unix_millis", "decimal_encoding": "string" });
    other["schema"]["unknown_fields"] = "keep".into();
    let made = door.made("streams", &other).await;
    assert_eq!(made["format"], json!({ "type": "json", "timestamp_format": "unix_millis" }));
    assert_eq!(made["schema"], other["schema"]);
}

#[tokio::test]
async fn of_a_stream_http_and_the_binding_change() {
    let door = Door::with_bucket().await;
    door.made("streams", &events()).await;
    let path = "/pipelines/v1/streams/events";
    let change = json!({ "http": { "enabled": false, "authentication": false, "cors": { "origins": ["*"] } } });
    let changed = door.patch(path, &change).await.json()["result"].clone();
    assert_eq!((&changed["http"], &changed["version"]), (&change["http"], &json!(2)));
    assert!(changed.get("send_token").is_none());
    let changed = door.patch(path, &json!({ "worker_binding": { "enabled": false } })).await.json()["result"].clone();
    assert_eq!((&changed["http"], &changed["worker_binding"]["enabled"]), (&change["http"], &json!(false)));
    let changed = door.patch(path, &json!({ "http": { "authentication": true } })).await.json()["result"].clone();
    assert!(changed["send_token"].is_string(), "there was none: {changed}");
    assert_eq!(changed["http"], json!({ "enabled": false, "authentication": true, "cors": { "origins": ["*"] } }));
    refused(&door.patch(path, &json!({ "schema": null })).await, 400, 10040, "unknown field `schema`");
    refused(&door.patch("/pipelines/v1/streams/none", &json!({})).await, 404, 1016, "no stream none");
}

#[tokio::test]
async fn a_bad_stream_request_makes_none() {
    let door = Door::with_bucket().await;
    door.made("streams", &json!({ "name": "there" })).await;
    let streams = "/pipelines/v1/streams";
    for (pointer, value, status, code, text) in [
        ("/name", json!("a b"), 400, 1001, "pipeline name"),
        ("/name", json!("there"), 409, 1002, "stream there exists already"),
        ("/colour", json!(1), 400, 10040, "unknown field `colour`"),
        ("/format", json!({ "type": "csv" }), 400, 1001, "format.type: use json"),
        ("/format", json!({ "type": "json", "decimal_encoding": "bytes" }), 400, 1001, "use number or string"),
        ("/format", json!({ "type": "json", "timestamp_format": "iso" }), 400, 1001, "use rfc3339 or unix_millis"),
        ("/format", json!({ "type": "json", "unstructured": true }), 400, 1001, "leave one of the two out"),
        ("/schema", json!({ "fields": [] }), 400, 1001, "schema field at the top: name at least one field"),
        ("/schema", json!({ "fields": [{ "name": "a", "type": "int16" }] }), 400, 1001, "the type is not known"),
        ("/http", json!({ "enabled": true, "cors": { "origins": ["a"] } }), 400, 1001, "cors origin a"),
    ] {
        let mut body = events();
        body[&pointer[1..]] = value;
        refused(&door.post(streams, &body).await, status, code, text);
    }
    let neither = json!({ "name": "x", "format": { "type": "json", "unstructured": false } });
    refused(&door.post(streams, &neither).await, 400, 1001, "name its fields");
    refused(&door.delete("/pipelines/v1/streams/none").await, 404, 1016, "no stream none");
    assert_eq!(door.result(streams).await.as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn a_sink_is_shown_as_it_was_made_without_secrets() {
    let door = Door::with_bucket().await;
    let made = door.made("sinks", &lake()).await;
    let mut expected = lake();
    let config = expected["config"].as_object_mut().unwrap();
    config.remove("credentials");
    config.insert("account_id".to_owned(), json!(door.account));
    for (name, value) in [
        ("id", made["id"].clone()),
        ("schema", Value::Null),
        ("created_at", json!("2023-11-14T22:13:20Z")),
        ("modified_at", json!("2023-11-14T22:13:20Z")),
    ] {
        expected[name] = value;
    }
    assert_eq!(made, expected);
    let shown = door.get("/pipelines/v1/sinks/lake").await;
    assert_eq!(shown.json()["result"], expected);
    assert!(!shown.text().contains("secret") && !shown.text().contains("an-access-key"), "{}", shown.text());

    // What is not said has its default.
    let plain = json!({ "name": "plain", "type": "r2", "config": { "bucket": "logs" } });
    let made = door.made("sinks", &plain).await;
    assert_eq!(made["format"], json!({ "type": "parquet", "compression": "zstd", "row_group_bytes": 134_217_728 }));
    let config = json!({
        "account_id": door.account, "bucket": "logs", "path": "",
        "partitioning": { "time_pattern": "year=%Y/month=%m/day=%d" },
        "rolling_policy": { "interval_seconds": 300 },
    });
    assert_eq!(made["config"], config);
    let naming = json!({ "prefix": "a", "suffix": "b", "strategy": "uuid_v7" });
    for (number, (format, shown)) in [
        (json!({ "type": "json" }), json!({ "type": "json", "compression": "uncompressed" })),
        (json!({ "type": "json", "compression": "gzip" }), json!({ "type": "json", "compression": "gzip" })),
        (
            json!({ "type": "parquet", "compression": "uncompressed" }),
            json!({ "type": "parquet", "compression": "uncompressed", "row_group_bytes": 134_217_728 }),
        ),
    ]
    .into_iter()
    .enumerate()
    {
        let config = json!({ "bucket": "logs", "file_naming": naming });
        let body = json!({ "name": format!("f{number}"), "type": "r2", "format": format, "config": config });
        let made = door.made("sinks", &body).await;
        assert_eq!((&made["format"], &made["config"]["file_naming"]), (&shown, &naming));
    }
}

#[tokio::test]
async fn a_bad_sink_request_makes_none() {
    let door = Door::with_bucket().await;
    let sinks = "/pipelines/v1/sinks";
    for (pointer, value, status, code, text) in [
        ("/name", json!("-"), 400, 1001, "pipeline name"),
        ("/type", json!("r2_data_catalog"), 400, 1001, "sinks of type r2_data_catalog are not supported yet: use r2"),
        ("/type", json!("basin_catalog"), 400, 1001, "sinks of type basin_catalog are not supported yet: use r2"),
        ("/type", json!("s3"), 400, 1001, "\"s3\" is not known here"),
        ("/schema", json!({ "fields": [] }), 400, 1001, "schema: a sink has the columns that the SQL gives"),
        ("/format", json!({ "type": "avro" }), 400, 1001, "use parquet or json"),
        ("/format", json!({ "type": "json", "compression": "snappy" }), 400, 1001, "use gzip, zstd or none for json"),
        ("/format", json!({ "type": "json", "row_group_bytes": 1 }), 400, 1001, "the format is not parquet"),
        ("/format", json!({ "type": "parquet", "row_group_bytes": 1 }), 400, 1001, "row group size 1: use 64KB to 1GB"),
        ("/format", json!({ "type": "json", "timestamp_format": "unix_millis" }), 400, 1001, "written as rfc3339"),
        ("/format", json!({ "type": "json", "decimal_encoding": "string" }), 400, 1001, "it cannot be chosen"),
        ("/config/bucket", json!("none"), 404, 10006, "bucket none does not exist"),
        ("/config/bucket", json!("NONE"), 400, 10005, "bucket name"),
        ("/config/path", json!("a//b"), 400, 1001, "prefix a//b"),
        ("/config/jurisdiction", json!("eu"), 400, 1001, "there is no other than default"),
        ("/config/colour", json!(1), 400, 10040, "config: unknown field `colour`"),
        ("/config/partitioning", json!({ "time_pattern": "%" }), 400, 1001, "time path %"),
        ("/config/rolling_policy", json!({ "inactivity_seconds": 5 }), 400, 1001, "files end by interval_seconds"),
        ("/config/rolling_policy", json!({ "interval_seconds": 0 }), 400, 1001, "batch timeout"),
        ("/config/rolling_policy", json!({ "file_size_bytes": 1 }), 400, 1001, "batch size"),
        ("/config/file_naming", json!({ "strategy": "random" }), 400, 1001, "use serial, uuid, uuid_v7 or ulid"),
        ("/config/file_naming", json!({ "prefix": "a/b" }), 400, 1001, "file prefix a/b"),
    ] {
        let mut body = lake();
        let (parent, field) = pointer.rsplit_once('/').unwrap();
        body.pointer_mut(parent).unwrap()[field] = value;
        refused(&door.post(sinks, &body).await, status, code, text);
    }
    assert_eq!(door.result(sinks).await, json!([]));
    door.made("sinks", &lake()).await;
    refused(&door.post(sinks, &lake()).await, 409, 1002, "sink lake exists already");
    refused(&door.delete("/pipelines/v1/sinks/none").await, 404, 1015, "no sink none");
    refused(&door.patch("/pipelines/v1/sinks/lake", &json!({})).await, 405, 10405, "PATCH");
}

#[tokio::test]
async fn a_pipeline_is_made_as_wrangler_makes_it() {
    let door = Door::with_stream_and_sink().await;
    let stream = door.result("/pipelines/v1/streams/events").await["id"].as_str().unwrap().to_owned();
    let sink = door.result("/pipelines/v1/sinks/lake").await["id"].as_str().unwrap().to_owned();
    let checked = door.made("validate_sql", &json!({ "sql": SQL })).await;
    let tables = json!({
        "events": { "id": stream, "name": "events", "type": "stream", "version": 1 },
        "lake": { "id": sink, "name": "lake", "type": "sink", "version": 1 },
    });
    assert_eq!(checked["tables"], tables);
    let node = |id: u64, operator: &str, description: &str| json!({ "node_id": id, "operator": operator, "description": description, "parallelism": 1 });
    let nodes = [
        node(0, "source", "events"),
        node(1, "filter", "id > 0"),
        node(2, "projection", "id, at"),
        node(3, "sink", "lake"),
    ];
    assert_eq!(checked["graph"]["nodes"], json!(nodes));
    let edge = json!({ "src_id": 2, "dest_id": 3, "key_type": "()", "value_type": "row", "edge_type": "Forward" });
    assert_eq!(checked["graph"]["edges"][2], edge);

    let made = door.made("pipelines", &json!({ "name": "flow-1", "sql": SQL })).await;
    let table = |kind: &str, id: &str, name: &str| {
        let href = format!("/accounts/{}/pipelines/v1/{kind}s/{id}", door.account);
        json!({ "id": id, "name": name, "type": kind, "version": 1, "latest": 1, "href": href })
    };
    let expected = json!({
        "id": made["id"], "name": "flow-1", "sql": SQL, "version": 1, "status": "running",
        "created_at": "2023-11-14T22:13:20Z", "modified_at": "2023-11-14T22:13:20Z",
        "tables": [table("stream", &stream, "events"), table("sink", &sink, "lake")],
    });
    assert_eq!(made, expected);
    assert_eq!(door.result(&format!("/pipelines/v1/pipelines/{}", made["id"].as_str().unwrap())).await, expected);
    for (kind, name) in [("streams", "events"), ("sinks", "lake")] {
        let of_pipeline = format!("/pipelines/v1/{kind}?pipeline_id={}", made["id"].as_str().unwrap());
        assert_eq!(door.result(&of_pipeline).await[0]["name"], name);
        assert_eq!(door.result(&format!("/pipelines/v1/{kind}?pipeline_id=none")).await, json!([]));
    }
    refused(&door.delete("/pipelines/v1/sinks/lake").await, 409, 1002, "pipeline flow-1 writes to sink lake");
    assert_eq!(door.delete("/pipelines/v1/sinks/lake?force=true").await.status, StatusCode::OK);
    refused(&door.get("/pipelines/v1/pipelines/flow-1").await, 404, 1000, "no pipeline flow-1");
}

#[tokio::test]
async fn bad_sql_is_refused_with_what_is_wrong_with_it() {
    let door = Door::with_stream_and_sink().await;
    for (sql, text) in [
        ("SELEC", "line 1, column 1"),
        ("SELECT id FROM events", "statement 1: it needs a sink"),
        ("INSERT INTO lake SELECT ids FROM events", "statement 1: there is no column ids; did you mean id?"),
        ("INSERT INTO lake SELECT id FROM none", "statement 1: there is no stream none: create it first"),
        ("INSERT INTO none SELECT id FROM events", "statement 1: there is no sink none: create it first"),
        ("INSERT INTO lake SELECT count(*) FROM events", "count()"),
    ] {
        refused(&door.post("/pipelines/v1/validate_sql", &json!({ "sql": sql })).await, 400, 1001, text);
        let body = json!({ "name": "flow", "sql": sql });
        refused(&door.post("/pipelines/v1/pipelines", &body).await, 400, 1001, text);
    }
    refused(&door.post("/pipelines/v1/pipelines", &json!({ "name": "v1", "sql": SQL })).await, 400, 1001, "not v1");
    refused(&door.post("/pipelines/v1/pipelines", &json!({ "sql": SQL })).await, 400, 10040, "missing field `name`");
    assert_eq!(door.result("/pipelines/v1/pipelines").await, json!([]));
    door.made("pipelines", &json!({ "name": "flow", "sql": SQL })).await;
    let again = door.post("/pipelines/v1/pipelines", &json!({ "name": "flow", "sql": SQL })).await;
    refused(&again, 409, 1002, "pipeline flow exists already");
    refused(&door.delete("/pipelines/v1/pipelines/none").await, 404, 1000, "no pipeline none");
    refused(&door.get("/pipelines/v1/nothing").await, 404, 7003, "Could not route");
    refused(&door.call(Method::PUT, "/pipelines/v1/pipelines/flow", "{}").await, 405, 10405, "PUT");
}

#[tokio::test]
async fn legacy_pipelines_and_streams_are_lists_of_their_own() {
    let door = Door::with_stream_and_sink().await;
    door.post("/pipelines", &clicks()).await;
    let names = |list: &Value| -> Vec<String> {
        list.as_array().unwrap().iter().map(|one| one["name"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(names(&door.result("/pipelines").await), ["clicks"]);
    assert_eq!(names(&door.result("/pipelines/v1/streams").await), ["events"]);
    refused(&door.get("/pipelines/events").await, 404, 1000, "events belongs to streams");
    refused(&door.delete("/pipelines/events?mode=discard").await, 404, 1000, "events belongs to streams");
    refused(&door.get("/pipelines/v1/streams/clicks").await, 404, 1016, "no stream clicks");
    let mut taken = clicks();
    taken["name"] = "events".into();
    refused(&door.post("/pipelines", &taken).await, 409, 1002, "stream events exists already");
}

/// What `wrangler pipelines create`, `get`, `update` and `delete` of version 4.20.0 send.
#[tokio::test]
async fn legacy_pipelines_go_as_wrangler_4_20_makes_and_changes_them() {
    let door = Door::with_bucket().await;
    let body = json!({
        "name": "clicks",
        "metadata": { "shards": 3 },
        "source": [
            { "type": "http", "format": "json", "authentication": true, "cors": { "origins": ["https://a.example"] } },
            { "type": "binding", "format": "json" },
        ],
        "transforms": [],
        "destination": {
            "type": "r2", "format": "json", "compression": { "type": "gzip" },
            "batch": { "max_bytes": 10_000_000, "max_duration_s": 60, "max_rows": 1000 },
            "path": { "bucket": "logs", "prefix": "" },
            "credentials": { "endpoint": "https://x", "access_key_id": "a", "secret_access_key": "a-secret" },
        },
    });
    let made = door.post("/pipelines", &body).await;
    assert_eq!(made.status, StatusCode::OK, "{}", made.text());
    assert!(!made.text().contains("a-secret"), "{}", made.text());
    let mut shown = door.result("/pipelines/clicks").await;
    assert_eq!((&shown["version"], &shown["metadata"]["shards"]), (&json!(1), &json!(3)));
    // An update sends back what it read, with what shall change.
    shown["destination"]["batch"]["max_rows"] = 500.into();
    shown["destination"]["compression"]["type"] = "none".into();
    shown["destination"]["credentials"] =
        json!({ "endpoint": "https://x", "access_key_id": "a", "secret_access_key": "b" });
    shown["source"] = json!([{ "type": "http", "format": "json", "authentication": true }]);
    let changed = door.call(Method::PUT, "/pipelines/clicks", shown.to_string()).await;
    assert_eq!(changed.status, StatusCode::OK, "{}", changed.text());
    let shown = door.result("/pipelines/clicks").await;
    assert_eq!((&shown["version"], &shown["destination"]["batch"]["max_rows"]), (&json!(2), &json!(500)));
    assert!(changed.json()["result"].get("send_token").is_none(), "the token stays");
    let gone = door.delete("/pipelines/clicks").await;
    assert_eq!((gone.status, &gone.json()["success"]), (StatusCode::OK, &json!(true)));
}
