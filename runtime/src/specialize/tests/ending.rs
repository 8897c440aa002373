//! A process that ends while something is compiled behind.

use std::process::{Command, exit};
use std::time::Instant;

use tilewright_testing::Part;

use super::*;
use crate::behind::COMPILERS;
use crate::compile::{Architecture, CompileOptions, Nvrtc, compile};

#[test]
fn a_process_that_ends_while_something_is_compiled_behind_ends_well() {
    if Part::Nvrtc.or_skip(Nvrtc::load()).is_none() {
        return;
    }
    for round in 0..5 {
        let started = Instant::now();
        let name = "specialize::tests::ending::a_process_that_ends";
        let child = Command::new(std::env::current_exe().expect("this program"))
            .args([name, "--exact", "--ignored", "--nocapture"])
            .output()
            .expect("it runs");
        assert_eq!(child.status.code(), Some(77), "round {round}: {child:?}");
        assert!(started.elapsed() < LONG, "nobody waits for what has not begun");
    }
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
            compile(&source, "set", &CompileOptions::new(Architecture::new(9, 0))).expect("it compiles");
        });
    }
    while begun.load(SeqCst) == 0 {
        std::thread::yield_now();
    }
    exit(77);
}
