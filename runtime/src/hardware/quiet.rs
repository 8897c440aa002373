//! Moments at which a GPU has nothing to do.
//!
//! The driver loads a kernel when all that is queued on the GPU is done, and holds up launches until it has, whatever thread asks for
//! it (`benches/loading.py`). So what no launch waits for is loaded when there is nothing to wait for.
//!
//! Whether that is so, no call of the driver says that would not break off a capture of somebody else. So as long as something waits
//! for such a moment, launches leave a mark behind them in their stream, whoever's it is.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::thread;
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use super::Hardware;
use super::cuda::{CudaDevice, CudaEvent, CudaStream, beside_captures};
use crate::behind::{LOADS, is_ending};
use crate::error::DeviceError;

/// What waits is dropped beyond so many.
const MAX_JOBS: usize = 64;
/// How long it takes until streams that cannot be asked count as empty, if nothing is launched.
const UNSEEN: Duration = Duration::from_millis(20);
/// Between two looks.
const PAUSE: Duration = Duration::from_micros(200);

/// Something to be done, which is told whether the GPU has nothing to do.
type Job = Box<dyn FnOnce(bool) + Send>;

/// What waits until a GPU has nothing to do, and how that is found out.
pub(super) struct Quiet {
    jobs: Mutex<Jobs>,
    /// Whether something waits, so that launches leave marks.
    is_awaited: AtomicBool,
    /// Behind the last launch in each stream since then.
    marks: Mutex<Vec<Mark>>,
    /// For how many nanoseconds something waits; the most there are are for ever.
    patience: AtomicU64,
}

#[derive(Default)]
struct Jobs {
    /// With when they came.
    waiting: VecDeque<(Job, Instant)>,
    /// Since when a thread sees to them.
    served_since: Option<Instant>,
}

struct Mark {
    stream: usize,
    event: CudaEvent,
}

/// Why jobs are done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Why {
    /// There is nothing to do.
    Quiet,
    /// The first has waited long enough.
    Late,
}

impl Default for Quiet {
    fn default() -> Self {
        Self {
            jobs: Mutex::default(),
            is_awaited: AtomicBool::new(false),
            marks: Mutex::default(),
            patience: AtomicU64::new(u64::MAX),
        }
    }
}

impl Quiet {
    /// Sets for how long something waits.
    fn set_patience(&self, patience: Duration) {
        let nanos = u64::try_from(patience.as_nanos()).unwrap_or(u64::MAX);
        self.patience.store(nanos, Relaxed);
    }

    fn patience(&self) -> Duration {
        match self.patience.load(Relaxed) {
            u64::MAX => Duration::MAX,
            nanos => Duration::from_nanos(nanos),
        }
    }

    fn is_full(&self) -> bool {
        self.is_awaited.load(Relaxed) && self.jobs.lock().waiting.len() >= MAX_JOBS
    }

    /// Lets a job wait. Returns whether there is no thread that sees to it yet.
    fn add(&self, job: Job) -> bool {
        let mut jobs = self.jobs.lock();
        jobs.waiting.push_back((job, Instant::now()));
        self.is_awaited.store(true, Relaxed);
        let is_first = jobs.served_since.is_none();
        jobs.served_since.get_or_insert_with(Instant::now);
        is_first
    }

    /// Does all jobs, each when `look` says that there is nothing to do, given since when that is wanted.
    fn serve(&self, look: impl Fn(Instant) -> bool) {
        while let Some((why, jobs)) = self.next(&look) {
            for (job, _) in jobs {
                job(why == Why::Quiet);
            }
        }
    }

    /// Waits until something is to be done: one job if there is a moment for it, else all of them. `None` once there are none; then
    /// nobody sees to those that come.
    fn next(&self, look: impl Fn(Instant) -> bool) -> Option<(Why, Vec<(Job, Instant)>)> {
        loop {
            let since = {
                let mut jobs = self.jobs.lock();
                let late = |(_, came): &(Job, Instant)| came.elapsed() >= self.patience();
                match jobs.waiting.front() {
                    Some(_) if is_ending() => jobs.waiting.clear(),
                    Some(job) if late(job) => return Some((Why::Late, jobs.waiting.drain(..).collect())),
                    _ => {}
                }
                if jobs.waiting.is_empty() {
                    jobs.served_since = None;
                    self.is_awaited.store(false, Relaxed);
                    self.marks.lock().clear();
                    return None;
                }
                *jobs.served_since.get_or_insert_with(Instant::now)
            };
            if look(since) {
                let first = self.jobs.lock().waiting.pop_front();
                return Some((Why::Quiet, first.into_iter().collect()));
            }
            thread::sleep(PAUSE);
        }
    }

    /// Leaves a mark in a stream. Without one, a launch is not seen.
    #[cold]
    fn mark(&self, cuda: &CudaDevice, stream: &CudaStream) {
        // What goes into a graph is not done now, and an event would become a part of it.
        if stream.kept().is_some() || stream.is_capturing().unwrap_or(true) {
            return;
        }
        let mut marks = self.marks.lock();
        if let Some(mark) = marks.iter().find(|mark| mark.stream == stream.identity()) {
            let _ = mark.event.record(stream);
            return;
        }
        if let Ok(event) = CudaEvent::new(cuda)
            && event.record(stream).is_ok()
        {
            let stream = stream.identity();
            marks.push(Mark { stream, event });
        }
    }

