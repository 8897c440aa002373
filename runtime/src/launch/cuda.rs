//! A launch on a GPU: the arguments as words, and one driver call.

#![allow(unsafe_code)]

use std::cell::RefCell;
use std::ffi::c_void;
use std::sync::Arc;

use arrayvec::ArrayVec;
use tilewright_dsl::backend::Module;
use tilewright_dsl::call::{ArgumentValue, Call, CountArgument};
use tilewright_dsl::ir::Symbol;
use tilewright_dsl::lower::KernelArgument;

use super::update::{refused, unknown_place};
use crate::arguments::{elements, scalar, value_of, words_of};
use crate::device::Device;
use crate::error::{DeviceError, LaunchError};
use crate::hardware::capture::PlaceInGraph;
use crate::hardware::cuda::{self, CudaGraph, CudaStream};
use crate::hardware::memory::{InOrder, Storage, put_launch_in_order};
use crate::hardware::tables::Table;
use crate::specialize::{CudaProgram, LaunchPlan, Served, Variant};

/// What CUDA passes to a kernel on every architecture and driver: 4096 bytes, and every argument takes up to 8.
const MAX_ARGUMENTS: usize = 512;

thread_local! {
    /// The words of the table at hand, kept for their memory.
    static WORDS: RefCell<Vec<u64>> = const { RefCell::new(Vec::new()) };
}

/// The words of the arguments of a place's last launch, for the next one over the same tensors. It is refilled where it lies.
#[derive(Default)]
pub(super) struct KeptWords {
    /// What they are the arguments of, if they are kept.
    variant: Option<Arc<Variant>>,
    words: Vec<u64>,
    /// Those that differ from launch to launch.
    changing: Vec<(usize, KernelArgument)>,
    /// What some of the words are the addresses of; a stream that reads them.
    tables: Vec<Arc<Table>>,
    reader: usize,
    order: InOrder,
}

impl KeptWords {
    /// The tensors are others now.
    pub(super) fn clear(&mut self) {
        self.variant = None;
        self.tables.clear();
        self.order.clear();
    }

    fn keep(
        &mut self,
        variant: &Arc<Variant>,
        wanted: &[KernelArgument],
        words: &[u64],
        tables: impl IntoIterator<Item = Arc<Table>>,
        reader: &CudaStream,
    ) {
        self.clear();
        self.changing.clear();
        for (at, &wanted) in wanted.iter().enumerate() {
            let is_changing = match wanted {
                KernelArgument::Symbol(Symbol::Extent { .. } | Symbol::Stride { .. }) => false,
                KernelArgument::Symbol(_) | KernelArgument::Scalar(_) | KernelArgument::DeviceCountMaximum(_) => true,
                KernelArgument::Pointer(_)
                | KernelArgument::DeviceCount(_)
                | KernelArgument::Table(_)
                | KernelArgument::Trap => false,
                // New memory at each launch.
                KernelArgument::Marks { .. } => return,
            };
            if is_changing {
                self.changing.push((at, wanted));
            }
        }
        self.words.clear();
        self.words.extend(words);
        self.tables.extend(tables);
        self.reader = reader.identity();
        self.variant = Some(variant.clone());
    }

    /// The words of a launch that a variant serves, if they were kept of another one that it served. Tables have to know of each
    /// stream and graph that reads them.
    fn of(
        &mut self,
        call: &Call<'_>,
        plan: &LaunchPlan,
        variant: &Arc<Variant>,
        stream: &CudaStream,
    ) -> Option<(&mut [u64], &mut InOrder)> {
        let is_kept = self.variant.as_ref().is_some_and(|kept| Arc::ptr_eq(kept, variant));
        let is_reader = || self.reader == stream.identity() && stream.is_capturing() == Ok(false);
        if !is_kept || !self.tables.is_empty() && !is_reader() {
            return None;
        }
        for &(at, wanted) in &self.changing {
            self.words[at] = word(call, plan, wanted)?;
        }
        Some((&mut self.words, &mut self.order))
    }
}

/// Puts the plan's kernel into the stream. The call is checked. Returns where it is in a graph that owns what it uses.
pub(super) fn launch(
    call: &Call<'_>,
    plan: &LaunchPlan,
    served: &Served,
    program: &CudaProgram,
    kept: Option<&mut KeptWords>,
    device: &Device,
    stream: &CudaStream,
) -> Result<Option<PlaceInGraph>, LaunchError> {
    let mut kept = kept;
    if let Some((words, order)) = kept
        .as_mut()
        .and_then(|kept| kept.of(call, plan, &served.variant, stream))
    {
        let ready = Ready {
            words,
            marks: &[],
            order: Some(order),
        };
        return put(call, program, served.blocks, ready, device, stream);
    }
    let mut made = Made::new();
    made.fill(call, plan, program, device, Some(stream))?;
    let Made { words, marks, tables } = &mut made;
    let ready = Ready {
        words,
        marks,
        order: None,
    };
    let place = put(call, program, served.blocks, ready, device, stream)?;
    if let Some(kept) = kept {
        kept.keep(
            &served.variant,
            &program.module.arguments,
            words,
            tables.drain(..),
            stream,
        );
    }
    Ok(place)
}

