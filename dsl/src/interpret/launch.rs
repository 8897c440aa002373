//! Running all programs of a launch.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering::Relaxed};
use std::sync::{Mutex, PoisonError};
use std::thread;

use rayon::prelude::*;

use super::argument::Arguments;
use super::order::{Epochs, Order, Turns};
use super::program::Machine;
use super::ranks::Participant;
use super::touch::{Meeting, Touched};
use super::{BadAccess, Conflict, ConflictingAccess, HostArgument, InterpretError, check_requirements, grid};
use super::{conflict, threads};
use crate::analysis::effects::Effects;
use crate::analysis::races::{Races, Sequence, Touch};
use crate::host::check_programs;
use crate::ir::{self, Kernel, Statement, verify};

/// How to run.
#[derive(Debug, Clone)]
pub struct Options {
    /// The most statements and loop trips that one program may run; without limit by default.
    pub max_steps: u64,
    /// Whether to look for [conflicts](Conflict); on by default.
    pub check_conflicts: bool,
    /// The grid, innermost first, instead of the kernel's own: for a kernel that leaves it to the host.
    pub grid: Option<[u64; 3]>,
    /// A number for what it runs on: launches of one thread on one device are a rank's, whatever memory they touch. Without, ranks
    /// are told apart by their memory alone.
    pub device: Option<usize>,
    /// What becomes of the lines that programs print, from several threads; by default they go nowhere.
    pub print: fn(&str),
}

impl Default for Options {
    fn default() -> Self {
        Self {
            max_steps: u64::MAX,
            check_conflicts: true,
            grid: None,
            device: None,
            print: |_| {},
        }
    }
}

/// What a run came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outcome {
    /// The grid, innermost first.
    pub grid: [u64; 3],
    /// The first access, in program order, that was outside of its tensor and was skipped, read as zero or clamped, as
    /// its policy says. Not an error.
    pub outside: Option<BadAccess>,
}

/// What all programs of a run share.
pub(super) struct Launch<'k, 'a> {
    pub kernel: &'k Kernel,
    pub arguments: Arguments<'k, 'a>,
    pub grid: [u64; 3],
    pub max_steps: u64,
    pub print: fn(&str),
    /// Whether to look for accesses that do not go together.
    pub check_conflicts: bool,
    /// Whether there are several programs, or promises that one can break.
    log: bool,
    pub races: Races,
    /// The atomic operations that may order programs, if any may.
    pub turns: Option<Mutex<Turns>>,
    /// Its part in what ranks do to each other's memory, if it has one.
    pub ranks: Option<Participant>,
}

/// What the programs that one thread ran in a row came to.
struct Report {
    /// The number of the program that had to stop, and why.
    stopped: Option<(u64, InterpretError)>,
    trapped: Option<InterpretError>,
    outside: Option<BadAccess>,
    touched: Vec<Touched>,
    ordered: Vec<Epochs>,
    repeated: Option<Meeting>,
    among_ranks: Option<InterpretError>,
}

