//! Random requests against a model of a few maps: after each of them everything reads as the model says, the sweeper
//! runs in between, and at the end exactly the blobs of what is there are left.
//!
//! The model of a key is the list of its states, the newest last, and knows nothing of tables: a write to a bucket that does
//! not keep versions removes the null state and adds another, one that does only adds.

use crate::fixture::{House, body, bytes, key};
use crate::{
    BodyChecks, CompleteUpload, CompletedPart, Conditions, CopyRequest, CreateUpload, DeleteItem, DeleteOutcome,
    Encryption, EncryptionKind, Error, ListVersions, ListedVersion, MetadataDirective, ObjectHeaders, ObjectRecord,
    PutRequest, StageSpec, TransitionOutcome, UploadRef, VersionId, VersionRef, Versioning,
};
use cistern_types::{StorageClass, Timestamp};
use proptest::prelude::*;
use std::collections::BTreeMap;
use std::time::Duration;

const KEYS: [&str; 4] = ["a", "a/b", "ä", "z"];

#[derive(Debug, Clone)]
pub(crate) enum Step {
    Put { key: usize, size: usize, create_only: bool, infrequent: bool, managed: bool },
    Transition { key: usize, back: usize, infrequent: bool },
    SetVersioning { enabled: bool },
    SetDefaultEncryption { encrypted: bool },
    RemoveVersion { key: usize, back: usize },
    PutBroken { key: usize, size: usize },
    Stage { size: usize },
    Delete { key: usize },
    DeleteMany { keys: Vec<usize> },
    Copy { source: usize, target: usize, replace: bool, managed: bool },
    Restore { key: usize, back: usize },
    Begin { key: usize, managed: bool },
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
        4 => (key(), size(), any::<bool>(), any::<bool>(), any::<bool>()).prop_map(
            |(key, size, create_only, infrequent, managed)| Step::Put { key, size, create_only, infrequent, managed }
        ),
        3 => (key(), 0usize..3, any::<bool>())
            .prop_map(|(key, back, infrequent)| Step::Transition { key, back, infrequent }),
        2 => any::<bool>().prop_map(|enabled| Step::SetVersioning { enabled }),
        1 => any::<bool>().prop_map(|encrypted| Step::SetDefaultEncryption { encrypted }),
        4 => (key(), 0usize..4).prop_map(|(key, back)| Step::RemoveVersion { key, back }),
        1 => (key(), 0usize..3).prop_map(|(key, back)| Step::Restore { key, back }),
        1 => (key(), size()).prop_map(|(key, size)| Step::PutBroken { key, size }),
        1 => size().prop_map(|size| Step::Stage { size }),
        2 => key().prop_map(|key| Step::Delete { key }),
        1 => prop::collection::vec(key(), 0..5).prop_map(|keys| Step::DeleteMany { keys }),
        2 => (key(), key(), any::<bool>(), any::<bool>())
            .prop_map(|(source, target, replace, managed)| Step::Copy { source, target, replace, managed }),
        2 => (key(), any::<bool>()).prop_map(|(key, managed)| Step::Begin { key, managed }),
        5 => (0usize..3, 1u16..5, size()).prop_map(|(upload, number, size)| Step::Part { upload, number, size }),
        2 => (0usize..3, prop::option::of(0usize..4)).prop_map(|(upload, but)| Step::Complete { upload, but }),
        1 => (0usize..3).prop_map(|upload| Step::Abort { upload }),
        2 => (0u64..40).prop_map(|hours| Step::Advance { hours }),
        3 => Just(Step::Sweep),
    ]
}

fn encryption(managed: bool) -> Encryption {
    if managed { Encryption::Managed } else { Encryption::None }
}

fn class(infrequent: bool) -> StorageClass {
    if infrequent { StorageClass::InfrequentAccess } else { StorageClass::Standard }
}

/// The bytes of an object, its mark, and whether it is encrypted.
type Object = (Vec<u8>, u8, bool);

type Parts = BTreeMap<u16, (Vec<u8>, CompletedPart)>;

/// A state of a key: an object with its mark, or a delete marker.
#[derive(Debug, Clone)]
struct State {
    id: VersionId,
    null: bool,
    object: Option<Object>,
}

impl State {
    fn shown(&self) -> VersionRef {
        VersionRef::of(self.id, self.null)
    }
}

