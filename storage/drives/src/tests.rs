//! Whole-log tests on simulated drives: a reference model, crashes at every operation, faults, damage, the rules of opening.
//!
//! `world.rs` is the bench (drives, log, model); each other file is one kind of trouble.

mod compaction;
mod crash;
mod damage;
mod faults;
mod golden;
mod opening;
mod replacing;
mod scrubbing;
mod slow;
mod threads;
mod world;
