//! One compilation: an NVRTC program from its creation to its output.

#![allow(unsafe_code)]

use std::{
    ffi::{CStr, CString},
    os::raw::{c_char, c_int},
    ptr,
    sync::atomic::Ordering,
};

use cudarc::nvrtc::sys::{nvrtcProgram, nvrtcResult};

use super::library::{Code, Nvrtc, SUCCESS};
use super::{CompileError, diagnostic, options::MINIMAL};

const INVALID_OPTION: Code = nvrtcResult::NVRTC_ERROR_INVALID_OPTION as Code;
const COMPILATION: Code = nvrtcResult::NVRTC_ERROR_COMPILATION as Code;

/// What is compiled, and for what: what an error speaks of.
pub(super) struct Task<'a> {
    pub kernel: &'a str,
    pub source: &'a str,
    pub architecture: super::Architecture,
}

/// What a compilation gives.
#[derive(Clone, Copy)]
pub(super) enum Output {
    Cubin,
    Ptx,
}

/// Compiles, and returns the output and the log. Any number of threads may do so at once: programs are independent.
pub(super) fn run(
    nvrtc: &Nvrtc,
    task: &Task<'_>,
    arguments: Vec<String>,
    output: Output,
) -> Result<(Vec<u8>, String), CompileError> {
    if !nvrtc.supported().contains(&task.architecture) {
        return Err(CompileError::UnsupportedArchitecture {
            kernel: task.kernel.to_owned(),
            architecture: task.architecture,
            supported: nvrtc.supported().to_vec(),
            version: nvrtc.version(),
        });
    }
    let text = |what, text: String| {
        CString::new(text).map_err(|error| CompileError::InteriorNul {
            kernel: task.kernel.to_owned(),
            what,
            offset: error.nul_position(),
        })
    };
    let source = text("source", task.source.to_owned())?;
    let file = text("name", format!("{}.cu", task.kernel))?;
    let mut arguments = arguments
        .into_iter()
        .map(|argument| text("options", argument))
        .collect::<Result<Vec<_>, _>>()?;

    let is_minimal = |argument: &CString| argument.to_bytes() == MINIMAL.as_bytes();
    if nvrtc.without_minimal.load(Ordering::Relaxed) {
        arguments.retain(|argument| !is_minimal(argument));
    }
    let mut program = Program::new(nvrtc, task, &source, &file)?;
    let mut code = program.compile(&arguments);
    if code == INVALID_OPTION && arguments.iter().any(is_minimal) && program.log()?.contains("minimal") {
        arguments.retain(|argument| !is_minimal(argument));
        nvrtc.without_minimal.store(true, Ordering::Relaxed);
        program = Program::new(nvrtc, task, &source, &file)?;
        code = program.compile(&arguments);
    }
    let log = program.log()?;
    match code {
        SUCCESS => Ok((program.output(output)?, log)),
        COMPILATION | INVALID_OPTION => Err(CompileError::Rejected {
            compiler: "NVRTC",
            kernel: task.kernel.to_owned(),
            architecture: task.architecture,
            diagnostics: diagnostic::parse(&log),
            log,
        }),
        code => Err(program.failed("nvrtcCompileProgram", code, log)),
    }
}

/// An NVRTC program. It stays on the thread that made it.
struct Program<'a> {
    nvrtc: &'a Nvrtc,
    task: &'a Task<'a>,
    handle: nvrtcProgram,
}

type SizeOf = unsafe extern "C" fn(nvrtcProgram, *mut usize) -> Code;
type Fill = unsafe extern "C" fn(nvrtcProgram, *mut c_char) -> Code;

impl<'a> Program<'a> {
    fn new(nvrtc: &'a Nvrtc, task: &'a Task<'a>, source: &CStr, file: &CStr) -> Result<Self, CompileError> {
        let mut program = Self {
            nvrtc,
            task,
            handle: ptr::null_mut(),
        };
        let (source, file) = (source.as_ptr(), file.as_ptr());
        let create = nvrtc.entry.nvrtcCreateProgram;
        // SAFETY: both texts end in NUL and are copied by the call; there are no headers.
        let code = unsafe { create(&mut program.handle, source, file, 0, ptr::null(), ptr::null()) };
        match code {
            SUCCESS => Ok(program),
            code => Err(program.failed("nvrtcCreateProgram", code, String::new())),
        }
    }

    fn compile(&mut self, arguments: &[CString]) -> Code {
        let pointers: Vec<*const c_char> = arguments.iter().map(|argument| argument.as_ptr()).collect();
        let count = c_int::try_from(pointers.len()).unwrap_or(c_int::MAX);
        // SAFETY: the program is live, and there are at least `count` texts that outlive the call.
        unsafe { (self.nvrtc.entry.nvrtcCompileProgram)(self.handle, count, pointers.as_ptr()) }
    }

    fn log(&self) -> Result<String, CompileError> {
        let entry = &self.nvrtc.entry;
        let mut log = self.read(
            "nvrtcGetProgramLog",
            entry.nvrtcGetProgramLogSize,
            entry.nvrtcGetProgramLog,
        )?;
        while log.pop_if(|last| *last == 0).is_some() {}
        Ok(String::from_utf8_lossy(&log).into_owned())
    }

    fn output(&self, output: Output) -> Result<Vec<u8>, CompileError> {
        let entry = &self.nvrtc.entry;
        match output {
            Output::Cubin => self.read("nvrtcGetCUBIN", entry.nvrtcGetCUBINSize, entry.nvrtcGetCUBIN),
            Output::Ptx => self.read("nvrtcGetPTX", entry.nvrtcGetPTXSize, entry.nvrtcGetPTX),
        }
    }

    fn read(&self, call: &'static str, size_of: SizeOf, fill: Fill) -> Result<Vec<u8>, CompileError> {
        let checked = |code| match code {
            SUCCESS => Ok(()),
            code => Err(self.failed(call, code, String::new())),
        };
        let mut size = 0;
        // SAFETY: the program is live.
        checked(unsafe { size_of(self.handle, &mut size) })?;
        let mut bytes = vec![0u8; size];
        if size > 0 {
            // SAFETY: the program is live, and NVRTC writes as many bytes as it has just announced.
            checked(unsafe { fill(self.handle, bytes.as_mut_ptr().cast()) })?;
        }
        Ok(bytes)
    }

    fn failed(&self, call: &'static str, code: Code, log: String) -> CompileError {
        // SAFETY: NVRTC returns a static text for every code, known or not.
        let message = unsafe { CStr::from_ptr((self.nvrtc.entry.nvrtcGetErrorString)(code)) };
        CompileError::Nvrtc {
            kernel: self.task.kernel.to_owned(),
            call,
            code,
            message: message.to_string_lossy().into_owned(),
            log,
        }
    }
}

impl Drop for Program<'_> {
    fn drop(&mut self) {
        if !self.handle.is_null() {
            // SAFETY: the program was created and is destroyed only here.
            unsafe { (self.nvrtc.entry.nvrtcDestroyProgram)(&mut self.handle) };
        }
    }
}
