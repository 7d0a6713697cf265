//! Serializability: whatever concurrent transactions commit must look as if they had run one after another, in the
//! order of their stamps, and a transaction loses only for a reason.

use super::*;
use crate::embedded::tests::{Drives, open};
use crate::{EmbeddedEngine, KeyRange, MemoryEngine};
use cistern_drives::{Threads, ViewKind};
use proptest::prelude::*;
use tokio::task::JoinSet;

/// How many transactions are open at once.
const SLOTS: usize = 4;

#[derive(Debug, Clone)]
enum Step {
    Get(u8),
    Scan { start: u8, end: u8, limit: usize, order: ScanOrder },
    Put(u8),
    Delete(u8),
    Commit,
}

fn step() -> impl Strategy<Value = Step> {
    let key = 0..6_u8;
    let order = prop_oneof![Just(ScanOrder::Ascending), Just(ScanOrder::Descending)];
    prop_oneof![
        3 => key.clone().prop_map(Step::Get),
        2 => (key.clone(), 0..8_u8, 0..4_usize, order)
            .prop_map(|(start, end, limit, order)| Step::Scan { start, end, limit, order }),
        4 => key.clone().prop_map(Step::Put),
        2 => key.prop_map(Step::Delete),
        2 => Just(Step::Commit),
    ]
}

fn script() -> impl Strategy<Value = Vec<(usize, Step)>> {
    prop::collection::vec((0..SLOTS, step()), 0..60)
}

fn key(number: u8) -> Bytes {
    Bytes::from(format!("serial/{number}"))
}

fn scan(start: u8, end: u8, limit: usize, order: ScanOrder) -> Scan {
    Scan { range: KeyRange { start: key(start), end: Some(key(end)) }, limit, order }
}

type Rows = BTreeMap<Bytes, Bytes>;

/// What one transaction did and saw.
#[derive(Debug, Clone, Default)]
struct History {
    began: u64,
    steps: Vec<Step>,
    /// The value of each put, in order.
    put: Vec<Bytes>,
    /// What each read answered, in order.
    seen: Vec<Vec<(Bytes, Bytes)>>,
}

impl History {
    fn writes(&self) -> bool {
        self.steps.iter().any(|step| matches!(step, Step::Put(_) | Step::Delete(_)))
    }

    fn written(&self) -> Vec<Bytes> {
        let written = |step: &Step| match step {
            Step::Put(number) | Step::Delete(number) => Some(key(*number)),
            Step::Get(_) | Step::Scan { .. } | Step::Commit => None,
        };
        self.steps.iter().filter_map(written).collect()
    }

    /// Runs it alone on `rows` and compares what it sees.
    fn replay(&self, rows: &mut Rows) {
        let (mut put, mut seen) = (self.put.iter(), self.seen.iter());
        for step in &self.steps {
            match step {
                Step::Get(number) => {
                    let found = rows.get_key_value(&key(*number));
                    let expected: Vec<_> = found.map(|(key, value)| (key.clone(), value.clone())).into_iter().collect();
                    assert_eq!(seen.next(), Some(&expected), "{step:?} of {self:?}");
                }
                Step::Scan { start, end, limit, order } => {
                    let range = scan(*start, *end, *limit, *order).range;
                    let mut expected: Vec<_> = rows.iter().map(|(key, value)| (key.clone(), value.clone())).collect();
                    expected.retain(|(key, _)| range.contains(key));
                    if *order == ScanOrder::Descending {
                        expected.reverse();
                    }
                    expected.truncate(*limit);
                    assert_eq!(seen.next(), Some(&expected), "{step:?} of {self:?}");
                }
                Step::Put(number) => {
                    rows.insert(key(*number), put.next().expect("one value a put").clone());
                }
                Step::Delete(number) => {
                    rows.remove(&key(*number));
                }
                Step::Commit => {}
            }
        }
    }

    /// Whether another commit wrote something that could have changed what it saw.
    fn may_depend_on(&self, written: &[Bytes]) -> bool {
        self.steps.iter().any(|step| match step {
            Step::Get(number) => written.contains(&key(*number)),
            Step::Scan { start, end, limit, order } => {
                written.iter().any(|written| scan(*start, *end, *limit, *order).range.contains(written))
            }
            Step::Put(_) | Step::Delete(_) | Step::Commit => false,
        })
    }
}

/// One thread of work: a script run on transactions of its own.
struct Case {
    number: usize,
    store: Store,
    slots: Vec<Option<(Transaction, History)>>,
    committed: Vec<(u64, History)>,
    lost: Vec<History>,
    values: u32,
}

impl Case {
    async fn run(store: Store, number: usize, script: Vec<(usize, Step)>) -> Self {
        let slots = (0..SLOTS).map(|_| None).collect();
        let mut case = Self { number, store, slots, committed: Vec::new(), lost: Vec::new(), values: 0 };
        for (slot, step) in script {
            case.take(slot, step).await;
        }
        for slot in 0..SLOTS {
            case.take(slot, Step::Commit).await;
        }
        case
    }

