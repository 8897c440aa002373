//! Ranks as threads, their rows, and the round trip that all of them make.

use std::thread;
use std::time::Duration;

use float8::F8E4M3;
use tilewright_dp::collective::{Group, LocalGroup, Summand};
use tilewright_dp::kernels::dequantize_nvfp4;
use tilewright_dp::movement::{Contribution, Counts, Groups, Moved, Movement, MovementError};
use tilewright_dp::plan::{ContextParallel, Plan, Profile, Request, Topology};
use tilewright_dsl::element::{Element, ElementType};
use tilewright_runtime::{Device, Launch};

use tilewright_harness::testing::*;

pub const LIMIT: Duration = Duration::from_secs(120);

/// Runs every GPU of a topology as a thread of its own and returns what each returns, in their order.
pub fn on_all<R: Send>(device: &Device, topology: &Topology, run: impl Fn(&Groups<LocalGroup>) -> R + Sync) -> Vec<R> {
    let groups = Groups::local(device, topology, LIMIT);
    thread::scope(|scope| {
        let threads: Vec<_> = groups
            .into_iter()
            .map(|groups| {
                scope.spawn(|| {
                    let groups = groups;
                    run(&groups)
                })
            })
            .collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    })
}

/// Rows of one rank that no other has. Neither NaN nor a negative zero, whose bits a sum does not keep.
pub fn rows_of_rank<T: Element>(rank: usize, rows: usize, columns: usize) -> Rows {
    let element = |row: usize, column: usize| {
        let i = (rank * 1009 + row * 31 + column) as u64;
        match T::TYPE.size() {
            1 => 1 + i % 120,
            2 => 0x3c00 + i % 0x400,
            4 => 0x3f80_0000 + i,
            _ => i + 1,
        }
    };
    (0..rows)
        .map(|row| (0..columns).map(|column| element(row, column)).collect())
        .collect()
}

/// The same for a rank's way of gathering: rows of one magnitude each are kept exactly by 8 bits and a scale.
pub fn rows_for<T: Element>(how: How, rank: usize, rows: usize, columns: usize) -> Rows {
    match how {
        How::Quantized => {
            let each = rows_of_rank::<T>(rank, rows, 1).into_iter();
            each.map(|row| vec![row[0]; columns]).collect()
        }
        // And by 4 bits and a scale, if they are six times what a scale can be.
        How::Nvfp4 => {
            let bits = |row: usize| 1 + ((rank * 1009 + row * 31) % 126) as u8;
            let row = |row| bits_of::<T>(6.0 * F8E4M3::from_bits(bits(row)).to_f32());
            (0..rows).map(|number| vec![row(number); columns]).collect()
        }
        How::Gather | How::Variable => rows_of_rank::<T>(rank, rows, columns),
    }
}

/// The bits of a number that the type has.
fn bits_of<T: Element>(x: f32) -> u64 {
    match T::TYPE {
        ElementType::F32 => x.to_bits().into(),
        ElementType::BF16 => half::bf16::from_f32(x).to_bits().into(),
        ElementType::F16 => half::f16::from_f32(x).to_bits().into(),
        other => panic!("{other} is not made narrower"),
    }
}

