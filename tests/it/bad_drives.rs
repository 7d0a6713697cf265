//! Drives of a real server that fill up, vanish, rot, come back and are exchanged, under load and through kills: nothing
//! acknowledged is lost, every refusal is clear, and after a heal a scrub finds nothing.

use crate::crash::BUCKET;
use crate::crash::writer::Writer;
use crate::sandbox::{Sandbox, asked};
use crate::space::flip_some;
use cistern_tests::{Content, Mount, Server, ServerSpec, wait};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use std::path::PathBuf;
use std::sync::mpsc::sync_channel;
use std::time::Duration;

const DRIVES: usize = 6;
const PARITY: usize = 2;
const DRIVE_BYTES: u64 = 256 << 20;
const WRITERS: usize = 4;
const ROUNDS: u32 = 8;
const BEATS_WAITING_MAX: usize = 256;
const LIMIT: Duration = Duration::from_mins(2);
/// Drives that were full for so long stay full.
const PATIENCE: Duration = Duration::from_secs(6);

/// A server whose drives can be taken away.
pub(crate) struct House {
    // the mounts go before the folder they are in
    mounts: Vec<Option<Mount>>,
    sandbox: Sandbox,
    drive_bytes: u64,
}

impl House {
    pub(crate) fn new(drive_bytes: u64) -> Self {
        let mut house = Self { mounts: Vec::new(), sandbox: Sandbox::new(), drive_bytes };
        house.mounts = (0..DRIVES).map(|drive| Some(house.mount(drive))).collect();
        house
    }

    fn folder(&self, drive: usize) -> PathBuf {
        self.sandbox.path().join(format!("d{drive}"))
    }

    fn mount(&self, drive: usize) -> Mount {
        Mount::new(&self.folder(drive), self.drive_bytes).unwrap()
    }

    pub(crate) fn spec(&self) -> ServerSpec {
        let folders: Vec<String> = (0..DRIVES).map(|drive| self.folder(drive).display().to_string()).collect();
        let spec = self.sandbox.spec().setting("STORAGE__DRIVES", &folders.join(","));
        spec.setting("STORAGE__SEGMENT_SIZE", "8MiB").setting("STORAGE__GARBAGE_GRACE", "1s")
    }

    /// Gives every drive another size.
    pub(crate) fn resize(&self, bytes: u64) {
        self.mounts.iter().flatten().for_each(|mount| mount.resize(bytes).unwrap());
    }

    fn vanish(&mut self, drive: usize) {
        self.mounts[drive].take().unwrap().vanish().unwrap();
    }

    fn put_empty(&mut self, drive: usize) {
        self.mounts[drive] = Some(self.mount(drive));
    }

    /// Flips bytes all over the segments of a drive, those being written included.
    fn flip(&self, drive: usize, random: &mut StdRng) {
        let folder = self.folder(drive);
        let entries =
            [folder.clone(), folder.join("infrequent-access")].map(|folder| std::fs::read_dir(folder).unwrap());
        for entry in entries.into_iter().flatten() {
            let path = entry.unwrap().path();
            if !path.file_name().unwrap().to_string_lossy().starts_with("segment-") {
                continue;
            }
            let Ok(file) = std::fs::OpenOptions::new().read(true).write(true).open(&path) else { continue };
            flip_some(&file, 100, random);
        }
    }
}

/// Runs `incident` after so many requests of the writers, waits for as many again, and kills the server.
fn load_and_kill(
    server: Server,
    writers: &mut [Writer],
    beats: u32,
    incident: impl FnOnce(&Server) + Send,
) -> ServerSpec {
    let (beat, heard) = sync_channel(BEATS_WAITING_MAX);
    let (host, keys) = (server.s3_host().to_owned(), server.root_keys().clone());
    std::thread::scope(|scope| {
        let work: Vec<_> = writers
            .iter_mut()
            .map(|writer| {
                let (beat, host, keys) = (beat.clone(), &host, &keys);
                scope.spawn(move || writer.work(host, keys, &beat))
            })
            .collect();
        drop(beat);
        let count = |beats: u32| {
            let counted = (0..beats).take_while(|_| heard.recv().is_ok()).count();
            assert_eq!(counted, beats as usize, "the server stopped answering:\n{}", server.log());
        };
        count(beats);
        std::thread::scope(|beside| {
            // whoever waits for the server in the incident must not make the writers wait
            let incident = beside.spawn(|| incident(&server));
            while !incident.is_finished() {
                count(1);
            }
            incident.join().unwrap();
        });
        count(beats);
        let spec = server.kill().unwrap();
        heard.iter().for_each(drop);
        let broken: Vec<String> = work.into_iter().flat_map(|thread| thread.join().unwrap()).collect();
        assert!(broken.is_empty(), "{broken:#?}");
        spec
    })
}

#[track_caller]
fn check(server: &Server, writers: &mut [Writer], when: &str) {
    let mut s3 = server.s3().unwrap();
    for writer in writers {
        let (broken, _) = writer.check(&mut s3);
        assert!(broken.is_empty(), "{when}: {broken:#?}\n{}", server.log());
    }
}

