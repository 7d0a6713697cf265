//! Streams, sinks and the SQL pipelines that connect them, as version 1 of the management API has them.
//!
//! ```text
//! FreeStream: a log whose events wait ─┬▶ SqlPart: one statement, one output, one worker ─▶ as its Sink says
//!                                      └▶ another, of the same SqlPipeline or of another one
//! ```
//! An output begins with the oldest event that is still in the log. Events leave the log when all outputs of their stream
//! have delivered them; a stream without outputs keeps them. What spans several rows (making a pipeline of several
//! statements, deleting a stream with those that read from it) is one transaction. Here is what the layers above ask;
//! `stream`, `sink` and `sql` change the rows, `keeper` tidies a stream that may have no worker.

mod keeper;
mod sink;
mod sql;
mod stream;

pub(crate) use keeper::Keeper;
pub use sink::{FileStrategy, Sink, SinkSpec};
pub use sql::{CheckedSql, SqlPart, SqlPipeline};
pub use stream::{CreatedStream, FreeStream, StreamAsked, StreamChange};

use crate::live::{Live, Output};
use crate::{Error, PipelineHealth, PipelineId, Pipelines, Result};
use cistern_types::PipelineName;
use std::sync::Arc;

impl Pipelines {
    /// Makes a stream whose events wait for SQL pipelines.
    pub async fn create_stream(&self, asked: StreamAsked) -> Result<CreatedStream> {
        let _turn = self.parts().changes.lock().await;
        let (stored, send_token) = stream::create(&self.parts().objects, asked).await?;
        let live = self.begin(stored);
        Ok(CreatedStream { stream: free_stream(&live)?, send_token })
    }

    /// All such streams in the order of their names.
    pub fn streams(&self) -> Vec<FreeStream> {
        self.parts().directory.all().iter().filter_map(|live| FreeStream::of(&live.record())).collect()
    }

    /// The stream of this id or name, or `NoSuchStream`.
    pub fn stream(&self, id_or_name: &str) -> Result<FreeStream> {
        free_stream(self.find_stream(id_or_name)?.as_ref())
    }

    /// Changes how a stream takes events. A send token is answered where there was none before.
    pub async fn update_stream(&self, id_or_name: &str, change: StreamChange) -> Result<CreatedStream> {
        let _turn = self.parts().changes.lock().await;
        let live = self.find_stream(id_or_name)?;
        let (record, send_token) = stream::change(&self.parts().objects, &live.record(), &change).await?;
        live.set_record(record);
        Ok(CreatedStream { stream: free_stream(&live)?, send_token })
    }

    /// Deletes a stream with the events that wait in it, and the SQL pipelines that read from it.
    pub async fn delete_stream(&self, id_or_name: &str) -> Result<()> {
        let _turn = self.parts().changes.lock().await;
        let live = self.find_stream(id_or_name)?;
        let parts = stream::remove(&self.parts().objects, &live.record()).await?;
        self.parts().directory.remove(&live);
        live.set_removed();
        self.end_parts(&parts);
        self.parts().metrics.forget(&live.name());
        Ok(())
    }

    /// Makes a sink. Its bucket must exist.
    pub async fn create_sink(&self, name: PipelineName, spec: SinkSpec) -> Result<Sink> {
        let _turn = self.parts().changes.lock().await;
        sink::create(&self.parts().objects, name, spec).await
    }

    /// All sinks in the order of their names.
    pub async fn sinks(&self) -> Result<Vec<Sink>> {
        sink::all(&self.parts().objects).await
    }

    /// The sink of this id or name, or `NoSuchSink`.
    pub async fn sink(&self, id_or_name: &str) -> Result<Sink> {
        sink::find(&self.parts().objects, id_or_name).await
    }

    /// Deletes a sink. One that SQL pipelines write to is kept, unless by `force` they go with it.
    pub async fn delete_sink(&self, id_or_name: &str, force: bool) -> Result<()> {
        let _turn = self.parts().changes.lock().await;
        let found = sink::find(&self.parts().objects, id_or_name).await?;
        let parts = sink::remove(&self.parts().objects, &found, force).await?;
        self.end_parts(&parts);
        Ok(())
    }

