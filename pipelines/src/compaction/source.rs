//! One object as a source of a merged one: whether it is as the pipeline wrote it, and its bytes as long as it is.

use crate::Error;
use crate::object_name::RowsName;
use bytes::Bytes;
use cistern_objects::{
    ByteRange, Conditions, Error as ObjectsError, ObjectBody, ObjectHeaders, ObjectRead, ObjectRecord, Objects,
};
use cistern_types::{BucketName, ObjectKey, Timestamp};
use futures::TryStreamExt as _;
use std::ops::Range;

const CHANGED: &str = "it was changed or deleted meanwhile";
const FOREIGN: &str = "it is not what the pipeline wrote under this name";

/// An object that the pipeline wrote, as it was when it was looked at.
#[derive(Debug)]
pub(super) struct Source {
    pub(super) name: RowsName,
    pub(super) record: ObjectRecord,
}

/// Why a source is not merged.
#[derive(Debug)]
pub(super) enum Fault {
    /// Because of the source itself, which is left alone.
    Unfit(String),
    /// Nobody takes the merged bytes any more.
    NotTaken,
    /// Because of something else.
    Other(Error),
}

impl Fault {
    pub(super) fn foreign() -> Self {
        Self::Unfit(FOREIGN.to_owned())
    }

    pub(super) fn changed() -> Self {
        Self::Unfit(CHANGED.to_owned())
    }
}

impl<E: Into<Error>> From<E> for Fault {
    fn from(error: E) -> Self {
        Self::Other(error.into())
    }
}

/// Where sources lie.
#[derive(Debug, Clone, Copy)]
pub(super) struct Reader<'a> {
    pub(super) objects: &'a Objects,
    pub(super) bucket: &'a BucketName,
}

impl Reader<'_> {
    /// Looks at the object of this name, which must be as the pipeline wrote it; with its last bytes, at most so many.
    pub(super) async fn look(
        &self,
        (key, name): (&ObjectKey, &RowsName),
        content_type: &str,
        tail_bytes: u64,
    ) -> Result<(Source, Bytes), Fault> {
        let read = self.get(key, Some(ByteRange::Suffix(tail_bytes))).await?;
        check(&read.record, content_type, self.objects.clock().now())?;
        let source = Source { name: name.clone(), record: read.record };
        Ok((source, whole(read.body).await?))
    }

    /// Some bytes of a source, if it still is the version that was looked at.
    pub(super) async fn range(&self, source: &Source, range: Range<u64>) -> Result<Bytes, Fault> {
        let range = ByteRange::FromTo(range.start, range.end.checked_sub(1));
        whole(self.read(source, Some(range)).await?.body).await
    }

    /// All bytes of a source, if it still is the version that was looked at.
    pub(super) async fn body(&self, source: &Source) -> Result<ObjectBody, Fault> {
        Ok(self.read(source, None).await?.body)
    }

    async fn read(&self, source: &Source, range: Option<ByteRange>) -> Result<ObjectRead, Fault> {
        let read = self.get(&source.record.key, range).await?;
        if read.record.version == source.record.version { Ok(read) } else { Err(Fault::changed()) }
    }

    async fn get(&self, key: &ObjectKey, range: Option<ByteRange>) -> Result<ObjectRead, Fault> {
        let none = Conditions::default();
        match self.objects.get_if(self.bucket, key, None, range, &none, None).await {
            Ok(read) => Ok(read),
            Err(ObjectsError::NoCustomerKey) => Err(Fault::foreign()),
            Err(
                ObjectsError::NoSuchKey { .. }
                | ObjectsError::IsDeleteMarker { .. }
                | ObjectsError::InvalidRange { .. },
            ) => Err(Fault::changed()),
            Err(error) => Err(error.into()),
        }
    }
}

async fn whole(body: ObjectBody) -> Result<Bytes, Fault> {
    let mut pieces: Vec<Bytes> = body.try_collect().await?;
    Ok(if pieces.len() == 1 { pieces.remove(0) } else { pieces.concat().into() })
}

/// Refuses an object that has been given something since it was written: a merged one would not have it.
fn check(record: &ObjectRecord, content_type: &str, now: Timestamp) -> Result<(), Fault> {
    let as_written = ObjectHeaders { content_type: record.headers.content_type.clone(), ..ObjectHeaders::default() };
    let attributes = &record.attributes;
    let reason = if attributes.is_locked(now) {
        "it is locked"
    } else if record.headers != as_written || record.parts.is_some() || attributes.owner.is_some() {
        FOREIGN
    } else if !attributes.tags.is_empty() || attributes.acl.is_some() {
        "it has tags or an access list of its own"
    } else if record.headers.content_type.as_deref() != Some(content_type) {
        "it is of another format than the pipeline writes now"
    } else {
        return Ok(());
    };
    Err(Fault::Unfit(reason.to_owned()))
}