#[track_caller]
fn expect_clean(server: &Server, when: &str) {
    let scrub: serde_json::Value =
        serde_json::from_str(&server.cli_ok(&["--json", "drives", "scrub"]).unwrap()).unwrap();
    let found = (&scrub["bad_lanes"], &scrub["lost_stripes"], &scrub["clean"]);
    assert_eq!(found, (&0.into(), &0.into(), &true.into()), "{when}: {scrub}\n{}", server.log());
    let status = server.cli_ok(&["drives", "status"]).unwrap();
    assert!(status.contains("all drives live"), "{when}: {status}");
}

/// Two drives of the six.
fn two(random: &mut StdRng) -> [usize; PARITY] {
    let first = random.random_range(0..DRIVES);
    [first, (first + random.random_range(1..DRIVES)) % DRIVES]
}

#[test]
fn drives_vanish_rot_and_are_exchanged_under_load_and_kills() {
    let seed: u64 = rand::random();
    let rounds = asked("CISTERN_DRIVE_ROUNDS").unwrap_or(ROUNDS);
    println!("bad drives: {rounds} rounds, seed {seed}");
    let mut random = StdRng::seed_from_u64(seed);
    let mut house = House::new(DRIVE_BYTES);
    let mut server = house.spec().start().unwrap();
    server.s3().unwrap().create_bucket(BUCKET).unwrap();
    let mut writers: Vec<Writer> =
        (0..WRITERS).map(|number| Writer::new(number, random.random()).may_be_refused()).collect();
    for round in 0..rounds {
        let when = |what: &str| format!("seed {seed}, round {round}, {what}");
        let beats = random.random_range(20..200);
        let drives = two(&mut random);
        let gone = random.random_range(0..=PARITY);
        let (vanishing, rotting) = drives.split_at(gone);
        let mut dice = StdRng::seed_from_u64(random.random());
        let spec = load_and_kill(server, &mut writers, beats, |_| {
            for &drive in vanishing {
                house.vanish(drive);
            }
            for &drive in rotting {
                house.flip(drive, &mut dice);
            }
        });
        server = spec.start().unwrap_or_else(|error| panic!("{}: {error:#}", when("after the incident")));
        check(&server, &mut writers, &when("after the incident"));
        for &drive in vanishing {
            house.put_empty(drive);
        }
        // filled under load, and the server dies in the middle of it
        let spec = load_and_kill(server, &mut writers, beats, |server| {
            for drive in vanishing {
                server.cli_ok(&["drives", "replace", &drive.to_string(), "--no-wait"]).unwrap();
            }
        });
        server = spec.start().unwrap_or_else(|error| panic!("{}: {error:#}", when("after the exchange")));
        check(&server, &mut writers, &when("after the exchange"));
        let healed = server.cli_ok(&["drives", "heal"]);
        healed.unwrap_or_else(|error| {
            panic!("{}, {vanishing:?} vanished, {rotting:?} rotted: {error:#}\n{}", when("heal"), server.log())
        });
        expect_clean(&server, &when("healed"));
    }
    // and the healed ones carry what others lose
    let acknowledged: u64 = writers.iter().map(|writer| writer.acknowledged).sum();
    let spec = server.stop().unwrap();
    for drive in two(&mut random) {
        house.vanish(drive);
    }
    let server = spec.start().unwrap();
    check(&server, &mut writers, &format!("seed {seed}, in the end"));
    println!("bad drives: {acknowledged} writes acknowledged, none lost");
    assert!(acknowledged > u64::from(rounds) * 20, "hardly anything was written: {acknowledged}");
}

#[test]
fn full_drives_refuse_bodies_clearly_take_deletes_and_give_the_space_back() {
    const OBJECT_BYTES: usize = 1 << 20;
    let house = House::new(128 << 20);
    let mut server = house.spec().start().unwrap();
    let mut s3 = server.s3().unwrap();
    s3.create_bucket(BUCKET).unwrap();
    let content = |number: u64| Content { seed: number, length: OBJECT_BYTES };
    let key = |number: u64| format!("k{number:04}");
    let mut kept = 0..0;
    let mut filled = Vec::new();
    for round in 0..3 {
        let mut refused = String::new();
        // both classes fill the same drives
        let class = |number: u64| if number.is_multiple_of(3) { "STANDARD_IA" } else { "STANDARD" };
        let mut put = |number: u64| match s3.put_in_class(BUCKET, &key(number), &content(number).bytes(), class(number))
        {
            Ok(()) => true,
            Err(error) => {
                refused = error.to_string();
                false
            }
        };
        // what was deleted comes back little by little
        while wait::until("room", PATIENCE, || Ok(put(kept.end).then_some(()))).is_ok() {
            kept.end += 1;
            assert!(kept.end < 2000, "128 MiB drives took 2000 MiB");
        }
        assert!(refused.starts_with("answered 503") && refused.contains("The drives are full"), "{refused}");
        filled.push(kept.end - kept.start);
        let status = server.cli_ok(&["drives", "status"]).unwrap();
        assert!(status.contains("all drives live"), "a full drive is no lost one: {status}");
        assert!(status.contains("the drives are full"), "{status}");
        if round == 1 {
            server = server.kill().unwrap().start().unwrap();
            s3 = server.s3().unwrap();
        }
        for number in kept.clone() {
            let found = s3.get(BUCKET, &key(number)).unwrap();
            assert!(found == Some(content(number).bytes()), "{} differs on full drives", key(number));
        }
        let half = kept.start + (kept.end - kept.start) / 2;
        for number in kept.start..half {
            s3.delete(BUCKET, &key(number)).unwrap();
        }
        kept.start = half;
        wait::until("full drives take objects again", LIMIT, || {
            let taken = s3.put(BUCKET, "again", &content(7).bytes()).is_ok();
            Ok(taken.then_some(()))
        })
        .unwrap_or_else(|error| {
            let status = server.cli_ok(&["--json", "drives", "status"]);
            panic!("round {round}: {error:#}\n{status:?}\n{:?}\n{}", server.metrics(), server.log())
        });
    }
    println!("objects of 1 MiB on six drives of 128 MiB before they were full, a half deleted each time: {filled:?}");
    assert!(filled[0] >= 150 && filled[2] >= filled[0] * 3 / 4, "{filled:?}");
    expect_clean(&server, "in the end");
}

