//! A bounded number of threads for a bounded number of jobs.

use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering::SeqCst};
use std::time::{Duration, Instant};
use std::{process, thread};

use parking_lot::{Condvar, Mutex, MutexGuard};

use super::{Behind, Counted, give_way, is_ending};

/// How many threads there are at most: a compilation keeps one core busy, and the cores are the program's.
const MAX_THREADS: usize = 4;
/// How many jobs wait at most. A launch asks again for what found no room.
const MAX_JOBS: usize = 256;
/// How long a thread without a job waits for one. Making a thread takes longer than a launch, which hands jobs over.
const LINGER: Duration = Duration::from_secs(60);

type Job = Box<dyn FnOnce() + Send>;

/// Threads that come when there are jobs, and go when there have been none for a while. They begin none while launches wait
/// for a compiler.
pub(crate) struct Pool {
    behind: &'static Behind,
    /// Held for handing over and taking a job, never while one is done.
    queue: Mutex<Queue>,
    /// There is a job.
    handed_over: Condvar,
    /// The process that has handed over the first job. The child of a fork has none of its parent's threads, and one of them may
    /// have held the lock: it has nothing done here.
    process: AtomicU32,
}

struct Queue {
    /// With what counts them as under way.
    jobs: VecDeque<(Job, Counted)>,
    threads: usize,
    /// Those of the threads that wait for a job.
    idle: usize,
}

impl Pool {
    pub(super) const fn new(behind: &'static Behind) -> Self {
        let queue = Queue {
            jobs: VecDeque::new(),
            threads: 0,
            idle: 0,
        };
        Self {
            behind,
            queue: Mutex::new(queue),
            handed_over: Condvar::new(),
            process: AtomicU32::new(0),
        }
    }

    /// Hands a job over; false if there is no room for it, no thread to be had, or the process a child of the one that had.
    pub(crate) fn submit(&'static self, job: impl FnOnce() + Send + 'static) -> bool {
        if !self.is_of_this_process() {
            return false;
        }
        let mut queue = self.queue.lock();
        if queue.jobs.len() >= MAX_JOBS || is_ending() {
            return false;
        }
        if queue.idle <= queue.jobs.len() && queue.threads < most_threads() {
            let thread = thread::Builder::new().name(self.behind.name().to_owned());
            match thread.spawn(|| self.work()) {
                Ok(_) => queue.threads += 1,
                Err(_) if queue.threads == 0 => return false,
                Err(_) => {}
            }
        }
        queue.jobs.push_back((Box::new(job), self.behind.begin()));
        self.handed_over.notify_one();
        true
    }

    fn is_of_this_process(&self) -> bool {
        let first = self.process.compare_exchange(0, process::id(), SeqCst, SeqCst);
        !first.is_err_and(|first| first != process::id())
    }

    /// Whether a job that is handed over now is begun soon.
    pub(crate) fn is_quick(&self) -> bool {
        self.is_of_this_process() && self.queue.lock().jobs.len() < MAX_THREADS
    }

    fn work(&self) {
        loop {
            let mut queue = self.queue.lock();
            let until = Instant::now() + LINGER;
            while queue.jobs.is_empty() {
                queue.idle += 1;
                let waited = self.handed_over.wait_until(&mut queue, until);
                queue.idle -= 1;
                if waited.timed_out() {
                    break;
                }
            }
            if queue.jobs.is_empty() {
                queue.threads -= 1;
                return;
            }
            MutexGuard::unlocked(&mut queue, give_way);
            if is_ending() {
                queue.jobs.clear();
            }
            // Another thread may have taken it meanwhile.
            let Some((job, _under_way)) = queue.jobs.pop_front() else {
                continue;
            };
            drop(queue);
            // Whoever handed it over sees that it has not ended well; the thread goes on.
            if catch_unwind(AssertUnwindSafe(job)).is_err() {
                tracing::error!("a job behind the launches panicked");
            }
        }
    }
}

/// Asking the system takes longer than a launch.
fn most_threads() -> usize {
    static MOST: OnceLock<usize> = OnceLock::new();
    *MOST.get_or_init(|| {
        let half = thread::available_parallelism().map_or(1, |cores| cores.get().div_ceil(2));
        half.min(MAX_THREADS)
    })
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::AtomicUsize;

    use super::*;

    const LONG: Duration = Duration::from_secs(20);

    #[test]
    fn every_job_is_done_once_whatever_others_do() {
        static BEHIND: Behind = Behind::new("tilewright-test");
        static POOL: Pool = Pool::new(&BEHIND);
        let done = Arc::new(AtomicUsize::new(0));
        for number in 0..100 {
            let done = done.clone();
            let job = move || {
                assert!(number % 3 != 0, "a panic that the test wants");
                done.fetch_add(1, SeqCst);
            };
            assert!(POOL.submit(job));
        }
        assert!(BEHIND.settle(LONG));
        assert_eq!(done.load(SeqCst), 66);
    }

    #[test]
    fn there_is_room_for_so_many_jobs_and_no_more() {
        static BEHIND: Behind = Behind::new("tilewright-test");
        static POOL: Pool = Pool::new(&BEHIND);
        static GATE: Mutex<()> = Mutex::new(());
        let gate = GATE.lock();
        let accepted = (0..MAX_JOBS + MAX_THREADS + 10)
            .filter(|_| POOL.submit(|| drop(GATE.lock())))
            .count();
        assert!((MAX_JOBS..=MAX_JOBS + MAX_THREADS).contains(&accepted), "{accepted}");
        drop(gate);
        assert!(BEHIND.settle(LONG));
        assert!(POOL.submit(|| {}), "there is room again");
    }
}
