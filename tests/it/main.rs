//! End-to-end tests: the real binary, real clients, real signals. One test binary, one module a subject.
//!
//! ```text
//! s3_clients.rs  aws and boto3: buckets, objects, 200 MB in parts, presigned addresses
//! s3_tools.rs    s3cmd, s5cmd, rclone, restic, Delta, DuckDB, PyArrow, Polars, JavaScript, MinIO's client, obstore
//! pipelines.rs   events over HTTP to Parquet, read back by DuckDB, PyArrow and Polars
//! kafka_clients.rs  kcat, confluent-kafka, kafka-python, aiokafka, kafkajs, platformatic: events in, read back whole
//! websocket_clients.rs  websockets, ws, HTTP: events, retries and resuming through kills, read back whole
//! wrangler.rs    wrangler, old and new: streams, sinks, SQL pipelines and legacy ones, read back by DuckDB
//! kafka_wire.rs  Kafka's protocol byte by byte: what clients stumble over
//! tls.rs         every listener over TLS with a certificate of its own
//! bad_s3.rs      wrong S3 requests: the code, the message, nothing changed
//! bad_drives.rs  drives that fill up, vanish, rot and are exchanged under load and kills
//! bad_ingest.rs  wrong events, bodies, tokens and pipelines
//! bad_start.rs   wrong configuration, ports in use, data folders and drives that do not fit
//! object_commands.rs  cistern object: files, pipes, lists
//! keys.rs        access keys: owners, buckets, permissions
//! latency.rs     a small GET does not wait for a delayed ACK
//! idle.rs        a server without work takes little memory and no CPU
//! restart.rs     a graceful stop loses nothing and leaves nothing
//! drives.rs      any two drives gone, the view deleted: everything is still there
//! ingest_kills.rs  producers over every protocol that go on while their server is killed
//! bursts.rs      more events than memory or drives hold
//! crash.rs       kill -9 under load, again and again
//! races.rs       clients that race for a key, an upload, a counter, versions, a bucket
//! damaged.rs     requests with something wrong in them, by the thousand
//! sets.rs        more drives than a set has, added and lost, and a class with a code of its own
//! sandbox.rs     a folder and a server for one test
//! ```
//!
//! The server is the one `cargo build -p cistern` made (or `CISTERN_BIN`); the clients are in `.venv`, `.node` and PATH
//! (`cargo xtask setup`). `cargo xtask test` sees to both.

#[cfg(test)]
mod bad_drives;
#[cfg(test)]
mod bad_ingest;
#[cfg(test)]
mod bad_s3;
#[cfg(test)]
mod bad_start;
#[cfg(test)]
mod bursts;
#[cfg(test)]
mod crash;
#[cfg(test)]
mod damaged;
#[cfg(test)]
mod drives;
#[cfg(test)]
mod idle;
#[cfg(test)]
mod ingest_kills;
#[cfg(test)]
mod kafka_clients;
#[cfg(test)]
mod kafka_wire;
#[cfg(test)]
mod keys;
#[cfg(test)]
mod latency;
#[cfg(test)]
mod object_commands;
#[cfg(test)]
mod pipeline_operations;
#[cfg(test)]
mod pipelines;
#[cfg(test)]
mod races;
#[cfg(test)]
mod restart;
#[cfg(test)]
mod s3_clients;
#[cfg(test)]
mod s3_tools;
#[cfg(test)]
mod sandbox;
#[cfg(test)]
mod sets;
#[cfg(test)]
mod space;
#[cfg(test)]
mod tls;
#[cfg(test)]
mod websocket_clients;
#[cfg(test)]
mod wrangler;