    fn are_marks_passed(&self, since: Instant) -> Result<bool, DeviceError> {
        let marks = self.marks.lock();
        if marks.is_empty() {
            return Ok(since.elapsed() >= UNSEEN);
        }
        for mark in marks.iter() {
            if !mark.event.is_passed()? {
                return Ok(false);
            }
        }
        Ok(true)
    }
}

impl Hardware {
    /// For how long from now on what may [wait](Self::when_quiet) does so.
    pub(crate) fn set_patience(&self, patience: Duration) {
        self.0.quiet.set_patience(patience);
    }

    /// Whether so much waits already that no more should come.
    pub(crate) fn has_enough_waiting(&self) -> bool {
        self.0.quiet.is_full()
    }

    /// Does a job on a thread behind when the GPU has nothing to do of what was launched through this, or when it has waited
    /// [long enough](Self::set_patience); it is told which. Where nothing is held up, which is on the CPU, it is done at once.
    pub(crate) fn when_quiet(&self, job: impl FnOnce(bool) + Send + 'static) {
        let quiet = &self.0.quiet;
        if self.as_cuda().is_none() {
            return job(true);
        }
        if quiet.add(Box::new(job)) {
            let hardware = self.clone();
            let serve = move || hardware.0.quiet.serve(|since| hardware.is_quiet(since));
            if LOADS.spawn(serve).is_err() {
                quiet.serve(|_| true);
            }
        }
    }

    /// Leaves a mark behind a launch in a stream, if somebody waits until there is nothing to do.
    #[inline]
    pub(crate) fn mark(&self, stream: &CudaStream) {
        if self.0.quiet.is_awaited.load(Relaxed)
            && let Some(cuda) = self.as_cuda()
        {
            self.0.quiet.mark(cuda, stream);
        }
    }

    /// Whether there is nothing to do, as far as can be seen.
    fn is_quiet(&self, since: Instant) -> bool {
        let Some(cuda) = self.as_cuda() else { return true };
        let streams = self.0.streams.lock().clone();
        let look = || {
            if !self.0.quiet.are_marks_passed(since)? {
                return Ok(false);
            }
            for stream in streams.iter().chain([cuda.stream()]) {
                if stream.is_done()? == Some(false) {
                    return Ok(false);
                }
            }
            Ok(true)
        };
        // Whoever does the job finds out what is wrong.
        beside_captures(look).unwrap_or(true)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::AtomicUsize;

    use super::*;

    /// What jobs were told, in their order.
    #[derive(Clone, Default)]
    struct Told(Arc<Mutex<Vec<(usize, bool)>>>);

    impl Told {
        fn job(&self, number: usize) -> Job {
            let told = self.clone();
            Box::new(move |is_quiet| told.0.lock().push((number, is_quiet)))
        }
    }

    #[test]
    fn jobs_wait_for_a_moment_each_and_are_done_in_order() {
        let (quiet, told) = (Quiet::default(), Told::default());
        let is_first: Vec<_> = (0..3).map(|number| quiet.add(told.job(number))).collect();
        assert_eq!(is_first, [true, false, false], "one thread sees to them");
        assert!(quiet.is_awaited.load(Relaxed));
        let looks = AtomicUsize::new(0);
        quiet.serve(|_| looks.fetch_add(1, Relaxed) % 4 == 3);
        assert_eq!(*told.0.lock(), [(0, true), (1, true), (2, true)]);
        assert_eq!(looks.load(Relaxed), 12, "before each one it was looked again");
        assert!(!quiet.is_awaited.load(Relaxed), "launches leave no marks any more");
        assert!(quiet.add(told.job(3)), "the thread has gone");
    }

    #[test]
    fn who_has_waited_long_enough_waits_for_no_moment() {
        let (quiet, told) = (Quiet::default(), Told::default());
        assert_eq!(quiet.patience(), Duration::MAX);
        for patience in [Duration::ZERO, Duration::from_millis(5)] {
            quiet.set_patience(patience);
            assert_eq!(quiet.patience(), patience);
            (0..2).for_each(|number| assert_eq!(quiet.add(told.job(number)), number == 0));
            let began = Instant::now();
            quiet.serve(|_| false);
            assert!(began.elapsed() >= patience);
            assert_eq!(*told.0.lock(), [(0, false), (1, false)]);
            told.0.lock().clear();
        }
        quiet.set_patience(Duration::MAX);
        assert_eq!(quiet.patience(), Duration::MAX);
    }

    #[test]
    fn what_comes_while_another_is_done_is_seen_to_as_well() {
        let (quiet, told) = (Arc::new(Quiet::default()), Told::default());
        let (again, more) = (quiet.clone(), told.clone());
        quiet.add(Box::new(move |_| assert!(!again.add(more.job(7)))));
        quiet.serve(|_| true);
        assert_eq!(*told.0.lock(), [(7, true)]);
    }

    #[test]
    fn there_is_an_end_to_what_may_wait() {
        let (quiet, told) = (Quiet::default(), Told::default());
        for number in 0..MAX_JOBS {
            assert!(!quiet.is_full(), "{number}");
            quiet.add(told.job(number));
        }
        assert!(quiet.is_full());
        quiet.serve(|_| true);
        assert!(!quiet.is_full());
    }

    #[test]
    fn on_the_cpu_nothing_waits() {
        let told = Told::default();
        Hardware::cpu().when_quiet(told.job(1));
        assert_eq!(*told.0.lock(), [(1, true)]);
    }
}
