//! The kinds of fault, each with its message.

use crate::element::ElementType;
use crate::ir::{CacheHint, Layout, Shape, Symbol, Type};

/// A rule of the IR and how a kernel breaks it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[allow(missing_docs)] // The message of each variant says what it is and what its fields are.
pub enum Fault {
    // Handles.
    #[error("{expressions} expressions come with {types} types and {spans} spans; there must be one of each")]
    ArenaLengths {
        expressions: usize,
        types: usize,
        spans: usize,
    },
    #[error("expression {expression} refers to expression {operand}, which is not an earlier one")]
    ForwardReference { expression: usize, operand: usize },
    #[error(
        "expression {expression} is the last of more than {most} that are made of each other; a variable breaks the chain"
    )]
    TooDeep { expression: usize, most: u32 },
    #[error("expression {0} does not exist")]
    UnknownExpression(usize),
    #[error("local {0} does not exist")]
    UnknownLocal(usize),
    #[error("blocks are nested more than {} deep", super::MAX_NESTING)]
    NestingTooDeep,

    // Signature.
    #[error("two parameters are named `{0}`")]
    DuplicateParameter(String),
    #[error("tensor `{name}` has {rank} axes; tensors have 1 to 4")]
    TensorRank { name: String, rank: u8 },
    #[error(
        "the list `{name}` has {rank} axes and shares {shared:?}; it has one of its own and at least one of its tensors, and shares those"
    )]
    List { name: String, rank: u8, shared: [bool; 4] },
    #[error("behind the list `{0}` of peers' tensors comes no count that says which of them is this rank's")]
    PeersWithoutRank(String),
    #[error(
        "tensor `{name}` of {element} cannot be aligned to {alignment} bytes: an alignment is a power of two and at least the element's size"
    )]
    Alignment {
        name: String,
        element: ElementType,
        alignment: u32,
    },
    #[error("the layout {layout:?} of tensor `{name}` makes every row stride a multiple of zero")]
    RowMultiple { name: String, layout: Layout },

    #[error("{0:?} cannot be bound, or is bound twice")]
    Binding(Symbol),
    #[error("the exact value {value} of {symbol:?} is negative")]
    NegativeBinding { symbol: Symbol, value: i64 },
    #[error("{0:?} is bound to a literal, and an expression still refers to it")]
    BoundSymbol(Symbol),
    #[error("a count is read from memory as {0}; it must be i32 or i64")]
    DeviceCount(ElementType),

    // Shapes.
    #[error("a tile of shape {0} is empty; every extent is at least 1")]
    EmptyShape(Shape),
    #[error("a tile of shape {shape} has over {limit} elements")]
    TooManyElements { shape: Shape, limit: u64 },

    // Values.
    #[error("{operation} along axis {axis} of a value of shape {shape}, which has no such axis")]
    Axis {
        operation: &'static str,
        axis: u8,
        shape: Shape,
    },
    #[error("{axes:?} is not an order of the axes of shape {shape}")]
    Permutation { axes: Vec<u8>, shape: Shape },
    #[error("{extent} elements from {start} in steps of {step} along axis {axis} are not all inside shape {shape}")]
    Slice {
        start: u32,
        step: i32,
        extent: u32,
        axis: u8,
        shape: Shape,
    },
    #[error("{left} and {right} cannot be concatenated along axis {axis}: all else must be equal")]
    Concatenate { left: Type, right: Type, axis: u8 },
    #[error(
        "elements of {value} cannot be taken along axis {axis} by {index}: an i64 index with the other extents equal"
    )]
    Take { value: Type, index: Type, axis: u8 },
    #[error("an operation on tiles is expected")]
    NotATile,
    #[error("`{0}` is not associative, so an axis cannot be combined with it")]
    NotAssociative(&'static str),
    #[error("a combining function of {function} is used on {element}")]
    FunctionElement {
        function: ElementType,
        element: ElementType,
    },
    #[error(
        "a combining function has {count} operations; it may have {}",
        crate::ir::Function::MAX_EXPRESSIONS
    )]
    FunctionLength { count: usize },
    #[error("a combining function lacks types, or its result does not exist")]
    FunctionArena,
    #[error("operation {0} of a combining function is no scalar operation on earlier ones, the operands and literals")]
    FunctionBody(usize),
    #[error("a combining function of {element} gives {result}")]
    FunctionResult { result: ElementType, element: ElementType },
    #[error("a histogram counts the elements of a tile of integers, not of {0}")]
    HistogramOf(Type),
    #[error("a histogram of {value} is masked by {mask}; it must be a bool of the same shape")]
    HistogramMask { mask: Type, value: Type },
    #[error("the literal of type {element} has bits 0x{bits:x}, which that type does not have")]
    LiteralBits { element: ElementType, bits: u64 },
    #[error("parameter {position} is not a {expected}")]
    ParameterKind { position: u32, expected: &'static str },
    #[error("tensor `{tensor}` has {rank} axes, so none is number {axis}")]
    TensorAxis { tensor: String, axis: u8, rank: u8 },
    #[error("{0:?} is no extent or stride of one tensor of a list")]
    MemberSymbol(Symbol),
    #[error(
        "one tensor of the list `{tensor}` is named by one index and one guard, not {found}, without mask and cache hint"
    )]
    MemberAccess { tensor: String, found: usize },
    #[error("{0:?} differs from tensor to tensor of the list")]
    ListStride(Symbol),
    #[error("which tensor of a list is said by a value of type {0}; it must be a scalar i64")]
    MemberIndex(Type),
    #[error("a grid has the axes 0 to 2, and this names {0}")]
    GridAxis(u8),
    #[error("a loop counts with integers, not {0}")]
    InductionElement(ElementType),
    #[error("the value is recorded as {recorded} and is {actual}")]
    RecordedType { recorded: Type, actual: Type },
    #[error("a tile of shape {from} does not broadcast to {to}")]
    Broadcast { from: Shape, to: Shape },
    #[error("a tile of shape {from} cannot be reshaped to {to}: the element counts differ")]
    Reshape { from: Shape, to: Shape },
    #[error("`{operator}` is not defined on {element}")]
    Operator {
        operator: &'static str,
        element: ElementType,
    },
    #[error("`{operator}` has operands of the types {left} and {right}; they must be equal")]
    OperandTypes {
        operator: &'static str,
        left: Type,
        right: Type,
    },
    #[error(
        "a selection between tiles of type {operands} has a condition of type {condition}; it must be a bool of their shape"
    )]
    SelectCondition { condition: Type, operands: Type },
    #[error("the bits of {from} cannot be read as {to}: both need one size, and neither may be bool")]
    Bitcast { from: ElementType, to: ElementType },

    // Accesses.
    #[error("an access to `{tensor}`, of rank {rank}, has {found} indices")]
    IndexCount { tensor: String, rank: u8, found: usize },
    #[error("an access to `{tensor}`, of rank {rank}, has {found} guards")]
    GuardCount { tensor: String, rank: u8, found: usize },
    #[error("index {axis} of an access to `{tensor}` is of type {element}; indices are integers")]
    IndexElement {
        tensor: String,
        axis: usize,
        element: ElementType,
    },
    #[error(
        "which tensor of the list `{tensor}` an access is to is said by a value of shape {shape}; it must be a scalar"
    )]
    ListIndex { tensor: String, shape: Shape },
    #[error("the indices of an access to `{tensor}` have the shapes {left} and {right}, which do not broadcast")]
    IndexShapes { tensor: String, left: Shape, right: Shape },
    #[error("the mask of an access to `{tensor}` of shape {shape} is of type {mask}; it must be a bool of that shape")]
    MaskType { tensor: String, mask: Type, shape: Shape },
    #[error("an unchecked access to `{0}` has guards")]
    UncheckedGuards(String),
    #[error("tensor `{0}` is written, and the kernel may only read it")]
    ImmutableStore(String),
    #[error("a value of type {value} is stored to `{tensor}` where {expected} is needed")]
    StoreType {
        tensor: String,
        value: Type,
        expected: Type,
    },

    #[error("the {0} at `{1}` asks for the cache hint {2:?}, which no {0} has")]
    CacheHint(&'static str, String, CacheHint),

    // Atomics.
    #[error("tensor `{0}` is changed atomically, and the kernel may only read it")]
    ImmutableAtomic(String),
    #[error("the atomic operation `{operation}` is not defined on {element}, the element type of `{tensor}`")]
    AtomicElement {
        tensor: String,
        operation: &'static str,
        element: ElementType,
    },
    #[error(
        "the atomic operation `{operation}` has no order `{order}` at the scope `{scope}`: what only reads is relaxed or acquire, what only writes relaxed or release, and a wait acquires from others than its own block"
    )]
    AtomicOrder {
        operation: &'static str,
        order: &'static str,
        scope: &'static str,
    },
    #[error("an atomic operation on `{tensor}` takes a value of type {value} where {expected} is needed")]
    AtomicValue {
        tensor: String,
        value: Type,
        expected: Type,
    },

    // Claims.
    #[error("a check is of the type {0}; it must be a bool or a tile of bool")]
    CheckType(Type),
    #[error("{0} cannot be claimed to be a multiple of {1}: only integers can, of a number that they can hold")]
    MultipleOf(Type, u32),

    #[error("instructions have {outputs} outputs, and this is number {output}")]
    PtxOutput { outputs: usize, output: usize },
    #[error("instructions contain the character zero, which ends a text")]
    PtxZero,
    #[error(
        "`%{found}` in instructions is none of their {operands} operands, which are counted from `%0`, outputs first; a register of the machine is written with two signs, `%%laneid`"
    )]
    PtxOperand { found: String, operands: usize },
    #[error("instructions never name their output `%{0}`, so nothing computes it")]
    PtxUnwritten(usize),
    #[error("a value of type {0} cannot be in a register of PTX: only 16, 32 and 64 bits can")]
    PtxType(ElementType),
    #[error("instructions take values of the shapes {0} and {1}; they must be equal")]
    PtxShapes(Shape, Shape),

    // Promises.
    #[error(
        "{0} is for an author to promise, and this kernel is to be launched without a promise: see `Definition::of_ir_unchecked`"
    )]
    Promise(&'static str),
    #[error(
        "axis {axis} of an access to `{tensor}` is not checked on both sides, as a recorded access is: see `Definition::of_ir_unchecked`"
    )]
    RemovedGuard { tensor: String, axis: usize },
    #[error("symbols of the kernel are bound, which is for a launch to do")]
    Bound,

    // Printing.
    #[error("a line with {places} places is printed with {values} values; there must be one of each")]
    PrintValues { places: usize, values: usize },
    #[error("a value of type {0} is printed; only scalars are, and no 8-bit floats")]
    PrintType(Type),

    // Grid.
    #[error("a grid has 1 to 3 axes, and this one {0}")]
    GridRank(usize),
    #[error("grid axis {axis} is of type {found}; it must be a scalar i64")]
    GridType { axis: usize, found: Type },
    #[error("grid axis {axis} depends on {what}, which the host does not know before the launch")]
    GridValue { axis: usize, what: &'static str },

    // Requirements.
    #[error("a requirement is of type {0}; it must be a scalar bool")]
    RequirementType(Type),
    #[error("a requirement depends on {0}, which the host does not know before the launch")]
    RequirementValue(&'static str),

    // Body.
    #[error("expression {0} is in scope everywhere and is defined again")]
    LetOfGlobal(usize),
    #[error("expression {0} is the value of a loop and is defined by something else")]
    LetOfInduction(usize),
    #[error("expression {0} is defined twice")]
    Redefinition(usize),
    #[error("expression {0} is used where its definition is not in scope")]
    OutOfScope(usize),
    #[error("the loop's value is expression {0}, which is not an induction value")]
    NotAnInduction(usize),
    #[error("a loop with step 0 never ends")]
    ZeroStep,
    #[error("a loop in steps of 2^64 or more, which no two integers are apart")]
    StepTooLarge,
    #[error("the bound of a loop over {expected} is of type {found}")]
    LoopBound { expected: Type, found: Type },
    #[error("a condition is of type {0}; it must be a scalar bool")]
    ConditionType(Type),
    #[error("`{local}` holds {expected} and is assigned {found}")]
    AssignType { local: String, expected: Type, found: Type },
    #[error("`{0}` is read where not every path has assigned it")]
    UnassignedLocal(String),
    #[error("`{0}` is outside of any loop's body")]
    OutsideLoop(&'static str),
    #[error("a statement follows `{0}` and can never run")]
    Unreachable(&'static str),
}
