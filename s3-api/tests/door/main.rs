//! The S3 door from outside: signed requests in, answers out, over an object store in memory.
//!
//! `house.rs` is the fixture, `sign.rs` a small SigV4 client of its own (so that a mistake in the server's reading of the
//! protocol is not repeated here), the other files are the tests, one a subject.

#[cfg(test)]
mod access;
mod bad_input;
#[cfg(test)]
mod bodies;
#[cfg(test)]
mod buckets;
#[cfg(test)]
mod configurations;
#[cfg(test)]
mod connections;
#[cfg(test)]
mod direct;
#[cfg(test)]
mod encryption;
#[cfg(test)]
mod every_operation;
#[cfg(test)]
mod house;
#[cfg(test)]
mod key_table;
#[cfg(test)]
mod lenient;
#[cfg(test)]
mod lists;
#[cfg(test)]
mod multipart;
#[cfg(test)]
mod objects;
#[cfg(test)]
mod owners;
#[cfg(test)]
mod r2;
#[cfg(test)]
mod sign;
#[cfg(test)]
mod temporary;
#[cfg(test)]
mod temporary_table;
mod versions;
#[cfg(test)]
mod xml;
