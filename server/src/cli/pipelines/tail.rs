//! `pipelines tail`: events as they come.

use crate::cli::Format;
use crate::cli::answer::say;
use crate::client::Account;
use anyhow::Context as _;
use cistern_types::PipelineName;
use clap::Args;
use futures::TryStreamExt as _;
use serde::Deserialize;
use serde_json::value::RawValue;

#[derive(Debug, Args)]
pub(in crate::cli) struct TailArgs {
    /// Its name
    name: PipelineName,
    /// Where to begin: `oldest`, `newest` or an offset
    #[arg(long, value_name = "PLACE", default_value = "newest")]
    from: String,
    /// End at the last event there is now
    #[arg(long)]
    no_follow: bool,
    /// End after this many events
    #[arg(long, value_name = "N")]
    limit: Option<u64>,
}

impl TailArgs {
    /// Writes the events, one a line; with `--json` with their offsets and times.
    pub(super) async fn run(self, account: &Account<'_>, format: Format) -> anyhow::Result<()> {
        let query = [("from", self.from), ("follow", (!self.no_follow).to_string())];
        let response = account.download(&format!("/pipelines/{}/tail", self.name), &query).await?;
        let mut pieces = response.bytes_stream();
        let (mut unread, mut left) = (Vec::new(), self.limit.unwrap_or(u64::MAX));
        while left > 0
            && let Some(piece) = pieces.try_next().await.context("read the answer")?
        {
            unread.extend_from_slice(&piece);
            let whole = unread.iter().rposition(|byte| *byte == b'\n').map_or(0, |end| end + 1);
            for line in unread.drain(..whole).as_slice().split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
                if left == 0 {
                    break;
                }
                let tailed: Tailed<'_> = serde_json::from_slice(line).context("read the answer")?;
                left -= u64::from(tailed.event.is_some());
                say(&match (format, tailed.event) {
                    (Format::Human, Some(event)) => event.get().to_owned(),
                    _ => String::from_utf8_lossy(line).into_owned(),
                })?;
            }
        }
        Ok(())
    }
}

/// A line of a tail.
#[derive(Debug, Deserialize)]
struct Tailed<'a> {
    #[serde(borrow)]
    event: Option<&'a RawValue>,
}
