//! The log as it runs in a server: real folders, a thread per drive, fjall and sled as views that survive, are lost, are damaged, are old.

use super::world::{Model, Step, a_blob, a_row, blob_id, dump, expect_error, expect_model, wait};
use crate::{
    Append, CHUNK_BYTES, Disk, DriveLog, DriveLogConfig, Error, LocalDisk, NewPiece, Result, Threads, ViewKind,
};
use bytes::Bytes;
use cistern_runtime::SystemClock;
use std::path::{Path, PathBuf};
use std::sync::Arc;

struct Server {
    folder: tempfile::TempDir,
    config: DriveLogConfig,
}

impl Server {
    fn new(view: ViewKind) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let config = DriveLogConfig {
            segment_bytes: 4 << 20,
            group_bytes_max: 2 << 20,
            view,
            free_bytes_reserve: 0,
            ..DriveLogConfig::new(4, 2, folder.path().join("view"))
        };
        Self { folder, config }
    }

    fn drive(&self, number: usize) -> PathBuf {
        self.folder.path().join(format!("d{number}"))
    }

    fn open(&self) -> Result<DriveLog> {
        let disks = (0..6).map(|number| Arc::new(LocalDisk::new(self.drive(number))) as Arc<dyn Disk>).collect();
        DriveLog::open_blocking(self.config.clone(), disks, &SystemClock, Threads::PerDrive)
    }
}

fn commit(log: &DriveLog, step: &Step, model: &mut Model) {
    let append = step.append();
    let reservation = wait(log.reserve(append.bytes())).unwrap();
    step.apply(model, log.submit(reservation, append).unwrap().wait().unwrap().stamp);
}

fn copy_folder(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap().map(|entry| entry.unwrap()) {
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy_folder(&entry.path(), &target);
        } else {
            std::fs::copy(entry.path(), target).unwrap();
        }
    }
}

#[test]
fn writers_side_by_side_are_grouped_and_all_is_there_after_a_restart() {
    for view in [ViewKind::Fjall, ViewKind::Sled] {
        let server = Server::new(view);
        let log = server.open().unwrap();
        std::thread::scope(|scope| {
            for writer in 0..8_u64 {
                let log = &log;
                scope.spawn(move || {
                    let mut model = Model::default();
                    for number in 0..40 {
                        let step = Step::Put { blob: writer * 1000 + number, bytes: 4096 };
                        commit(log, &step, &mut model);
                        let snapshot = log.snapshot();
                        let row = snapshot.get(format!("object/{}", writer * 1000 + number).as_bytes()).unwrap();
                        assert!(row.is_some(), "an acknowledged row is visible at once");
                    }
                });
            }
        });
        let mut model = Model::default();
        for writer in 0..8 {
            for number in 0..40 {
                Step::Put { blob: writer * 1000 + number, bytes: 4096 }.apply(&mut model, 0);
            }
        }
        expect_model(&log, &model, "after 320 writes");
        let counters = log.status().counters;
        assert_eq!(counters.appends, 320);
        assert!(counters.groups < 320, "writers that wait together are written together");
        wait(log.close()).unwrap();
        drop(log);

        let log = server.open().unwrap();
        assert_eq!(log.status().counters.stripes_replayed, 0, "a closed log needs no replay");
        expect_model(&log, &model, "after a restart");
        drop(log);
        std::fs::remove_dir_all(server.folder.path().join("view")).unwrap();
        let log = server.open().unwrap();
        assert_eq!(log.status().counters.stripes_replayed, counters.groups, "a lost view is rebuilt whole");
        expect_model(&log, &model, "after the view was lost");
    }
}

#[test]
fn a_view_that_is_old_damaged_or_of_another_engine_is_made_good() {
    for view in [ViewKind::Fjall, ViewKind::Sled] {
        let mut server = Server::new(view);
        let log = server.open().unwrap();
        let mut model = Model::default();
        for blob in 0..10 {
            commit(&log, &Step::Put { blob, bytes: 200_000 }, &mut model);
        }
        wait(log.close()).unwrap();
        drop(log);
        let old = server.folder.path().join("old-view");
        copy_folder(&server.config.view_path, &old);
        let log = server.open().unwrap();
        for blob in 5..12 {
            commit(&log, &Step::Forget { blob }, &mut model);
        }
        drop(log);

        std::fs::remove_dir_all(&server.config.view_path).unwrap();
        copy_folder(&old, &server.config.view_path);
        let log = server.open().unwrap();
        assert_eq!(log.status().counters.stripes_replayed, 7, "only what is behind the old view's watermark");
        expect_model(&log, &model, "with an old view");
        drop(log);

        overwrite_files(&server.config.view_path);
        expect_model(&server.open().unwrap(), &model, "with a damaged view");

        server.config.view = if view == ViewKind::Fjall { ViewKind::Sled } else { ViewKind::Fjall };
        expect_model(&server.open().unwrap(), &model, "with another engine");
    }
}

