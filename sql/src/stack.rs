//! Parsing and planning call themselves once a level of the SQL, in large frames. They run on a stack of their own, large
//! enough for all that the bounds let through, whatever stack the caller has.

use crate::{Error, Result};
use std::thread::{Builder, scope};

/// Room for the deepest SQL; memory is taken only as it is used.
const STACK_BYTES: usize = 128 << 20;

/// Does the work and waits for it. A panic in it is an error.
pub(crate) fn deep<T: Send>(work: impl FnOnce() -> Result<T> + Send) -> Result<T> {
    let fault = |message: &str| Error::Evaluation { message: message.to_owned() };
    scope(|scope| {
        let thread = Builder::new().name("sql".to_owned()).stack_size(STACK_BYTES).spawn_scoped(scope, work);
        let thread = thread.map_err(|error| fault(&error.to_string()))?;
        thread.join().unwrap_or_else(|_| Err(fault("the planner does not know what to do with this SQL")))
    })
}
