//! The WebSocket endpoint over real connections, with a client of its own.

use crate::fixture::{House, Running};
use crate::{IngestAuth, PipelineSpec};
use cistern_net::{Listener, ServeLimits, Served, serve_http};
use cistern_runtime::Shutdown;
use futures::{SinkExt as _, StreamExt as _};
use prometheus_client::metrics::gauge::Gauge;
use serde_json::{Value, json};
use std::net::SocketAddr;
use std::time::Duration;
use tokio::io::AsyncWriteExt as _;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;
use tokio_tungstenite::tungstenite::{Error, Message};
use tower::ServiceExt as _;

struct Door {
    address: SocketAddr,
    shutdown: Shutdown,
    ended: JoinHandle<Served>,
}

impl Door {
    async fn open(running: &Running) -> Self {
        let socket = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = socket.local_addr().unwrap();
        let listener = Listener { socket, tls: None, open: Gauge::default() };
        let (router, shutdown) = (running.pipelines.ingest_router(), Shutdown::new());
        let stop = shutdown.clone();
        let ended = tokio::spawn(async move {
            let limits = ServeLimits::default();
            let answer = move |request: http::Request<hyper::body::Incoming>| {
                let answered = router.clone().oneshot(request.map(axum::body::Body::new));
                async move { answered.await.unwrap() }
            };
            serve_http(listener, &limits, stop, answer).await
        });
        Self { address, shutdown, ended }
    }

