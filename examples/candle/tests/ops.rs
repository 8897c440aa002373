//! Every operation against candle's own ways, on its CPU back end, and on a GPU with the feature `cuda`.

use candle_core::{D, DType, Device, Result, Tensor};
use candle_ops::{Gather, PadRows, PadSequences, Scatter};

const TYPES: [DType; 10] = [
    DType::U8,
    DType::U32,
    DType::I16,
    DType::I32,
    DType::I64,
    DType::BF16,
    DType::F16,
    DType::F32,
    DType::F64,
    DType::F8E4M3,
];

fn for_each_device(test: impl Fn(&Device) -> Result<()>) {
    test(&Device::Cpu).unwrap();
    #[cfg(feature = "cuda")]
    test(&Device::new_cuda_with_stream(0).unwrap()).unwrap();
}

/// Numbers that every type holds, each its own as far as a type has that many.
fn numbers(rows: usize, columns: usize, dtype: DType, device: &Device) -> Result<Tensor> {
    let numbers: Vec<u32> = (0..rows * columns).map(|i| (i % 13 + 1) as u32).collect();
    // candle converts to 8-bit floats from floats alone, and not on every device.
    let numbers = Tensor::from_vec(numbers, (rows, columns), &Device::Cpu)?;
    numbers.to_dtype(DType::F32)?.to_dtype(dtype)?.to_device(device)
}

/// A tensor's values, whatever its type.
fn values(tensor: &Tensor) -> Result<Vec<f64>> {
    let tensor = tensor.to_device(&Device::Cpu)?.flatten_all()?;
    match tensor.dtype() {
        DType::F64 => tensor.to_vec1(),
        _ => tensor.to_dtype(DType::F32)?.to_dtype(DType::F64)?.to_vec1(),
    }
}

/// Views of `[6, 10]`: all of a tensor, a part of one in both directions, a transposed one, and one row over and over.
fn views(dtype: DType, device: &Device) -> Result<Vec<Tensor>> {
    Ok(vec![
        numbers(6, 10, dtype, device)?,
        numbers(9, 17, dtype, device)?.narrow(0, 2, 6)?.narrow(1, 5, 10)?,
        numbers(10, 6, dtype, device)?.t()?,
        numbers(1, 10, dtype, device)?.broadcast_as((6, 10))?,
    ])
}

#[test]
fn rows_are_gathered_as_by_index_select_from_every_type_and_view() {
    for_each_device(|device| {
        let index = Tensor::new(&[5u32, 0, 3, 3, 1], device)?;
        for dtype in TYPES {
            for (view, src) in views(dtype, device)?.into_iter().enumerate() {
                for index_type in [DType::U32, DType::I32, DType::I64] {
                    let index = index.to_device(&Device::Cpu)?.to_dtype(index_type)?.to_device(device)?;
                    let found = src.apply_op2_no_bwd(&index, &Gather)?;
                    assert_eq!((found.dims(), found.dtype()), (&[5, 10][..], dtype));
                    let rows = [5, 0, 3, 3, 1].map(|row| values(&src.narrow(0, row, 1).unwrap()).unwrap());
                    assert_eq!(
                        values(&found)?,
                        rows.concat(),
                        "{dtype:?}, view {view}, index {index_type:?}"
                    );
                }
            }
            if device.is_cpu() && dtype == DType::F32 {
                let (src, index) = (&views(dtype, device)?[2], &index);
                let (ours, theirs) = (
                    src.apply_op2_no_bwd(index, &Gather)?,
                    src.contiguous()?.index_select(index, 0)?,
                );
                assert_eq!(values(&ours)?, values(&theirs)?);
            }
        }
        Ok(())
    });
}

#[test]
fn indices_that_name_no_row_give_zeros_and_strided_indices_are_read_as_they_are() {
    for_each_device(|device| {
        let src = numbers(4, 3, DType::F32, device)?;
        let indices = Tensor::new(&[[-1i64, 9], [2, 9], [4, 9], [0, 9]], device)?;
        let found = src.apply_op2_no_bwd(&indices.narrow(1, 0, 1)?.squeeze(1)?, &Gather)?;
        let [zeros, third, first] = [
            vec![0.0; 3],
            values(&src.narrow(0, 2, 1)?)?,
            values(&src.narrow(0, 0, 1)?)?,
        ];
        assert_eq!(values(&found)?, [zeros.clone(), third, zeros, first].concat());
        Ok(())
    });
}

