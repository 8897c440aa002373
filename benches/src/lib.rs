//! Tilewright's side of `benches/compare.py`, which loads this library: [`movement_ask`] answers JSON with JSON. Both sides
//! run in one process and one CUDA context, because the launches of a process are slower while another one holds a context
//! on the same GPU. They have the same method (`benches/replay.py`): a CUDA graph of launches over rotating sets of rows,
//! replayed between two events. Rows that are moved lie in memory of the side that asks, which compares them afterwards; what is
//! computed of rows this side compares with what the CPU device computes.

mod batch;
mod case;
mod elements;
mod meet;
mod meeting;
mod memory;
mod moves;
mod ranks;
mod tuning;
mod work;

use std::cell::RefCell;
use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::error::Error;
use std::ffi::{CStr, CString, c_char};
use std::panic::{self, AssertUnwindSafe};

use serde::Deserialize;
use serde_json::{Value, json};
use tilewright_dsl::call::Specialize;
use tilewright_harness::bench::Replay;
use tilewright_runtime::compile::{Compiler, Nvrtc};
use tilewright_runtime::{Device, Launched, Stream};

use batch::{Batch, BatchCase};
use case::{Binding, Case, Way};
use elements::Elements;
use meeting::MeetingCase;
use moves::Moves;
use ranks::Rank;
use work::Work;

/// What can be asked.
#[derive(Deserialize)]
#[serde(tag = "do", rename_all = "snake_case")]
enum Ask {
    /// What this is and what it can do.
    Hello,
    /// Make one case ready under a name.
    Prepare {
        name: String,
        #[serde(flatten)]
        case: Case,
        #[serde(flatten)]
        way: Way,
    },
    /// Which schedules other tunings would choose for what was made ready last.
    Candidates,
    /// Time what was made ready.
    Measure {
        name: String,
        replays: usize,
        warm_up: usize,
    },
    /// Make a batch of tensors ready to be padded.
    PrepareBatch {
        #[serde(flatten)]
        case: BatchCase,
    },
    /// Time the padding of a batch: launches from the host, and in a graph.
    MeasureBatch {
        launches: usize,
        replays: usize,
        warm_up: usize,
    },
    /// Make rows in which elements meet ready, in memory of who asks. It is there until they are released.
    PrepareMeeting {
        name: String,
        #[serde(flatten)]
        case: MeetingCase,
    },
    /// Time them.
    MeasureMeeting {
        name: String,
        replays: usize,
        warm_up: usize,
    },
    /// As a rank among several GPUs.
    Rank {
        #[serde(flatten)]
        ask: ranks::Ask,
    },
    /// Free everything.
    Release,
}

/// What is ready. The graphs come first: they are dropped before the memory they use.
struct Ready {
    replays: Vec<(String, Replay)>,
    case: Case,
    work: Box<dyn Work>,
    /// The launch that was captured last.
    last: Option<Launched>,
}

thread_local! {
    /// What the thread that asks has ready, with each compiler: each has its device, and a device its memory.
    static READY: RefCell<HashMap<Compiler, Ready>> = RefCell::default();
    /// The batch that it has ready.
    static BATCH: RefCell<Option<Batch>> = const { RefCell::new(None) };
    /// The rows that it has ready, in which elements meet.
    static MEETING: RefCell<HashMap<String, Replay>> = RefCell::default();
    /// The rank that its process is.
    static RANK: RefCell<Option<Rank>> = const { RefCell::new(None) };
}

/// Answers a request; one that is null, is no JSON or cannot be done with what is wrong. The answer belongs to the caller until
/// [`movement_free`] takes it.
///
/// # Safety
/// `request` is null or points to a string that ends with a zero byte.
#[allow(unsafe_code)]
#[unsafe(no_mangle)]
pub unsafe extern "C" fn movement_ask(request: *const c_char) -> *mut c_char {
    // SAFETY: as the caller promises.
    let request = (!request.is_null()).then(|| unsafe { CStr::from_ptr(request) });
    let answer = || match request {
        Some(request) => READY.with_borrow_mut(|ready| answer(request, ready)),
        None => Err("there is no request".into()),
    };
    // What is ready after a panic is whole: graphs are made ready last.
    let answer = panic::catch_unwind(AssertUnwindSafe(answer));
    let answer = answer.unwrap_or_else(|_| Err("a panic, whose message is in what this process has written".into()));
    let answer = answer.unwrap_or_else(|error| json!({ "error": error.to_string() }));
    // JSON escapes zero bytes.
    CString::new(answer.to_string()).unwrap_or_default().into_raw()
}

/// Frees an answer; null is none.
///
/// # Safety
/// `answer` is null, or comes from [`movement_ask`] and was not freed before.
#[allow(unsafe_code)]
#[unsafe(no_mangle)]
pub unsafe extern "C" fn movement_free(answer: *mut c_char) {
    if !answer.is_null() {
        // SAFETY: as the caller promises.
        drop(unsafe { CString::from_raw(answer) });
    }
}

/// The GPU with a compiler, or with that of the environment.
fn open(compiler: Option<&str>) -> Result<Device, Box<dyn Error>> {
    let device = match compiler {
        Some(compiler) => Device::cuda_with(0, compiler.parse()?)?,
        None => Device::cuda(0)?,
    };
    // What is measured is what was asked for, and not what serves meanwhile.
    device.set_specialize(Specialize::Exact);
    Ok(device)
}