struct Model {
    house: House,
    versioning: Versioning,
    states: BTreeMap<&'static str, Vec<State>>,
    /// Whether the bucket encrypts what asks for nothing.
    encrypts: bool,
    /// The open uploads, and whether their objects will be encrypted.
    uploads: Vec<(UploadRef, Parts, bool)>,
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
            Step::Put { key, size, create_only, infrequent, managed } => {
                self.put(KEYS[key], size, create_only, class(infrequent), managed).await;
            }
            Step::Transition { key, back, infrequent } => self.transition(KEYS[key], back, class(infrequent)).await,
            Step::SetVersioning { enabled } => {
                self.house.objects.set_versioning(&self.house.bucket, enabled).await.unwrap();
                self.versioning = if enabled { Versioning::Enabled } else { Versioning::Suspended };
            }
            Step::SetDefaultEncryption { encrypted } => {
                self.house.objects.set_default_encryption(&self.house.bucket, encrypted).await.unwrap();
                self.encrypts = encrypted;
            }
            Step::RemoveVersion { key, back } => self.remove_version(KEYS[key], back).await,
            Step::Restore { key, back } => self.restore(KEYS[key], back).await,
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
                self.deleted(KEYS[at], outcome);
            }
            Step::DeleteMany { keys } => {
                let items = keys.iter().map(|at| key(KEYS[*at]).into()).collect();
                let answers = self.house.objects.delete_many(&self.house.bucket, items).await.unwrap();
                for (at, (_, answer)) in keys.into_iter().zip(answers) {
                    self.deleted(KEYS[at], answer.unwrap());
                }
            }
            Step::Copy { source, target, replace, managed } => {
                self.copy(KEYS[source], KEYS[target], replace, managed).await;
            }
            Step::Begin { key, managed } if self.uploads.len() < 3 => {
                let encryption = encryption(managed);
                let upload = CreateUpload { encryption, ..self.house.plain_upload(KEYS[key]) };
                let at = self.house.begin(upload).await;
                self.uploads.push((at, Parts::new(), managed || self.encrypts));
            }
            Step::Part { upload, number, size } if upload < self.uploads.len() => {
                let (content, _) = self.next_content(size);
                let (at, parts, _) = &mut self.uploads[upload];
                let part = self.house.put_part(at, number, &content).await;
                parts.insert(number, (content, part));
            }
            Step::Complete { upload, but } if upload < self.uploads.len() => self.complete(upload, but).await,
            Step::Abort { upload } if upload < self.uploads.len() => {
                let (at, ..) = self.uploads.remove(upload);
                self.house.objects.abort_upload(&at).await.unwrap();
            }
            Step::Advance { hours } => self.house.clock.advance(Duration::from_hours(hours)),
            Step::Sweep => self.house.sweep().await,
            Step::Begin { .. } | Step::Part { .. } | Step::Complete { .. } | Step::Abort { .. } => {}
        }
    }

    fn object(&self, name: &str) -> Option<&Object> {
        self.states.get(name)?.last()?.object.as_ref()
    }

    /// The state so far back from the newest, if there are so many.
    fn state(&self, name: &str, back: usize) -> Option<State> {
        self.states.get(name)?.iter().rev().nth(back).cloned()
    }

    /// A new state of a key is there.
    fn written(&mut self, name: &'static str, id: VersionId, object: Option<Object>) {
        let null = self.versioning != Versioning::Enabled;
        let states = self.states.entry(name).or_default();
        if null {
            states.retain(|state| !state.null);
        }
        states.push(State { id, null, object });
    }

    fn deleted(&mut self, name: &'static str, outcome: DeleteOutcome) {
        assert_eq!(outcome.version.is_some(), self.object(name).is_some());
        let unversioned = self.versioning == Versioning::Unversioned;
        assert_eq!((outcome.delete_marker, outcome.shown_version.is_none()), (!unversioned, unversioned));
        match outcome.shown_version {
            None => self.states.remove(name).map_or((), drop),
            Some(VersionRef::Id(id)) => self.written(name, id, None),
            // its id is not told, and nothing asks for it
            Some(VersionRef::Null) => self.written(name, VersionId::after(None, Timestamp::default()), None),
        }
    }

    async fn remove_version(&mut self, name: &'static str, back: usize) {
        let Some(state) = self.state(name, back) else { return };
        let version = Some(state.shown());
        let item = DeleteItem { version, ..key(name).into() };
        for repeated in [false, true] {
            let outcome = self.house.objects.delete_one(&self.house.bucket, item.clone()).await.unwrap();
            assert_eq!(outcome.shown_version, version);
            assert_eq!(outcome.version.is_some(), !repeated);
            assert_eq!(outcome.delete_marker, !repeated && state.object.is_none());
        }
        let states = self.states.get_mut(name).unwrap();
        states.remove(states.len() - 1 - back);
    }

    /// Copies an older version over its key.
    async fn restore(&mut self, name: &'static str, back: usize) {
        let Some(state) = self.state(name, back) else { return };
        let bucket = &self.house.bucket;
        let place = (bucket.clone(), key(name));
        let request = CopyRequest { source_version: Some(state.shown()), ..CopyRequest::new(place.clone(), place) };
        let answer = self.house.objects.copy(request).await;
        match state.object {
            None => assert!(matches!(answer, Err(Error::IsDeleteMarker { .. })), "{answer:?}"),
            Some((content, mark, _)) => {
                let copied = answer.unwrap();
                let told = Some(VersionRef::of(state.id, state.null));
                assert_eq!(copied.source_version, told.filter(|_| self.versioning != Versioning::Unversioned));
                self.written(name, copied.target.version, Some((content, mark, self.encrypts)));
            }
        }
    }

    async fn transition(&mut self, name: &'static str, back: usize, class: StorageClass) {
        let Some(state) = self.state(name, back).filter(|state| state.object.is_some()) else { return };
        let (objects, bucket) = (&self.house.objects, &self.house.bucket);
        let version = Some(state.shown());
        let before = objects.head_version(bucket, &key(name), version).await.unwrap();
        let other = VersionId::after(Some(before.version), Timestamp::default());
        let superseded = objects.transition(bucket, &key(name), other, class).await.unwrap();
        assert_eq!(superseded, TransitionOutcome::Superseded);
        let outcome = objects.transition(bucket, &key(name), before.version, class).await.unwrap();
        let moved = if before.class == class { TransitionOutcome::AlreadyThere } else { TransitionOutcome::Moved };
        assert_eq!(outcome, moved);
        let after = objects.head_version(bucket, &key(name), version).await.unwrap();
        assert_eq!(after, ObjectRecord { class, layout: after.layout.clone(), ..before });
    }

    async fn put(&mut self, name: &'static str, size: usize, create_only: bool, class: StorageClass, managed: bool) {
        let (content, mark) = self.next_content(size);
        let conditions = if create_only { Conditions::create_only() } else { Conditions::default() };
        let (headers, class, encryption) = (marked(mark), Some(class), encryption(managed));
        let request = PutRequest { headers, encryption, class, conditions, ..self.house.put_request(name) };
        let answer = self.house.objects.put(request, body(&content)).await;
        if create_only && self.object(name).is_some() {
            assert!(matches!(answer, Err(Error::PreconditionFailed { .. })), "{answer:?}");
        } else {
            self.written(name, answer.unwrap().version, Some((content, mark, managed || self.encrypts)));
        }
    }

    async fn copy(&mut self, source: &'static str, target: &'static str, replace: bool, managed: bool) {
        let mark = self.next_content(0).1;
        let metadata = if replace { MetadataDirective::Replace(marked(mark)) } else { MetadataDirective::Copy };
        let bucket = &self.house.bucket;
        let plain = CopyRequest::new((bucket.clone(), key(source)), (bucket.clone(), key(target)));
        let request = CopyRequest { metadata, encryption: encryption(managed), ..plain };
        // a copy gets the bucket's class: for another one than that this is a change
        let seen = self.house.objects.head(bucket, &key(source)).await;
        let changes_class = seen.is_ok_and(|seen| seen.class != StorageClass::Standard);
        let answer = self.house.objects.copy(request).await;
        match self.object(source).cloned() {
            None => assert!(matches!(answer, Err(Error::NoSuchKey { .. })), "{answer:?}"),
            Some((.., encrypted))
                if source == target && !replace && !changes_class && !managed && (encrypted || !self.encrypts) =>
            {
                assert!(matches!(answer, Err(Error::InvalidRequest { .. })), "{answer:?}");
            }
            Some((content, old, _)) => {
                let mark = if replace { mark } else { old };
                self.written(target, answer.unwrap().target.version, Some((content, mark, managed || self.encrypts)));
            }
        }
    }

    async fn complete(&mut self, upload: usize, but: Option<usize>) {
        let (at, parts, encrypted) = self.uploads.remove(upload);
        let named: Vec<_> =
            parts.values().enumerate().filter(|(i, _)| Some(*i) != but).map(|(_, part)| part.clone()).collect();
        let request =
            CompleteUpload { parts: named.iter().map(|(_, part)| part.clone()).collect(), ..CompleteUpload::default() };
        let answer = self.house.objects.complete_upload(&at, request).await;
        let too_small = named.iter().rev().skip(1).any(|(content, _)| content.len() < 4);
        if named.is_empty() || too_small {
            answer.unwrap_err();
            self.uploads.push((at, parts, encrypted));
            return;
        }
        let version = answer.unwrap().version;
        let name = KEYS.into_iter().find(|name| key(name) == at.key).unwrap();
        let content = named.into_iter().flat_map(|(content, _)| content).collect();
        self.written(name, version, Some((content, 0, encrypted)));
    }

    async fn check(&self) {
        let mut keys: Vec<&str> = self.states.keys().copied().filter(|name| self.object(name).is_some()).collect();
        keys.sort_unstable();
        assert_eq!(self.house.keys().await, keys);
        for (name, states) in &self.states {
            for (back, state) in states.iter().rev().enumerate() {
                self.check_state(name, back, state).await;
            }
        }
        for page in [1, 2, 1000] {
            self.check_versions(page).await;
        }
        for (at, parts, _) in &self.uploads {
            let page = self.house.objects.parts(at, 0, 100).await.unwrap();
            let listed: Vec<_> = page.parts.iter().map(|part| (part.number, part.size)).collect();
            let expected: Vec<_> = parts.iter().map(|(number, (content, _))| (*number, content.len() as u64)).collect();
            assert_eq!(listed, expected);
        }
    }

    async fn check_state(&self, name: &str, back: usize, state: &State) {
        let (objects, bucket) = (&self.house.objects, &self.house.bucket);
        let version = Some(state.shown());
        let by_version = objects.head_version(bucket, &key(name), version).await;
        let Some((content, mark, encrypted)) = &state.object else {
            assert!(matches!(by_version, Err(Error::IsDeleteMarker { .. })), "{by_version:?}");
            let current = objects.head(bucket, &key(name)).await;
            if back == 0 {
                let marker = Some(state.shown());
                assert!(matches!(current, Err(Error::NoSuchKey { marker: told, .. }) if told == marker));
            }
            return;
        };
        let record = by_version.unwrap();
        let expected = if *mark == 0 { ObjectHeaders::default() } else { marked(*mark) };
        assert_eq!((&record.headers, record.version), (&expected, state.id));
        assert_eq!(record.encryption(), encrypted.then_some(EncryptionKind::Managed));
        assert_eq!(record.shown_version, version.filter(|_| self.versioning != Versioning::Unversioned));
        assert!(self.house.read_version(name, version).await.unwrap() == *content, "bytes of {name}");
        if back == 0 {
            assert_eq!(objects.head(bucket, &key(name)).await.unwrap(), record);
            assert!(self.house.read(name).await.unwrap() == *content, "bytes of {name}");
        }
    }

    /// Lists all versions, `limit` a page.
    async fn check_versions(&self, limit: usize) {
        let mut expected = Vec::new();
        for name in KEYS.into_iter().collect::<std::collections::BTreeSet<_>>() {
            let states = self.states.get(name).map(Vec::as_slice).unwrap_or_default();
            for (back, state) in states.iter().rev().enumerate() {
                expected.push((name.to_owned(), state.shown(), state.object.is_none(), back == 0));
            }
        }
        let mut request = ListVersions {
            bucket: self.house.bucket.clone(),
            prefix: String::new(),
            delimiter: None,
            key_marker: None,
            version_marker: None,
            limit,
        };
        let mut listed = Vec::new();
        loop {
            let page = self.house.objects.versions(request.clone()).await.unwrap();
            assert!(page.versions.len() <= limit);
            listed.extend(page.versions.into_iter().map(|entry| match entry {
                ListedVersion::Object { object, version, latest } => (object.key.to_string(), version, false, latest),
                ListedVersion::DeleteMarker { key, version, latest, .. } => (key.to_string(), version, true, latest),
            }));
            let Some((key, version)) = page.next else { break };
            request = ListVersions { key_marker: Some(key), version_marker: version, ..request };
        }
        assert_eq!(listed, expected, "{limit} a page");
    }

    /// Completes what is open, lets everything come due, and counts what is left.
    async fn check_nothing_leaked(&mut self) {
        while !self.uploads.is_empty() {
            let last = self.uploads.len() - 1;
            self.complete(last, None).await;
            if self.uploads.len() > last {
                let (at, ..) = self.uploads.pop().unwrap();
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
        for name in KEYS {
            while self.state(name, 0).is_some() {
                let back = self.states[name].len() / 2;
                self.remove_version(name, back).await;
                self.check().await;
            }
        }
        self.house.clock.advance(Duration::from_hours(100));
        self.house.sweep().await;
        assert_eq!((self.house.blobs().await.len(), self.house.bookkeeping().await), (0, [0; 5]));
        assert_eq!(self.house.rows_of_versions().await, 0);
    }
}

/// Runs the steps against a house with an empty bucket.
pub(crate) async fn check(house: House, steps: Vec<Step>) {
    let (states, uploads) = (BTreeMap::new(), Vec::new());
    let mut model = Model { house, versioning: Versioning::Unversioned, states, encrypts: false, uploads, writes: 0 };
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