#[test]
fn rows_are_scattered_in_place_into_every_view_and_nothing_around_them_changes() {
    for_each_device(|device| {
        for dtype in TYPES {
            // Sixes everywhere; the view that is written is a part of it, a transposed one, or all.
            let six = |rows, columns| {
                // On a GPU candle makes no view of every type contiguous.
                numbers(rows, columns, dtype, &Device::Cpu).and_then(|all| {
                    let one = values(&all.narrow(0, 0, 1)?.narrow(1, 5, 1)?)?[0];
                    assert_eq!(one, 6.0);
                    all.narrow(0, 0, 1)?
                        .narrow(1, 5, 1)?
                        .broadcast_as((rows, columns))?
                        .contiguous()?
                        .to_device(device)
                })
            };
            let src = numbers(3, 10, dtype, device)?;
            let index = Tensor::new(&[4i64, -1, 0], device)?;
            for kind in 0..3 {
                let (all, view) = match kind {
                    0 => six(6, 10).map(|all| (all.clone(), all))?,
                    1 => {
                        let all = six(9, 17)?;
                        (all.clone(), all.narrow(0, 2, 6)?.narrow(1, 5, 10)?)
                    }
                    _ => six(10, 6).and_then(|all| Ok((all.clone(), all.t()?)))?,
                };
                view.inplace_op3(&src, &index, &Scatter)?;
                let (found, source) = (values(&view)?, values(&src)?);
                let mut expected = vec![6.0; 60];
                expected[40..50].copy_from_slice(&source[..10]);
                expected[..10].copy_from_slice(&source[20..]);
                assert_eq!(found, expected, "{dtype:?}, view {kind}");
                let others = values(&all)?.iter().sum::<f64>() - found.iter().sum::<f64>();
                assert_eq!(others, 6.0 * (all.elem_count() - 60) as f64, "{dtype:?}, view {kind}");
            }
        }
        Ok(())
    });
}

#[test]
fn a_batch_is_padded_with_zeros() {
    for_each_device(|device| {
        for dtype in TYPES {
            for (view, src) in views(dtype, device)?.into_iter().enumerate() {
                for rows in [0, 1, 6] {
                    let found = src.apply_op1_no_bwd(&PadRows { rows, to: 8 })?;
                    assert_eq!((found.dims(), found.dtype()), (&[8, 10][..], dtype));
                    let mut expected = values(&src)?[..rows * 10].to_vec();
                    expected.resize(80, 0.0);
                    assert_eq!(values(&found)?, expected, "{dtype:?}, view {view}, {rows} rows");
                }
            }
        }
        Ok(())
    });
}

#[test]
fn prompts_of_different_lengths_become_a_batch_as_mistral_rs_makes_it() {
    for_each_device(|device| {
        let prompts = [vec![11u32, 12, 13], vec![], vec![21], vec![31, 32, 33, 34]];
        // What mistral.rs does: a tensor for each prompt, padded by another one, and all of them stacked.
        let padded = prompts.iter().map(|prompt| {
            let padding = Tensor::zeros(4 - prompt.len(), DType::U32, device)?;
            match prompt.is_empty() {
                true => Ok(padding),
                false => Tensor::cat(&[Tensor::new(&prompt[..], device)?, padding], 0),
            }
        });
        let theirs = Tensor::stack(&padded.collect::<Result<Vec<_>>>()?, 0)?;
        // What we do: all of them in one tensor, and where each begins.
        let tokens = Tensor::new(prompts.concat(), device)?.unsqueeze(D::Minus1)?;
        let starts = Tensor::new(&[0i64, 3, 3, 4, 8], device)?;
        let ours = tokens.apply_op2_no_bwd(&starts, &PadSequences { length: 4 })?;
        assert_eq!(ours.dims(), [4, 4, 1]);
        assert_eq!(values(&ours)?, values(&theirs)?);
        Ok(())
    });
}

#[test]
fn what_does_not_fit_is_an_error_that_says_so() {
    let refused = |result: Result<Tensor>, words: &str| {
        let error = result.unwrap_err().to_string();
        assert!(error.contains(words), "{error}");
    };
    let device = &Device::Cpu;
    let src = numbers(4, 3, DType::F32, device).unwrap();
    let index = Tensor::new(&[0u32], device).unwrap();
    refused(
        src.apply_op2_no_bwd(&index.to_dtype(DType::F32).unwrap(), &Gather),
        "an index of F32",
    );
    refused(src.flatten_all().unwrap().apply_op2_no_bwd(&index, &Gather), "rank");
    refused(src.apply_op1_no_bwd(&PadRows { rows: 5, to: 8 }), "5 rows of 4");
    refused(src.apply_op1_no_bwd(&PadRows { rows: 4, to: 2 }), "padded to 2");
    let narrow = numbers(1, 2, DType::F32, device).unwrap();
    let other = numbers(1, 3, DType::F64, device).unwrap();
    let scatter = |rows: &Tensor| src.inplace_op3(rows, &index, &Scatter).map(|()| src.clone());
    refused(scatter(&narrow), "dst.extent(1) == src.extent(1)");
    refused(scatter(&other), "rows of F64 do not go into a tensor of F32");
    refused(scatter(&src), "shares storage");
}