fn answer(request: &CStr, ready: &mut HashMap<Compiler, Ready>) -> Result<Value, Box<dyn Error>> {
    let ask = serde_json::from_str(request.to_str()?)?;
    match ask {
        // A rank has a GPU of its own.
        Ask::Rank { ask } => RANK.with_borrow_mut(|rank| ranks::answer(rank, ask)),
        Ask::Release => {
            ready.clear();
            MEETING.take();
            BATCH.set(None);
            Ok(json!({ "released": true }))
        }
        ask => measure(ask, &open(None)?, ready),
    }
}

/// Does what is asked of a GPU.
fn measure(ask: Ask, device: &Device, ready: &mut HashMap<Compiler, Ready>) -> Result<Value, Box<dyn Error>> {
    Ok(match ask {
        Ask::Hello => {
            let nvrtc = Nvrtc::load().map(Nvrtc::version).ok();
            let nvrtc = nvrtc.map(|(major, minor)| format!("{major}.{minor}"));
            let variants = Binding::ALL.map(Binding::name);
            let compiler = device.settled().transpose()?.map(|settled| settled.to_string());
            json!({ "variants": variants, "gpu": device.name(), "nvrtc": nvrtc, "compiler": compiler })
        }
        Ask::Prepare { case, way, .. } if !case.has(way.binding) => {
            json!({ "absent": format!("{:?} has no count", case.op) })
        }
        Ask::Prepare { name, case, way } => {
            case.check()?;
            ready.retain(|_, ready| ready.case == case);
            let device = &open(way.compiler.as_deref())?;
            let ready = match ready.entry(device.compiler()) {
                Entry::Occupied(ready) => ready.into_mut(),
                Entry::Vacant(place) => place.insert(Ready {
                    replays: Vec::new(),
                    work: match case.op.moves() {
                        // SAFETY: who asks says where its memory is, and keeps it until all is released.
                        #[allow(unsafe_code)]
                        true => Box::new(unsafe { Moves::new(device, case.clone()) }?),
                        false => Box::new(Elements::new(device, case.clone())?),
                    },
                    case,
                    last: None,
                }),
            };
            prepare(device, ready, name, &way)?
        }
        Ask::Candidates => {
            let last = ready.get(&device.compiler()).and_then(|ready| ready.last.as_ref());
            let candidates = last.and_then(|launched| tuning::candidates(device, launched));
            candidates.ok_or("nothing is prepared with the compiler of the environment")?
        }
        Ask::Measure { name, replays, warm_up } => {
            let prepared = ready
                .values_mut()
                .flat_map(|ready| &mut ready.replays)
                .find(|(prepared, _)| *prepared == name);
            let (_, replay) = prepared.ok_or("nothing is prepared under that name")?;
            json!({ "us": replay.measure(replays, warm_up)?.us() })
        }
        Ask::PrepareBatch { case } => {
            let batch = Batch::new(device, case)?;
            BATCH.set(Some(batch));
            json!({ "checked": true })
        }
        Ask::MeasureBatch {
            launches,
            replays,
            warm_up,
        } => BATCH.with_borrow_mut(|batch| -> Result<Value, Box<dyn Error>> {
            let batch = batch.as_mut().ok_or("no batch is prepared")?;
            let timed = batch.measure_launches(device, launches, warm_up)?;
            let graph_us = batch.measure_graph(replays, warm_up)?;
            Ok(json!({ "call_us": timed.call_us, "host_us": timed.host_us, "total_us": timed.total_us, "graph_us": graph_us }))
        })?,
        Ask::PrepareMeeting { name, case } => {
            // SAFETY: who asks says where its memory is, and keeps it until all is released.
            #[allow(unsafe_code)]
            let replay = unsafe { case.replay(device) }?;
            MEETING.with_borrow_mut(|meeting| drop(meeting.insert(name, replay)));
            json!({ "prepared": true })
        }
        Ask::MeasureMeeting { name, replays, warm_up } => MEETING.with_borrow_mut(|meeting| -> Result<_, Box<dyn Error>> {
            let replay = meeting.get_mut(&name).ok_or("nothing is prepared under that name")?;
            Ok(json!({ "us": replay.measure(replays, warm_up)?.us() }))
        })?,
        Ask::Rank { .. } | Ask::Release => return Err("it is answered without a GPU".into()),
    })
}

/// Captures and, if asked to, runs once on an output made wrong before, and compares.
fn prepare(device: &Device, ready: &mut Ready, name: String, way: &Way) -> Result<Value, Box<dyn Error>> {
    let Ready {
        replays,
        case,
        work,
        last,
    } = ready;
    replays.retain(|(prepared, _)| *prepared != name);
    let launch = |stream: &Stream, set| work.launch(stream, way, set).map(|launched| *last = Some(launched));
    // SAFETY: who asks says where its memory is, and keeps it until all is released; graphs go before ours.
    #[allow(unsafe_code)]
    let mut replay = unsafe { memory::capture(device, case.sets, case.launches, launch) }?;
    if way.check {
        work.poison()?;
        replay.measure(1, 0)?;
        device.synchronize()?;
        work.check()?;
    }
    let bytes = case.bytes();
    replays.push((name, replay));
    let variant = last.as_ref().and_then(Launched::variant_id).map(|id| id.to_string());
    Ok(json!({ "variant": variant, "bytes": bytes, "checked": way.check }))
}
