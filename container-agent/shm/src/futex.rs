//! Sleeping until another process says so.

use std::{sync::atomic::AtomicU32, time::Duration};

/// Sleeps while the word is `expected`, at most for `limit`. Spurious returns are fine: every caller looks again.
pub fn wait(word: &AtomicU32, expected: u32, limit: Duration) {
    let timeout =
        libc::timespec { tv_sec: limit.as_secs() as libc::time_t, tv_nsec: libc::c_long::from(limit.subsec_nanos()) };
    // JUSTIFICATION: no library offers a futex shared between processes.
    // SAFETY: the word and the timeout live through the call, and the kernel only reads them.
    unsafe {
        libc::syscall(
            libc::SYS_futex,
            std::ptr::from_ref(word),
            libc::FUTEX_WAIT,
            expected,
            std::ptr::from_ref(&timeout),
            0,
            0,
        );
    }
}

pub fn wake(word: &AtomicU32) {
    // JUSTIFICATION: as above.
    // SAFETY: the word lives through the call; the kernel uses its address only.
    unsafe {
        libc::syscall(libc::SYS_futex, std::ptr::from_ref(word), libc::FUTEX_WAKE, i32::MAX, 0, 0, 0);
    }
}