/// What the buffer holds.
pub fn expected_buffer<T: Element>(plan: &Plan, how: How, columns: usize) -> Rows {
    let layout = plan.layout();
    let mut expected = zeros(layout.rows() as usize, columns);
    for (rank, (&start, &tokens)) in layout.starts().iter().zip(layout.counts()).enumerate() {
        let rows = rows_for::<T>(how, rank, tokens as usize, columns);
        expected[start as usize..(start + tokens) as usize].clone_from_slice(&rows);
    }
    expected
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub enum How {
    Gather,
    Variable,
    Quantized,
    Nvfp4,
}

/// Gathers in one of the ways.
pub fn gather<T: Summand, G: Group>(
    movement: &Movement<'_, G>,
    how: How,
    buffer: &mut Guarded<T>,
    local: &Guarded<T>,
    contribution: Contribution,
    counts: Counts<'_>,
) -> Result<Moved, MovementError> {
    let (mut buffer, local) = (buffer.view_mut(), local.view());
    match how {
        How::Gather => movement.gather(&mut buffer, local, contribution, counts),
        How::Variable => movement.gather_variable(&mut buffer, local, contribution, counts),
        How::Quantized => {
            let [rows, columns] = buffer.extents();
            let device = buffer.device().clone();
            let mut payload = Guarded::<F8E4M3>::untouched(&device, rows, columns, Placement::Contiguous);
            let mut scales = Guarded::<f32>::untouched(&device, rows, columns / 128, Placement::Contiguous);
            let (mut bits, mut sizes) = (payload.view_mut(), scales.view_mut());
            let moved = movement.gather_quantized(&mut buffer, &mut bits, &mut sizes, local, counts);
            payload.read();
            scales.read();
            moved
        }
        How::Nvfp4 => {
            let [rows, columns] = buffer.extents();
            let device = buffer.device().clone();
            let mut payload = Guarded::<u8>::untouched(&device, rows, columns / 2, Placement::Contiguous);
            let mut scales = Guarded::<F8E4M3>::untouched(&device, rows, columns / 16, Placement::Contiguous);
            let moved = movement.gather_nvfp4(&mut payload.view_mut(), &mut scales.view_mut(), local, 1.0, counts)?;
            dequantize_nvfp4(&mut buffer, payload.view(), scales.view(), 1.0).launch(&device)?;
            payload.read();
            scales.read();
            Ok(moved)
        }
    }
}

/// Gathers and scatters on every GPU, from tensors of the rank's tokens or, `padded`, of all its rows.
pub fn round_trip<T: Summand>(
    device: &Device,
    plan: &Plan,
    topology: &Topology,
    how: How,
    contribution: Contribution,
    padded: bool,
    columns: usize,
) {
    on_all(device, topology, |groups| {
        round_trip_of::<T, _>(groups, plan, topology, how, contribution, padded, columns);
    });
}

/// The round trip of one GPU.
pub fn round_trip_of<T: Summand, G: Group>(
    groups: &Groups<G>,
    plan: &Plan,
    topology: &Topology,
    how: How,
    contribution: Contribution,
    padded: bool,
    columns: usize,
) {
    let device = groups.world().stream().device();
    let what = (plan.mode(), plan.layout().counts(), topology, how, contribution);
    let expected = expected_buffer::<T>(plan, how, columns);
    let movement = Movement::new(plan, topology, groups).unwrap();
    let slot = movement.slot();
    let rank = topology.dp_rank(groups.world().rank() as u64).unwrap() as usize;
    let tokens = slot.tokens as usize;
    let mut mine = rows_for::<T>(how, rank, tokens, columns);
    // Of partial sums each GPU has some rows and zeros for the others: sums are then exact in every type.
    let (summing, own) = match contribution {
        Contribution::Partial => (groups.attention().size(), groups.attention().rank()),
        Contribution::PartialOverContext => (groups.rank().size(), groups.rank().rank()),
        Contribution::Replicate => (1, 0),
    };
    for (_, row) in mine.iter_mut().enumerate().filter(|(i, _)| i % summing != own) {
        row.fill(0);
    }
    if padded {
        // What an engine's padding holds must not get into the buffer.
        mine.resize(slot.rows as usize, sentinels::<T>(1, columns).remove(0));
    }
    let local = Guarded::<T>::new(device, &mine, columns, Placement::Contiguous);
    let rows = plan.layout().rows() as usize;
    let mut buffer = Guarded::<T>::untouched(device, rows, columns, Placement::Contiguous);
    let gathered = gather(&movement, how, &mut buffer, &local, contribution, Counts::Planned);
    assert!(gathered.unwrap().is_all());
    groups.world().finish().unwrap();
    assert_rows(&buffer.read(), &expected, what);
    assert_rows(&local.read(), &mine, what);

    let mut back = Guarded::<T>::untouched(device, slot.rows as usize, columns, Placement::Contiguous);
    movement
        .scatter(&mut back.view_mut(), buffer.view(), Counts::Planned)
        .unwrap();
    let mut tokens_then_zeros = rows_for::<T>(how, rank, tokens, columns);
    tokens_then_zeros.resize(slot.rows as usize, vec![0; columns]);
    assert_rows(&back.read(), &tokens_then_zeros, what);
}

pub fn plan(counts: &[u64], attention_tp: u64, profile: Profile, extend: bool) -> Plan {
    Plan::new(&Request {
        profile,
        attn_tp: attention_tp,
        extend,
        ..Request::new(counts.to_vec(), counts.len() as u64)
    })
    .unwrap()
}

/// The versions that know context-parallel parts: the first aligns ranks to them, the second to attention TP alone.
pub const WITH_CONTEXT: [Profile; 2] = [Profile::Main202609, Profile::Main202611];

/// The plan of a topology's step.
pub fn plan_of(profile: Profile, counts: &[u64], topology: &Topology, extend: bool) -> Plan {
    Plan::new(&Request {
        profile,
        attn_tp: topology.attention_tp(),
        cp_align: match profile {
            Profile::Main202609 => topology.context().alignment(),
            _ => 1,
        },
        extend,
        ..Request::new(counts.to_vec(), topology.dp())
    })
    .unwrap()
}

/// Topologies of `dp` ranks of `cp` context-parallel parts: parts whose rows divide evenly, and those of any length.
pub fn with_context(dp: u64, cp: u64, attention_tp: u64) -> impl Iterator<Item = Topology> {
    let kinds = [
        ContextParallel::Interleaved,
        ContextParallel::ZigZag,
        ContextParallel::Unaligned,
    ];
    let topology = move |kind: fn(u64) -> _| Topology::with_context(dp * cp * attention_tp, dp, kind(cp)).unwrap();
    // A single part is the same of every kind.
    kinds.into_iter().map(topology).take(if cp == 1 { 1 } else { 3 })
}
