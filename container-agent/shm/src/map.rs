//! The memory itself.

use std::{
    ffi::CString,
    io,
    os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd},
    path::Path,
    ptr::{self, NonNull},
    sync::{Arc, atomic::Ordering},
};

use crate::{
    MIN_CAPACITY, RingError,
    layout::{HEADER_BYTES, HeaderPage, MAGIC, VERSION},
};

/// A ring, mapped into this process.
pub struct Ring {
    base: NonNull<u8>,
    capacity: usize,
    file: OwnedFd,
}

// SAFETY: the mapping belongs to no thread; what lies in it is atomics, and frames which producer and consumer hand over by them.
unsafe impl Send for Ring {}
// SAFETY: as above.
unsafe impl Sync for Ring {}

/// A file without a name: gone with the last process that has it open. On `/dev/shm`, else in `fallback`.
pub fn anonymous_file(fallback: &Path) -> Result<OwnedFd, RingError> {
    let mut last = None;
    for folder in [Path::new("/dev/shm"), fallback] {
        match unnamed(folder).or_else(|_| unlinked(folder)) {
            Ok(file) => return Ok(file),
            Err(error) => last = Some(error),
        }
    }
    let source = last.unwrap_or_else(|| io::ErrorKind::NotFound.into());
    Err(RingError::System { what: "make a file for shared memory", source })
}

fn unnamed(folder: &Path) -> io::Result<OwnedFd> {
    open(folder, libc::O_TMPFILE | libc::O_RDWR | libc::O_CLOEXEC | libc::O_EXCL)
}

/// For file systems without O_TMPFILE (before Linux 3.11).
fn unlinked(folder: &Path) -> io::Result<OwnedFd> {
    for attempt in 0..100u32 {
        let path = folder.join(format!(".yarn-ml-ring-{}-{attempt}", std::process::id()));
        match open(&path, libc::O_CREAT | libc::O_EXCL | libc::O_RDWR | libc::O_CLOEXEC) {
            Ok(file) => {
                std::fs::remove_file(&path)?;
                return Ok(file);
            }
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(error),
        }
    }
    Err(io::ErrorKind::AlreadyExists.into())
}

fn open(path: &Path, flags: libc::c_int) -> io::Result<OwnedFd> {
    use std::os::unix::ffi::OsStrExt;
    let path = CString::new(path.as_os_str().as_bytes())?;
    // JUSTIFICATION: std opens no file without a name.
    // SAFETY: the path ends in NUL and lives through the call.
    let file = unsafe { libc::open(path.as_ptr(), flags, 0o600) };
    if file < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: `open` just gave it to us, and nobody else has it.
    Ok(unsafe { OwnedFd::from_raw_fd(file) })
}

impl Ring {
    /// A new ring of `capacity` bytes, a power of two, in an empty file.
    pub fn create(file: OwnedFd, capacity: usize, epoch: u64, rank: u64) -> Result<Arc<Self>, RingError> {
        if !capacity.is_power_of_two() || capacity < MIN_CAPACITY {
            let expected = format!("expected a power of two from {MIN_CAPACITY} on");
            return Err(RingError::corrupt("the capacity", capacity as u64, expected));
        }
        // JUSTIFICATION: a `File` of std would close the descriptor.
        // SAFETY: plain system call on a descriptor that we own.
        if unsafe { libc::ftruncate(file.as_raw_fd(), (HEADER_BYTES + capacity) as libc::off_t) } != 0 {
            return Err(RingError::last("size the shared memory"));
        }
        let ring = Self::map(file, capacity)?;
        let header = ring.header();
        header.version.store(VERSION, Ordering::Relaxed);
        header.capacity.store(capacity as u64, Ordering::Relaxed);
        header.epoch.store(epoch, Ordering::Relaxed);
        header.rank.store(rank, Ordering::Relaxed);
        header.magic.store(MAGIC, Ordering::Release);
        Ok(Arc::new(ring))
    }