/// Runs every program of `kernel`.
///
/// The result is deterministic: of several errors, the first kind listed below is reported, and of one kind the first in
/// program order. Programs that race on memory, which is an error, may leave different bytes there in every run; where a
/// kernel also orders stores by atomic operations, a race shows in those runs where the order did not happen to hold.
///
/// # Errors
/// * Before anything runs: a kernel that breaks the rules of the IR, arguments that do not fit it or are not what it
///   requires, a grid that is too large.
/// * From a program that had to stop, which leaves memory partly written: [`InterpretError::UnsoundProof`],
///   [`InterpretError::OutOfBounds`] of an unchecked access, [`InterpretError::StepLimit`].
/// * After all programs have run: [`InterpretError::OutOfBounds`] of an access whose policy is to trap or
///   [`InterpretError::CheckFailed`] or [`InterpretError::WaitEnded`], whichever comes first in program order, then
///   [`InterpretError::Conflict`], then [`InterpretError::RankConflict`].
pub fn run(kernel: &Kernel, arguments: &[HostArgument<'_>], options: &Options) -> Result<Outcome, InterpretError> {
    verify::verify(kernel).map_err(|error| InterpretError::Malformed {
        kernel: kernel.name.clone(),
        error,
    })?;
    let arguments = Arguments::check(kernel, arguments)?;
    let grid = match options.grid {
        Some(grid) => grid,
        None => grid(kernel, &arguments)?,
    };
    check_requirements(kernel, &arguments)?;
    let programs = check_programs(kernel, grid)?;
    let effects = Effects::of(kernel);
    let races = Races::of(kernel, &effects);
    let check_conflicts = options.check_conflicts;
    // Between the accesses of one program, only a promise can be broken.
    let log = check_conflicts && (programs > 1 || promises(kernel));
    let ranks = match check_conflicts {
        true => Participant::begin(kernel, &arguments, options.device),
        false => None,
    };
    let launch = Launch {
        kernel,
        arguments,
        grid,
        max_steps: options.max_steps,
        print: options.print,
        check_conflicts,
        log,
        turns: (log && races.sequence == Sequence::Locks).then(Mutex::default),
        races,
        ranks,
    };
    if effects.atomics.waits {
        let reports = launch.by_threads(programs);
        return launch.conclude(reports);
    }

    // Enough pieces to keep all threads busy, large enough to reuse a machine.
    let piece = (programs / (16 * rayon::current_num_threads() as u64)).clamp(1, 1024);
    // Where the last write wins there is but one piece.
    let piece = if effects.in_order { programs.max(1) } else { piece };
    let stopped = AtomicU64::new(u64::MAX);
    let run = |i: u64| launch.piece(i * piece, ((i + 1) * piece).min(programs), &stopped, None);
    let pieces = 0..programs.div_ceil(piece);
    let reports: Vec<Report> = match threads::are_there() {
        true => pieces.into_par_iter().map(run).collect(),
        false => pieces.map(run).collect(),
    };
    launch.conclude(reports)
}

/// Whether a store promises that no element is written twice.
fn promises(kernel: &Kernel) -> bool {
    let mut found = false;
    kernel.body.walk(&mut |statement, _| {
        found |= matches!(
            statement,
            Statement::Store {
                conflict: Some(ir::Conflict::Disjoint),
                ..
            }
        );
    });
    found
}

/// The most threads of a launch whose programs wait: so many can wait at once.
const MOST_THREADS: u32 = 512;

/// Programs that several threads do.
struct Work<'l, 'k, 'a> {
    launch: &'l Launch<'k, 'a>,
    programs: u64,
    /// The program that comes next.
    next: AtomicU64,
    /// The first program that had to stop.
    stopped: AtomicU64,
    threads: AtomicU32,
    reports: Mutex<Vec<(u64, Report)>>,
}

impl<'l> Work<'l, '_, '_> {
    /// Does one program after the other.
    fn go_on<'s, 'e>(&'e self, scope: &'s thread::Scope<'s, 'e>)
    where
        'l: 'e,
    {
        let replace = || {
            let is_more = self.next.load(Relaxed) < self.programs;
            if is_more && self.threads.fetch_add(1, Relaxed) < MOST_THREADS {
                // Without another thread the others wait with this one.
                let _ = thread::Builder::new().spawn_scoped(scope, || self.go_on(scope));
            }
        };
        loop {
            let number = self.next.fetch_add(1, Relaxed);
            if number >= self.programs {
                return;
            }
            let report = self.launch.piece(number, number + 1, &self.stopped, Some(&replace));
            let mut reports = self.reports.lock().unwrap_or_else(PoisonError::into_inner);
            reports.push((number, report));
        }
    }
}

