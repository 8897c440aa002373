use half::bf16;
use tilewright_dp::kernels::*;
use tilewright_dsl::{call::*, cuda, schedule};
use tilewright_runtime::{Device, Launch};
#[test]
fn dump() {
    let d = Device::cpu();
    let cols: usize = std::env::var("COLS").unwrap().parse().unwrap();
    let programs: u64 = std::env::var("PROGRAMS").unwrap().parse().unwrap();
    let src = d.zeros::<bf16, 2>([4, cols]).unwrap();
    let mut out = d.zeros::<bf16, 2>([4, cols]).unwrap();
    let index = d.zeros::<i32, 1>([4]).unwrap();
    let l = match std::env::var("K").unwrap().as_str() {
        "gather" => gather_rows(&mut out, &src, &index).launch(&d),
        "fill" => fill_and_place(&mut out, [&src, &src, &src, &src], [Exact(0); 4], [Exact(0); 4]).launch(&d),
        _ => pad_rows(&mut out, &src, Runtime(2)).launch(&d),
    }
    .unwrap();
    let k = l.variant().unwrap().kernel();
    println!("{k}");
    let s = schedule::choose(k, &schedule::Machine::H200, programs);
    let m = cuda::lower(k, &s).unwrap();
    println!("{}", m.source);
    println!("{:?}", m.arguments);
}
