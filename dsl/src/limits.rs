//! How much of what a launch may have.

/// The largest count: 2^40. Products of a few counts and strides below it cannot overflow 64 bits.
pub const MAX_COUNT: u64 = 1 << 40;

/// The most tensors, counts and scalars that one kernel takes, array parameters counted element by element. With an
/// address and an extent each they fill the 4096 bytes of arguments that every CUDA driver passes to a kernel.
pub const MAX_PARAMETERS: usize = 256;

/// The most calls that are fused into one: as many as have a parameter each.
pub const MAX_FUSED: usize = MAX_PARAMETERS;
