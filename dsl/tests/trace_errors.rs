//! What an author reads when a kernel cannot be recorded for the extents at hand: the whole text of each mistake.

use tilewright_dsl::call::{Definition, ParameterFacts, TensorFacts, TraceRequest};
use tilewright_dsl::kernel;
use tilewright_dsl::lang::*;

/// The error of recording a kernel for tensors of these extents; it points at the marked line of this file.
fn error(definition: &Definition, tensors: &[&[u64]]) -> TraceError {
    // Of a list, the number of tensors comes first, with the extents.
    let facts = |extents: &&[u64]| match extents.len() {
        ..3 => ParameterFacts::Tensor(TensorFacts::contiguous(extents)),
        _ => ParameterFacts::List(TensorFacts::contiguous(extents)),
    };
    let parameters = tensors.iter().map(facts).collect();
    let error = definition.trace(&TraceRequest { parameters }).unwrap_err();
    assert!(error.span.file.ends_with("trace_errors.rs"), "{error}");
    error
}

/// A kernel of one mistake, and all that is said about it.
macro_rules! mistakes {
    ($($(#[$attribute:meta])* $test:ident($($parameter:ident: $ty:ty = $extents:expr),*) $body:block, $message:literal, $advice:expr;)*) => {$(
        #[test]
        fn $test() {
            #[kernel(grid = [1])]
            #[allow(unused)]
            fn mistaken($($parameter: $ty),*) $body

            let found = error(&mistaken::definition(), &[$(&$extents),*]);
            let advice: Option<&str> = $advice;
            let help = advice.map(|advice| format!("\n  = help: {advice}")).unwrap_or_default();
            assert_eq!(found.to_string(), format!("kernel `mistaken`: {}\n  --> {}{help}", $message, found.span));
        }
    )*};
}

mistakes! {
    a_loop_that_is_reversed_after_its_steps(out: &mut Tensor<i64, 1> = [8]) {
        for i in (0i64..5).step_by(3).rev() {
            out.store([i], i);
        }
    }, "`rev` after `step_by` or `rev`", Some("reverse once, and first: `(a..b).rev().step_by(n)`, whose first value is `b - 1`; for the values of `(a..b).step_by(n)` from the last to the first, count trips: `for t in (0..cdiv(b - a, n)).rev()` with the value `a + t * n`");

    an_atomic_operation_on_a_tensor_of_peers_that_is_one_step_for_one_device_only(flags: &mut PeerTensors<u32, 2> = [2, 2, 1]) {
        flags[0].atomic_store_with([0, 0], 1, AtomicOptions::new().scope(MemoryScope::Device));
    }, "`atomic_store` at the scope Device on a tensor of peers, which other devices use too", Some("leave the scope out, or say `MemoryScope::System`");

    a_load_that_releases(out: &mut Tensor<u32, 1> = [8]) {
        out.atomic_load_with([0], AtomicOptions::new().order(MemoryOrder::Release));
    }, "`atomic_load` has no order Release at the scope Device", Some("what only reads is Relaxed or Acquire, what only writes is Relaxed or Release");

    a_store_that_acquires(out: &mut Tensor<u32, 1> = [8]) {
        out.atomic_store_with([0], 1, AtomicOptions::new().order(MemoryOrder::AcquireRelease));
    }, "`atomic_store` has no order AcquireRelease at the scope Device", Some("what only reads is Relaxed or Acquire, what only writes is Relaxed or Release");

    a_wait_for_the_threads_of_the_own_block(flags: &mut Tensor<u32, 1> = [8]) {
        flags.wait_until_with([0], 1, WaitOptions::new().scope(MemoryScope::Block));
    }, "`wait_until` has no order Acquire at the scope Block", Some("what only reads is Relaxed or Acquire, what only writes is Relaxed or Release");

    a_wait_for_more_epochs_than_flags(flags: &mut Tensor<u32, 1> = [8]) {
        flags.wait_until([0], arange(4).cast::<u32>());
    }, "`wait_until` an epoch of shape [4] at indices of shape []", Some("the epoch must broadcast to the shape of the indices");

    a_tile_as_wide_as_one_tensor_of_a_list(out: &mut Tensor<f32, 1> = [8], list: &TensorList<f32, 2> = [3, 5, 8]) {
        out.store([arange(8)], list[1].load([0, arange(list[1].extent(1))]));
    }, "a compile-time integer is needed here, but this depends on the extent of one tensor of a list, which may differ from the others': say `list.extent(axis)` of what all of them share, or `list.max_extent(axis)`", Some("a tile's extents are literals, tensor extents, exact counts, const generics, or `#[comptime]` parameters");

    an_axis_that_tensors_of_a_list_do_not_have(out: &mut Tensor<f32, 1> = [8], list: &TensorList<f32, 2> = [3, 5, 8]) {
        out.store([0], list.extent(2).cast::<f32>());
    }, "`extent(2)` of a list of tensors of rank 2", Some("axes are numbered from 0, outermost first; `len()` is the number of tensors");

    an_integer_literal_out_of_the_range_of_its_type(out: &mut Tensor<i8, 1> = [8], x: &Tensor<i8, 1> = [8]) {
        out.store([arange(8)], x.load([arange(8)]) + 300);
    }, "`300` is out of the range of i8, -128 to 127", Some("convert what it stands beside: `value as i64`");

    a_negative_literal_beside_an_unsigned_type(out: &mut Tensor<u32, 1> = [8], x: &Tensor<u32, 1> = [8]) {
        out.store([arange(8)], x.load([arange(8)]).max(-1));
    }, "`-1` is out of the range of u32, 0 to 4294967295", Some("convert what it stands beside: `value as i64`");

    a_named_literal_out_of_range(out: &mut Tensor<i32, 1> = [8], x: &Tensor<i32, 1> = [8]) {
        let most = 5_000_000_000;
        out.store([arange(8)], select(x.load([arange(8)]) > 0, most, 0));
    }, "`5000000000` is out of the range of i32, -2147483648 to 2147483647", Some("convert what it stands beside: `value as i64`");

    a_literal_that_is_stored_out_of_range(out: &mut Tensor<u8, 1> = [8]) {
        out.store([program_id(0)], 256);
    }, "`256` is out of the range of u8, 0 to 255", Some("convert what it stands beside: `value as i64`");

    a_literal_assigned_out_of_range(out: &mut Tensor<u8, 1> = [8]) {
        let mut value: u8 = 255;
        value = 1000;
        out.store([program_id(0)], value);
    }, "`1000` is out of the range of u8, 0 to 255", Some("convert what it stands beside: `value as i64`");

    a_literal_beside_a_compile_time_number_out_of_range(out: &mut Tensor<i64, 1> = [8]) {
        out.store([arange(comptime(out.extent(0)) + -1)], 0);
    }, "`-1` is out of the range of usize, 0 to 18446744073709551615", Some("convert what it stands beside: `value as i64`");

    a_float_literal_out_of_the_range_of_its_type(out: &mut Tensor<f32, 1> = [8], x: &Tensor<f32, 1> = [8]) {
        out.store([arange(8)], select(x.load([arange(8)]) < 1e39, 1.0, 0.0));
    }, "`1e39` is out of the range of f32", Some("convert what it stands beside: `value as f32`");

    a_quotient_of_integer_literals_beside_a_float(out: &mut Tensor<f32, 1> = [8], x: &Tensor<f32, 1> = [8]) {
        out.store([arange(8)], x.load([arange(8)]) * (1 / 2));
    }, "a quotient of integer literals is an integer, here 0, and stands beside f32", Some("divide floats: `1.0 / 2.0`");

    a_literal_beyond_what_an_8_bit_float_holds(out: &mut Tensor<float8::F8E4M3, 1> = [8]) {
        out.store([program_id(0)], -500.0);
    }, "`-500.0` is out of the range of f8e4m3", Some("convert what it stands beside: `value as f32`");

    an_integer_literal_that_is_no_f16(out: &mut Tensor<half::f16, 1> = [8]) {
        out.store([arange(8)], full([8], 70000));
    }, "`70000` is out of the range of f16", Some("convert what it stands beside: `value as f32`");

    a_reduction_along_an_axis_that_is_not_there(out: &mut Tensor<f32, 1> = [8], x: &Tensor<f32, 1> = [8]) {
        out.store([program_id(0)], x.load([arange(8)]).sum_axis(1));
    }, "`sum_axis` along axis 1 of a tile of rank 1", Some("axes are counted from 0, outermost first");

    a_scan_along_an_axis_that_is_not_there(out: &mut Tensor<f32, 1> = [8], x: &Tensor<f32, 1> = [8]) {
        out.store([arange(8)], x.load([arange(8)]).cumulative_sum(2));
    }, "`cumulative_sum` along axis 2 of a tile of rank 1", Some("axes are counted from 0, outermost first");

    an_exclusive_scan_along_an_axis_that_is_not_there(out: &mut Tensor<f32, 1> = [8], x: &Tensor<f32, 1> = [8]) {
        out.store([arange(8)], x.load([arange(8)]).cumulative_sum_exclusive(1));
    }, "`cumulative_sum_exclusive` along axis 1 of a tile of rank 1", Some("axes are counted from 0, outermost first");

    a_scan_of_a_scalar(out: &mut Tensor<f32, 1> = [8], x: &Tensor<f32, 1> = [8]) {
        out.store([program_id(0)], x.load([program_id(0)]).cumulative_max(0));
    }, "`cumulative_max` of a scalar, which has no axis", Some("use it on a tile: `tensor.load([arange(8)])` has one axis");

    a_sort_along_an_axis_that_is_not_there(out: &mut Tensor<f32, 1> = [8], x: &Tensor<f32, 1> = [8]) {
        out.store([arange(8)], x.load([arange(8)]).sort_axis(1));
    }, "`sort_axis` along axis 1 of a tile of rank 1", Some("axes are counted from 0, outermost first");

    more_of_the_largest_than_there_are(out: &mut Tensor<f32, 1> = [8], x: &Tensor<f32, 1> = [8]) {
        let (best, _) = x.load([arange(8)]).top_k(0, 9);
        out.store([arange(9)], best);
    }, "`top_k` of 9 elements of axis 0 of a tile of shape [8]", Some("`k` is at most the extent of the axis");

    the_largest_along_an_axis_that_is_not_there(out: &mut Tensor<f32, 1> = [8], x: &Tensor<f32, 1> = [8]) {
        let (best, _) = x.load([arange(8)]).top_k(1, 2);
        out.store([arange(2)], best);
    }, "`top_k` along axis 1 of a tile of rank 1", Some("axes are counted from 0, outermost first");

    a_histogram_of_a_scalar(out: &mut Tensor<i32, 1> = [8], x: &Tensor<i32, 1> = [8]) {
        out.store([arange(4)], x.load([program_id(0)]).histogram(4));
    }, "`histogram` of a scalar", Some("count the elements of a tile");

    a_histogram_under_a_mask_of_another_shape(out: &mut Tensor<i32, 1> = [8], x: &Tensor<i32, 1> = [8]) {
        out.store([arange(4)], x.load([arange(8)]).histogram_where(4, arange(4) < 2));
    }, "a mask of shape [4] for a tile of shape [8]", Some("the mask must broadcast to the shape of the tile");

    a_combining_function_that_reads_a_variable(out: &mut Tensor<f32, 1> = [8], x: &Tensor<f32, 1> = [8]) {
        let mut bias = 1.0f32;
        out.store([program_id(0)], x.load([arange(8)]).reduce_axis(0, |a, b| a + b + bias));
    }, "the combining function uses a variable, memory or control flow",
       Some("compute with its two arguments and constants only, and choose with `select`");

    a_combining_function_that_loads(out: &mut Tensor<f32, 1> = [8], x: &Tensor<f32, 1> = [8]) {
        out.store([arange(8)], x.load([arange(8)]).scan_axis(0, |a, b| a + b + x.load([program_id(0)])));
    }, "the combining function uses a variable, memory or control flow",
       Some("compute with its two arguments and constants only, and choose with `select`");

    a_combining_function_that_assigns(out: &mut Tensor<f32, 1> = [8], x: &Tensor<f32, 1> = [8]) {
        let mut trips = 0;
        let sum = x.load([arange(8)]).reduce_axis(0, |a, b| {
            trips += 1;
            a + b
        });
        out.store([trips], sum);
    }, "the combining function uses a variable, memory or control flow",
       Some("compute with its two arguments and constants only, and choose with `select`");

    a_combining_function_that_captures_a_value(out: &mut Tensor<f32, 1> = [8], x: &Tensor<f32, 1> = [8]) {
        let scale = x.load([program_id(0)]);
        out.store([program_id(0)], x.load([arange(8)]).reduce_axis(0, |a, b| a + b * scale));
    }, "the combining function uses a variable, memory or control flow",
       Some("compute with its two arguments and constants only, and choose with `select`");

    axes_named_twice(out: &mut Tensor<f32, 2> = [8, 8], x: &Tensor<f32, 2> = [8, 8]) {
        let (i, j) = (arange(8).expand_dims(1), arange(8));
        out.store([i, j], x.load([i, j]).permute([1, 1]));
    }, "`permute([1, 1])` of a tile of rank 2", Some("name each axis once, from 0");

    a_slice_that_leaves_its_axis(out: &mut Tensor<f32, 1> = [8], x: &Tensor<f32, 1> = [8]) {
        out.store([arange(4)], x.load([arange(8)]).slice(0, 6, 4));
    }, "elements 6 to 9 of axis 0 of a tile of shape [8]", Some("a slice stays inside its axis");

    a_slice_along_an_axis_that_is_not_there(out: &mut Tensor<f32, 1> = [8], x: &Tensor<f32, 1> = [8]) {
        out.store([arange(4)], x.load([arange(8)]).slice(1, 0, 4));
    }, "`slice` along axis 1 of a tile of rank 1", Some("axes are counted from 0, outermost first");

    a_flip_along_an_axis_that_is_not_there(out: &mut Tensor<f32, 1> = [8], x: &Tensor<f32, 1> = [8]) {
        out.store([arange(8)], x.load([arange(8)]).flip(1));
    }, "`flip` along axis 1 of a tile of rank 1", Some("axes are counted from 0, outermost first");

    a_flip_of_a_scalar(out: &mut Tensor<f32, 1> = [8], x: &Tensor<f32, 1> = [8]) {
        out.store([program_id(0)], x.load([program_id(0)]).flip(0));
    }, "`flip` of a scalar, which has no axis", Some("use it on a tile: `tensor.load([arange(8)])` has one axis");

    parts_that_do_not_fit_beside_each_other(out: &mut Tensor<f32, 2> = [8, 8], x: &Tensor<f32, 2> = [8, 8]) {
        let (i, j) = (arange(4).expand_dims(1), arange(8));
        let (wide, narrow) = (x.load([i, j]), x.load([i, arange(6)]));
        out.store([arange(8).expand_dims(1), j], wide.concatenate(narrow, 0));
    }, "`concatenate` of shapes [4, 8] and [4, 6] along axis 0", Some("the extents of all other axes must be equal");

    indices_of_other_rows(out: &mut Tensor<f32, 2> = [8, 8], x: &Tensor<f32, 2> = [8, 8]) {
        let (i, j) = (arange(4).expand_dims(1), arange(8));
        let index = full([2, 3], 0i64);
        out.store([i, arange(3)], x.load([i, j]).take(1, index));
    }, "`take` along axis 1 from shape [4, 8] by indices of shape [2, 3]", Some("the extents of all other axes must be equal");

    tiles_of_different_extents_joined(out: &mut Tensor<f32, 2> = [8, 2], x: &Tensor<f32, 1> = [8]) {
        let both = x.load([arange(8)]).join(x.load([arange(4)]));
        out.store([arange(8).expand_dims(1), arange(2)], both);
    }, "`join` has tiles of shapes [8] and [4], which do not broadcast",
       Some("axes are aligned from the innermost; extents must be equal, or 1");

    a_split_of_more_than_two(out: &mut Tensor<f32, 1> = [8], x: &Tensor<f32, 1> = [8]) {
        let (low, high) = x.load([arange(8)]).split();
        out.store([program_id(0)], low + high);
    }, "`split` of a tile of shape [8]", Some("its innermost axis must have extent 2; `reshape` first");

    a_reshape_to_another_number_of_elements(out: &mut Tensor<f32, 2> = [8, 8], x: &Tensor<f32, 1> = [8]) {
        out.store([arange(2).expand_dims(1), arange(3)], x.load([arange(8)]).reshape([2, 3]));
    }, "`reshape` of [8] (8 elements) to [2, 3] (6 elements)", Some("the element counts must be equal");

    a_new_axis_behind_the_last(out: &mut Tensor<f32, 2> = [8, 8], x: &Tensor<f32, 1> = [8]) {
        out.store([arange(8).expand_dims(1), arange(1)], x.load([arange(8)]).expand_dims(2));
    }, "`expand_dims(2)` of a tile of rank 1", Some("the axis is at most the rank");

    a_broadcast_of_an_axis_that_is_not_one(out: &mut Tensor<f32, 1> = [8], x: &Tensor<f32, 1> = [8]) {
        out.store([arange(8)], x.load([arange(4)]).broadcast_to([8]));
    }, "a tile of shape [4] does not broadcast to [8]",
       Some("axes are aligned from the innermost; extents must be equal, or 1");

    a_tile_of_fewer_than_no_elements(out: &mut Tensor<f32, 1> = [8], x: &Tensor<f32, 1> = [8]) {
        out.store([arange(x.extent(0) - 9)], 1.0);
    }, "a tile cannot have extent -1; extents are 0 to 16777216", None;

    no_elements_from_beyond_the_end(out: &mut Tensor<f32, 1> = [8], x: &Tensor<f32, 1> = [8]) {
        out.store([arange(0)], x.load([arange(8)]).slice(0, 9, 0));
    }, "no elements from 9 on of axis 0 of a tile of shape [8]", Some("a slice stays inside its axis");

    one_of_the_largest_of_none(out: &mut Tensor<f32, 1> = [8], x: &Tensor<f32, 1> = [0]) {
        let (best, _) = x.load([arange(x.extent(0))]).top_k(0, 1);
        out.store([arange(1)], best);
    }, "`top_k` of 1 elements of axis 0 of a tile of shape [0]", Some("`k` is at most the extent of the axis");

    a_requirement_on_what_is_in_memory(out: &mut Tensor<f32, 1> = [8], x: &Tensor<i64, 1> = [8]) {
        require(x.load([0]) < out.extent(0));
    }, "`require` is tested before the launch, and this depends on a value in memory",
       Some("use `device_assert` for what only the device knows");

    a_requirement_on_the_program(out: &mut Tensor<f32, 1> = [8], x: &Tensor<i64, 1> = [8]) {
        require(x.extent(0) > 0 && program_id(0) < out.extent(0));
    }, "`require` is tested before the launch, and this depends on the program's id",
       Some("use `device_assert` for what only the device knows");

    a_requirement_on_a_variable(out: &mut Tensor<f32, 1> = [8], x: &Tensor<i64, 1> = [8]) {
        let mut n = 1i64;
        n += 1;
        require(n < out.extent(0));
    }, "`require` is tested before the launch, and this depends on a variable",
       Some("use `device_assert` for what only the device knows");

    a_requirement_on_the_grid(out: &mut Tensor<f32, 1> = [8], x: &Tensor<i64, 1> = [8]) {
        require(num_programs(0) == 1);
    }, "`require` is tested before the launch, and this depends on the grid itself",
       Some("use `device_assert` for what only the device knows");

    a_requirement_under_a_condition(out: &mut Tensor<f32, 1> = [8], x: &Tensor<i64, 1> = [8]) {
        if program_id(0) == 0 {
            require(out.extent(0) == x.extent(0));
        }
    }, "`require` inside recorded control flow: it is tested before the launch, whatever the kernel does",
       Some("write it before the `if` or loop, or use `device_assert`");

    a_requirement_that_no_launch_fulfils(out: &mut Tensor<f32, 1> = [8], x: &Tensor<i64, 1> = [8]) {
        require(1 > 2);
    }, "a requirement does not hold, whatever the arguments are", None;

    an_axis_that_is_too_long(out: &mut Tensor<f32, 1> = [8], x: &Tensor<f32, 1> = [1 << 30]) {
        out.store([program_id(0)], x.load([arange(x.extent(0))]).sum_axis(0));
    }, "a tile cannot have extent 1073741824; extents are 0 to 16777216",
       Some("block longer axes: give each program `arange(BLOCK)` and an offset");

    a_tile_that_is_too_large(out: &mut Tensor<f32, 1> = [8], x: &Tensor<f32, 1> = [8]) {
        out.store([program_id(0)], full([8192, 4096], 1.0f32).sum_axis(1).sum_axis(0));
    }, "a tile of shape [8192, 4096] has over 16777216 elements",
       Some("block longer axes: give each program `arange(BLOCK)` and an offset");

    an_extent_from_memory(out: &mut Tensor<f32, 1> = [8], x: &Tensor<i64, 1> = [8]) {
        out.store([arange(x.load([program_id(0)]))], 1.0);
    }, "a compile-time integer is needed here, but this depends on a value loaded from memory",
       Some("a tile's extents are literals, tensor extents, exact counts, const generics, or `#[comptime]` parameters");

    a_load_of_shapes_that_do_not_broadcast(out: &mut Tensor<f32, 1> = [8], x: &Tensor<f32, 2> = [8, 8]) {
        out.store([arange(8)], x.load([arange(8), arange(4)]));
    }, "`load` has tiles of shapes [8] and [4], which do not broadcast",
       Some("axes are aligned from the innermost; extents must be equal, or 1");

    a_store_of_another_shape(out: &mut Tensor<f32, 1> = [8], x: &Tensor<f32, 1> = [8]) {
        out.store([arange(8)], x.load([arange(4)]));
    }, "`store` of a tile of shape [4] to indices of shape [8]",
       Some("the value must broadcast to the shape of the indices");

    an_extent_of_an_axis_that_is_not_there(out: &mut Tensor<f32, 1> = [8], x: &Tensor<f32, 1> = [8]) {
        out.store([x.extent(1)], 1.0);
    }, "`extent(1)` of a tensor of rank 1", Some("axes are numbered from 0, outermost first");

    a_grid_axis_that_is_not_there(out: &mut Tensor<f32, 1> = [8], x: &Tensor<f32, 1> = [8]) {
        out.store([program_id(3)], 1.0);
    }, "`program_id(3)`: a grid has at most three axes, 0 to 2", None;

    an_atomic_operation_on_another_shape(out: &mut Tensor<i32, 1> = [8], x: &Tensor<i32, 1> = [8]) {
        out.atomic_add([arange(8)], x.load([arange(4)]));
    }, "`atomic_add` of a tile of shape [4] at indices of shape [8]",
       Some("the value must broadcast to the shape of the indices");
}
