//! Moments at which a GPU has nothing to do.
//!
//! The driver loads a kernel when all that is queued on the GPU is done, and holds up launches until it has, whatever thread asks for
//! it (`benches/loading.py`). So what no launch waits for is loaded when there is nothing to wait for.
//!
//! Whether that is so, no call of the driver says that would not break off a capture of somebody else. Streams that nobody can capture
//! are asked; in others, launches leave a mark behind them as long as something waits for such a moment.

use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::thread;
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use super::Hardware;
use super::cuda::{CudaDevice, CudaEvent, CudaStream, beside_captures};
use crate::behind::{COMPILES, is_ending};
use crate::error::DeviceError;

/// While so many wait, no more are to be asked for.
const ENOUGH: usize = 64;
/// How long it takes until streams that cannot be asked have shown, by a launch, whether they have work.
const UNSEEN: Duration = Duration::from_millis(50);
/// Between two looks; longer, the longer something has waited.
const SHORTEST_PAUSE: Duration = Duration::from_micros(200);
const LONGEST_PAUSE: Duration = Duration::from_millis(2);

/// Something to be done, which is told whether the GPU has nothing to do.
type Job = Box<dyn FnOnce(bool) + Send>;

/// What waits until a GPU has nothing to do, and how that is found out.
pub(super) struct Quiet {
    jobs: Mutex<Jobs>,
    /// Whether something waits, so that launches leave marks.
    is_awaited: AtomicBool,
    /// Behind the last launch in each stream since then that cannot be asked. Nothing is asked of the driver while this is held.
    marks: Mutex<Vec<Mark>>,
    /// For how many nanoseconds something waits; the most there are are for ever.
    patience: AtomicU64,
    /// See [`UNSEEN`].
    unseen: Duration,
}

#[derive(Default)]
struct Jobs {
    /// With when they came.
    waiting: VecDeque<(Job, Instant)>,
    /// Since when a thread sees to them.
    served_since: Option<Instant>,
}

#[derive(Clone)]
struct Mark {
    stream: usize,
    event: Arc<CudaEvent>,
}

