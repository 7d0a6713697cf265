//! The SQL of pipelines: stateless work on the rows of Arrow record batches.
//!
//! ```text
//! text ──▶ Script::parse ──▶ Statement ──▶ Transform::plan ──▶ Transform::run ──▶ rows, failed rows, counts
//!           script.rs   statements, sinks, streams      plan.rs      from statement and columns to operations
//!           nesting.rs  how deep expressions may be     context.rs   what DataFusion's planner is told
//!           grammar.rs  which clauses are possible      functions.rs which functions there are
//!           graph.rs    the steps, for people           bounded.rs   functions that make values grow
//!                                                       json.rs      functions and operators that read JSON
//!           refusal.rs  DataFusion's errors             constant.rs  what fails before any row comes
//!                                                       run.rs, evaluate.rs, unnest.rs, storable.rs: batches
//! ```
//! DataFusion plans and evaluates; of it only the parts are here that know expressions. Nothing here knows files, streams or
//! sinks but by name, and nothing waits.

mod bounded;
mod constant;
mod context;
mod error;
mod evaluate;
#[cfg(test)]
mod fixture;
mod functions;
mod grammar;
mod graph;
mod json;
mod nesting;
mod plan;
mod refusal;
mod run;
mod script;
mod stack;
mod storable;
mod unnest;

pub use bounded::VALUE_BYTES_MAX;
pub use error::{Error, Result};
pub use graph::{Edge, Graph, Node, StepKind, explain};
pub use plan::{OUTPUT_COLUMNS_MAX, Step};
pub use run::{FailedRow, OUTPUT_BYTES_MAX, StepCounts, Transform, Transformed};
pub use script::{SELECTS_MAX, STATEMENTS_MAX, Script, Statement, TEXT_BYTES_MAX};
pub use unnest::UNNEST_ELEMENTS_MAX;
