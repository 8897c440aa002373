//! What a look at a launch finds, against what is found otherwise.

use tilewright_dsl::call::{Call, Exact, Runtime};
use tilewright_dsl::{kernel, lang::*};
use tilewright_testing::{Part, Ptxas};

use super::*;
use crate::compile::{CompileOptions, Nvrtc, compile};
use crate::{Device, DeviceTensor, Launch};

#[kernel(grid = [out.extent(0)])]
fn pad(out: &mut Tensor<f32, 2>, src: &Tensor<f32, 2>, rows: Count) {
    let (row, cols) = (program_id(0), arange(out.extent(1)));
    if row < rows {
        out.store([row, cols], src.load([row, cols]));
    } else {
        out.store([row, cols], zero::<f32>());
    }
}

/// What threads exchange, in loops of known and unknown length.
#[kernel(grid = [out.extent(0)])]
fn sums(out: &mut Tensor<f32, 1>, src: &Tensor<f32, 2>, trips: Count) {
    let row = program_id(0);
    let mut sum = full([512], 0.0f32);
    for _ in 0..3 {
        sum += src.load([row, arange(512)]);
    }
    for trip in 0..trips {
        sum += src.load([row, arange(512) + trip * 512]);
    }
    out.store([row], sum.sum_axis(0));
}

const HOPPER: Architecture = Architecture::new(9, 0);

fn tensor(device: &Device, rows: usize, columns: usize) -> DeviceTensor<f32, 2> {
    device.zeros([rows, columns]).expect("memory")
}

/// Looks at a launch of `pad` of so many columns.
fn look_at(columns: usize, rows: u64, options: &InspectOptions) -> Inspection {
    let device = Device::cpu();
    let (mut out, src) = (tensor(&device, 8, columns), tensor(&device, 8, columns));
    pad(&mut out, &src, Exact(rows))
        .inspect(options)
        .expect("it can be looked at")
}

#[test]
fn every_stage_says_which_lines_it_comes_from() {
    let found = look_at(1024, 5, &InspectOptions::of(HOPPER));
    let [source] = &found.sources[..] else {
        panic!("{:?}", found.sources)
    };
    assert!(source.file.ends_with("runtime/src/inspect/tests.rs"), "{}", source.file);
    if std::env::var_os("CARGO_MANIFEST_DIR").is_none() {
        return println!("skipped: the sources are not on this machine");
    }
    assert_eq!(source.lines[0], "#[kernel(grid = [out.extent(0)])]");
    assert_eq!(source.lines.last().map(String::as_str), Some("}"));
    let load = source
        .lines
        .iter()
        .position(|line| line.contains("src.load("))
        .expect("it is shown");
    let line = source.first + load as u32;
    let of_load = |listing: &str, words: &[&str]| {
        let Some(listing) = found.listing(listing) else {
            return false;
        };
        let at = Some(Place { source: 0, line });
        let mut lines = listing.lines.iter().filter(|line| line.at == at);
        lines.any(|line| words.iter().any(|word| line.text.contains(word)))
    };
    assert!(of_load("tile-ir", &["= load src["]));
    assert!(of_load("thread-ir", &[" = load "]));
    assert!(of_load("cuda", &["ld.global"]));
    assert!(of_load("ptx", &["ld.global"]));
    if Part::Nvrtc.if_there(Nvrtc::load()).is_some() {
        assert!(of_load("nvrtc-ptx", &["ld.global"]));
        let has_sass = found.listing("sass").is_some();
        assert!(
            of_load("sass", &["LDG."]) || !has_sass,
            "{}",
            found.section(Section::Listing("sass"))
        );
    }
    assert!(
        found
            .listings
            .iter()
            .all(|listing| !listing.text().contains("#line ") && !listing.text().contains(".loc"))
    );
}

