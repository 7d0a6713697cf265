//! The same requests on the embedded engines: simulated drives that lose power at every point, and real folders.

use crate::fixture::{House, body, bucket_spec, bytes, key, master_keys};
use crate::model::{self, Step};
use crate::{
    BodyChecks, CompleteUpload, CreateUpload, Encryption, Limits, Objects, PutOutcome, PutRequest, Result, StageSpec,
};
use cistern_blobs::{Compression, EmbeddedBlobs};
use cistern_drives::{Disk, DriveLog, DriveLogConfig, LocalDisk, Membership, SimDisk, SimPower, Threads, ViewKind};
use cistern_metadata::{EmbeddedEngine, Store};
use cistern_runtime::TestClock;
use cistern_types::{StorageClass, Timestamp};
use proptest::prelude::*;
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

const DATA: usize = 2;
const PARITY: usize = 1;
const LANES: usize = DATA + PARITY;
/// The set of the rows, another Standard one, and one for Infrequent Access; each has drives of its own.
const SETS: [u8; 3] = [0, 1, 16];

fn clock() -> Arc<TestClock> {
    Arc::new(TestClock::at(Timestamp::from_millis(1_700_000_000_000)))
}

/// The logs on some drives, and the objects on the logs.
fn open(
    disks: &[Arc<dyn Disk>],
    view: ViewKind,
    folder: &Path,
    threads: Threads,
    clock: &Arc<TestClock>,
) -> (Vec<DriveLog>, Objects) {
    let open = |(disks, number): (&[Arc<dyn Disk>], u8)| {
        let membership = match number {
            0 => Membership::Home,
            number => Membership::Further { number, home: "home".into() },
        };
        let config = DriveLogConfig {
            membership,
            view,
            segment_bytes: 16 << 20,
            free_bytes_reserve: 0,
            ..DriveLogConfig::new(DATA, PARITY, folder.join(format!("view-{number}")))
        };
        DriveLog::open_blocking(config, disks.to_vec(), &**clock, threads).unwrap()
    };
    let logs: Vec<DriveLog> = disks.chunks(LANES).zip(SETS).map(open).collect();
    let store = Store::new(Arc::new(EmbeddedEngine::new(logs[0].clone())));
    let blobs = EmbeddedBlobs::new(logs.clone(), Compression::Zstd, Arc::<TestClock>::clone(clock));
    let limits = Limits { part_bytes_min: 4, ..Limits::default() };
    let objects = Objects::new(store, Arc::new(blobs), Arc::<TestClock>::clone(clock), limits);
    (logs, objects.with_master_keys(master_keys()))
}

struct Simulated {
    disks: Vec<Arc<SimDisk>>,
    power: Arc<SimPower>,
    clock: Arc<TestClock>,
}

impl Simulated {
    fn new() -> Self {
        let (power, disks) = SimDisk::set(LANES * SETS.len());
        Self { disks, power, clock: clock() }
    }

    fn open(&self) -> (Vec<DriveLog>, Objects) {
        let nowhere = Path::new("no folder: the view is in memory");
        open(&SimDisk::as_disks(&self.disks), ViewKind::Memory, nowhere, Threads::Inline, &self.clock)
    }

    /// What comes back after the power was lost: of bytes not synced any part may be missing.
    fn restart(&self, seed: u64) -> House {
        self.power.restore();
        self.disks.iter().zip(seed..).for_each(|(disk, seed)| disk.restart(seed));
        let bucket = bucket_spec("house").name;
        House { objects: self.open().1, clock: Arc::clone(&self.clock), bucket }
    }
}

/// What a key may hold after a crash: what was acknowledged last, or what was under way.
type Possible = BTreeMap<&'static str, Vec<Option<Vec<u8>>>>;

/// Writes over everything in every way; stops at the first error, as a crash does.
async fn overwrite_all(house: &House, possible: &mut Possible) -> Result<()> {
    for (name, size) in [("small", 3000), ("large", (1 << 20) + 5)] {
        let content = bytes(size, 2);
        possible.entry(name).or_default().push(Some(content.clone()));
        house.objects.put(house.put_request(name), body(&content)).await?;
        possible.insert(name, vec![Some(content)]);
    }
    for (name, class) in [("cold", StorageClass::InfrequentAccess), ("warm", StorageClass::Standard)] {
        let seen = house.objects.head(&house.bucket, &key(name)).await?;
        house.objects.transition(&house.bucket, &key(name), seen.version, class).await?;
    }
    let upload = house
        .objects
        .create_upload(CreateUpload { encryption: Encryption::Managed, ..house.plain_upload("parts") })
        .await?
        .upload;
    let at = crate::UploadRef { bucket: house.bucket.clone(), key: key("parts"), upload };
    let mut parts = Vec::new();
    for (number, size) in [(1, 200_000), (2, 7)] {
        let content = bytes(size, 3);
        let part = house.objects.put_part(&at, number, None, BodyChecks::default(), body(&content)).await?;
        parts.push(crate::fixture::named(number, &part));
    }
    let whole = [bytes(200_000, 3), bytes(7, 3)].concat();
    possible.entry("parts").or_default().push(Some(whole.clone()));
    house.objects.complete_upload(&at, CompleteUpload { parts, ..CompleteUpload::default() }).await?;
    possible.insert("parts", vec![Some(whole)]);
    possible.entry("gone").or_default().push(None);
    house.objects.delete(&house.bucket, &key("gone")).await?;
    possible.insert("gone", vec![None]);
    Ok(())
}

