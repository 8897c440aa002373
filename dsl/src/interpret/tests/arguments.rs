//! Arguments, counts and grids.

use super::*;
use crate::ir::{BinaryOp, Layout, Symbol};

/// out[i] = i for i below a count, one program each.
fn count_up() -> Kernel {
    let mut b = Builder::new("count_up");
    let out = b.tensor("out", ElementType::I64, 1);
    let n = b.count("n");
    let (row, scale) = (b.program(0), b.scalar("scale", ElementType::I64));
    let value = b.mul(row, scale);
    b.store(out, &[row], value);
    b.finish(&[n])
}

fn fault(kernel: &Kernel, arguments: &[HostArgument<'_>]) -> ArgumentFault {
    match run_default(kernel, arguments) {
        Err(InterpretError::Argument { fault, .. }) => fault,
        other => panic!("{other:?}"),
    }
}

#[test]
fn counts_and_scalars_are_arguments() {
    let out = memory::<i64>(&[-1; 4]);
    let arguments = [
        whole::<i64>(&out),
        HostArgument::Count(3),
        HostArgument::Scalar(Literal::index(10)),
    ];
    assert_eq!(run_default(&count_up(), &arguments).map(|o| o.grid), Ok([3, 1, 1]));
    assert_eq!(values::<i64>(&out), [0, 10, 20, -1]);
}

#[test]
fn an_empty_grid_runs_nothing() {
    let out = memory::<i64>(&[-1; 4]);
    let arguments = [
        whole::<i64>(&out),
        HostArgument::Count(0),
        HostArgument::Scalar(Literal::index(10)),
    ];
    assert_eq!(
        run_default(&count_up(), &arguments),
        Ok(Outcome {
            grid: [0, 1, 1],
            outside: None
        })
    );
    assert_eq!(values::<i64>(&out), [-1; 4]);
}

#[test]
fn arguments_fit_their_parameters() {
    let (out, kernel) = (memory::<i64>(&[-1; 4]), count_up());
    let (n, scale) = (HostArgument::Count(3), HostArgument::Scalar(Literal::index(10)));
    let error = run_default(&kernel, std::slice::from_ref(&n)).unwrap_err();
    assert_eq!(
        error,
        InterpretError::ArgumentCount {
            kernel: "count_up".into(),
            expected: 3,
            found: 1
        }
    );
    let fault_of = |out, n, scale| fault(&kernel, &[out, n, scale]);
    assert_eq!(
        fault_of(n.clone(), n.clone(), scale.clone()),
        ArgumentFault::Kind("tensor")
    );
    assert_eq!(
        fault_of(whole::<i64>(&out), scale.clone(), scale.clone()),
        ArgumentFault::Kind("count")
    );
    assert_eq!(
        fault_of(whole::<i64>(&out), n.clone(), n.clone()),
        ArgumentFault::Kind("scalar")
    );
    assert_eq!(
        fault_of(whole::<i64>(&out), HostArgument::Count(-1), scale.clone()),
        ArgumentFault::Count(-1)
    );
    let narrow = HostArgument::Scalar(Literal::new(1i32));
    let expected = ArgumentFault::Element {
        expected: ElementType::I64,
        found: ElementType::I32,
    };
    assert_eq!(fault_of(whole::<i64>(&out), n.clone(), narrow), expected);
    let square = HostArgument::contiguous(&out, &[2, 2]);
    assert_eq!(
        fault_of(square, n.clone(), scale.clone()),
        ArgumentFault::Rank {
            expected: 1,
            extents: 2,
            strides: 2
        }
    );
    let odd = strided(&out, 4, &[2], &[1]);
    assert_eq!(
        fault_of(odd, n.clone(), scale.clone()),
        ArgumentFault::Misaligned { offset: 4, size: 8 }
    );
    for (offset, extent, stride, first, end) in [
        (0, 5, 1, 0, 40),
        (8, 4, 1, 8, 40),
        (8, 3, -1, -8, 16),
        (0, 3, i64::MAX, 0, 16 * i128::from(i64::MAX) + 8),
    ] {
        let outside = ArgumentFault::OutsideMemory {
            first,
            end,
            available: 32,
        };
        assert_eq!(
            fault_of(strided(&out, offset, &[extent], &[stride]), n.clone(), scale.clone()),
            outside
        );
    }
    let huge = strided(&out, 0, &[u64::MAX], &[0]);
    assert_eq!(fault_of(huge, n, scale), ArgumentFault::Count(i128::from(u64::MAX)));
}

#[test]
fn an_empty_tensor_may_lie_anywhere() {
    let nothing = HostMemory::zeroed(0).unwrap();
    let mut b = Builder::new("nothing");
    let out = b.tensor("out", ElementType::I64, 2);
    let (zero, value) = (b.index(0), b.index(1));
    b.store(out, &[zero, zero], value);
    let kernel = b.launch(1);
    let outcome = run_default(&kernel, &[strided(&nothing, 80, &[0, 1 << 40], &[i64::MAX, i64::MIN])]).unwrap();
    assert_eq!(outcome.outside.map(|o| (o.axis, o.extent)), Some((0, 0)));
}

#[test]
fn strides_agree_with_the_layout_of_the_variant() {
    let out = memory::<i64>(&[0; 64]);
    let with = |layout| {
        let mut b = Builder::new("layout");
        let tensor = b.tensor("out", ElementType::I64, 2);
        b.tensor_mut(tensor).layout = layout;
        b.launch(1)
    };
    let (contiguous, rows) = (with(Layout::Contiguous), with(Layout::Rows { multiple: 4 }));
    let bind = |extents: [u64; 2], strides: [i64; 2]| strided(&out, 0, &extents, &strides);
    assert!(run_default(&contiguous, &[bind([3, 5], [5, 1])]).is_ok());
    assert!(run_default(&contiguous, &[bind([1, 5], [77, 1])]).is_ok());
    assert_eq!(
        fault(&contiguous, &[bind([3, 5], [8, 1])]),
        ArgumentFault::Layout(Layout::Contiguous)
    );
    assert!(run_default(&rows, &[bind([3, 5], [8, 1])]).is_ok());
    let layout = Layout::Rows { multiple: 4 };
    assert_eq!(fault(&rows, &[bind([3, 5], [6, 1])]), ArgumentFault::Layout(layout));
    assert_eq!(fault(&rows, &[bind([3, 5], [8, 2])]), ArgumentFault::Layout(layout));
}

#[test]
fn a_variant_refuses_other_values_than_its_literals() {
    let mut b = Builder::new("exact");
    let out = b.tensor("out", ElementType::I64, 1);
    let symbol = Symbol::Extent { tensor: out, axis: 0 };
    b.kernel.bindings.exact = vec![(symbol, 4)];
    let kernel = b.launch(1);
    let out = memory::<i64>(&[0; 8]);
    assert!(run_default(&kernel, &[HostArgument::contiguous(&out, &[4])]).is_ok());
    let wrong = ArgumentFault::Bound {
        symbol,
        expected: 4,
        found: 5,
    };
    assert_eq!(fault(&kernel, &[HostArgument::contiguous(&out, &[5])]), wrong);
}

#[test]
fn a_grid_is_computed_from_the_symbols_of_a_launch() {
    let mut b = Builder::new("blocks");
    let out = b.tensor("out", ElementType::I64, 1);
    let (extent, n, block, rest) = (b.extent(out, 0), b.count("n"), b.index(128), b.index(127));
    let raised = b.add(extent, rest);
    let blocks = b.binary(BinaryOp::Divide, raised, block);
    let negative = b.binary(BinaryOp::Subtract, n, extent);
    let kernel = b.finish(&[blocks, negative]);
    let with = |extent: i64, n: i64| {
        grid(&kernel, &|symbol| match symbol {
            Symbol::Extent { .. } => Some(extent),
            Symbol::Count(_) => Some(n),
            _ => None,
        })
    };
    assert_eq!(with(129, 130), Ok([2, 1, 1]));
    assert_eq!(with(300, 10), Ok([3, 0, 1]));
    let kernel_name = "blocks".to_string();
    assert_eq!(
        with(1 << 30, 1 << 40),
        Err(GridError::TooLarge {
            kernel: kernel_name.clone(),
            grid: [1 << 23, (1 << 40) - (1 << 30), 1]
        })
    );
    for (extent, n) in [(i64::MAX, 0), (-2, i64::MAX)] {
        let error = with(extent, n).unwrap_err();
        assert!(
            matches!(&error, GridError::Overflow { kernel, .. } if *kernel == kernel_name),
            "{error}"
        );
    }
    let unknown = grid(&kernel, &|symbol| matches!(symbol, Symbol::Extent { .. }).then_some(1));
    assert_eq!(
        unknown,
        Err(GridError::Unknown {
            kernel: kernel_name,
            unknown: kernel.parameters[1].name.clone()
        })
    );
}

#[test]
fn a_kernel_that_leaves_its_grid_to_the_host_runs_with_the_given_one() {
    let mut b = Builder::new("left");
    let out = b.tensor("out", ElementType::I64, 1);
    let (row, own) = (b.program(0), b.symbol(Symbol::NumPrograms(0)));
    b.store(out, &[row], own);
    let kernel = b.finish(&[own]);
    let out = memory::<i64>(&[0; 3]);
    let error = run_default(&kernel, &[whole::<i64>(&out)]).unwrap_err();
    assert!(matches!(error, InterpretError::Grid(GridError::Unknown { .. })));
    let options = Options {
        grid: Some([3, 1, 1]),
        ..Options::default()
    };
    run(&kernel, &[whole::<i64>(&out)], &options).unwrap();
    assert_eq!(values::<i64>(&out), [3; 3]);
}

#[test]
fn a_malformed_kernel_is_refused() {
    let mut kernel = count_up();
    kernel.types.pop();
    assert!(matches!(
        run_default(&kernel, &[]),
        Err(InterpretError::Malformed { .. })
    ));
}