#[test]
fn what_is_shown_is_what_a_launch_compiles() {
    let device = crate::cache::BundleBuilder::new().device(Target::new(HOPPER, 132));
    device.set_specialize(tilewright_dsl::call::Specialize::Exact);
    let (mut out, src) = (tensor(&device, 8, 1024), tensor(&device, 8, 1024));
    let text = pad(&mut out, &src, Exact(5)).cuda_text(HOPPER).expect("a text");
    let accesses = pad(&mut out, &src, Exact(5)).accesses(&device).expect("accesses");
    if Part::Nvrtc.or_skip(Nvrtc::load()).is_none() {
        return;
    }
    pad(&mut out, &src, Exact(5)).launch(&device).expect("a launch");
    let [variant] = &device.variants()[..] else {
        panic!("one variant")
    };
    assert_eq!(variant.module().expect("it has a text").text.as_str(), text);
    let found = pad(&mut out, &src, Exact(5))
        .inspect(&InspectOptions::of(HOPPER))
        .expect("it can be looked at");
    assert_eq!(found.accesses.len(), accesses.iter().count());
    assert_eq!(found.proofs.len(), variant.proofs().len());
}

#[test]
fn figures_are_those_of_the_assembler_and_lines_change_no_code() {
    if Part::Nvrtc.or_skip(Nvrtc::load()).is_none() {
        return;
    }
    let device = Device::cpu();
    let (mut out, src) = (device.zeros::<f32, 1>([8]).expect("memory"), tensor(&device, 8, 4096));
    let call = sums(&mut out, &src, Runtime(2));
    let text = call.cuda_text(HOPPER).expect("a text");
    let found = call.inspect(&InspectOptions::of(HOPPER)).expect("it can be looked at");
    let code = found.code.as_ref().expect("it was compiled");
    // The assembler's own words on the code without lines.
    let mut options = CompileOptions::new(HOPPER);
    options.extra.push("--ptxas-options=-v".to_owned());
    let cubin = compile(&text, "tilewright_sums", &options).expect("it compiles");
    let says = |number: u32, unit: &str| cubin.log.contains(&format!("{number} {unit}"));
    assert!(says(code.registers, "registers"), "{code:?} {}", cubin.log);
    assert!(
        code.shared_bytes > 0 && says(code.shared_bytes, "bytes smem"),
        "{code:?} {}",
        cubin.log
    );
    assert!(says(code.local_bytes, "bytes stack frame"), "{code:?} {}", cubin.log);
    let spilled = code.spill_store_bytes.expect("it says so");
    assert!(says(spilled, "bytes spill stores"), "{code:?} {}", cubin.log);
    if let (Some(sass), Ok(plain)) = (found.listing("sass"), assembly::disassemble(&cubin.bytes)) {
        let plain = listing::sass(&plain, &mut listing::Sources::default());
        let code = |lines: &[Line]| lines.iter().map(|line| line.text.clone()).collect::<Vec<_>>();
        assert_eq!(code(&sass.lines), code(&plain));
    }
}

#[test]
fn the_text_for_the_driver_is_assembled_as_it_is_shown() {
    let Some(ptxas) = Part::Ptxas.or_skip(Ptxas::find()) else {
        return;
    };
    let device = Device::cpu();
    let (mut out, src) = (tensor(&device, 8, 1000), tensor(&device, 8, 1000));
    for architecture in [Architecture::new(8, 0), HOPPER, Architecture::new(10, 0)] {
        let ptx = pad(&mut out, &src, Exact(5)).ptx(architecture).expect("a text");
        ptxas
            .assemble(&ptx, &architecture.to_string(), &[])
            .expect("it is assembled");
    }
}

