//! Random requests against a model of a few maps: after each of them everything reads as the model says, the sweeper
//! runs in between, and at the end exactly the blobs of what is there are left.

use crate::fixture::{House, body, bytes, key};
use crate::{
    BodyChecks, CompleteUpload, CompletedPart, Conditions, CopyRequest, Error, MetadataDirective, ObjectHeaders,
    ObjectRecord, PutRequest, StageSpec, TransitionOutcome, UploadRef,
};
use cistern_types::StorageClass;
use proptest::prelude::*;
use std::collections::BTreeMap;
use std::time::Duration;

const KEYS: [&str; 4] = ["a", "a/b", "ä", "z"];

#[derive(Debug, Clone)]
pub(crate) enum Step {
    Put { key: usize, size: usize, create_only: bool, infrequent: bool },
    Transition { key: usize, infrequent: bool },
    PutBroken { key: usize, size: usize },
    Stage { size: usize },
    Delete { key: usize },
    DeleteMany { keys: Vec<usize> },
    Copy { source: usize, target: usize, replace: bool },
    Begin { key: usize },
    Part { upload: usize, number: u16, size: usize },
    Complete { upload: usize, but: Option<usize> },
    Abort { upload: usize },
    Advance { hours: u64 },
    Sweep,
}

pub(crate) fn step() -> impl Strategy<Value = Step> {
    let key = || 0..KEYS.len();
    let size = || prop_oneof![0usize..20, Just(150_000), Just((1 << 20) + 3)];
    prop_oneof![
        4 => (key(), size(), any::<bool>(), any::<bool>())
            .prop_map(|(key, size, create_only, infrequent)| Step::Put { key, size, create_only, infrequent }),
        3 => (key(), any::<bool>()).prop_map(|(key, infrequent)| Step::Transition { key, infrequent }),
        1 => (key(), size()).prop_map(|(key, size)| Step::PutBroken { key, size }),
        1 => size().prop_map(|size| Step::Stage { size }),
        2 => key().prop_map(|key| Step::Delete { key }),
        1 => prop::collection::vec(key(), 0..5).prop_map(|keys| Step::DeleteMany { keys }),
        2 => (key(), key(), any::<bool>()).prop_map(|(source, target, replace)| Step::Copy { source, target, replace }),
        2 => key().prop_map(|key| Step::Begin { key }),
        5 => (0usize..3, 1u16..5, size()).prop_map(|(upload, number, size)| Step::Part { upload, number, size }),
        2 => (0usize..3, prop::option::of(0usize..4)).prop_map(|(upload, but)| Step::Complete { upload, but }),
        1 => (0usize..3).prop_map(|upload| Step::Abort { upload }),
        2 => (0u64..40).prop_map(|hours| Step::Advance { hours }),
        3 => Just(Step::Sweep),
    ]
}

fn class(infrequent: bool) -> StorageClass {
    if infrequent { StorageClass::InfrequentAccess } else { StorageClass::Standard }
}

type Parts = BTreeMap<u16, (Vec<u8>, CompletedPart)>;

struct Model {
    house: House,
    objects: BTreeMap<&'static str, (Vec<u8>, u8)>,
    uploads: Vec<(UploadRef, Parts)>,
    writes: u8,
}

fn marked(mark: u8) -> ObjectHeaders {
    ObjectHeaders { user: [("mark".into(), mark.to_string())].into(), ..ObjectHeaders::default() }
}

impl Model {
    fn next_content(&mut self, size: usize) -> (Vec<u8>, u8) {
        self.writes = self.writes.wrapping_add(1);
        (bytes(size, self.writes), self.writes)
    }

