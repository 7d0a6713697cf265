//! A view whose failing is noticed: an engine that could not read or write once is not believed any more. The log takes no writes
//! then, for what is worked out from a view with holes (what is garbage, above all) would make the holes lasting; and the next open
//! makes the view anew.

use super::{Batch, Direction, Space, View, ViewSnapshot, Watermark};
use crate::error::{Error, Result};
use bytes::Bytes;
use std::ops::Bound;
use std::path::PathBuf;
use std::sync::{Arc, OnceLock};

/// Whether the view has failed, and the file that says so to the next open.
#[derive(Debug)]
struct Watch {
    marker: PathBuf,
    failure: OnceLock<String>,
}

impl Watch {
    fn look<T>(&self, outcome: Result<T>) -> Result<T> {
        if let Err(error @ Error::View { .. }) = &outcome
            && self.failure.set(error.to_string()).is_ok()
        {
            tracing::error!(%error, "the view is damaged: no writes are taken until a restart, which makes it anew");
            if let Err(error) = std::fs::write(&self.marker, []) {
                let file = self.marker.display();
                tracing::error!(%file, %error, "the mark for the next start could not be made: delete the view's folder before it");
            }
        }
        outcome
    }
}

/// The view that an engine keeps, watched.
#[derive(Debug)]
pub(super) struct Watched {
    engine: Arc<dyn View>,
    watch: Arc<Watch>,
}

impl Watched {
    /// A failure leaves an empty file `marker`.
    pub(super) fn new(engine: Arc<dyn View>, marker: PathBuf) -> Self {
        Self { engine, watch: Arc::new(Watch { marker, failure: OnceLock::new() }) }
    }
}

impl View for Watched {
    fn watermark(&self) -> Result<Option<Watermark>> {
        self.watch.look(self.engine.watermark())
    }

    fn apply(&self, batch: &Batch<'_>) -> Result<()> {
        self.watch.look(self.engine.apply(batch))
    }

    fn catch_up(&self) {
        self.engine.catch_up();
    }

    fn merge(&self) {
        self.engine.merge();
    }

    fn snapshot(&self) -> Arc<dyn ViewSnapshot> {
        Arc::new(WatchedSnapshot { snapshot: self.engine.snapshot(), watch: Arc::clone(&self.watch) })
    }

    fn flush(&self) -> Result<()> {
        self.watch.look(self.engine.flush())
    }

    fn failure(&self) -> Option<String> {
        self.watch.failure.get().cloned()
    }
}

#[derive(Debug)]
struct WatchedSnapshot {
    snapshot: Arc<dyn ViewSnapshot>,
    watch: Arc<Watch>,
}

impl ViewSnapshot for WatchedSnapshot {
    fn get(&self, space: Space, key: &[u8]) -> Result<Option<Bytes>> {
        self.watch.look(self.snapshot.get(space, key))
    }

    fn range(
        &self,
        space: Space,
        range: (Bound<&[u8]>, Bound<&[u8]>),
        limit: usize,
        direction: Direction,
    ) -> Result<Vec<(Bytes, Bytes)>> {
        self.watch.look(self.snapshot.range(space, range, limit, direction))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{DriveLogConfig, ViewKind};
    use crate::view::{Change, folder, open};
    use std::borrow::Cow;

    /// An engine that reads the key `good` and nothing else.
    #[derive(Debug)]
    struct Failing;

    fn failure<T>() -> Result<T> {
        Err(Error::View { action: "get", detail: "a checksum is wrong".into() })
    }

    impl View for Failing {
        fn watermark(&self) -> Result<Option<Watermark>> {
            Ok(None)
        }

        fn apply(&self, _batch: &Batch<'_>) -> Result<()> {
            Ok(())
        }

        fn snapshot(&self) -> Arc<dyn ViewSnapshot> {
            Arc::new(Self)
        }

        fn flush(&self) -> Result<()> {
            Ok(())
        }
    }

    impl ViewSnapshot for Failing {
        fn get(&self, _space: Space, key: &[u8]) -> Result<Option<Bytes>> {
            if key == b"good" { Ok(None) } else { failure() }
        }

        fn range(
            &self,
            _space: Space,
            _range: (Bound<&[u8]>, Bound<&[u8]>),
            _limit: usize,
            _direction: Direction,
        ) -> Result<Vec<(Bytes, Bytes)>> {
            failure()
        }
    }

    #[test]
    fn the_first_failure_is_kept_and_has_the_next_open_begin_anew() {
        let parent = tempfile::tempdir().unwrap();
        let config = DriveLogConfig { view: ViewKind::Fjall, ..DriveLogConfig::new(4, 2, parent.path().to_owned()) };
        let watermark = postcard::from_bytes(&[0; 64]).unwrap();
        let change = Change { space: Space::Rows, key: Cow::Borrowed(b"k"), value: Some(Cow::Borrowed(b"v")) };
        open(&config).unwrap().apply(&Batch { changes: vec![change], watermark }).unwrap();
        let shown = || open(&config).unwrap().snapshot().get(Space::Rows, b"k").unwrap();
        assert!(shown().is_some());

        let view = Watched::new(Arc::new(Failing), crate::view::marker(&config));
        assert!(view.snapshot().get(Space::Rows, b"good").is_ok() && view.failure().is_none());
        assert!(shown().is_some());
        assert!(view.snapshot().get(Space::Rows, b"bad").is_err());
        assert!(
            view.snapshot().range(Space::Rows, (Bound::Unbounded, Bound::Unbounded), 1, Direction::Forward).is_err()
        );
        assert!(view.failure().unwrap().contains("a checksum is wrong"));
        assert!(shown().is_none(), "made anew");
        let there = |path: PathBuf| path.try_exists().unwrap();
        assert!(!there(crate::view::marker(&config)) && there(folder(&config)), "once is enough");
    }
}