/// A server whose view has tables, stopped.
fn server_with_tables(view: ViewKind) -> (Server, Model) {
    let server = Server::new(view);
    let mut model = Model::default();
    let log = server.open().unwrap();
    for blob in 0..10 {
        commit(&log, &Step::Put { blob, bytes: 2000 }, &mut model);
        commit(&log, &Step::Row { key: u8::try_from(blob).unwrap(), value: 1 }, &mut model);
    }
    wait(log.close()).unwrap();
    drop(log);
    // what is made anew is merged into tables
    std::fs::remove_dir_all(&server.config.view_path).unwrap();
    let log = server.open().unwrap();
    for blob in 5..15 {
        commit(&log, &Step::Forget { blob: blob - 2 }, &mut model);
        commit(&log, &Step::Put { blob: blob + 20, bytes: 2000 }, &mut model);
        commit(&log, &Step::Row { key: u8::try_from(blob).unwrap(), value: 2 }, &mut model);
    }
    wait(log.close()).unwrap();
    (server, model)
}

#[test]
fn a_view_that_lacks_any_of_its_files_is_made_good() {
    let (server, model) = server_with_tables(ViewKind::Fjall);
    let whole = server.folder.path().join("whole-view");
    copy_folder(&server.config.view_path, &whole);
    let files = files_below(&whole);
    assert!(files.len() > 10, "{files:?}");
    for file in files {
        std::fs::remove_dir_all(&server.config.view_path).unwrap();
        copy_folder(&whole, &server.config.view_path);
        let gone = file.strip_prefix(&whole).unwrap();
        std::fs::remove_file(server.config.view_path.join(gone)).unwrap();
        for round in ["with", "again with"] {
            let context = format!("{round} a view that lacked {}", gone.display());
            expect_model(&server.open().unwrap_or_else(|error| panic!("{context}: {error}")), &model, &context);
        }
    }
}

fn files_below(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    entries.flat_map(|path| if path.is_dir() { files_below(&path) } else { vec![path] }).collect()
}

fn overwrite_files(folder: &Path) {
    for entry in std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap()) {
        if entry.file_type().unwrap().is_dir() {
            overwrite_files(&entry.path());
        } else {
            let length = usize::try_from(entry.metadata().unwrap().len()).unwrap();
            std::fs::write(entry.path(), vec![0x5a; length.min(100_000)]).unwrap();
        }
    }
}

#[test]
fn drives_that_lost_acknowledged_data_are_refused() {
    let server = Server::new(ViewKind::Fjall);
    let log = server.open().unwrap();
    let mut model = Model::default();
    commit(&log, &Step::Row { key: 1, value: 1 }, &mut model);
    wait(log.close()).unwrap();
    drop(log);
    for drive in 0..6 {
        copy_folder(&server.drive(drive), &server.folder.path().join(format!("backup{drive}")));
    }
    let log = server.open().unwrap();
    commit(&log, &Step::Row { key: 2, value: 2 }, &mut model);
    wait(log.close()).unwrap();
    drop(log);
    for drive in 0..6 {
        std::fs::remove_dir_all(server.drive(drive)).unwrap();
        copy_folder(&server.folder.path().join(format!("backup{drive}")), &server.drive(drive));
    }
    let lost = |error: &Error| matches!(error, Error::AcknowledgedLost { segment: 1, view_segment: 2, .. });
    expect_error(server.open(), lost, &["segment 2", "storage.accept_loss = true"]);
    let mut accepting = server;
    accepting.config.accept_loss = true;
    let log = accepting.open().unwrap();
    assert_eq!(dump(&log).unwrap().rows.len(), 1);
    drop(log);
    accepting.config.accept_loss = false;
    let log = accepting.open().unwrap();
    assert_eq!(dump(&log).unwrap().rows.len(), 1, "once is enough");
}

#[test]
fn a_view_of_another_set_is_rebuilt() {
    let (server, other) = (Server::new(ViewKind::Fjall), Server::new(ViewKind::Fjall));
    let mut models = [Model::default(), Model::default()];
    for (server, model) in [&server, &other].into_iter().zip(&mut models) {
        let log = server.open().unwrap();
        commit(&log, &Step::Put { blob: std::ptr::from_ref(model) as u64, bytes: 300 }, model);
        wait(log.close()).unwrap();
    }
    std::fs::remove_dir_all(&server.config.view_path).unwrap();
    copy_folder(&other.config.view_path, &server.config.view_path);
    expect_model(&server.open().unwrap(), &models[0], "with the view of another set");
}