    async fn run(&mut self, step: Step) {
        match step {
            Step::Put { key, size, create_only, infrequent } => {
                self.put(KEYS[key], size, create_only, class(infrequent)).await;
            }
            Step::Transition { key, infrequent } => self.transition(KEYS[key], class(infrequent)).await,
            Step::PutBroken { key, size } => {
                let (content, mark) = self.next_content(size);
                let checks = BodyChecks { content_md5: Some([0; 16]), ..BodyChecks::default() };
                let request = PutRequest { headers: marked(mark), checks, ..self.house.put_request(KEYS[key]) };
                self.house.objects.put(request, body(&content)).await.unwrap_err();
            }
            Step::Stage { size } => {
                let (content, _) = self.next_content(size);
                self.house.objects.stage_bytes(StageSpec::default(), content.into()).await.unwrap();
            }
            Step::Delete { key: at } => {
                let outcome = self.house.objects.delete(&self.house.bucket, &key(KEYS[at])).await.unwrap();
                assert_eq!(outcome.version.is_some(), self.objects.remove(KEYS[at]).is_some());
            }
            Step::DeleteMany { keys } => {
                let names = keys.iter().map(|at| key(KEYS[*at])).collect();
                let answers = self.house.objects.delete_many(&self.house.bucket, names).await.unwrap();
                for (at, (_, answer)) in keys.into_iter().zip(answers) {
                    assert_eq!(answer.unwrap().version.is_some(), self.objects.remove(KEYS[at]).is_some());
                }
            }
            Step::Copy { source, target, replace } => self.copy(KEYS[source], KEYS[target], replace).await,
            Step::Begin { key } if self.uploads.len() < 3 => {
                let at = self.house.begin_upload(KEYS[key]).await;
                self.uploads.push((at, Parts::new()));
            }
            Step::Part { upload, number, size } if upload < self.uploads.len() => {
                let (content, _) = self.next_content(size);
                let (at, parts) = &mut self.uploads[upload];
                let part = self.house.put_part(at, number, &content).await;
                parts.insert(number, (content, part));
            }
            Step::Complete { upload, but } if upload < self.uploads.len() => self.complete(upload, but).await,
            Step::Abort { upload } if upload < self.uploads.len() => {
                let (at, _) = self.uploads.remove(upload);
                self.house.objects.abort_upload(&at).await.unwrap();
            }
            Step::Advance { hours } => self.house.clock.advance(Duration::from_hours(hours)),
            Step::Sweep => self.house.sweep().await,
            Step::Begin { .. } | Step::Part { .. } | Step::Complete { .. } | Step::Abort { .. } => {}
        }
    }

    async fn transition(&mut self, name: &'static str, class: StorageClass) {
        let (objects, bucket) = (&self.house.objects, &self.house.bucket);
        let Ok(before) = objects.head(bucket, &key(name)).await else { return };
        let other = self.house.put("another", b"").await.version;
        let superseded = objects.transition(bucket, &key(name), other, class).await.unwrap();
        assert_eq!(superseded, TransitionOutcome::Superseded);
        objects.delete(bucket, &key("another")).await.unwrap();
        let outcome = objects.transition(bucket, &key(name), before.version, class).await.unwrap();
        let moved = if before.class == class { TransitionOutcome::AlreadyThere } else { TransitionOutcome::Moved };
        assert_eq!(outcome, moved);
        let after = objects.head(bucket, &key(name)).await.unwrap();
        assert_eq!(after, ObjectRecord { class, layout: after.layout.clone(), ..before });
    }

    async fn put(&mut self, name: &'static str, size: usize, create_only: bool, class: StorageClass) {
        let (content, mark) = self.next_content(size);
        let conditions = if create_only { Conditions::create_only() } else { Conditions::default() };
        let request =
            PutRequest { headers: marked(mark), conditions, class: Some(class), ..self.house.put_request(name) };
        let answer = self.house.objects.put(request, body(&content)).await;
        if create_only && self.objects.contains_key(name) {
            assert!(matches!(answer, Err(Error::PreconditionFailed { .. })), "{answer:?}");
        } else {
            answer.unwrap();
            self.objects.insert(name, (content, mark));
        }
    }

    async fn copy(&mut self, source: &'static str, target: &'static str, replace: bool) {
        let mark = self.next_content(0).1;
        let metadata = if replace { MetadataDirective::Replace(marked(mark)) } else { MetadataDirective::Copy };
        let bucket = &self.house.bucket;
        let request =
            CopyRequest { metadata, ..CopyRequest::new((bucket.clone(), key(source)), (bucket.clone(), key(target))) };
        // a copy gets the bucket's class: for another one than that this is a change
        let seen = self.house.objects.head(bucket, &key(source)).await;
        let changes_class = seen.is_ok_and(|seen| seen.class != StorageClass::Standard);
        let answer = self.house.objects.copy(request).await;
        match self.objects.get(source).cloned() {
            None => assert!(matches!(answer, Err(Error::NoSuchKey { .. })), "{answer:?}"),
            Some(_) if source == target && !replace && !changes_class => {
                assert!(matches!(answer, Err(Error::InvalidRequest { .. })), "{answer:?}");
            }
            Some((content, old)) => {
                answer.unwrap();
                self.objects.insert(target, (content, if replace { mark } else { old }));
            }
        }
    }

