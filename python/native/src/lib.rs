//! The ring as a C interface, which Python loads with `ctypes`: one library for every Python from 3.9 on.
//!
//! Nothing here panics across the boundary: an error is a negative result, and its text is fetched by `yarn_ml_last_error`.

#![allow(unsafe_code)]
#![deny(unsafe_op_in_unsafe_fn)]

use std::{
    cell::RefCell,
    ffi::{c_char, c_int},
    os::fd::{BorrowedFd, OwnedFd},
    panic::{AssertUnwindSafe, catch_unwind},
    time::Duration,
};

use yarn_ml_shm::{Consumer, FrameRef, Kind, Next, Ring};

thread_local! {
    static LAST_ERROR: RefCell<String> = const { RefCell::new(String::new()) };
}

/// A frame as Python sees it. `handle` is given back by `yarn_ml_frame_release`, once.
#[repr(C)]
pub struct Frame {
    handle: *mut FrameRef,
    data: *mut u8,
    length: u64,
    /// 1: schema, 2: batch.
    kind: u32,
    codec: u32,
    seq: u64,
    rows: u64,
    epoch: u64,
}

const FRAME: c_int = 1;
const IDLE: c_int = 0;
const END: c_int = 2;
const FAILED: c_int = -1;

fn guarded<T>(failed: T, call: impl FnOnce() -> Result<T, String>) -> T {
    let text = match catch_unwind(AssertUnwindSafe(call)) {
        Ok(Ok(value)) => return value,
        Ok(Err(text)) => text,
        Err(_) => "yarn-ml's native library panicked; please report it".to_owned(),
    };
    LAST_ERROR.with(|last| *last.borrow_mut() = text);
    failed
}

fn text(error: &dyn std::error::Error) -> String {
    match error.source() {
        Some(source) => format!("{error}: {source}"),
        None => error.to_string(),
    }
}

/// Opens the ring behind an inherited descriptor, which stays open. Null on failure.
#[unsafe(no_mangle)]
pub extern "C" fn yarn_ml_ring_open(descriptor: c_int) -> *mut Consumer {
    guarded(std::ptr::null_mut(), || {
        if descriptor < 0 {
            return Err(format!("{descriptor} is no file descriptor"));
        }
        // JUSTIFICATION: the number comes from the environment; std borrows only what it is told to be open.
        // SAFETY: it is not negative, and it is only duplicated, which fails for a number that is not open.
        let borrowed = unsafe { BorrowedFd::borrow_raw(descriptor) };
        let file: OwnedFd =
            borrowed.try_clone_to_owned().map_err(|e| format!("file descriptor {descriptor} is not open: {e}"))?;
        let ring = Ring::open(file).map_err(|e| text(&e))?;
        Ok(Box::into_raw(Box::new(Consumer::new(ring))))
    })
}

/// Waits for the next frame. 1: `out` is filled; 0: nothing came in time; 2: end of data; -1: failed.
///
/// # Safety
/// `ring` comes from `yarn_ml_ring_open` and is used by one thread at a time; `out` is writable.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn yarn_ml_ring_next(ring: *mut Consumer, timeout_ms: u64, out: *mut Frame) -> c_int {
    // SAFETY: promised by the caller; null is checked.
    let (Some(ring), false) = (unsafe { ring.as_mut() }, out.is_null()) else { return FAILED };
    guarded(FAILED, || match ring.next(Duration::from_millis(timeout_ms)).map_err(|e| text(&e))? {
        Next::Idle => Ok(IDLE),
        Next::End => Ok(END),
        Next::Frame(frame) => {
            let header = frame.header();
            let filled = Frame {
                data: frame.as_ptr(),
                length: header.length,
                kind: match header.kind {
                    Kind::Schema => 1,
                    Kind::Batch => 2,
                    other => return Err(format!("this version reads no frames of kind {other:?}")),
                },
                codec: header.codec,
                seq: header.seq,
                rows: header.rows,
                epoch: header.epoch,
                handle: Box::into_raw(Box::new(frame)),
            };
            // SAFETY: promised by the caller.
            unsafe { out.write(filled) };
            Ok(FRAME)
        }
    })
}

/// Gives a frame's room back; nothing of its memory may be used afterwards.
///
/// # Safety
/// `handle` comes from `yarn_ml_ring_next` and was not given back before.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn yarn_ml_frame_release(handle: *mut FrameRef) {
    if !handle.is_null() {
        guarded((), || {
            // SAFETY: promised by the caller.
            drop(unsafe { Box::from_raw(handle) });
            Ok(())
        });
    }
}

/// The step that used every batch up to `seq`, inclusive, has finished.
///
/// # Safety
/// `ring` comes from `yarn_ml_ring_open`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn yarn_ml_ring_acknowledge(ring: *const Consumer, seq: u64) {
    // SAFETY: promised by the caller; null is checked.
    if let Some(ring) = unsafe { ring.as_ref() } {
        guarded((), || {
            ring.acknowledge(seq);
            Ok(())
        });
    }
}

/// Frames that Python holds.
///
/// # Safety
/// `ring` comes from `yarn_ml_ring_open`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn yarn_ml_ring_held(ring: *const Consumer) -> u64 {
    // SAFETY: promised by the caller; null is checked.
    unsafe { ring.as_ref() }.map_or(0, |ring| guarded(0, || Ok(ring.held() as u64)))
}

/// Closes the ring; frames that are held stay valid.
///
/// # Safety
/// `ring` comes from `yarn_ml_ring_open` and is not used afterwards.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn yarn_ml_ring_close(ring: *mut Consumer) {
    if !ring.is_null() {
        guarded((), || {
            // SAFETY: promised by the caller.
            drop(unsafe { Box::from_raw(ring) });
            Ok(())
        });
    }
}

/// Copies the text of this thread's last error, cut to `capacity` bytes; returns its length.
///
/// # Safety
/// `out` has room for `capacity` bytes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn yarn_ml_last_error(out: *mut c_char, capacity: usize) -> usize {
    LAST_ERROR.with(|last| {
        let last = last.borrow();
        let count = last.len().min(capacity);
        if !out.is_null() {
            // SAFETY: promised by the caller, and the text is no shorter.
            unsafe { std::ptr::copy_nonoverlapping(last.as_ptr(), out.cast(), count) };
        }
        count
    })
}