#[test]
fn a_read_only_drive_is_missing_and_comes_back_without_a_restart() {
    let house = House::new(DRIVE_BYTES);
    let server = house.spec().start().unwrap();
    let mut s3 = server.s3().unwrap();
    s3.create_bucket(BUCKET).unwrap();
    let content = Content { seed: 3, length: 3 << 20 };
    s3.put(BUCKET, "before", &content.bytes()).unwrap();
    let spec = server.stop().unwrap();
    let mount = house.mounts[2].as_ref().unwrap();
    mount.set_read_only(true).unwrap();
    let server = spec.start().unwrap();
    let status = server.cli_ok(&["drives", "status"]).unwrap();
    assert!(status.contains("missing") && status.contains("Read-only file system"), "{status}");
    let mut s3 = server.s3().unwrap();
    s3.put(BUCKET, "meanwhile", &content.bytes()).unwrap();
    let refused = server.cli(&["drives", "replace", "2"]).unwrap();
    let text = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(!refused.status.success() && text.contains("Read-only file system"), "{text}");
    mount.set_read_only(false).unwrap();
    let path = mount.folder().display().to_string();
    let said = server.cli_ok(&["drives", "replace", &path]).unwrap();
    assert!(said.contains("heal ended"), "{said}");
    expect_clean(&server, "back");
    for key in ["before", "meanwhile"] {
        assert!(s3.get(BUCKET, key).unwrap() == Some(content.bytes()));
    }
}

#[test]
fn a_drive_is_exchanged_for_one_in_another_folder() {
    let house = House::new(DRIVE_BYTES);
    let server = house.spec().start().unwrap();
    let mut s3 = server.s3().unwrap();
    s3.create_bucket(BUCKET).unwrap();
    let content = Content { seed: 4, length: 2 << 20 };
    s3.put(BUCKET, "kept", &content.bytes()).unwrap();
    s3.put_in_class(BUCKET, "cold", &content.bytes(), "STANDARD_IA").unwrap();
    for (with, words) in [("nowhere", "does not exist"), ("d1", "in use")] {
        let refused = server.cli(&["drives", "replace", "3", "--with", with]).unwrap();
        let text = String::from_utf8_lossy(&refused.stderr).into_owned();
        assert!(!refused.status.success() && text.contains(words), "{text}");
    }
    let refused = server.cli(&["drives", "replace", "7"]).unwrap();
    let text = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(text.contains("there is no drive 7"), "{text}");
    let new = Mount::new(&house.sandbox.path().join("new"), DRIVE_BYTES).unwrap();
    let said = server.cli_ok(&["drives", "replace", "3", "--with", "new"]).unwrap();
    assert!(said.contains("before the next start, write") && said.contains("heal ended"), "{said}");
    expect_clean(&server, "exchanged");
    let spec = server.stop().unwrap();
    let folders: Vec<String> = (0..DRIVES)
        .map(|drive| if drive == 3 { new.folder().to_owned() } else { house.folder(drive) })
        .map(|folder| folder.display().to_string())
        .collect();
    let server = spec.setting("STORAGE__DRIVES", &folders.join(",")).start().unwrap();
    expect_clean(&server, "started with the new folder");
    // the new one carries what two others lose, in both classes
    let spec = server.stop().unwrap();
    for drive in [0, 5] {
        std::fs::remove_dir_all(house.folder(drive).join("infrequent-access")).unwrap();
        std::fs::remove_file(house.folder(drive).join("drive.json")).unwrap();
    }
    let server = spec.start().unwrap();
    for key in ["kept", "cold"] {
        assert!(server.s3().unwrap().get(BUCKET, key).unwrap() == Some(content.bytes()), "{key}\n{}", server.log());
    }
}
