//! Tilewright's side of `benches/compare.py`: `movement --serve` answers lines of JSON on standard input with lines of
//! JSON on standard output. It has the same method as the other side (`benches/replay.py`): a CUDA graph of launches over
//! rotating sets of rows, replayed between two events; and it compares every result with the operation's definition.

mod buffers;
mod case;
mod replay;

use std::error::Error;
use std::io::{BufRead, Write};

use serde::Deserialize;
use serde_json::{Value, json};
use tilewright_runtime::{Device, compile::Nvrtc};

use buffers::Buffers;
use case::{Binding, Case};
use replay::Replay;

/// What can be asked.
#[derive(Deserialize)]
#[serde(tag = "do", rename_all = "snake_case")]
enum Ask {
    /// What this is and what it can do.
    Hello,
    /// Make one case ready in one binding of its counts.
    Prepare {
        variant: Binding,
        #[serde(flatten)]
        case: Case,
    },
    /// Time what was made ready.
    Measure {
        variant: Binding,
        replays: usize,
        warm_up: usize,
    },
    /// Free everything.
    Release,
}

/// What is ready. The graphs come first: they are dropped before the memory they use.
struct Ready {
    replays: Vec<(Binding, Replay)>,
    buffers: Buffers,
}

fn main() -> Result<(), Box<dyn Error>> {
    if !std::env::args().any(|argument| argument == "--serve") {
        println!(
            "nothing measured: `python3 benches/compare.py --ours <this program>` runs this beside Triton and torch"
        );
        return Ok(());
    }
    let device = Device::cuda(0);
    let mut ready = None;
    let mut out = std::io::stdout().lock();
    for line in std::io::stdin().lock().lines() {
        let answer = match &device {
            Ok(device) => {
                answer(&line?, device, &mut ready).unwrap_or_else(|error| json!({ "error": error.to_string() }))
            }
            Err(error) => json!({ "error": error.to_string() }),
        };
        writeln!(out, "{answer}")?;
        out.flush()?;
    }
    Ok(())
}

fn answer(line: &str, device: &Device, ready: &mut Option<Ready>) -> Result<Value, Box<dyn Error>> {
    Ok(match serde_json::from_str(line)? {
        Ask::Hello => {
            let (major, minor) = Nvrtc::load()?.version();
            let variants = Binding::ALL.map(Binding::name);
            json!({ "variants": variants, "gpu": device.name(), "nvrtc": format!("{major}.{minor}") })
        }
        Ask::Prepare { variant, case } if !case.has(variant) => {
            json!({ "absent": format!("{:?} has no count", case.op) })
        }
        Ask::Prepare { variant, case } => {
            case.check()?;
            if ready.as_ref().is_some_and(|ready| ready.buffers.case() != &case) {
                *ready = None;
            }
            let ready = match ready {
                Some(ready) => ready,
                None => ready.insert(Ready {
                    replays: Vec::new(),
                    buffers: Buffers::new(device, case)?,
                }),
            };
            prepare(device, ready, variant)?
        }
        Ask::Measure {
            variant,
            replays,
            warm_up,
        } => {
            let prepared = ready
                .iter_mut()
                .flat_map(|ready| &mut ready.replays)
                .find(|(binding, _)| *binding == variant);
            let (_, replay) = prepared.ok_or("that variant is not prepared")?;
            json!({ "us": replay.measure(replays, warm_up)? })
        }
        Ask::Release => {
            *ready = None;
            json!({ "released": true })
        }
    })
}

/// Captures, runs once on an output made wrong before, and compares.
fn prepare(device: &Device, ready: &mut Ready, binding: Binding) -> Result<Value, Box<dyn Error>> {
    let Ready { replays, buffers } = ready;
    replays.retain(|(prepared, _)| *prepared != binding);
    // Compiles and loads, which a capture must not.
    let launched = buffers.launch(device, binding, 0)?;
    device.synchronize()?;
    buffers.poison()?;
    let (sets, launches) = (buffers.case().sets, buffers.case().launches);
    let mut replay = Replay::capture(device, launches, |launch| {
        buffers.launch(device, binding, launch % sets).map(drop)
    })?;
    replay.measure(1, 0)?;
    device.synchronize()?;
    buffers.check()?;
    let bytes = buffers.case().bytes();
    replays.push((binding, replay));
    let variant = launched.variant_id().map(|id| id.to_string());
    Ok(json!({ "variant": variant, "bytes": bytes, "checked": true }))
}