impl Default for Quiet {
    fn default() -> Self {
        Self {
            jobs: Mutex::default(),
            is_awaited: AtomicBool::new(false),
            marks: Mutex::default(),
            patience: AtomicU64::new(u64::MAX),
            unseen: UNSEEN,
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
        self.is_awaited.load(Relaxed) && self.jobs.lock().waiting.len() >= ENOUGH
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

    /// Does all jobs, each when `look` says that there is nothing to do, or when it is late.
    fn serve(&self, look: impl Fn() -> bool) {
        while let Some((is_quiet, jobs)) = self.next(&look) {
            do_all(jobs, is_quiet);
        }
    }

    /// Does all jobs at once.
    fn serve_at_once(&self) {
        while self.still_waits().is_some() {
            let jobs = self.jobs.lock().waiting.drain(..).collect();
            do_all(jobs, false);
        }
    }

    /// Waits until something is to be done: one job if there is a moment for it, else those that are late; and whether there is nothing
    /// to do. `None` once there are none; then nobody sees to those that come.
    fn next(&self, look: impl Fn() -> bool) -> Option<(bool, Vec<(Job, Instant)>)> {
        loop {
            let since = self.still_waits()?;
            let is_quiet = look();
            if is_quiet && since.elapsed() >= self.unseen {
                let first = self.jobs.lock().waiting.pop_front();
                return Some((true, first.into_iter().collect()));
            }
            let late = self.late();
            if !late.is_empty() {
                return Some((is_quiet, late));
            }
            thread::sleep((since.elapsed() / 100).clamp(SHORTEST_PAUSE, LONGEST_PAUSE));
        }
    }

    /// Since when something waits, if anything does.
    fn still_waits(&self) -> Option<Instant> {
        let mut jobs = self.jobs.lock();
        if is_ending() {
            jobs.waiting.clear();
        }
        if !jobs.waiting.is_empty() {
            return jobs.served_since;
        }
        jobs.served_since = None;
        self.is_awaited.store(false, Relaxed);
        let marks = std::mem::take(&mut *self.marks.lock());
        drop(jobs);
        // Which asks the driver.
        drop(marks);
        None
    }

    /// Those that have waited long enough.
    fn late(&self) -> Vec<(Job, Instant)> {
        let patience = self.patience();
        let mut jobs = self.jobs.lock();
        let late = jobs.waiting.iter().take_while(|(_, came)| came.elapsed() >= patience);
        let late = late.count();
        jobs.waiting.drain(..late).collect()
    }

    /// Leaves a mark in a stream, unless that can be asked. Without one, a launch is not seen.
    #[cold]
    fn mark(&self, cuda: &CudaDevice, stream: &CudaStream) {
        // What goes into a graph is not done now, and an event would become a part of it.
        if stream.kept().is_some() || !stream.may_be_captured() || stream.is_capturing().unwrap_or(true) {
            return;
        }
        let identity = stream.identity();
        let known = |marks: &[Mark]| {
            let mark = marks.iter().find(|mark| mark.stream == identity);
            mark.map(|mark| mark.event.clone())
        };
        let found = known(&self.marks.lock());
        let Some(event) = found.or_else(|| CudaEvent::new(cuda).ok().map(Arc::new)) else {
            return;
        };
        // That may wait for room in the stream.
        if event.record(stream).is_err() {
            return;
        }
        let mut marks = self.marks.lock();
        let other = known(&marks).filter(|other| !Arc::ptr_eq(other, &event));
        if self.is_awaited.load(Relaxed) && known(&marks).is_none() {
            let stream = identity;
            marks.push(Mark { stream, event });
        }
        drop(marks);
        // Another thread's mark may lie before this launch.
        if let Some(other) = other {
            let _ = other.record(stream);
        }
    }

    fn are_marks_passed(&self) -> Result<bool, DeviceError> {
        let marks = self.marks.lock().clone();
        for mark in marks {
            if !mark.event.is_passed()? {
                return Ok(false);
            }
        }
        Ok(true)
    }
}

fn do_all(jobs: Vec<(Job, Instant)>, is_quiet: bool) {
    for (job, _) in jobs {
        // Others wait behind it.
        if !is_ending() && catch_unwind(AssertUnwindSafe(|| job(is_quiet))).is_err() {
            tracing::error!("a job that waited until a GPU had nothing to do panicked");
        }
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

    /// Does a job on a thread behind when the GPU has nothing to do, [as far as is seen](Self::is_quiet), or when it has waited
    /// [long enough](Self::set_patience); it is told whether there is nothing to do. Where nothing is held up, which is on the CPU, it
    /// is done at once.
    pub(crate) fn when_quiet(&self, job: impl FnOnce(bool) + Send + 'static) {
        let quiet = &self.0.quiet;
        if self.as_cuda().is_none() {
            return job(true);
        }
        if quiet.add(Box::new(job)) {
            let hardware = self.clone();
            let serve = move || hardware.0.quiet.serve(|| hardware.is_quiet());
            if COMPILES.spawn(serve).is_err() {
                quiet.serve_at_once();
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

    /// Whether there is nothing to do, as far as can be seen: in streams that cannot be asked, of what was launched since somebody
    /// waits.
    fn is_quiet(&self) -> bool {
        let Some(cuda) = self.as_cuda() else { return true };
        let streams = self.0.streams.lock().clone();
        let look = || {
            if !self.0.quiet.are_marks_passed()? {
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

    /// One that sees all streams.
    fn quiet() -> Quiet {
        Quiet {
            unseen: Duration::ZERO,
            ..Quiet::default()
        }
    }

    #[test]
    fn jobs_wait_for_a_moment_each_and_are_done_in_order() {
        let (quiet, told) = (quiet(), Told::default());
        let is_first: Vec<_> = (0..3).map(|number| quiet.add(told.job(number))).collect();
        assert_eq!(is_first, [true, false, false], "one thread sees to them");
        assert!(quiet.is_awaited.load(Relaxed));
        let looks = AtomicUsize::new(0);
        quiet.serve(|| looks.fetch_add(1, Relaxed) % 4 == 3);
        assert_eq!(*told.0.lock(), [(0, true), (1, true), (2, true)]);
        assert_eq!(looks.load(Relaxed), 12, "before each one it was looked again");
        assert!(!quiet.is_awaited.load(Relaxed), "launches leave no marks any more");
        assert!(quiet.add(told.job(3)), "the thread has gone");
    }

    #[test]
    fn who_has_waited_long_enough_waits_for_no_moment() {
        let (quiet, told) = (quiet(), Told::default());
        assert_eq!(quiet.patience(), Duration::MAX);
        for patience in [Duration::ZERO, Duration::from_millis(5)] {
            quiet.set_patience(patience);
            assert_eq!(quiet.patience(), patience);
            (0..2).for_each(|number| assert_eq!(quiet.add(told.job(number)), number == 0));
            let began = Instant::now();
            quiet.serve(|| false);
            assert!(began.elapsed() >= patience);
            assert_eq!(*told.0.lock(), [(0, false), (1, false)]);
            told.0.lock().clear();
        }
        quiet.set_patience(Duration::MAX);
        assert_eq!(quiet.patience(), Duration::MAX);
    }

    #[test]
    fn what_comes_while_another_is_done_is_seen_to_as_well() {
        let (quiet, told) = (Arc::new(quiet()), Told::default());
        let (again, more) = (quiet.clone(), told.clone());
        quiet.add(Box::new(move |_| more.job(usize::from(again.add(more.job(7))))(true)));
        quiet.serve(|| true);
        assert_eq!(*told.0.lock(), [(0, true), (7, true)], "nobody else has to see to it");
    }

    #[test]
    fn a_job_that_panics_is_no_end_for_the_others() {
        let (quiet, told) = (quiet(), Told::default());
        quiet.add(Box::new(|_| panic!("a panic that the test wants")));
        quiet.add(told.job(1));
        quiet.serve(|| true);
        assert_eq!(*told.0.lock(), [(1, true)]);
        assert!(quiet.add(told.job(2)), "the next one gets a thread");
    }

    #[test]
    fn only_those_are_late_that_have_waited_long_enough() {
        let (quiet, told) = (quiet(), Told::default());
        quiet.set_patience(Duration::from_millis(300));
        quiet.add(told.job(0));
        thread::sleep(Duration::from_millis(250));
        quiet.add(told.job(1));
        let (is_quiet, late) = quiet.next(|| false).expect("one is late");
        assert_eq!((is_quiet, late.len()), (false, 1));
        // As long as there is a moment for it, none is.
        thread::sleep(Duration::from_millis(300));
        let (is_quiet, jobs) = quiet.next(|| true).expect("there is another");
        assert_eq!((is_quiet, jobs.len()), (true, 1));
    }

    #[test]
    fn what_cannot_be_asked_gets_time_to_show_unless_there_is_no_patience() {
        let (waiting, told) = (Quiet::default(), Told::default());
        waiting.add(told.job(0));
        let began = Instant::now();
        waiting.serve(|| true);
        assert!(began.elapsed() >= UNSEEN);
        waiting.set_patience(Duration::ZERO);
        waiting.add(told.job(1));
        waiting.serve(|| true);
        waiting.add(told.job(2));
        waiting.serve_at_once();
        assert_eq!(*told.0.lock(), [(0, true), (1, true), (2, false)]);
    }

    #[test]
    fn there_is_an_end_to_what_may_wait() {
        let (quiet, told) = (quiet(), Told::default());
        for number in 0..ENOUGH {
            assert!(!quiet.is_full(), "{number}");
            quiet.add(told.job(number));
        }
        assert!(quiet.is_full());
        quiet.serve(|| true);
        assert!(!quiet.is_full());
    }

    #[test]
    fn on_the_cpu_nothing_waits() {
        let told = Told::default();
        Hardware::cpu().when_quiet(told.job(1));
        assert_eq!(*told.0.lock(), [(1, true)]);
    }
}
