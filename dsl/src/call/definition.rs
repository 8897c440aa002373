//! Definitions: kernels before tracing, and what tracing makes of them.

use std::any::TypeId;
use std::cell::Cell;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use arrayvec::ArrayVec;

use super::{ComptimeValue, Specialize};
use crate::ir::verify::{self, VerifyError};
use crate::ir::{ParameterKind, Span};
use crate::lang::TraceError;
use crate::trace::{ParameterFacts, TraceRequest, Traced};
use crate::transform::fuse;

/// The most compile-time parameters that a kernel has; the macro refuses more.
const MAX_COMPTIME: usize = 8;

/// A kernel before tracing: its name, its compile-time arguments, and how to record its body.
///
/// `definition()` of the type that `#[kernel]` makes beside the function returns one:
///
/// ```
/// use tilewright_dsl::{kernel, lang::*};
///
/// #[kernel(grid = [out.extent(0)])]
/// fn zero_rows(out: &mut Tensor<f32, 2>) {
///     let cols = arange(out.extent(1));
///     out.store([program_id(0), cols], 0.0);
/// }
///
/// assert_eq!(zero_rows::definition().name(), "zero_rows");
/// ```
#[derive(Debug, Clone)]
pub struct Definition {
    name: &'static str,
    identity: TypeId,
    comptime: ArrayVec<ComptimeValue, MAX_COMPTIME>,
    recording: Recording,
    specialize: Option<Specialize>,
    file: &'static str,
    line: u32,
}

/// Where the IR of a definition comes from.
#[derive(Debug, Clone)]
enum Recording {
    /// It is recorded by running the staged body.
    Body(fn(&[ComptimeValue])),
    /// It is there.
    Done(Arc<Traced>),
    /// Those of several, side by side.
    Fused(Vec<Part>),
}

/// A kernel that is fused with others.
#[derive(Debug, Clone)]
struct Part {
    definition: Definition,
    /// How many of the arguments are its own.
    parameters: usize,
}

thread_local! {
    /// The room of the fused kernels that were launched last.
    static SPARE: Cell<Vec<Part>> = const { Cell::new(Vec::new()) };
}

