//! A process that ends while something is compiled behind, and one that forks.

#![allow(unsafe_code)] // A process that forks has to say so.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::exit;
use std::time::Instant;

use tilewright_dsl::call::Exact;
use tilewright_testing::{Part, process_of};

use super::*;
use crate::behind::COMPILERS;
use crate::cache::BundleBuilder;
use crate::compile::{Architecture, CompileError, CompileOptions, Nvrtc, compile};

/// How many milliseconds after the first compilation has begun a process ends.
const AFTER: &str = "TILEWRIGHT_TEST_ENDS_AFTER";

#[test]
fn a_process_that_ends_while_something_is_compiled_behind_ends_well() {
    if Part::Nvrtc.or_skip(Nvrtc::load()).is_none() {
        return;
    }
    // At once, while NVRTC is loaded, and while it compiles for the first time.
    for after in (0..60).step_by(4) {
        let started = Instant::now();
        let name = "specialize::tests::ending::a_process_that_ends";
        let child = process_of(name)
            .env(AFTER, after.to_string())
            .output()
            .expect("it runs");
        assert_eq!(child.status.code(), Some(77), "after {after} ms: {child:?}");
        assert!(started.elapsed() < LONG, "nobody waits for what has not begun");
    }
}

#[test]
fn a_process_ends_well_while_a_compilation_that_was_given_up_goes_on() {
    if Part::Nvrtc.or_skip(Nvrtc::load()).is_none() {
        return;
    }
    let started = Instant::now();
    let name = "specialize::tests::ending::a_process_that_gives_up";
    let child = process_of(name).output().expect("it runs");
    assert_eq!(child.status.code(), Some(77), "{child:?}");
    assert!(started.elapsed() < LONG, "nobody waits for what does not end");
}

#[test]
#[ignore = "run by `a_process_ends_well_while_a_compilation_that_was_given_up_goes_on`, in a process of its own"]
fn a_process_that_gives_up() {
    // NVRTC 13.0 does not end with this: an instruction of several outputs, one of which decides in a loop.
    const SOURCE: &str = r#"
extern "C" __global__ void k(const int* __restrict__ p0, unsigned char* p3,
                             const unsigned long long* __restrict__ table, const long long n, const unsigned p6, int w) {
  const unsigned long long* entry = table;
  unsigned char* const m = (unsigned char*)__cvta_global_to_generic(entry[0]);
  m[w] = false;
  long long x = 0;
  while (true) {
    unsigned a, b;
    asm("{min.u32 %0, %2, %3; max.u32 %1, %2, %3;}" : "=r"(a), "=r"(b) : "r"(2147483648U), "r"(p6));
    const bool c = 2147483648U == a;
    if (!(x < 4)) break;
    x = x + 1;
    const long long i = p0[0] % n;
    const bool v = c ? *(volatile unsigned char*)(p3 + i) != 0 : false;
  }
}"#;
    let mut options = CompileOptions::new(Architecture::new(9, 0));
    options.limit = Duration::from_millis(500);
    let started = Instant::now();
    let result = compile(SOURCE, "k", &options);
    eprintln!("{} after {:?}", result.is_ok(), started.elapsed());
    exit(77);
}

#[test]
#[ignore = "run by `a_process_that_ends_while_something_is_compiled_behind_ends_well`, in a process of its own"]
fn a_process_that_ends() {
    const SOURCE: &str = "extern \"C\" __global__ void set(int* out) { out[threadIdx.x] = NUMBER; }";
    let begun = Arc::new(AtomicUsize::new(0));
    for number in 0..100 {
        let begun = begun.clone();
        COMPILERS.submit(move || {
            begun.fetch_add(1, SeqCst);
            let source = SOURCE.replace("NUMBER", &number.to_string());
            match compile(&source, "set", &CompileOptions::new(Architecture::new(9, 0))) {
                Ok(_) | Err(CompileError::Ending { .. }) => {}
                Err(error) => panic!("{error}"),
            }
        });
    }
    while begun.load(SeqCst) == 0 {
        std::thread::yield_now();
    }
    let after = std::env::var(AFTER).map_or(0, |after| after.parse().expect("a number"));
    std::thread::sleep(Duration::from_millis(after));
    exit(77);
}

#[test]
fn a_child_of_a_fork_launches_and_compiles_and_has_nothing_built_behind() {
    let name = "specialize::tests::ending::a_process_that_forks";
    let child = process_of(name).arg("--test-threads=1").output().expect("it runs");
    assert!(child.status.success(), "{child:?}");
}

/// What a process does with kernels: the same before a fork and after it, on both sides.
fn launch_and_compile(device: &Device, rows: &Rows, start: u64) {
    rows.place(device, start, 5, Exact, as_it_is);
    rows.place(device, start, 7, Exact, as_it_is);
    assert!(Device::settle(LONG), "nothing is under way");
    if Nvrtc::load().is_ok() {
        let source = format!("extern \"C\" __global__ void set(int* out) {{ out[threadIdx.x] = {start}; }}");
        let bundle = BundleBuilder::new();
        let options = CompileOptions::new(Architecture::new(9, 0));
        bundle.compile(&source, "set", &options).expect("it compiles");
    }
}

#[test]
#[ignore = "run by `a_child_of_a_fork_launches_and_compiles_and_has_nothing_built_behind`, in a process of its own"]
fn a_process_that_forks() {
    let device = tiered();
    let rows = Rows::on(&device);
    launch_and_compile(&device, &rows, 1);
    // SAFETY: nothing runs in other threads of this process that holds a lock; the child ends without running anything that
    // belongs to its parent.
    let child = unsafe { libc::fork() };
    assert!(child >= 0, "no process");
    if child == 0 {
        // SAFETY: it ends this process, if it waits for what its parent alone has.
        unsafe { libc::alarm(60) };
        let done = catch_unwind(AssertUnwindSafe(|| {
            launch_and_compile(&device, &rows, 2);
            let fresh = tiered();
            launch_and_compile(&fresh, &Rows::on(&fresh), 3);
            assert_eq!(fresh.counters().promotions, 0, "its parent's threads are not its own");
        }));
        // SAFETY: it ends the process at once.
        unsafe { libc::_exit(i32::from(done.is_err())) };
    }
    let mut status = -1;
    // SAFETY: the child is this process's own, and the status is written to a local.
    let waited = unsafe { libc::waitpid(child, &mut status, 0) };
    assert_eq!((waited, status), (child, 0));
    launch_and_compile(&device, &rows, 4);
    assert!(device.counters().promotions > 0, "the parent's still are");
}
