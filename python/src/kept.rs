//! Launches that are kept: a call that is shown what an earlier one was shown is launched as that one was.
//!
//! What a kernel is launched with is decided by where it is asked for, by what tensors show of themselves and by the numbers
//! beside them. A call writes all of that down as words ([`Shown`]). Words that come often have their launch bound to the
//! memory that they name; the next call with the same ones gives it its counts, and makes no tensors, views or arguments.

#![allow(unsafe_code)]

use std::cell::Cell;
use std::hash::BuildHasher;
use std::mem;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use parking_lot::Mutex;
use tilewright_dsl::call::Call;
use tilewright_runtime::{Bound, Launch, Stream};

use crate::error::Error;

/// How many launches are kept.
const SLOTS: usize = 512;
/// How often words have to come before their launch is kept, with no others in between that had the slot.
const ENOUGH: u32 = 4;

static KEPT: [Slot; SLOTS] = [const { Slot::empty() }; SLOTS];
static HASHER: foldhash::fast::FixedState = foldhash::fast::FixedState::with_seed(0);

/// A place for the launches of words that have the same hash, nearly. What one thread uses, others do not find.
struct Slot {
    /// That of the words whose launch is kept; 0 of none.
    hash: AtomicU64,
    inner: Mutex<Inner>,
}

struct Inner {
    kept: Option<Box<Kept>>,
    /// The hash that came last and found nothing, and how often it did.
    waiting: u64,
    times: u32,
}

struct Kept {
    words: Box<[u64]>,
    launch: Bound,
    stream: Stream,
}

impl Slot {
    const fn empty() -> Self {
        Self {
            hash: AtomicU64::new(0),
            inner: parking_lot::const_mutex(Inner {
                kept: None,
                waiting: 0,
                times: 0,
            }),
        }
    }

    /// That of a hash.
    fn of(hash: u64) -> &'static Self {
        &KEPT[hash as usize % SLOTS]
    }
}

impl Inner {
    /// Whether a hash that found nothing has come often enough. It begins anew then.
    fn comes_often(&mut self, hash: u64) -> bool {
        if self.waiting != hash {
            (self.waiting, self.times) = (hash, 0);
        }
        self.times = (self.times + 1) % ENOUGH;
        self.times == 0
    }
}

/// What a call was shown: words that tell it from all calls that launch something else, and its counts, which may differ.
pub struct Shown {
    words: Vec<u64>,
    counts: Vec<u64>,
}

thread_local! {
    /// What the call before was shown, kept for its memory.
    static SPARE: Cell<(Vec<u64>, Vec<u64>)> = const { Cell::new((Vec::new(), Vec::new())) };
}

impl Shown {
    /// Nothing yet.
    pub fn nothing() -> Self {
        let (mut words, mut counts) = SPARE.take();
        words.clear();
        counts.clear();
        Self { words, counts }
    }

    /// Writes words down.
    #[inline]
    pub fn note(&mut self, words: impl IntoIterator<Item = u64>) {
        self.words.extend(words);
    }

    /// Writes a count of the host down, in the order of the kernel's parameters.
    #[inline]
    pub fn count(&mut self, count: u64) {
        self.counts.push(count);
    }

    /// The hash of all words; 0 of none.
    pub fn hash(&self) -> u64 {
        HASHER.hash_one(&*self.words).max(1)
    }

    /// Whether a launch of words with this hash is kept.
    pub fn may_be_kept(hash: u64) -> bool {
        Slot::of(hash).hash.load(Relaxed) == hash
    }

    /// Launches what is kept for the words, and says whether there was anything.
    pub fn launch_kept(&self, hash: u64) -> Result<bool, Error> {
        let Some(mut inner) = Slot::of(hash).inner.try_lock() else {
            return Ok(false);
        };
        match &mut inner.kept {
            Some(kept) if *kept.words == *self.words => {
                kept.launch.launch_on(&self.counts, &kept.stream)?;
                Ok(true)
            }
            _ => Ok(false),
        }
    }
}

impl Drop for Shown {
    fn drop(&mut self) {
        SPARE.set((mem::take(&mut self.words), mem::take(&mut self.counts)));
    }
}

/// Launches the kernel of a call for which nothing was kept.
pub struct Launcher {
    stream: Stream,
    /// What the call was shown, with its hash, if that is all that decides what it launches.
    shown: Option<(Shown, u64)>,
}

impl Launcher {
    pub(crate) fn new(stream: Stream, shown: Option<(Shown, u64)>) -> Self {
        Self { stream, shown }
    }

    /// The stream that it launches on.
    pub fn stream(&self) -> &Stream {
        &self.stream
    }

    /// Launches the kernel, which is the only one of the call, and keeps the launch if the same was asked for often.
    ///
    /// # Errors
    /// As for [`Launch::launch_on`].
    pub fn launch(&self, call: Call<'_>) -> Result<(), Error> {
        if let Some((shown, hash)) = &self.shown
            && let Some(mut inner) = Slot::of(*hash).inner.try_lock()
            && inner.comes_often(*hash)
        {
            return self.keep(call, shown, *hash, &mut inner);
        }
        call.launch_on(&self.stream)?;
        Ok(())
    }

    fn keep(&self, call: Call<'_>, shown: &Shown, hash: u64, inner: &mut Inner) -> Result<(), Error> {
        let slot = Slot::of(hash);
        slot.hash.store(0, Relaxed);
        inner.kept = None;
        // SAFETY: it is launched by calls alone that are shown the same memory, whose owner says then that it is there: of the same
        // device, for as long as what the stream is asked by then. Between them it touches none.
        let mut launch = unsafe { self.stream.device().bind_borrowing(call) }?;
        launch.launch_on(&shown.counts, &self.stream)?;
        inner.kept = Some(Box::new(Kept {
            words: shown.words.as_slice().into(),
            launch,
            stream: self.stream.clone(),
        }));
        slot.hash.store(hash, Relaxed);
        Ok(())
    }
}