    async fn try_connect(&self, target: &str, headers: &[(&'static str, &str)]) -> Result<Client, Error> {
        let mut request = format!("ws://{}/{target}", self.address).into_client_request().unwrap();
        for (name, value) in headers {
            request.headers_mut().insert(*name, value.parse().unwrap());
        }
        let stream = TcpStream::connect(self.address).await.unwrap();
        tokio_tungstenite::client_async(request, stream).await.map(|(socket, _)| Client(socket))
    }

    async fn connect(&self, target: &str) -> Client {
        self.try_connect(target, &[]).await.unwrap()
    }

    /// The status with which an upgrade is refused.
    async fn refused(&self, target: &str, headers: &[(&'static str, &str)]) -> u16 {
        match self.try_connect(target, headers).await {
            Err(Error::Http(response)) => response.status().as_u16(),
            Ok(_) => 101,
            Err(error) => panic!("{error}"),
        }
    }
}

struct Client(WebSocketStream<TcpStream>);

impl Client {
    async fn say(&mut self, text: impl ToString) {
        self.0.send(Message::text(text.to_string())).await.unwrap();
    }

    /// The next message of the server; a close as `{"close": code}`.
    async fn hear(&mut self) -> Value {
        loop {
            match self.0.next().await.unwrap().unwrap() {
                Message::Text(text) => return serde_json::from_str(&text).unwrap(),
                Message::Close(frame) => return json!({ "close": frame.map_or(1005, |frame| u16::from(frame.code)) }),
                _ => {}
            }
        }
    }

    /// Acknowledgements until message `through`: how many events were committed, and all verdicts.
    async fn acknowledged(&mut self, through: i64) -> (u64, Vec<Value>) {
        let (mut committed, mut verdicts) = (0, Vec::new());
        loop {
            let ack = self.hear().await;
            assert_eq!(ack["type"], "ack", "{ack}");
            committed += ack["committed"].as_u64().unwrap();
            verdicts.extend(ack["verdicts"].as_array().unwrap().clone());
            if ack["through"] == through {
                return (committed, verdicts);
            }
        }
    }
}

async fn house_with(change: impl FnOnce(&mut PipelineSpec)) -> (House, Running, Door, Option<String>) {
    let house = House::new().await;
    let running = house.open().await;
    let mut spec = house.spec("clicks");
    // Time is not paused: it would run ahead while bytes are on their way.
    spec.output.batch.timeout = Duration::from_secs(1);
    change(&mut spec);
    let token = running.create(spec).await.send_token;
    let door = Door::open(&running).await;
    (house, running, door, token)
}

/// Changes the pipeline while a client is connected, who must not get in with its next message.
async fn closed_by(
    change: impl FnOnce(&mut PipelineSpec),
    new_token: bool,
    target: impl FnOnce(&str) -> String,
    origin: &[(&'static str, &str)],
) {
    let (house, running, door, token) = house_with(|spec| {
        spec.stream.auth = IngestAuth::Token;
        spec.stream.cors_origins = vec!["https://app.example".parse().unwrap()];
    })
    .await;
    let target = target(&token.unwrap());
    let mut client = door.try_connect(&target, origin).await.unwrap();
    client.hear().await;
    client.say(r#"{"id":1}"#).await;
    assert_eq!(client.acknowledged(0).await.0, 1);
    let mut spec = running.pipelines.list()[0].spec.clone();
    change(&mut spec);
    running.pipelines.update(spec, None, new_token).await.unwrap();
    client.say(r#"{"id":2}"#).await;
    let told = client.hear().await;
    assert_eq!((&told["type"], &told["code"]), (&json!("error"), &json!(10000)), "{told}");
    assert_eq!(client.hear().await["close"], 1008);
    running.settle().await;
    assert_eq!(house.all_rows().await, [json!({"id":1})]);
}

#[tokio::test]
async fn who_would_not_be_let_in_now_sends_no_more() {
    let with_token = |token: &str| format!("clicks?token={token}");
    closed_by(|_| (), true, with_token, &[]).await;
    let elsewhere = |spec: &mut PipelineSpec| spec.stream.cors_origins = vec!["https://other.example".parse().unwrap()];
    closed_by(elsewhere, false, with_token, &[("origin", "https://app.example")]).await;
}

#[tokio::test]
async fn frames_that_break_the_protocol_are_named_and_closed_with_1002() {
    let (_house, _running, door, _) = house_with(|_| ()).await;
    for broken in [&b"\x81\x02{}"[..], b"\xc1\x80\0\0\0\0", b"\x83\x80\0\0\0\0", b"\x80\x80\0\0\0\0"] {
        let mut client = door.connect("clicks").await;
        client.hear().await;
        client.0.get_mut().write_all(broken).await.unwrap();
        assert_eq!(client.hear().await["code"], 1003, "{broken:?}");
        assert_eq!(client.hear().await["close"], 1002, "{broken:?}");
    }
}

#[tokio::test]
async fn events_of_every_shape_are_acknowledged_in_order_and_delivered() {
    let (house, running, door, _) = house_with(|_| ()).await;
    let mut client = door.connect("clicks").await;
    let welcome = client.hear().await;
    assert_eq!(
        (&welcome["type"], &welcome["pipeline"], &welcome["next"]),
        (&json!("welcome"), &json!("clicks"), &json!(0))
    );
    client.say(r#"{"id":1}"#).await;
    client.say(r#"[{"id":2},{"id":3}]"#).await;
    client.say("{\"id\":4}\n{\"id\":5}\n").await;
    client.0.send(Message::binary(b"{\"id\":6}".to_vec())).await.unwrap();
    assert_eq!(client.acknowledged(3).await, (6, Vec::new()));
    running.settle().await;
    let ids: Vec<u64> = house.all_rows().await.iter().map(|row| row["id"].as_u64().unwrap()).collect();
    assert_eq!(ids, [1, 2, 3, 4, 5, 6]);
    client.0.close(None).await.unwrap();
    assert_eq!(client.hear().await["close"], 1005, "the client said no code");
    // One that closes right behind its last message is answered too.
    let mut client = door.connect("clicks").await;
    client.hear().await;
    client.say(r#"{"id":7}"#).await;
    client.0.close(None).await.unwrap();
    while client.hear().await["close"].is_null() {}
    door.shutdown.begin();
    assert_eq!(door.ended.await.unwrap(), Served { cut: 0 });
}

#[tokio::test]
async fn what_is_no_event_has_a_verdict_and_becomes_a_dead_letter() {
    let (house, running, door, _) = house_with(|_| ()).await;
    let mut client = door.connect("clicks").await;
    client.hear().await;
    client.say(r#"[{"id":1},7,{"id":2}]"#).await;
    client.say(r#"[{"id":3}"#).await;
    client.say("").await;
    let (committed, verdicts) = client.acknowledged(2).await;
    assert_eq!(committed, 2);
    assert_eq!(verdicts[0], json!({"message":0,"event":1,"reason":"an event must be a JSON object"}));
    assert_eq!((&verdicts[1]["message"], &verdicts[1]["event"]), (&json!(1), &json!(0)));
    running.settle().await;
    assert_eq!(running.pipelines.health()[0].dead_letters, 3);
    let mut dead: Vec<Value> = house.all_rows().await;
    dead.retain(|row| !row.is_object());
    assert_eq!(dead, [json!("7"), json!("[{\"id\":3}"), json!("")]);
    client.say(format!("{{\"a\":\"{}\"}}", "x".repeat(1_000_000))).await;
    assert_eq!(client.hear().await["code"], 1018);
    assert_eq!(client.hear().await["close"], 1009);
}

/// What comes at once goes into the log as one, and each message is still judged for itself.
#[tokio::test]
async fn messages_that_come_together_keep_their_numbers_and_verdicts() {
    let (house, running, door, _) = house_with(|_| ()).await;
    let mut client = door.connect("clicks?producer=p").await;
    client.hear().await;
    let text = |number: i64| match number % 50 {
        7 => format!("[{{\"id\":{number}}},7,8]"),
        8 => "{\"id\":".to_owned(),
        9 => format!("{{\"id\":{number}}}\n{{\"id\":{number}}}"),
        _ => format!("{{\"id\":{number},\"more\":\"{}\"}}", "x".repeat(usize::try_from(number).unwrap())),
    };
    for number in 0..1000 {
        client.0.feed(Message::text(text(number))).await.unwrap();
    }
    client.0.feed(Message::text(format!("{{\"a\":\"{}\"}}", "x".repeat(1_000_000)))).await.unwrap();
    client.0.flush().await.unwrap();
    let (committed, verdicts) = client.acknowledged(999).await;
    assert_eq!(committed, 1000);
    let expected = (0..1000).filter(|number| matches!(number % 50, 7 | 8)).flat_map(|number| {
        let events = if number % 50 == 7 { 1..3 } else { 0..1 };
        events.map(move |event| (number, event))
    });
    let named = verdicts.iter().map(|one| (one["message"].as_i64().unwrap(), one["event"].as_i64().unwrap()));
    assert_eq!(named.collect::<Vec<_>>(), expected.collect::<Vec<_>>());
    assert_eq!(client.hear().await["code"], 1018, "what is too large ends it, and nothing before it is lost");
    running.settle().await;
    let mut ids: Vec<u64> = house.all_rows().await.iter().filter_map(|row| row["id"].as_u64()).collect();
    ids.dedup();
    assert_eq!(ids, (0..1000).filter(|number| number % 50 != 8).collect::<Vec<u64>>());
    let mut client = door.connect("clicks?producer=p").await;
    assert_eq!(client.hear().await["next"], 1000);
}

#[tokio::test]
async fn a_token_comes_in_the_header_the_query_or_the_first_message() {
    let (_house, _running, door, token) = house_with(|spec| spec.stream.auth = IngestAuth::Token).await;
    let token = token.unwrap();
    assert_eq!(door.refused("clicks?token=wrong", &[]).await, 401);
    assert_eq!(door.refused("clicks", &[("authorization", "Bearer wrong")]).await, 401);
    assert_eq!(door.refused("other", &[]).await, 404);
    let bearer = format!("Bearer {token}");
    let mut client = door.try_connect("clicks", &[("authorization", &bearer)]).await.unwrap();
    assert_eq!(client.hear().await["type"], "welcome");
    let mut client = door.connect(&format!("clicks?token={token}")).await;
    assert_eq!(client.hear().await["type"], "welcome");
    let mut client = door.connect("clicks").await;
    client.say(json!({ "token": token })).await;
    assert_eq!(client.hear().await["type"], "welcome");
    client.say(r#"{"id":1}"#).await;
    assert_eq!(client.acknowledged(0).await.0, 1);
    for wrong in [r#"{"token":"wrong"}"#, r#"{"id":1}"#, "x"] {
        let mut client = door.connect("clicks").await;
        client.say(wrong).await;
        assert_eq!(client.hear().await["code"], 10000, "{wrong}");
        assert_eq!(client.hear().await["close"], 1008);
    }
}

#[tokio::test]
async fn pages_of_other_origins_are_refused() {
    let (_house, _running, door, _) =
        house_with(|spec| spec.stream.cors_origins = vec!["https://a.example".parse().unwrap()]).await;
    assert_eq!(door.refused("clicks", &[("origin", "https://b.example")]).await, 403);
    assert_eq!(door.refused("clicks", &[("origin", "https://a.example")]).await, 101);
    assert_eq!(door.refused("clicks", &[]).await, 101);
    assert_eq!(door.refused("clicks", &[("sec-websocket-version", "8")]).await, 426);
}

#[tokio::test]
async fn a_producer_that_comes_back_goes_on_where_it_was_and_takes_over() {
    let (house, running, door, _) = house_with(|_| ()).await;
    let mut first = door.connect("clicks?producer=p").await;
    assert_eq!(first.hear().await["next"], 0);
    for id in 0..3 {
        first.say(json!({ "id": id })).await;
    }
    first.acknowledged(2).await;
    let mut second = door.connect("clicks?producer=p").await;
    assert_eq!(second.hear().await["next"], 3);
    second.say(r#"{"id":3}"#).await;
    assert_eq!(second.acknowledged(3).await.0, 1);
    first.say(r#"{"id":99}"#).await;
    assert_eq!(first.hear().await["code"], 1021, "another has the name now");
    assert_eq!(first.hear().await["close"], 1008);
    running.settle().await;
    let ids: Vec<u64> = house.all_rows().await.iter().map(|row| row["id"].as_u64().unwrap()).collect();
    assert_eq!(ids, [0, 1, 2, 3]);
}

#[tokio::test]
async fn a_server_that_stops_acknowledges_what_came_and_says_so() {
    let (house, running, door, _) = house_with(|_| ()).await;
    let mut client = door.connect("clicks").await;
    client.hear().await;
    for id in 0..20 {
        client.say(json!({ "id": id })).await;
    }
    client.acknowledged(19).await;
    door.shutdown.begin();
    assert_eq!(client.hear().await["code"], 10503);
    assert_eq!(client.hear().await["close"], 1001);
    drop(client);
    assert_eq!(door.ended.await.unwrap(), Served { cut: 0 });
    running.settle().await;
    assert_eq!(house.all_rows().await.len(), 20);
}

#[tokio::test(start_paused = true)]
async fn clients_that_say_nothing_are_let_go() {
    let (_house, _running, door, _) = house_with(|spec| spec.stream.auth = IngestAuth::Token).await;
    let mut silent = door.connect("clicks").await;
    assert_eq!(silent.hear().await["code"], 10000, "the token does not come");
    let (_house, _running, door, _) = house_with(|_| ()).await;
    // It reads no more, so that it answers no ping; its connection stays.
    let Client(gone) = door.connect("clicks").await;
    tokio::time::sleep(Duration::from_secs(200)).await;
    door.shutdown.begin();
    assert_eq!(door.ended.await.unwrap(), Served { cut: 0 });
    drop(gone);
}
