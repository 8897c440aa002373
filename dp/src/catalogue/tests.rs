//! That the catalogue is all there is, and that each of it can be called.

use tilewright_dsl::element::ElementType;
use tilewright_dsl::interpret::InterpretError;
use tilewright_runtime::compile::Architecture;
use tilewright_runtime::inspect::Inspect;
use tilewright_runtime::{Device, Launch, LaunchError};

use super::*;

/// The names of the kernels in a file.
fn kernels_of(text: &str) -> Vec<String> {
    let code = text.lines().filter(|line| !line.trim_start().starts_with("//"));
    let code: Vec<&str> = code.collect();
    let heads = code.windows(2).filter(|lines| lines[0].starts_with("#[kernel("));
    heads
        .filter_map(|lines| lines[1].strip_prefix("pub fn "))
        .map(|rest| rest.split(['<', '(']).next().unwrap_or_default().to_owned())
        .collect()
}

#[test]
fn every_kernel_is_in_the_catalogue_in_the_order_of_the_files() {
    let all: Vec<String> = SOURCES.iter().flat_map(|(_, text)| kernels_of(text)).collect();
    let names: Vec<&str> = ENTRIES.iter().map(|entry| entry.name).collect();
    assert_eq!(names, all);
    let mut files: Vec<_> = std::fs::read_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/src/kernels"))
        .expect("a folder")
        .map(|entry| format!("src/kernels/{}", entry.expect("an entry").file_name().display()))
        .filter(|file| !file.ends_with("/mod.rs"))
        .collect();
    files.sort_unstable();
    assert_eq!(files, SOURCES.map(|(file, _)| file));
}

#[test]
fn every_kernel_can_be_called_for_all_types_and_is_printed_for_both_compilers() {
    let device = Device::cpu();
    for element in [ElementType::F16, ElementType::BF16, ElementType::F32] {
        for index in [ElementType::I32, ElementType::I64] {
            let shapes = Shapes {
                element,
                index,
                rows: 6,
                tokens: 5,
                hidden: 256,
                ranks: 2,
                experts: 4,
                experts_per_token: 2,
                ..Shapes::default()
            };
            for entry in ENTRIES {
                let called = entry.call(&device, &shapes, |call| {
                    assert_eq!(call.definition().name(), entry.name);
                    let hopper = Architecture::new(9, 0);
                    (call.cuda_text(hopper), call.ptx(hopper))
                });
                let (cuda, ptx) = called.unwrap_or_else(|error| panic!("{}: {error}", entry.name));
                assert!(cuda.expect(entry.name).contains("__global__"), "{}", entry.name);
                assert!(ptx.expect(entry.name).contains(".entry"), "{}", entry.name);
            }
        }
    }
}

#[test]
fn calls_run_on_the_device_that_they_are_made_for() {
    let device = Device::cpu();
    let shapes = Shapes {
        rows: 4,
        tokens: 3,
        hidden: 128,
        ranks: 2,
        experts: 4,
        experts_per_token: 2,
        ..Shapes::default()
    };
    // Other ranks would have to come.
    let is_alone = |entry: &&Entry| {
        let together = ["push_", "await_", "gather_parts", "sum_"];
        !together.iter().any(|beginning| entry.name.starts_with(beginning))
    };
    let alone = ENTRIES.iter().filter(is_alone);
    for entry in alone {
        let launched = entry.call(&device, &shapes, |call| call.launch(&device).map(drop));
        match launched.expect(entry.name) {
            // Stores of many rows to where an index says must not meet, and here the index is all zeros.
            Ok(()) => {}
            Err(LaunchError::Interpret(fault)) if matches!(*fault, InterpretError::Conflict(_)) => {}
            Err(error) => panic!("{}: {error}", entry.name),
        }
    }
}

#[test]
fn shapes_that_a_kernel_does_not_have_are_refused() {
    let refused = |name: &str, shapes: Shapes| {
        let entry = ENTRIES.iter().find(|entry| entry.name == name).expect("an entry");
        let called = entry.call(&Device::cpu(), &shapes, |_| ());
        called.expect_err("it is refused").to_string()
    };
    let of = |element, index| Shapes {
        element,
        index,
        ..Shapes::default()
    };
    let text = refused("gather_rows", of(ElementType::I8, ElementType::I32));
    assert_eq!(text, "hidden states are f16, bf16 or f32, not i8");
    let text = refused("gather_rows", of(ElementType::F32, ElementType::U8));
    assert_eq!(text, "indices are i32 or i64, not u8");
    let odd = Shapes {
        hidden: 100,
        ..Shapes::default()
    };
    assert!(refused("quantize_rows", odd.clone()).contains("a multiple of 128"));
    assert!(refused("swizzle_scales", odd).contains("a multiple of 16"));
    let absent = Shapes {
        rank: 8,
        ..Shapes::default()
    };
    assert!(refused("place_rows", absent).contains("rank 8 of 8"));
}