#[test]
fn variants_know_more_and_check_less_from_tier_to_tier() {
    let mut options = InspectOptions::of(HOPPER);
    let checks = Tier::ALL.map(|tier| {
        options.tier = Some(tier);
        let found = look_at(1024, 5, &options);
        let shown: Vec<_> = found.class.variants.iter().filter(|variant| variant.is_shown).collect();
        let [shown] = shown[..] else {
            panic!("{:?}", found.class)
        };
        assert_eq!(shown.tier, tier.name());
        let guarded = found
            .proofs
            .iter()
            .flat_map(|proof| &proof.axes)
            .filter(|axis| *axis == "guarded");
        assert_eq!(guarded.count(), shown.checks);
        shown.checks
    });
    assert!(checks[0] > checks[1] && checks[1] >= checks[2], "{checks:?}");
    let conditions = look_at(1024, 9, &InspectOptions::of(HOPPER)).class.conditions;
    let texts: Vec<_> = conditions
        .iter()
        .map(|condition| (condition.text.as_str(), condition.holds))
        .collect();
    assert!(texts.contains(&("out.extent(0) <= rows", true)), "{texts:?}");
    assert!(texts.contains(&("rows <= 0", false)), "{texts:?}");
}

#[test]
fn bytes_are_counted_by_tiles_threads_and_what_tensors_hold() {
    let traffic = look_at(1024, 5, &InspectOptions::of(HOPPER)).traffic;
    let all = 8 * 1024 * 4;
    // Of two branches a program takes one.
    assert_eq!((traffic.floor_bytes, traffic.asked_bytes), (2 * all, Some(2 * all)));
    let device = Device::cpu();
    let (mut out, src) = (device.zeros::<f32, 1>([8]).expect("memory"), tensor(&device, 8, 4096));
    let call = sums(&mut out, &src, Exact(2));
    let mut options = InspectOptions::of(HOPPER);
    let known = call.inspect(&options).expect("it can be looked at").traffic;
    // Five parts of a row of eight parts; and a sum.
    assert_eq!(known.asked_bytes, Some(8 * (5 * 512 * 4) + 8 * 4));
    assert_eq!(known.floor_bytes, 8 * (5 * 512 * 4) + 8 * 4);
    options.tier = Some(Tier::Resident);
    let unknown = call.inspect(&options).expect("it can be looked at").traffic;
    assert_eq!((unknown.asked_bytes, unknown.issued_bytes), (None, None));
    assert_eq!(unknown.floor_bytes, 8 * 4096 * 4 + 8 * 4, "what tensors hold");
}

#[test]
fn a_call_that_a_launch_refuses_is_refused() {
    let device = Device::cpu();
    let (mut out, src) = (tensor(&device, 8, 1024), tensor(&device, 8, 1024));
    let look = |call: Call<'_>| {
        call.inspect(&InspectOptions::of(HOPPER))
            .expect_err("it is refused")
            .to_string()
    };
    let text = look(pad(&mut out, &src, Exact(u64::MAX)));
    assert!(text.contains("`rows`"), "{text}");
    let other = Device::cpu();
    let src = tensor(&other, 8, 1024);
    // Memory of whatever device will do, as nothing is launched.
    assert!(pad(&mut out, &src, Exact(5)).ptx(HOPPER).is_ok());
    let old = pad(&mut out, &src, Exact(5))
        .ptx(Architecture::new(5, 0))
        .expect_err("it is too old")
        .to_string();
    assert!(old.contains("kernel `pad` has no PTX for this GPU"), "{old}");
    let mut options = InspectOptions::of(HOPPER);
    options.tier = Some(Tier::Literal);
    let error = pad(&mut out, &src, Runtime(5))
        .inspect(&options)
        .expect_err("there is no such variant");
    assert!(matches!(error, InspectError::NoLiterals { .. }), "{error}");
}

#[test]
fn nothing_to_launch_can_be_looked_at() {
    let device = Device::cpu();
    let (mut out, src) = (tensor(&device, 0, 64), tensor(&device, 0, 64));
    let found = pad(&mut out, &src, Exact(0))
        .inspect(&InspectOptions::of(HOPPER))
        .expect("it can be looked at");
    assert_eq!((found.launch.programs, found.traffic.floor_bytes), (0, 0));
    assert!(found.to_html().contains("</html>") && found.to_string().contains("0 programs"));
}
