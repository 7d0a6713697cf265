//! Builds the house from the bottom up, opens its doors, and takes it down again without losing anything.
//!
//! ```text
//! listeners ─▶ data directory ─▶ sets of drives ─▶ EmbeddedEngine, EmbeddedBlobs ─▶ Objects ─▶ Access ─▶ Pipelines
//!                                                                  ─▶ doors: S3, ingest, Kafka, management ─▶ `ready`
//! a signal: not ready ─▶ S3, ingest and Kafka finish ─▶ management finishes ─▶ event log ─▶ workers ─▶ the sets close
//! ```
//! Every value is made here and handed down; there is no other place that knows who stands on whom.

use crate::config::{Config, S3Limits};
use crate::instance::Instance;
use crate::listen::Listeners;
use crate::logs;
use crate::stop::StopSignals;
use crate::storage::Sets;
use anyhow::Context as _;
use cistern_access::{Access, Made, RootCredentials, RootOverrides};
use cistern_admin::Admin;
use cistern_blobs::EmbeddedBlobs;
use cistern_metadata::{EmbeddedEngine, Store};
use cistern_net::{Endpoint, IdleLimited, Listener, ServeLimits, Served, serve_http};
use cistern_objects::{Limits, MasterKeys, Objects, SweepSchedule};
use cistern_pipelines::{KafkaConfig, KafkaEndpoint, Pipelines, PipelinesConfig, TokenDigest};
use cistern_runtime::{Clock, Shutdown, Supervisor, SystemClock};
use cistern_s3_api::{S3Config, S3Door, S3Metrics};
use cistern_types::ByteSize;
use prometheus_client::registry::Registry;
use std::io::Write as _;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::{Instant, timeout, timeout_at};
use tower::ServiceExt as _;

/// How long requests under way may take to end. With the limits below it stays under the 30 s a stop may take.
const REQUESTS_STOP_LIMIT: Duration = Duration::from_secs(20);
/// A body of which nothing comes for so long is given up; S3 words that itself.
const BODY_IDLE_MAX: Duration = Duration::from_mins(1);
/// How long the event log may take to write what is on its way.
const EVENTS_STOP_LIMIT: Duration = Duration::from_secs(2);
/// How long workers may take to end the piece of work they are at.
const WORKERS_STOP_LIMIT: Duration = Duration::from_secs(3);
/// How long the drive log may take to close; whatever it does not manage is replayed at the next start.
const LOG_STOP_LIMIT: Duration = Duration::from_secs(4);

/// What stands when the house is built.
struct House {
    sets: Sets,
    access: Access,
    pipelines: Pipelines,
    supervisor: Supervisor,
    registry: Arc<Registry>,
    s3: S3Door,
    kafka: KafkaEndpoint,
    kafka_advertised: Option<(String, u16)>,
    late_max: Option<Duration>,
    objects: Objects,
}

/// Runs a server until a signal stops it.
pub(crate) async fn serve(config: Config) -> anyhow::Result<()> {
    let mut signals = StopSignals::new()?;
    let listeners = Listeners::bind(&config.listen).await?;
    let mut instance = Instance::open(&config.data_dir)?;
    instance.withdraw_endpoints()?;
    let built = tokio::select! {
        built = Box::pin(build(&config, &mut instance, &listeners)) => built?,
        () = signals.next() => {
            tracing::info!("told to stop before the storage was open");
            return Ok(());
        }
    };
    let at = Endpoints::of(&listeners)?;
    instance.publish_endpoints(&at.to_json())?;
    tracing::info!(
        version = env!("CARGO_PKG_VERSION"), instance = instance.id(),
        s3 = %at.s3, management = %at.management, ingest = %at.ingest, kafka = %at.kafka.address, "ready"
    );
    drop(writeln!(std::io::stdout(), "ready")); // whoever started us may have stopped listening
    let ended = Box::pin(run(&built, listeners, at, signals)).await;
    instance.withdraw_endpoints()?;
    ended
}

/// Where the listeners are.
#[derive(Debug, Clone, Copy)]
struct Endpoints {
    s3: Endpoint,
    management: Endpoint,
    ingest: Endpoint,
    kafka: Endpoint,
}

impl Endpoints {
    fn of(listeners: &Listeners) -> anyhow::Result<Self> {
        let at = |listener: &Listener| listener.endpoint().context("ask a socket for its address");
        Ok(Self {
            s3: at(&listeners.s3)?,
            management: at(&listeners.management)?,
            ingest: at(&listeners.ingest)?,
            kafka: at(&listeners.kafka)?,
        })
    }