/// One run that loses its power at the `cut`th operation after the first state stands; `false` when it got through.
async fn crash_at(cut: u64) -> bool {
    let drives = Simulated::new();
    let house = House::on(drives.open().1, Arc::clone(&drives.clock)).await;
    let mut possible = Possible::new();
    for name in ["small", "large", "parts", "gone"] {
        let content = bytes(1000, 1);
        house.put(name, &content).await;
        possible.insert(name, vec![Some(content)]);
    }
    let mut seen = Vec::new();
    for (name, class) in [("cold", StorageClass::Standard), ("warm", StorageClass::InfrequentAccess)] {
        let content = bytes((1 << 20) + 9, 4);
        let request = PutRequest { class: Some(class), ..house.put_request(name) };
        seen.push((name, house.objects.put(request, body(&content)).await.unwrap()));
        possible.insert(name, vec![Some(content)]);
    }
    drives.power.cut_at(drives.power.operations() + cut);
    let finished = overwrite_all(&house, &mut possible).await.is_ok();
    drives.power.cut();
    drop(house);
    let house = drives.restart(cut);
    check_possible(&house, &possible, cut).await;
    for (name, before) in seen {
        let after = PutOutcome::from(&house.objects.head(&house.bucket, &key(name)).await.unwrap());
        assert_eq!(after, PutOutcome { class: after.class, ..before }, "version, tag and times stay");
        assert!(!finished || after.class != before.class, "an acknowledged transition stays");
    }
    house.clock.advance(Duration::from_hours(100));
    house.sweep().await;
    check_possible(&house, &possible, cut).await;
    for upload in house.objects.uploads(house.all_uploads()).await.unwrap().uploads {
        let at = crate::UploadRef { bucket: house.bucket.clone(), key: upload.key, upload: upload.upload };
        house.objects.abort_upload(&at).await.unwrap();
    }
    house.sweep().await;
    let [garbage, claims, ..] = house.bookkeeping().await;
    assert_eq!((garbage, claims), (0, house.blobs().await.len()), "cut at {cut}");
    if finished {
        assert_eq!(claims, 6, "the blobs of five objects, one of two parts");
    }
    !finished
}

async fn check_possible(house: &House, possible: &Possible, cut: u64) {
    let mut listed = Vec::new();
    for (name, contents) in possible {
        let found = house.read(name).await.ok();
        assert!(contents.contains(&found), "{name} after a cut at {cut}: {:?} bytes", found.map(|found| found.len()));
        listed.extend(found.map(|_| (*name).to_owned()));
    }
    assert_eq!(house.keys().await, listed, "cut at {cut}");
}

#[tokio::test(start_paused = true)]
async fn a_power_cut_at_any_operation_leaves_the_old_object_or_the_new_one() {
    let mut cut = 0;
    while crash_at(cut).await {
        cut += 1;
    }
    assert!(cut > 20, "only {cut} points to crash at");
}

#[tokio::test]
async fn a_small_put_is_one_group() {
    let drives = Simulated::new();
    let (logs, objects) = drives.open();
    let house = House::on(objects, Arc::clone(&drives.clock)).await;
    let groups = || logs[0].status().counters.groups;
    let before = groups();
    house.put("new", &bytes(4096, 1)).await;
    assert_eq!(groups(), before + 1);
    house.put("new", &bytes(100_000, 1)).await;
    assert_eq!(groups(), before + 2, "also over another object");
    let at = house.begin_upload("k").await;
    house.put_part(&at, 1, &bytes(4096, 1)).await;
    assert_eq!(groups(), before + 4);
}