impl Definition {
    /// Used by the expansion of `#[kernel]`. `K` is the type made for the kernel, generics included.
    #[doc(hidden)]
    #[inline]
    pub fn new<K: 'static>(
        name: &'static str,
        file: &'static str,
        line: u32,
        comptime: &[ComptimeValue],
        record: fn(&[ComptimeValue]),
    ) -> Self {
        Self {
            name,
            identity: TypeId::of::<K>(),
            comptime: comptime.iter().copied().take(MAX_COMPTIME).collect(),
            recording: Recording::Body(record),
            specialize: None,
            file,
            line,
        }
    }

    /// Used by the expansion of `#[kernel]`, for `specialize = "..."`.
    #[doc(hidden)]
    #[inline]
    pub fn specialized(mut self, specialize: Specialize) -> Self {
        self.specialize = Some(specialize);
        self
    }

    /// A kernel that is IR already, made by something else than a function marked `#[kernel]`. Every call of this gives a
    /// kernel of its own.
    ///
    /// What the IR says about layouts and alignments of tensors is replaced by what a launch knows of them, and a
    /// launch with other values of the pinned symbols is refused.
    ///
    /// # Errors
    /// The IR [breaks a rule](verify::verify), or [promises](verify::without_promises) what only an author can.
    ///
    /// ```
    /// use tilewright_dsl::call::{Definition, ParameterFacts, TensorFacts, TraceRequest};
    /// use tilewright_dsl::ir::{Guard, Statement};
    /// use tilewright_dsl::{kernel, lang::*};
    ///
    /// #[kernel(grid = [out.extent(0)])]
    /// fn clear(out: &mut Tensor<f32, 1>) {
    ///     out.store([program_id(0)], 0.0);
    /// }
    ///
    /// let parameters = vec![ParameterFacts::Tensor(TensorFacts::contiguous(&[4]))];
    /// let mut traced = clear::definition().trace(&TraceRequest { parameters })?;
    /// assert!(Definition::of_ir("clear", traced.clone()).is_ok());
    ///
    /// for (statement, _) in traced.kernel.body.iter_mut() {
    ///     if let Statement::Store { access, .. } = statement {
    ///         access.guards[0] = Guard::NONE;
    ///     }
    /// }
    /// assert!(Definition::of_ir("clear", traced).is_err());
    /// # Ok::<(), TraceError>(())
    /// ```
    pub fn of_ir(name: &'static str, traced: Traced) -> Result<Self, VerifyError> {
        verify::verify(&traced.kernel)?;
        verify::without_promises(&traced.kernel)?;
        Ok(Self::done(name, traced))
    }

    /// As [`Definition::of_ir`], with promises, which are believed.
    ///
    /// # Errors
    /// The IR breaks a rule.
    ///
    /// # Safety
    /// Wherever control comes in any launch: an index that is not checked is inside its axis, assumptions hold, values
    /// are the multiples that they are claimed to be, and instructions do what
    /// [`inline_ptx`](crate::lang::inline_ptx) asks of them.
    #[allow(unsafe_code)] // Declares a duty of the caller; nothing here is unsafe.
    pub unsafe fn of_ir_unchecked(name: &'static str, traced: Traced) -> Result<Self, VerifyError> {
        verify::verify(&traced.kernel)?;
        Ok(Self::done(name, traced))
    }

    fn done(name: &'static str, traced: Traced) -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let number = ComptimeValue::Integer(NEXT.fetch_add(1, Relaxed));
        let Span { file, line, .. } = traced.kernel.span;
        Self {
            name,
            identity: TypeId::of::<Traced>(),
            comptime: [number].into_iter().collect(),
            recording: Recording::Done(Arc::new(traced)),
            specialize: None,
            file,
            line,
        }
    }

    /// No kernel, with room for so many.
    #[track_caller]
    pub(super) fn nothing(room: usize) -> Self {
        let here = std::panic::Location::caller();
        // A thread that ends has none to spare.
        let mut parts = SPARE.try_with(Cell::take).unwrap_or_default();
        parts.reserve(room);
        Self {
            name: "fused",
            identity: TypeId::of::<Part>(),
            comptime: ArrayVec::new(),
            recording: Recording::Fused(parts),
            specialize: None,
            file: here.file(),
            line: here.line(),
        }
    }

    /// Leaves its room to the next kernels that are fused in this thread.
    pub(super) fn recycle(self) {
        if let Recording::Fused(mut parts) = self.recording {
            parts.clear();
            let _ = SPARE.try_with(|spare| spare.set(parts));
        }
    }

    /// Fuses this kernel, of `parameters` parameters, with another one. It has the location of the first.
    #[track_caller]
    pub(super) fn join(&mut self, parameters: usize, other: Self, other_parameters: usize) {
        if !matches!(self.recording, Recording::Fused(_)) {
            let definition = std::mem::replace(self, Self::nothing(2));
            self.join(0, definition, parameters);
        }
        let Recording::Fused(parts) = &mut self.recording else {
            return;
        };
        if parts.is_empty() {
            (self.file, self.line) = other.location();
        }
        match other.recording {
            Recording::Fused(inner) => parts.extend(inner),
            Recording::Body(_) | Recording::Done(_) => parts.push(Part {
                definition: other,
                parameters: other_parameters,
            }),
        }
    }

    /// The name of the author's function; `fused` of [several](super::Call::fuse).
    pub fn name(&self) -> &'static str {
        self.name
    }

    /// The file and line of the author's function.
    pub fn location(&self) -> (&'static str, u32) {
        (self.file, self.line)
    }

    /// How many calls are fused into one; `None` of a kernel on its own.
    pub fn fused(&self) -> Option<usize> {
        match &self.recording {
            Recording::Fused(parts) => Some(parts.len()),
            Recording::Body(_) | Recording::Done(_) => None,
        }
    }

    /// What tells the kernel from others in the process, with its generic arguments and whatever its compile-time arguments.
    pub fn kernel(&self) -> TypeId {
        self.identity
    }

    /// The kernels that this one is [fused](super::Call::fuse) of; itself, if it is on its own.
    pub fn parts(&self) -> impl Iterator<Item = &Self> {
        let (own, parts) = match &self.recording {
            Recording::Fused(parts) => (None, &parts[..]),
            Recording::Body(_) | Recording::Done(_) => (Some(self), &[][..]),
        };
        own.into_iter().chain(parts.iter().map(|part| &part.definition))
    }

    /// Which variant serves launches that do not say so themselves, if the kernel's author has written
    /// `#[kernel(specialize = "...")]`; of fused kernels, what all of them say.
    ///
    /// ```
    /// use tilewright_dsl::call::Specialize;
    /// use tilewright_dsl::{kernel, lang::*};
    ///
    /// #[kernel(grid = [out.extent(0)], specialize = "resident")]
    /// fn zeros(out: &mut Tensor<f32, 1>) {
    ///     out.store([program_id(0)], 0.0);
    /// }
    ///
    /// assert_eq!(zeros::definition().specialize(), Some(Specialize::Resident));
    /// ```
    pub fn specialize(&self) -> Option<Specialize> {
        let mut asked = self.parts().map(|part| part.specialize);
        let first = asked.next()?;
        asked.all(|other| other == first).then_some(first)?
    }

    /// What tells this definition from every other in the process: the kernel with its generic arguments, and the
    /// values of its compile-time parameters; of [fused](super::Call::fuse) kernels, those of each.
    pub fn identity(&self) -> impl Iterator<Item = (TypeId, &[ComptimeValue])> {
        let parts = match &self.recording {
            Recording::Fused(parts) => &parts[..],
            Recording::Body(_) | Recording::Done(_) => &[],
        };
        let all = std::iter::once(self).chain(parts.iter().map(|part| &part.definition));
        all.map(|definition| (definition.identity, &definition.comptime[..]))
    }

    /// Records the kernel for the launches that `request` describes, and verifies what was recorded.
    ///
    /// # Errors
    /// What only shows for concrete extents: shapes that do not broadcast, a tile shaped by a value that is unknown
    /// until launch, a loop that cannot be unrolled. The error names the kernel, the file and the line.
    pub fn trace(&self, request: &TraceRequest) -> Result<Traced, TraceError> {
        match &self.recording {
            Recording::Body(record) => {
                crate::lang::record(self.name, self.file, self.line, request, || record(&self.comptime))
            }
            Recording::Done(traced) => self.adapted(traced, request),
            Recording::Fused(parts) => self.trace_fused(parts, request),
        }
    }

    fn trace_fused(&self, parts: &[Part], request: &TraceRequest) -> Result<Traced, TraceError> {
        let mut facts = request.parameters.iter().cloned();
        let traced = parts.iter().map(|part| {
            let parameters = facts.by_ref().take(part.parameters).collect();
            let traced = part.definition.trace(&TraceRequest { parameters })?;
            // A call made by hand may have any number; the arguments of the calls behind it would be taken for others.
            match (traced.kernel.parameters.len(), part.parameters) {
                (parameters, arguments) if parameters != arguments => Err(TraceError {
                    kernel: part.definition.name.to_owned(),
                    message: format!("{arguments} arguments for {parameters} parameters"),
                    span: traced.kernel.span,
                    advice: None,
                }),
                _ => Ok(traced),
            }
        });
        let traced = fuse(&traced.collect::<Result<Vec<_>, _>>()?);
        self.verified(traced)
    }

    fn verified(&self, traced: Traced) -> Result<Traced, TraceError> {
        verify::verify(&traced.kernel).map_err(|error| TraceError {
            kernel: self.name.to_owned(),
            message: error.to_string(),
            span: error.span,
            advice: None,
        })?;
        Ok(traced)
    }

    /// `traced` with what `request` says about its tensors.
    fn adapted(&self, traced: &Traced, request: &TraceRequest) -> Result<Traced, TraceError> {
        let mut traced = traced.clone();
        for (parameter, facts) in traced.kernel.parameters.iter_mut().zip(&request.parameters) {
            if let ParameterKind::Tensor(tensor) = &mut parameter.kind
                && let ParameterFacts::Tensor(facts) | ParameterFacts::List(facts) = facts
            {
                tensor.layout = facts.layout;
                tensor.alignment = facts.alignment.max(tensor.element.size() as u32);
            }
        }
        self.verified(traced)
    }
}
