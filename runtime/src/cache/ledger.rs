//! The file that the processes of a folder have in common: whose turn it is to publish, how many bytes there are, and when
//! something was last used.

use std::fs::{File, OpenOptions, TryLockError};
use std::io;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::Path;
use std::thread;
use std::time::{Duration, SystemTime};

use crate::deadline::Deadline;

const NAME: &str = "ledger";

/// How long to wait for a turn. Others take milliseconds; one that is stopped, or whose child holds on to its files, may
/// take for ever.
pub(super) const PATIENCE: Duration = Duration::from_secs(1);
const PAUSE: Duration = Duration::from_micros(500);

/// The ledger of a folder. What it says is a hint, which a look at the folder puts right.
pub(super) struct Ledger(File);

impl Ledger {
    pub fn open(folder: &Path) -> io::Result<Self> {
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .custom_flags(libc::O_NONBLOCK | libc::O_NOFOLLOW)
            .open(folder.join(NAME))?;
        match file.metadata()?.is_file() {
            true => Ok(Self(file)),
            false => Err(io::Error::other("its ledger is no plain file")),
        }
    }

    /// A time that is later than all before, whatever clocks say: theirs may be set back, and the order of use has to stay.
    pub fn stamp(&self) -> io::Result<SystemTime> {
        let last = self.0.metadata()?.modified()?;
        let next = last.checked_add(Duration::from_nanos(1)).unwrap_or(last);
        let stamp = next.max(SystemTime::now());
        self.0.set_modified(stamp)?;
        Ok(stamp)
    }

    /// Waits until no other thread or process publishes, for so long.
    pub fn turn(&self, patience: Duration) -> io::Result<Turn<'_>> {
        let deadline = Deadline::after(patience);
        loop {
            match self.0.try_lock() {
                Ok(()) => return Ok(Turn(self)),
                Err(TryLockError::WouldBlock) if !deadline.is_past() => thread::sleep(PAUSE),
                Err(TryLockError::WouldBlock) => {
                    return Err(io::Error::new(
                        io::ErrorKind::TimedOut,
                        "another process does not let go of its ledger",
                    ));
                }
                Err(TryLockError::Error(error)) => return Err(error),
            }
        }
    }
}

/// The turn to publish. The system ends it with the process.
pub(super) struct Turn<'a>(&'a Ledger);

impl Turn<'_> {
    /// The bytes of all cubins, if somebody has counted them.
    pub fn total(&self) -> Option<u64> {
        let mut words = [0; 16];
        self.0.0.read_exact_at(&mut words, 0).ok()?;
        let (total, check) = (
            u64::from_le_bytes(*words.first_chunk()?),
            u64::from_le_bytes(*words.last_chunk()?),
        );
        (check == !total).then_some(total)
    }

    /// Notes them. The time of the last use stays what it is.
    pub fn set_total(&self, total: u64) -> io::Result<()> {
        let Ledger(file) = self.0;
        let last = file.metadata()?.modified()?;
        let words = [total.to_le_bytes(), (!total).to_le_bytes()];
        file.write_all_at(words.as_flattened(), 0)?;
        file.set_modified(last)
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        // A child process may hold the file too, and its lock with it, unless it is given back.
        let _ = self.0.0.unlock();
    }
}