/// Lets a launch in a graph be the plan's. The call is checked, and overlaps if the one that was captured did.
pub(super) fn update(
    call: &Call<'_>,
    plan: &LaunchPlan,
    served: &Served,
    program: &CudaProgram,
    device: &Device,
    (graph, at): (&mut CudaGraph, usize),
) -> Result<(), LaunchError> {
    let is_marks = |wanted: &KernelArgument| matches!(wanted, KernelArgument::Marks { .. });
    if program.module.arguments.iter().any(is_marks) {
        let reason = "a checked build needs memory of its own for each launch".to_owned();
        return Err(refused(call, reason));
    }
    let mut made = Made::new();
    made.fill(call, plan, program, device, None)?;
    let used = memories(call.arguments()).map(Storage::as_used);
    let Module {
        threads,
        dynamic_shared,
        ..
    } = program.module;
    let kernel = (&program.function, served.blocks, threads, dynamic_shared);
    let mut pointers = pointers(&mut made.words);
    // SAFETY: as for a launch; the graph keeps the memory and the kernel, and orders its launches with other uses. Tables of
    // graphs stay as long as the device.
    unsafe { graph.update(at, kernel, &mut pointers, used.chain([served.variant.clone() as _])) }?
        .ok_or_else(|| unknown_place(call))
}

/// The arguments of a launch, and what was made for them.
struct Made {
    words: ArrayVec<u64, MAX_ARGUMENTS>,
    /// Freed when they are dropped, which the stream does after the launch.
    marks: Vec<Storage>,
    tables: ArrayVec<Arc<Table>, MAX_ARGUMENTS>,
}

impl Made {
    fn new() -> Self {
        Self {
            words: ArrayVec::new(),
            marks: Vec::new(),
            tables: ArrayVec::new(),
        }
    }

    /// Fills in what the plan's kernel wants, where it lies. Without a stream it is for a graph.
    fn fill(
        &mut self,
        call: &Call<'_>,
        plan: &LaunchPlan,
        program: &CudaProgram,
        device: &Device,
        stream: Option<&CudaStream>,
    ) -> Result<(), LaunchError> {
        let Self { words, marks, tables } = self;
        let kernel = call.definition().name();
        let found = program.module.arguments.len();
        if found > MAX_ARGUMENTS {
            return Err(LaunchError::TooManyCudaArguments {
                kernel,
                found,
                most: MAX_ARGUMENTS,
            });
        }
        for wanted in &program.module.arguments {
            let missing = || LaunchError::WrongArguments {
                kernel,
                reason: format!("nothing fits {wanted:?}"),
            };
            let word = match (wanted, &program.traps) {
                (KernelArgument::Trap, Some(record)) => Some(record.address()),
                (KernelArgument::Marks { tensor, words }, _) => match marks_for(call, *tensor, *words, device)? {
                    Some(storage) => {
                        marks.push(storage);
                        marks.last().map(Storage::address)
                    }
                    None => None,
                },
                (KernelArgument::Table(position), _) => match table_for(call, *position, device, stream)? {
                    Some(table) => {
                        tables.push(table);
                        tables.last().map(|table| table.address())
                    }
                    None => None,
                },
                _ => word(call, plan, *wanted),
            };
            words.push(word.ok_or_else(missing)?);
        }
        Ok(())
    }
}

/// To each of the words. Filled where they are: collecting would move all of the room that there is.
fn pointers(words: &mut [u64]) -> ArrayVec<*mut c_void, MAX_ARGUMENTS> {
    let mut pointers = ArrayVec::new();
    pointers.extend(words.iter_mut().map(|word| std::ptr::from_mut(word).cast()));
    pointers
}

/// What the driver is given, but where.
struct Ready<'r> {
    words: &'r mut [u64],
    /// Memory that only this launch uses.
    marks: &'r [Storage],
    order: Option<&'r mut InOrder>,
}