#[test]
fn a_large_blob_is_read_back_whole_and_in_parts_with_two_drives_gone() {
    let server = Server::new(ViewKind::Fjall);
    let log = server.open().unwrap();
    let whole = a_blob(7, CHUNK_BYTES).bytes;
    let tail = a_blob(8, 300_001).bytes;
    for (chunk, last, bytes) in [(0, false, whole.clone()), (1, true, tail.clone())] {
        let piece = NewPiece { blob: blob_id(7), chunk, last, bytes };
        let append = Append { pieces: vec![piece], ..Append::default() };
        let reservation = wait(log.reserve(append.bytes())).unwrap();
        assert_eq!(log.last_chunk(blob_id(7)).unwrap().map(|last| last.number()), None, "not whole yet");
        log.submit(reservation, append).unwrap().wait().unwrap();
    }
    let last = log.last_chunk(blob_id(7)).unwrap().unwrap();
    assert_eq!((last.number(), last.bytes() as usize), (1, tail.len()));
    assert_eq!(log.blobs(None, 10).unwrap(), [blob_id(7)]);
    assert_eq!(log.blobs(Some(blob_id(7)), 10).unwrap(), []);
    check_parts(&log, &whole, &tail);
    let pieces_of_a_part = {
        let before = log.status().counters.direct_reads;
        wait(log.read_chunk_range(blob_id(7), 0, 300_000..300_010)).unwrap();
        log.status().counters.direct_reads - before
    };
    assert_eq!(pieces_of_a_part, 1, "a small range reads the one piece it lies in");
    wait(log.close()).unwrap();
    drop(log);
    for drive in [0, 3] {
        std::fs::remove_dir_all(server.drive(drive)).unwrap();
    }
    let log = server.open().unwrap();
    check_parts(&log, &whole, &tail);
    assert!(log.status().counters.degraded_reads > 0);
}

#[track_caller]
fn check_parts(log: &DriveLog, whole: &Bytes, tail: &Bytes) {
    let chunk = wait(log.read_chunk(blob_id(7), 0)).unwrap().unwrap();
    assert!(chunk.bytes == whole && !chunk.last);
    let chunk = wait(log.read_chunk(blob_id(7), 1)).unwrap().unwrap();
    assert!(chunk.bytes == tail && chunk.last);
    assert_eq!(wait(log.read_chunk(blob_id(7), 2)).unwrap(), None);
    for (start, end) in
        [(0, 1), (262_143, 262_145), (100, 900_000), (1_048_575, 1_048_576), (5, 5), (2_000_000, 3_000_000)]
    {
        let part = wait(log.read_chunk_range(blob_id(7), 0, start..end)).unwrap().unwrap();
        let expected = whole.slice((start as usize).min(CHUNK_BYTES)..(end as usize).min(CHUNK_BYTES));
        assert!(part == expected, "{start}..{end}");
    }
}

#[test]
fn the_queue_holds_writers_back_and_a_closed_log_refuses_them() {
    let mut server = Server::new(ViewKind::Fjall);
    server.config.queue_bytes_max = server.config.group_bytes_max;
    let log = server.open().unwrap();
    wait(async {
        let all = log.reserve(server.config.queue_bytes_max).await.unwrap();
        let waiting = log.reserve(1);
        tokio::pin!(waiting);
        tokio::select! {
            biased;
            _ = &mut waiting => panic!("there is no room"),
            () = std::future::ready(()) => {}
        }
        drop(all);
        drop(waiting.await.unwrap());
    });
    wait(log.close()).unwrap();
    let refused = wait(log.reserve(1)).unwrap_err();
    assert!(matches!(refused, Error::Closed), "{refused}");
}

#[test]
fn pendings_wake_tasks_and_stamps_follow_the_order_of_submits() {
    let server = Server::new(ViewKind::Fjall);
    wait(async {
        let disks = (0..6).map(|number| Arc::new(LocalDisk::new(server.drive(number))) as Arc<dyn Disk>).collect();
        let log = DriveLog::open(server.config.clone(), disks, Arc::new(SystemClock)).await.unwrap();
        let mut pendings = Vec::new();
        for number in 0..100 {
            let append = a_row("same", &number.to_string());
            let reservation = log.reserve(append.bytes()).await.unwrap();
            pendings.push(log.submit(reservation, append).unwrap());
        }
        let mut last = 0;
        for pending in pendings {
            let stamp = pending.stamp();
            assert!(stamp > last);
            last = stamp;
            assert_eq!(pending.await.unwrap().stamp, stamp);
        }
        log.wait_applied(last).await.unwrap();
        assert_eq!(log.snapshot().get(b"same").unwrap().unwrap(), "99");
        log.close().await.unwrap();
    });
}