    fn to_json(self) -> serde_json::Value {
        let Self { s3, management, ingest, kafka } = self;
        serde_json::json!({
            "s3": s3.to_string(), "management": management.to_string(), "ingest": ingest.to_string(),
            "kafka": kafka.address.to_string(),
        })
    }
}

fn limits(config: &Config) -> Limits {
    let S3Limits { object_size_max, put_size_max, part_size_min, parts_max, metadata_size_max } = config.s3_limits;
    Limits {
        object_bytes_max: object_size_max.as_u64(),
        put_bytes_max: put_size_max.as_u64(),
        part_bytes_min: part_size_min.as_u64(),
        parts_max,
        user_metadata_bytes_max: bytes(metadata_size_max),
        garbage_grace: config.storage.garbage_grace,
        ..Limits::default()
    }
}

/// A size that was checked to fit memory.
fn bytes(size: ByteSize) -> usize {
    usize::try_from(size.as_u64()).unwrap_or(usize::MAX)
}

async fn build(config: &Config, instance: &mut Instance, listeners: &Listeners) -> anyhow::Result<House> {
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let sets = Sets::open(&config.storage, instance, Arc::clone(&clock)).await.context("open the drives")?;
    logs::end_on_panic();
    let store = Store::new(Arc::new(EmbeddedEngine::new(sets.home().clone())));
    let compression = config.storage.infrequent_access.compression;
    let blobs = Arc::new(EmbeddedBlobs::new(sets.logs().cloned(), compression, Arc::clone(&clock)));
    let objects = Objects::new(store.clone(), blobs, Arc::clone(&clock), limits(config));
    let objects = with_master_keys(objects, instance).await?;
    let credentials = credentials(config, instance)?;
    let api_token = TokenDigest::of(credentials.api_token.expose());
    let access = Access::new(store, Arc::clone(&clock), credentials);
    let supervisor = Supervisor::new(Shutdown::new());
    let every_minute = SweepSchedule::default();
    let interval = every_minute.interval.min(config.storage.garbage_grace);
    supervisor.start(objects.sweeper(SweepSchedule { interval, ..every_minute }));
    for log in sets.logs() {
        supervisor.start(log.compactor(Arc::clone(&clock)));
        supervisor.start(log.scrubber(Arc::clone(&clock)));
    }
    let pipelines_config = PipelinesConfig {
        buffered_bytes_max: bytes(config.ingest.buffer),
        batch_memory_bytes_max: bytes(config.ingest.batch_memory),
        api_token: Some(api_token),
        ..PipelinesConfig::default()
    };
    let pipelines = Pipelines::open(objects.clone(), clock, supervisor.clone(), pipelines_config)
        .await
        .context("open the pipelines")?;
    let mut registry = Registry::default();
    let s3_config = S3Config { domain: config.s3_domain.clone(), ..S3Config::default() };
    let s3 = S3Door::new(objects.clone(), access.clone(), s3_config, S3Metrics::new(&mut registry))
        .context("make the S3 door")?;
    pipelines.register_metrics(&mut registry);
    listeners.register_metrics(&mut registry);
    cistern_admin::register_process_metrics(&mut registry, Arc::new(sets.clone()), supervisor.clone());
    let kafka_config = KafkaConfig {
        cluster_id: instance.id().to_owned(),
        advertised: config.kafka.advertised.clone(),
        topic_template: config.kafka.topic_template.clone(),
    };
    let kafka = KafkaEndpoint::new(pipelines.clone(), access.clone(), kafka_config);
    let kafka_advertised = config.kafka.advertised.clone();
    let registry = Arc::new(registry);
    let late_max = config.ingest.late_max;
    Ok(House { sets, access, pipelines, supervisor, registry, s3, kafka, kafka_advertised, late_max, objects })
}

/// The same with the master keys of this data directory. They are made only for a store that has used none before.
async fn with_master_keys(objects: Objects, instance: &Instance) -> anyhow::Result<Objects> {
    let found = instance.master_keys()?;
    let made = found.is_none();
    let keys = found.unwrap_or_else(MasterKeys::generate);
    let objects = objects.with_master_keys(keys.clone());
    objects.check_master_keys().await.with_context(|| instance.master_keys_path().display().to_string())?;
    if made {
        instance.save_master_keys(&keys)?;
    }
    Ok(objects)
}

/// What the configuration says about the root credentials.
fn overrides(config: &Config) -> RootOverrides {
    let given = config.credentials.clone();
    RootOverrides {
        access_key_id: given.access_key_id,
        secret_access_key: given.secret_access_key,
        api_token: given.api_token,
        account_id: given.account_id,
    }
}