    /// Makes a SQL pipeline: statements `INSERT INTO sink SELECT .. FROM stream`, separated by `;`. Each begins with the
    /// oldest event that is still in its stream.
    pub async fn create_sql_pipeline(&self, name: PipelineName, sql: &str) -> Result<SqlPipeline> {
        let _turn = self.parts().changes.lock().await;
        let parts = self.parts();
        let taken: Vec<PipelineName> =
            parts.directory.all().iter().flat_map(|live| live.outputs()).map(|output| output.name().clone()).collect();
        let made = sql::create(&parts.objects, name, sql, &taken).await?;
        for (stream, record, progress) in made.outputs {
            if let Some(live) = self.live_of(stream) {
                let output = Output::new(record, progress);
                live.add_output(&output);
                self.start_worker(&live, output);
            }
        }
        Ok(made.pipeline)
    }

    /// All SQL pipelines in the order of their names.
    pub async fn sql_pipelines(&self) -> Result<Vec<SqlPipeline>> {
        sql::all(&self.parts().objects).await
    }

    /// The SQL pipeline of this id or name, or `NoSuchPipeline`.
    pub async fn sql_pipeline(&self, id_or_name: &str) -> Result<SqlPipeline> {
        sql::find(&self.parts().objects, id_or_name).await
    }

    /// Deletes a SQL pipeline. Events it has not delivered stay in their streams for others, if others read from them.
    pub async fn delete_sql_pipeline(&self, id_or_name: &str) -> Result<()> {
        let _turn = self.parts().changes.lock().await;
        let found = sql::find(&self.parts().objects, id_or_name).await?;
        sql::remove(&self.parts().objects, &found).await?;
        self.end_parts(&found.parts);
        Ok(())
    }

    /// What SQL reads, writes and does, if a pipeline could be made of it.
    pub async fn check_sql(&self, sql: &str) -> Result<CheckedSql> {
        sql::check(&self.parts().objects, sql).await
    }

    /// How the statements of a SQL pipeline fare, in the order of its text.
    pub fn sql_health(&self, pipeline: &SqlPipeline) -> Vec<PipelineHealth> {
        let now = self.parts().clock.now();
        let health = |part: &SqlPart| {
            let live = self.live_of(part.stream)?;
            let output = live.outputs().into_iter().find(|output| output.id() == part.output)?;
            Some(live.health_of(&output, now))
        };
        pipeline.parts.iter().filter_map(health).collect()
    }

    fn find_stream(&self, id_or_name: &str) -> Result<Arc<Live>> {
        let by_id = PipelineId::parse(id_or_name).and_then(|id| self.live_of(id));
        let by_name = || self.parts().directory.find(&id_or_name.parse().ok()?).ok();
        let found = by_id.or_else(by_name).filter(|live| live.record().free.is_some());
        found.ok_or_else(|| Error::NoSuchStream { name: id_or_name.to_owned() })
    }

    fn live_of(&self, stream: PipelineId) -> Option<Arc<Live>> {
        self.parts().directory.all().into_iter().find(|live| live.id() == stream)
    }

    /// Stops the workers of statements that are gone; they bury what is left.
    fn end_parts(&self, gone: &[SqlPart]) {
        for part in gone {
            if let Some(live) = self.live_of(part.stream) {
                live.forget_output(part.output);
            }
            // A stream of the same name has lines of its own under it.
            if self.parts().directory.find(&part.name).is_err() {
                self.parts().metrics.forget(&part.name);
            }
        }
    }
}

fn free_stream(live: &Live) -> Result<FreeStream> {
    let record = live.record();
    FreeStream::of(&record).ok_or_else(|| Error::NoSuchStream { name: record.name.to_string() })
}

#[cfg(test)]
mod tests;
