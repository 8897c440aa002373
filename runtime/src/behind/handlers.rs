//! What a library registers for the end of the process.

use std::ffi::{c_int, c_void};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};

use super::at_exit;

/// What is called when the process ends, or its library is unloaded.
type Handler = unsafe extern "C" fn(*mut c_void);

/// `__cxa_atexit` of the C library: registers a handler, with its argument and the library it is of.
type Register = unsafe extern "C" fn(Handler, *mut c_void, *mut c_void) -> c_int;

/// What libraries called before [`register`].
static REGISTER: OnceLock<Register> = OnceLock::new();

/// A handler that waits until the work that is under way is done.
struct Waits {
    handler: Handler,
    argument: *mut c_void,
}

/// Lets the handlers that a library registers from now on wait until the work that is under way is done. What is registered last
/// is called first, so what a library registers while it is used for the first time would be called, and take away what that use
/// needs, before anything that was registered ahead of the use.
///
/// # Safety
/// Each of `calls` is the address of a word through which a library calls `__cxa_atexit`, and which may be written; it stays in
/// memory until the process ends.
pub(crate) unsafe fn let_wait(calls: &[usize]) {
    for &call in calls {
        // SAFETY: it is the address of a word that stays, and that is only ever read and written as a whole.
        let call = unsafe { AtomicUsize::from_ptr(call as *mut usize) };
        let before = call.load(SeqCst);
        if before != register as *const () as usize {
            // SAFETY: what the library calls there has the type of `__cxa_atexit`.
            REGISTER.get_or_init(|| unsafe { std::mem::transmute::<usize, Register>(before) });
            call.store(register as *const () as usize, SeqCst);
        }
    }
}

/// What libraries call for `__cxa_atexit`.
unsafe extern "C" fn register(handler: Handler, argument: *mut c_void, library: *mut c_void) -> c_int {
    let Some(next) = REGISTER.get() else { return -1 };
    let waits = Box::into_raw(Box::new(Waits { handler, argument }));
    // SAFETY: the library stays, and the handler is called once with what it takes.
    unsafe { next(call, waits.cast(), library) }
}

/// A handler that was registered with what waits.
unsafe extern "C" fn call(waits: *mut c_void) {
    at_exit();
    // SAFETY: it was registered with this, which is given once.
    let Waits { handler, argument } = *unsafe { Box::from_raw(waits.cast::<Waits>()) };
    // SAFETY: as the library registered it.
    unsafe { handler(argument) }
}

#[cfg(test)]
mod tests {
    use std::process::exit;
    use std::thread;
    use std::time::Duration;

    use tilewright_testing::process_of;

    use super::super::CALLS;
    use super::*;

    unsafe extern "C" {
        fn __cxa_atexit(handler: Handler, argument: *mut c_void, library: *mut c_void) -> c_int;
    }

    #[test]
    fn what_a_library_registers_during_work_is_called_after_it() {
        let name = "behind::handlers::tests::a_process_that_ends_during_work";
        let child = process_of(name).output().expect("it runs");
        let text = String::from_utf8_lossy(&child.stdout);
        assert!(
            child.status.success() && text.contains("called after 0 of 7"),
            "{child:?}"
        );
    }

    #[test]
    #[ignore = "run by `what_a_library_registers_during_work_is_called_after_it`, in a process of its own"]
    fn a_process_that_ends_during_work() {
        unsafe extern "C" fn handler(argument: *mut c_void) {
            println!("called after {} of {}", CALLS.under_way(), argument as usize);
        }
        let calls = AtomicUsize::new(__cxa_atexit as *const () as usize);
        for _ in 0..2 {
            // SAFETY: it is the address of such a word, which lives until the process ends.
            unsafe { let_wait(&[calls.as_ptr() as usize]) };
        }
        let work = CALLS.begin();
        thread::spawn(move || {
            // SAFETY: the word holds the address of such a function.
            let register: Register = unsafe { std::mem::transmute(calls.load(SeqCst)) };
            // SAFETY: the handler takes any argument, and is of no library that is unloaded.
            assert_eq!(unsafe { register(handler, 7 as *mut c_void, std::ptr::null_mut()) }, 0);
            thread::spawn(|| exit(0));
            thread::sleep(Duration::from_millis(300));
            drop(work);
            loop {
                thread::park();
            }
        })
        .join()
        .expect("it does not end");
    }
}