/// Refuses what a start would refuse without having bound or opened anything: credentials that are none, certificates that are not there.
pub(crate) fn check(config: &Config) -> anyhow::Result<()> {
    overrides(config).check()?;
    Ok(config.listen.check_certificates()?)
}

fn credentials(config: &Config, instance: &Instance) -> anyhow::Result<RootCredentials> {
    let path = instance.credentials_path();
    let (credentials, made) = RootCredentials::load_or_create(&path, overrides(config))?;
    if made == Made::Now {
        tracing::info!("root credentials and API token were made: see {}", path.display());
    }
    Ok(credentials)
}

/// Serves until a signal comes, then stops in order.
async fn run(house: &House, listeners: Listeners, at: Endpoints, mut signals: StopSignals) -> anyhow::Result<()> {
    let (stopping, last_door) = (Shutdown::new(), Shutdown::new());
    let Listeners { s3, management, ingest, kafka, .. } = listeners;
    let admin = Admin {
        objects: house.objects.clone(),
        access: house.access.clone(),
        pipelines: house.pipelines.clone(),
        supervisor: house.supervisor.clone(),
        storage: Arc::new(house.sets.clone()),
        registry: Arc::clone(&house.registry),
        stopping: stopping.clone(),
        s3: at.s3,
        ingest: at.ingest,
        kafka: at.kafka,
        kafka_advertised: house.kafka_advertised.clone(),
        late_max: house.late_max,
    };
    let limits = ServeLimits { stop_timeout: REQUESTS_STOP_LIMIT, ..ServeLimits::default() };
    let s3 = house.s3.clone().serve(s3, &limits, stopping.clone());
    let ingest = serve_router(ingest, &limits, stopping.clone(), house.pipelines.ingest_router());
    let kafka = house.kafka.clone().serve(kafka, &limits, stopping.clone());
    let management = serve_router(management, &limits, last_door.clone(), cistern_admin::router(admin));
    let mut first_doors = Box::pin(async { tokio::join!(s3, ingest, kafka) });
    let mut management = Box::pin(management);
    tokio::select! {
        _ = &mut first_doors => anyhow::bail!("a listener ended by itself"),
        _ = &mut management => anyhow::bail!("the management listener ended by itself"),
        () = signals.next() => {}
    }
    tracing::info!("stopping: no new requests, those under way may end");
    stopping.begin();
    let stop = async {
        // Management goes on meanwhile, so that /readyz can say that this server is on its way out.
        // The doors cut what is left themselves, a moment earlier.
        let deadline = Instant::now() + REQUESTS_STOP_LIMIT + Duration::from_secs(1);
        let closing = async {
            let (s3, ingest, kafka) = (&mut first_doors).await;
            last_door.begin();
            s3.cut + ingest.cut + kafka.cut
        };
        let drained = timeout_at(deadline, async { tokio::join!(closing, &mut management) }).await;
        match drained {
            Ok((0, _)) => {}
            Ok((cut, _)) => tracing::warn!(cut, "requests were cut: they took too long to end"),
            Err(_) => tracing::warn!("requests were cut: they took too long to end"),
        }
        finish(house).await
    };
    tokio::select! {
        ended = stop => ended,
        () = signals.end_at_next() => Ok(()),
    }
}

/// Stops what stands behind the doors, from the top down.
async fn finish(house: &House) -> anyhow::Result<()> {
    if timeout(EVENTS_STOP_LIMIT, house.pipelines.stop()).await.is_err() {
        tracing::warn!("the event log did not end in time; what was not acknowledged may be lost");
    }
    house.supervisor.shutdown().begin();
    for worker in house.supervisor.stopped(WORKERS_STOP_LIMIT).await {
        tracing::warn!(worker, "a worker did not end in time; it goes on at the next start");
    }
    if let Ok(closed) = timeout(LOG_STOP_LIMIT, house.sets.close()).await {
        closed.context("close the drive log")?;
    } else {
        tracing::warn!("the drive log did not close in time; the next start replays what is left");
    }
    tracing::info!("stopped");
    Ok(())
}

async fn serve_router(listener: Listener, limits: &ServeLimits, shutdown: Shutdown, router: axum::Router) -> Served {
    serve_http(listener, limits, shutdown, move |request| {
        let request = request.map(|body| axum::body::Body::new(IdleLimited::new(body, BODY_IDLE_MAX)));
        let answered = router.clone().oneshot(request);
        async move {
            let Ok(answer) = answered.await;
            answer
        }
    })
    .await
}