    async fn take(&mut self, slot: usize, step: Step) {
        if self.slots[slot].is_none() {
            let txn = self.store.begin().await.unwrap();
            let history = History { began: txn.stamp(), ..History::default() };
            self.slots[slot] = Some((txn, history));
        }
        let (txn, history) = self.slots[slot].as_mut().unwrap();
        match &step {
            Step::Get(number) => {
                let found = txn.get_raw(&key(*number)).await.unwrap();
                history.seen.push(found.map(|value| (key(*number), value)).into_iter().collect());
            }
            Step::Scan { start, end, limit, order } => {
                history.seen.push(txn.scan_raw(&scan(*start, *end, *limit, *order)).await.unwrap());
            }
            Step::Put(number) => {
                self.values += 1;
                let value = Bytes::from(format!("{}.{}", self.number, self.values));
                txn.put_raw(key(*number), value.clone());
                history.put.push(value);
            }
            Step::Delete(number) => txn.delete_raw(key(*number)),
            Step::Commit => {
                let (txn, history) = self.slots[slot].take().unwrap();
                match txn.commit().await.unwrap() {
                    Commit::Committed { stamp } => self.committed.push((stamp, history)),
                    Commit::Lost => self.lost.push(history),
                }
                return;
            }
        }
        history.steps.push(step);
    }
}

async fn rows(store: &Store) -> Rows {
    let txn = store.read().await.unwrap();
    let all = Scan::first(KeyRange::prefix(b"serial/"), usize::MAX);
    txn.scan_raw_unchecked(&all).await.unwrap().into_iter().collect()
}

/// Runs scripts side by side on an engine that may hold rows already.
async fn check(engine: Arc<dyn Engine>, scripts: Vec<Vec<(usize, Step)>>) {
    let store = Store::new(engine);
    let mut model = rows(&store).await;
    let mut running = JoinSet::new();
    for (number, script) in scripts.into_iter().enumerate() {
        running.spawn(Case::run(store.clone(), number, script));
    }
    let (mut committed, mut all_lost) = (Vec::new(), Vec::new());
    for case in running.join_all().await {
        committed.extend(case.committed);
        all_lost.extend(case.lost);
    }
    // A transaction that only read happened right after the commit whose stamp it answers.
    committed.sort_by_key(|(stamp, history)| (*stamp, !history.writes()));
    for (_, history) in &committed {
        history.replay(&mut model);
    }
    assert_eq!(rows(&store).await, model);
    for lost in &all_lost {
        let later = committed.iter().filter(|(stamp, history)| *stamp > lost.began && history.writes());
        let reason = later.into_iter().any(|(_, history)| lost.may_depend_on(&history.written()));
        assert!(reason, "lost for nothing: {lost:?}");
    }
}

fn on_one_thread(engine: &Arc<dyn Engine>, scripts: Vec<Vec<(usize, Step)>>) {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(check(Arc::clone(engine), scripts));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn transactions_in_memory_are_serializable(scripts in prop::collection::vec(script(), 1..3)) {
        let engine: Arc<dyn Engine> = Arc::new(MemoryEngine::new());
        for script in scripts {
            on_one_thread(&engine, vec![script]);
        }
    }
}

fn embedded(drives: &Drives, view: ViewKind, threads: Threads) -> Arc<dyn Engine> {
    Arc::new(EmbeddedEngine::new(open(drives, view, threads)))
}

/// Many scripts one after another on one log, so that rows, stamps and what is remembered grow old.
fn check_embedded(view: ViewKind, cases: u32) {
    let drives = Drives::simulated();
    let engine = embedded(&drives, view, Threads::Inline);
    let config = ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(cases) };
    proptest!(config, |(script in script())| on_one_thread(&engine, vec![script]));
}

#[test]
fn transactions_on_drives_are_serializable_with_a_memory_view() {
    check_embedded(ViewKind::Memory, 512);
}

#[test]
fn transactions_on_drives_are_serializable_with_a_fjall_view() {
    check_embedded(ViewKind::Fjall, 128);
}

#[test]
fn transactions_on_drives_are_serializable_with_a_sled_view() {
    check_embedded(ViewKind::Sled, 128);
}

/// Scripts on threads of their own, so that commits meet in the queue of the log.
#[test]
fn transactions_of_many_threads_are_serializable() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(4).build().unwrap();
    let views = [ViewKind::Memory, ViewKind::Fjall, ViewKind::Sled].map(|view| (view, Drives::simulated()));
    let mut engines: Vec<Arc<dyn Engine>> = vec![Arc::new(MemoryEngine::new())];
    engines.extend(views.iter().map(|(view, drives)| embedded(drives, *view, Threads::PerDrive)));
    for engine in engines {
        let config = ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(32) };
        proptest!(config, |(scripts in prop::collection::vec(script(), 8))| {
            runtime.block_on(check(Arc::clone(&engine), scripts));
        });
    }
}