    async fn complete(&mut self, upload: usize, but: Option<usize>) {
        let (at, parts) = self.uploads.remove(upload);
        let named: Vec<_> =
            parts.values().enumerate().filter(|(i, _)| Some(*i) != but).map(|(_, part)| part.clone()).collect();
        let request =
            CompleteUpload { parts: named.iter().map(|(_, part)| part.clone()).collect(), ..CompleteUpload::default() };
        let answer = self.house.objects.complete_upload(&at, request).await;
        let too_small = named.iter().rev().skip(1).any(|(content, _)| content.len() < 4);
        if named.is_empty() || too_small {
            answer.unwrap_err();
            self.uploads.push((at, parts));
            return;
        }
        answer.unwrap();
        let name = KEYS.into_iter().find(|name| key(name) == at.key).unwrap();
        let content = named.into_iter().flat_map(|(content, _)| content).collect();
        self.objects.insert(name, (content, 0));
    }

    async fn check(&self) {
        let mut keys: Vec<&str> = self.objects.keys().copied().collect();
        keys.sort_unstable();
        assert_eq!(self.house.keys().await, keys);
        for (name, (content, mark)) in &self.objects {
            let record = self.house.objects.head(&self.house.bucket, &key(name)).await.unwrap();
            let expected = if *mark == 0 { ObjectHeaders::default() } else { marked(*mark) };
            assert_eq!(record.headers, expected);
            assert!(self.house.read(name).await.unwrap() == *content, "bytes of {name}");
        }
        for (at, parts) in &self.uploads {
            let page = self.house.objects.parts(at, 0, 100).await.unwrap();
            let listed: Vec<_> = page.parts.iter().map(|part| (part.number, part.size)).collect();
            let expected: Vec<_> = parts.iter().map(|(number, (content, _))| (*number, content.len() as u64)).collect();
            assert_eq!(listed, expected);
        }
    }

    /// Completes what is open, lets everything come due, and counts what is left.
    async fn check_nothing_leaked(&mut self) {
        while let Some((at, parts)) = self.uploads.pop() {
            self.uploads.push((at, parts));
            let last = self.uploads.len() - 1;
            self.complete(last, None).await;
            if self.uploads.len() > last {
                let (at, _) = self.uploads.pop().unwrap();
                self.house.objects.abort_upload(&at).await.unwrap();
            }
        }
        // twice: what was staged and never used may lie in the queue until the first sweep writes something
        for _ in 0..2 {
            self.house.clock.advance(Duration::from_hours(100));
            self.house.sweep().await;
        }
        self.check().await;
        let (blobs, [garbage, claims, extents, parts, completed]) =
            (self.house.blobs().await.len(), self.house.bookkeeping().await);
        assert_eq!((garbage, extents, parts, completed), (0, 0, 0, 0));
        assert_eq!(blobs, claims);
        for name in self.objects.keys().copied().collect::<Vec<_>>() {
            self.house.objects.delete(&self.house.bucket, &key(name)).await.unwrap();
        }
        self.house.clock.advance(Duration::from_hours(100));
        self.house.sweep().await;
        assert_eq!((self.house.blobs().await.len(), self.house.bookkeeping().await), (0, [0; 5]));
    }
}

/// Runs the steps against a house with an empty bucket.
pub(crate) async fn check(house: House, steps: Vec<Step>) {
    let mut model = Model { house, objects: BTreeMap::new(), uploads: Vec::new(), writes: 0 };
    for step in steps {
        model.run(step).await;
        model.check().await;
    }
    model.check_nothing_leaked().await;
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn any_sequence_of_requests_reads_as_the_model_and_leaks_nothing(steps in prop::collection::vec(step(), 1..40)) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        runtime.block_on(async { check(House::new().await, steps).await });
    }
}
