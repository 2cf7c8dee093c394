//! The rings of this process. Every iterator over a ring shares its one consumer.

use std::{
    collections::BTreeMap,
    os::fd::BorrowedFd,
    sync::{Arc, Mutex, PoisonError},
};

use yarn_ml_shm::{Acknowledger, Consumer, Ring};

pub struct Shared {
    pub consumer: Mutex<Consumer>,
    pub acknowledger: Acknowledger,
    pub rank: u64,
}

static RINGS: Mutex<BTreeMap<String, Arc<Shared>>> = Mutex::new(BTreeMap::new());

/// The ring of a name: a descriptor's number, or `$NAME` for the number in the environment of *this* process, which executes the
/// op and is not always the one that built the graph.
pub fn find(name: &str) -> Result<Arc<Shared>, String> {
    let number = match name.strip_prefix('$') {
        Some(variable) => std::env::var(variable).map_err(|_| {
            format!("this process has no ring: its environment has no {variable}; does its role have an `input:`?")
        })?,
        None => name.to_owned(),
    };
    let mut rings = RINGS.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(found) = rings.get(&number) {
        return Ok(found.clone());
    }
    let descriptor: i32 =
        number.parse().ok().filter(|n| *n >= 0).ok_or_else(|| format!("`{number}` is no file descriptor of a ring"))?;
    // JUSTIFICATION: the number comes from the environment; std borrows only what it is told to be open.
    // SAFETY: it is not negative, and it is only duplicated, which fails for a number that is not open.
    let borrowed = unsafe { BorrowedFd::borrow_raw(descriptor) };
    let file = borrowed.try_clone_to_owned().map_err(|e| format!("file descriptor {descriptor} is not open: {e}"))?;
    let ring = Ring::open(file).map_err(|e| e.to_string())?;
    let rank = ring.rank();
    let consumer = Consumer::new(ring);
    let shared = Arc::new(Shared { acknowledger: consumer.acknowledger(), consumer: Mutex::new(consumer), rank });
    rings.insert(number, shared.clone());
    Ok(shared)
}