impl Launch<'_, '_> {
    /// Runs the programs each by itself, in order, where they may wait for each other or for other launches. Not in rayon's
    /// threads, which such launches would take from each other until none can go on: each thread that waits lets another one
    /// go on in its place, and most programs wait for nothing for long.
    fn by_threads(&self, programs: u64) -> Vec<Report> {
        let work = Work {
            launch: self,
            programs,
            next: AtomicU64::new(0),
            stopped: AtomicU64::new(u64::MAX),
            threads: AtomicU32::new(1),
            reports: Mutex::default(),
        };
        thread::scope(|scope| work.go_on(scope));
        let mut reports = work.reports.into_inner().unwrap_or_else(PoisonError::into_inner);
        reports.sort_by_key(|(number, _)| *number);
        reports.into_iter().map(|(_, report)| report).collect()
    }

    /// Runs the programs `first..end`, up to one that has to stop, and none after one that had to.
    fn piece(&self, first: u64, end: u64, stopped: &AtomicU64, replace: Option<&dyn Fn()>) -> Report {
        let mut report = Report {
            stopped: None,
            trapped: None,
            outside: None,
            touched: Vec::new(),
            ordered: Vec::new(),
            repeated: None,
            among_ranks: None,
        };
        let mut machine = Machine::new(self, replace);
        for number in first..end {
            if number > stopped.load(Relaxed) {
                break;
            }
            if let Err(error) = machine.run(number) {
                stopped.fetch_min(number, Relaxed);
                report.stopped = Some((number, error));
                break;
            }
        }
        (report.trapped, report.outside) = (machine.trapped.take(), machine.outside.take());
        report.among_ranks = machine.among_ranks.take();
        (report.touched, report.ordered, report.repeated) = machine.log.into_parts();
        report
    }

    fn conclude(&self, mut reports: Vec<Report>) -> Result<Outcome, InterpretError> {
        let stopped = reports.iter_mut().filter_map(|report| report.stopped.take());
        if let Some((_, error)) = stopped.min_by_key(|(number, _)| *number) {
            return Err(error);
        }
        if let Some(trapped) = reports.iter_mut().find_map(|report| report.trapped.take()) {
            return Err(trapped);
        }
        let outside = reports.iter_mut().find_map(|report| report.outside.take());
        let repeated = reports.iter().find_map(|report| report.repeated);
        let among_ranks = reports.iter_mut().find_map(|report| report.among_ranks.take());
        let ordered = reports
            .iter_mut()
            .flat_map(|report| std::mem::take(&mut report.ordered));
        let order = ordered.collect::<Order>();
        let touched = reports.into_iter().flat_map(|report| report.touched).collect();
        let found = repeated.or_else(|| conflict::find(touched, self.races.sequence, &order));
        if let Some(Meeting { first, second, address }) = found {
            let tensor = self.arguments.tensor(second.tensor);
            return Err(InterpretError::Conflict(Box::new(Conflict {
                kernel: self.kernel.name.clone(),
                tensor: self.arguments.name(second.tensor),
                element: tensor.map(|t| t.element(address)).unwrap_or_default(),
                accesses: [first, second].map(|access| ConflictingAccess {
                    program: self.coordinates(access.program.into()),
                    span: access.span,
                    touch: access.touch,
                }),
            })));
        }
        match among_ranks {
            Some(conflict) => Err(conflict),
            None => Ok(Outcome {
                grid: self.grid,
                outside,
            }),
        }
    }

    /// What an access does, if it is to be noted for comparing it with those of other programs, or with other promises.
    pub fn noted(&self, touch: Option<Touch>) -> Option<Touch> {
        let is_kept = |touch: &Touch| self.races.sequence != Sequence::InOrder || *touch == Touch::Disjoint;
        touch.filter(|touch| self.log && is_kept(touch))
    }

    /// The coordinates of a program.
    pub fn coordinates(&self, number: u64) -> [u64; 3] {
        let [x, y, _] = self.grid.map(|extent| extent.max(1));
        [number % x, number / x % y, number / x / y]
    }
}