#[tokio::test]
async fn an_object_whose_bytes_were_lost_before_its_commit_is_refused() {
    let drives = Simulated::new();
    let objects = drives.open().1;
    let staged = objects.stage_bytes(StageSpec::default(), bytes(4096, 1).into()).await.unwrap();
    drives.disks[0].limit_bytes(Some(0));
    let full = objects.create_bucket(bucket_spec("other")).await;
    assert!(full.is_err(), "the first group finds no room, and with it fail the staged bytes in it");
    drives.disks[0].limit_bytes(None);
    let house = House::on(objects, Arc::clone(&drives.clock)).await;
    let mut txn = house.objects.store().begin().await.unwrap();
    house.objects.commit_staged(&mut txn, &house.bucket, &key("k"), &staged).await.unwrap();
    let answer = txn.commit().await;
    assert!(matches!(answer, Err(cistern_metadata::Error::LostPrerequisite)), "{answer:?}");
    assert!(house.keys().await.is_empty());
}

#[tokio::test]
async fn a_refused_body_leaves_nothing_on_the_drives() {
    let drives = Simulated::new();
    let (_, objects) = drives.open();
    let house = House::on(objects, Arc::clone(&drives.clock)).await;
    for size in [5, 200_000, (3 << 20) + 1] {
        let checks = BodyChecks { content_md5: Some([0; 16]), ..BodyChecks::default() };
        let request = PutRequest { checks, ..house.put_request("k") };
        house.objects.put(request, body(&bytes(size, 1))).await.unwrap_err();
        assert!(house.blobs().await.is_empty());
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(12))]

    #[test]
    fn requests_on_simulated_drives_read_as_the_model(steps in prop::collection::vec(model::step(), 1..25)) {
        check_model(ViewKind::Memory, steps);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(3))]

    #[test]
    fn requests_on_folders_with_fjall_read_as_the_model(steps in prop::collection::vec(model::step(), 10..25)) {
        check_model(ViewKind::Fjall, steps);
    }
}

fn check_model(view: ViewKind, steps: Vec<Step>) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    runtime.block_on(async {
        let clock = clock();
        let folder = tempfile::TempDir::new().unwrap();
        let (logs, objects) = if view == ViewKind::Memory {
            Simulated { clock: Arc::clone(&clock), ..Simulated::new() }.open()
        } else {
            let disk = |number| Arc::new(LocalDisk::new(folder.path().join(format!("d{number}")))) as Arc<dyn Disk>;
            let disks: Vec<_> = (0..LANES * SETS.len()).map(disk).collect();
            open(&disks, view, folder.path(), Threads::PerDrive, &clock)
        };
        model::check(House::on(objects, clock).await, steps).await;
        for log in logs {
            log.close().await.unwrap();
        }
    });
}

#[tokio::test]
async fn garbage_of_a_set_that_takes_no_writes_waits_and_nobody_waits_for_it() {
    let drives = Simulated::new();
    let (logs, objects) = drives.open();
    let house = House::on(objects, Arc::clone(&drives.clock)).await;
    let cold = PutRequest { class: Some(StorageClass::InfrequentAccess), ..house.put_request("cold") };
    house.objects.put(cold, body(&bytes(3000, 1))).await.unwrap();
    house.put("warm", &bytes(3000, 2)).await;
    drives.disks[2 * LANES..].iter().for_each(|disk| disk.fail_sync(0)); // a small stripe does not touch all
    let noticed = PutRequest { class: Some(StorageClass::InfrequentAccess), ..house.put_request("noticed") };
    house.objects.put(noticed, body(&bytes(3000, 1))).await.unwrap_err();
    assert!(logs[2].check_writable().is_err());
    for name in ["cold", "warm"] {
        house.objects.delete(&house.bucket, &key(name)).await.unwrap();
    }
    house.clock.advance(Duration::from_hours(2));
    house.sweep().await;
    let [garbage, claims, ..] = house.bookkeeping().await;
    assert_eq!((garbage, claims), (1, 1), "the cold one, with its claim");
    assert!(house.blobs().await.iter().all(|blob| blob.set() == 16));
    drop((logs, house));
    drives.disks.iter().for_each(|disk| disk.no_more_failures());
    let house = drives.restart(1);
    house.clock.advance(Duration::from_hours(100));
    house.sweep().await;
    assert_eq!((house.blobs().await.len(), house.bookkeeping().await), (0, [0; 5]));
}

#[tokio::test]
async fn orphans_behind_young_blobs_of_another_set_are_found() {
    let drives = Simulated::new();
    let (_logs, objects) = drives.open();
    let house = House::on(objects, Arc::clone(&drives.clock)).await;
    let cold = StageSpec { class: Some(StorageClass::InfrequentAccess), ..StageSpec::default() };
    house.objects.stage_bytes(cold, bytes(3000, 1).into()).await.unwrap();
    house.clock.advance(Duration::from_hours(30));
    house.put("young", &bytes(3000, 2)).await;
    house.sweep().await;
    assert!(house.blobs().await.iter().all(|blob| blob.set() < 16), "the cold one was never committed");
    assert_eq!(house.read("young").await.unwrap(), bytes(3000, 2));
}