/// The driver call.
fn put(
    call: &Call<'_>,
    program: &CudaProgram,
    blocks: u32,
    ready: Ready<'_>,
    device: &Device,
    stream: &CudaStream,
) -> Result<Option<PlaceInGraph>, LaunchError> {
    let Ready { words, marks, order } = ready;
    let mut pointers = pointers(words);
    let launch = match call.is_overlapping() {
        true => cuda::launch_overlapping,
        false => cuda::launch,
    };
    let used = memories(call.arguments()).chain(marks);
    put_launch_in_order(device.hardware(), stream, used, order, || {
        // SAFETY: the pointers are to the words of the arguments that the kernel was printed with, in their order, and a word
        // is as large and as aligned as any of them. Every address is of an allocation that the call borrows; later uses,
        // freeing among them, are ordered after this one by `put_launch_in_order`. The kernel stays within the extents and
        // strides that were checked to lie in the allocations, as far as its author has not taken that over in an
        // `unsafe` block.
        // An overlapping launch was planned for a kernel that begins with waiting only.
        unsafe {
            launch(
                &program.function,
                blocks,
                program.module.threads,
                program.module.dynamic_shared,
                &mut pointers,
                stream,
            )
        }
    })
    .map_err(|error: DeviceError| error.into())
}

/// The value of an argument, in the low bytes of a word where it is smaller: the order of bytes is that of the device.
fn word(call: &Call<'_>, plan: &LaunchPlan, wanted: KernelArgument) -> Option<u64> {
    let argument = |position: u32| call.arguments().get(position as usize);
    match wanted {
        KernelArgument::Pointer(position) => match argument(position)? {
            ArgumentValue::Tensor(tensor) => Some(Storage::of(tensor.memory)?.address() + tensor.offset),
            _ => None,
        },
        KernelArgument::Symbol(symbol) => value_of(call, plan.grid, symbol).map(i64::cast_unsigned),
        KernelArgument::Scalar(position) => scalar(call.arguments(), position).map(|literal| literal.bits),
        KernelArgument::DeviceCount(position) => match argument(position)? {
            ArgumentValue::Count(CountArgument::Device { memory, offset, .. }) => {
                Some(Storage::of(*memory)?.address() + offset)
            }
            _ => None,
        },
        KernelArgument::DeviceCountMaximum(position) => match argument(position)? {
            ArgumentValue::Count(CountArgument::Device { maximum, .. }) => Some(maximum.cast_unsigned()),
            _ => None,
        },
        // They belong to no argument, and are made above.
        KernelArgument::Trap | KernelArgument::Marks { .. } | KernelArgument::Table(_) => None,
    }
}

/// The memory that arguments lie in.
pub(super) fn memories<'c, 'a: 'c>(
    arguments: impl IntoIterator<Item = &'c ArgumentValue<'a>, IntoIter: Clone>,
) -> impl Iterator<Item = &'c Storage> + Clone {
    let memories = |argument: &'c ArgumentValue<'_>| {
        let (one, list) = match argument {
            ArgumentValue::Tensor(tensor) => (Some(tensor.memory), None),
            ArgumentValue::List(list) => (None, Some(&list.tensors)),
            ArgumentValue::Count(CountArgument::Device { memory, .. }) => (Some(*memory), None),
            ArgumentValue::Count(_) | ArgumentValue::Scalar(_) => (None, None),
        };
        one.into_iter()
            .chain(list.into_iter().flatten().map(|tensor| tensor.memory))
    };
    arguments.into_iter().flat_map(memories).filter_map(Storage::of)
}

/// The table of a list.
fn table_for(
    call: &Call<'_>,
    position: u32,
    device: &Device,
    stream: Option<&CudaStream>,
) -> Result<Option<Arc<Table>>, DeviceError> {
    let (Some(ArgumentValue::List(list)), Some(cuda)) = (call.arguments().get(position as usize), device.as_cuda())
    else {
        return Ok(None);
    };
    WORDS.with_borrow_mut(|words| match words_of(list, words) {
        Some(()) => device.tables().find(cuda, words, stream).map(Some),
        None => Ok(None),
    })
}

/// So many words for each element of a tensor or list, all zero.
fn marks_for(call: &Call<'_>, position: u32, words: u32, device: &Device) -> Result<Option<Storage>, DeviceError> {
    let elements = match call.arguments().get(position as usize) {
        Some(ArgumentValue::Tensor(tensor)) => elements(&tensor.extents),
        Some(ArgumentValue::List(list)) => {
            let each = list.tensors.iter().map(|tensor| elements(&tensor.extents));
            each.fold(0, u64::saturating_add)
        }
        _ => return Ok(None),
    };
    let bytes = elements.saturating_mul(u64::from(words) * size_of::<u64>() as u64);
    // What no address space holds, the allocator refuses.
    Storage::zeroed(device.hardware(), usize::try_from(bytes).unwrap_or(usize::MAX)).map(Some)
}
