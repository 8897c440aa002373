//! A launch on a GPU: the arguments as words, and one driver call.

#![allow(unsafe_code)]

use std::cell::RefCell;
use std::ffi::c_void;
use std::sync::Arc;

use arrayvec::ArrayVec;
use tilewright_dsl::call::{ArgumentValue, Call, CountArgument};
use tilewright_dsl::cuda::KernelArgument;
use tilewright_dsl::ir::Symbol;

use crate::arguments::{elements, scalar, value_of, words_of};
use crate::device::Device;
use crate::error::{DeviceError, LaunchError};
use crate::hardware::cuda::{self, CudaStream};
use crate::hardware::memory::{InOrder, Storage, put_in_order};
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
    /// What some of the words are the addresses of.
    tables: Vec<Arc<Table>>,
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
        self.variant = Some(variant.clone());
    }

    /// The words of a launch that a variant serves, if they were kept of another one that it served.
    fn of(&mut self, call: &Call<'_>, plan: &LaunchPlan, variant: &Arc<Variant>) -> Option<(&mut [u64], &mut InOrder)> {
        let is_kept = self.variant.as_ref().is_some_and(|kept| Arc::ptr_eq(kept, variant));
        if !is_kept {
            return None;
        }
        for &(at, wanted) in &self.changing {
            self.words[at] = word(call, plan, wanted)?;
        }
        Some((&mut self.words, &mut self.order))
    }
}

/// Puts the plan's kernel into the stream. The call is checked.
pub(super) fn launch(
    call: &Call<'_>,
    plan: &LaunchPlan,
    served: &Served,
    program: &CudaProgram,
    kept: Option<&mut KeptWords>,
    device: &Device,
    stream: &CudaStream,
) -> Result<(), LaunchError> {
    let mut kept = kept;
    if let Some((words, order)) = kept.as_mut().and_then(|kept| kept.of(call, plan, &served.variant)) {
        let ready = Ready {
            words,
            marks: &[],
            order: Some(order),
        };
        return put(call, program, served.blocks, ready, device, stream);
    }
    let kernel = call.definition().name();
    let found = program.module.arguments.len();
    if found > MAX_ARGUMENTS {
        return Err(LaunchError::TooManyCudaArguments {
            kernel,
            found,
            most: MAX_ARGUMENTS,
        });
    }
    let mut words = ArrayVec::<u64, MAX_ARGUMENTS>::new();
    // Freed when they are dropped, which the stream does after the launch.
    let mut marks = Vec::new();
    let mut tables = ArrayVec::<_, MAX_ARGUMENTS>::new();
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
    let ready = Ready {
        words: &mut words,
        marks: &marks,
        order: None,
    };
    put(call, program, served.blocks, ready, device, stream)?;
    if let Some(kept) = kept {
        kept.keep(&served.variant, &program.module.arguments, &words, tables);
    }
    Ok(())
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
) -> Result<(), LaunchError> {
    let Ready { words, marks, order } = ready;
    // Filled where they are: collecting would move all of the room that there is.
    let mut pointers = ArrayVec::<*mut c_void, MAX_ARGUMENTS>::new();
    pointers.extend(words.iter_mut().map(|word| std::ptr::from_mut(word).cast()));
    let launch = match call.is_overlapping() {
        true => cuda::launch_overlapping,
        false => cuda::launch,
    };
    let used = memories(call.arguments()).chain(marks);
    put_in_order(device.hardware(), stream, used, order, || {
        // SAFETY: the pointers are to the words of the arguments that the kernel was printed with, in their order, and a word
        // is as large and as aligned as any of them. Every address is of an allocation that the call borrows; later uses,
        // freeing among them, are ordered after this one by `put_in_order`. The kernel stays within the extents and
        // strides that were checked to lie in the allocations, as far as its author has not taken that over in an
        // `unsafe` block.
        // An overlapping launch was planned for a kernel that begins with waiting only.
        unsafe {
            launch(
                &program.function,
                blocks,
                program.module.threads(),
                0,
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
    stream: &CudaStream,
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