    /// A ring that another process made.
    pub fn open(file: OwnedFd) -> Result<Arc<Self>, RingError> {
        let length = file_length(&file)?;
        let capacity = usize::try_from(length).ok().and_then(|n| n.checked_sub(HEADER_BYTES)).unwrap_or(0);
        if !capacity.is_power_of_two() || capacity < MIN_CAPACITY {
            return Err(RingError::corrupt("the length of the file", length, "this is no ring"));
        }
        let ring = Self::map(file, capacity)?;
        let header = ring.header();
        let magic = header.magic.load(Ordering::Acquire);
        if magic != MAGIC {
            return Err(RingError::corrupt("the magic number", magic, "this is no ring"));
        }
        let version = header.version.load(Ordering::Relaxed);
        if version != VERSION {
            return Err(RingError::corrupt("the version", u64::from(version), format!("this library reads {VERSION}")));
        }
        let told = header.capacity.load(Ordering::Relaxed);
        if told != capacity as u64 {
            return Err(RingError::corrupt("the capacity", told, format!("the file has {capacity} bytes")));
        }
        Ok(Arc::new(ring))
    }

    fn map(file: OwnedFd, capacity: usize) -> Result<Self, RingError> {
        let total = HEADER_BYTES + 2 * capacity;
        // JUSTIFICATION: a library maps a file once; here the data is mapped twice, side by side, so that no frame wraps.
        // SAFETY: an anonymous reservation of fresh address space touches nothing of ours.
        let base = unsafe {
            libc::mmap(
                ptr::null_mut(),
                total,
                libc::PROT_NONE,
                libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE,
                -1,
                0,
            )
        };
        if base == libc::MAP_FAILED {
            return Err(RingError::last("reserve memory for the ring"));
        }
        // `mmap` does not succeed with null.
        let base = NonNull::new(base.cast::<u8>()).ok_or_else(|| RingError::last("reserve memory for the ring"))?;
        // From here on dropping it gives the reservation back.
        let ring = Self { base, capacity, file };
        let parts = [(0, HEADER_BYTES + capacity, 0), (HEADER_BYTES + capacity, capacity, HEADER_BYTES)];
        for (at, length, offset) in parts {
            // SAFETY: the address lies in the reservation made above, which nobody else knows; MAP_FIXED replaces that part only.
            let mapped = unsafe {
                libc::mmap(
                    base.as_ptr().add(at).cast(),
                    length,
                    libc::PROT_READ | libc::PROT_WRITE,
                    libc::MAP_SHARED | libc::MAP_FIXED | libc::MAP_POPULATE,
                    ring.file.as_raw_fd(),
                    offset as libc::off_t,
                )
            };
            if mapped == libc::MAP_FAILED {
                return Err(RingError::last("map the ring"));
            }
        }
        Ok(ring)
    }

    pub fn capacity(&self) -> usize {
        self.capacity
    }

    pub fn epoch(&self) -> u64 {
        self.header().epoch.load(Ordering::Relaxed)
    }

    pub fn rank(&self) -> u64 {
        self.header().rank.load(Ordering::Relaxed)
    }

    pub(crate) fn header(&self) -> &HeaderPage {
        // JUSTIFICATION: this is how shared memory gets a type.
        // SAFETY: the first page is mapped as long as `self` lives, page-aligned, and of atomics alone, for which any bytes are
        // valid and any process may write.
        unsafe { self.base.cast::<HeaderPage>().as_ref() }
    }

    /// Address of a position in the data; `capacity` bytes follow it, whatever the position.
    pub(crate) fn at(&self, position: u64) -> NonNull<u8> {
        let offset = HEADER_BYTES + (position as usize & (self.capacity - 1));
        // SAFETY: the offset is below HEADER_BYTES + capacity, within the mapping.
        unsafe { self.base.add(offset) }
    }
}

impl AsFd for Ring {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }
}

impl Drop for Ring {
    fn drop(&mut self) {
        // SAFETY: the whole reservation is ours, and references into it borrow from `self` or hold an `Arc` of it.
        unsafe {
            libc::munmap(self.base.as_ptr().cast(), HEADER_BYTES + 2 * self.capacity);
        }
    }
}

fn file_length(file: &OwnedFd) -> Result<u64, RingError> {
    let copy = file.try_clone().map_err(|source| RingError::System { what: "look at the ring", source })?;
    let found = std::fs::File::from(copy).metadata();
    found.map(|m| m.len()).map_err(|source| RingError::System { what: "look at the ring", source })
}
