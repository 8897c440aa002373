//! Sums are asked for where there are parts of them, and nowhere else.

use std::cell::RefCell;

use half::bf16;
use tilewright_dp::collective::{CollectiveError, Group, LocalGroup, Operation, Summand};
use tilewright_dp::layout::PaddingMode;
use tilewright_dp::movement::{Contribution, Counts, Groups, Movement};
use tilewright_dp::plan::{Plan, Profile, Topology};
use tilewright_dsl::element::Element;
use tilewright_runtime::{Stream, TensorViewMut, device_count};

use crate::ranks::*;
use tilewright_harness::testing::*;

/// A group that notes what it is asked for.
struct Noting(LocalGroup, RefCell<Vec<Operation>>);

impl Noting {
    fn new(group: LocalGroup) -> Self {
        Self(group, RefCell::default())
    }

    fn note(&self, operation: Operation) {
        self.1.borrow_mut().push(operation);
    }
}

impl Group for Noting {
    fn rank(&self) -> usize {
        self.0.rank()
    }

    fn size(&self) -> usize {
        self.0.size()
    }

    fn stream(&self) -> &Stream {
        self.0.stream()
    }

    fn all_reduce<T: Summand>(&self, buffer: &mut TensorViewMut<'_, T, 2>) -> Result<(), CollectiveError> {
        self.note(Operation::AllReduce);
        self.0.all_reduce(buffer)
    }

    fn all_gather<T: Element>(
        &self,
        buffer: &mut TensorViewMut<'_, T, 2>,
        parts: &[u64],
    ) -> Result<(), CollectiveError> {
        self.note(Operation::AllGather);
        self.0.all_gather(buffer, parts)
    }

    fn reduce_scatter<T: Summand>(
        &self,
        buffer: &mut TensorViewMut<'_, T, 2>,
        parts: &[u64],
    ) -> Result<(), CollectiveError> {
        self.note(Operation::ReduceScatter);
        self.0.reduce_scatter(buffer, parts)
    }

    fn finish(&self) -> Result<(), CollectiveError> {
        self.0.finish()
    }
}

/// The collectives of all ranks that one gather in mode SUM asks for, and what it leaves in the buffers.
fn gathered(attention_tp: u64, contribution: Contribution, on_device: bool) -> (Vec<Operation>, Vec<Rows>) {
    let device = &tilewright_runtime::Device::cpu();
    let counts = [5, 0, 1];
    let topology = Topology::new(3 * attention_tp, 3).unwrap();
    let plan: Plan = plan(&counts, attention_tp, Profile::Main202609, false);
    assert_eq!(plan.mode(), PaddingMode::Sum);
    let world = LocalGroup::ranks(device, topology.tp() as usize, LIMIT).unwrap();
    let attention = (0..3).flat_map(|_| LocalGroup::ranks(device, attention_tp as usize, LIMIT).unwrap());
    let found: Vec<(Vec<Operation>, Rows)> = std::thread::scope(|scope| {
        let run = |world, attention| {
            let groups = Groups::new(Noting::new(world), Noting::new(attention));
            let movement = Movement::new(&plan, &topology, &groups).unwrap();
            let slot = movement.slot();
            // Negative zeros, of which a sum with a zero keeps no sign.
            let rows = vec![vec![0x8000; 9]; slot.tokens as usize];
            let local = Guarded::<bf16>::new(device, &rows, 9, Placement::Contiguous);
            let rows = plan.layout().rows() as usize;
            let mut buffer = Guarded::<bf16>::untouched(device, rows, 9, Placement::Contiguous);
            let numbers = device.upload(&[slot.start as i64, slot.tokens as i64], [2]).unwrap();
            let mut report = device.zeros::<i64, 1>([2]).unwrap();
            let counts = match on_device {
                false => Counts::Planned,
                true => Counts::OnDevice {
                    start: device_count(&numbers, 0, 8).unwrap(),
                    tokens: device_count(&numbers, 1, 8).unwrap(),
                    report: report.view_mut(),
                },
            };
            movement
                .gather(&mut buffer.view_mut(), local.view(), contribution, counts)
                .unwrap();
            let asked = [groups.world(), groups.attention()].map(|group| group.1.take());
            (asked.concat(), buffer.read())
        };
        let ranks: Vec<_> = world
            .into_iter()
            .zip(attention)
            .map(|(world, attention)| scope.spawn(move || run(world, attention)))
            .collect();
        ranks.into_iter().map(|rank| rank.join().unwrap()).collect()
    });
    let (asked, buffers): (Vec<_>, Vec<_>) = found.into_iter().unzip();
    assert!(asked.iter().all(|rank| *rank == asked[0]), "{asked:?}");
    (asked[0].clone(), buffers)
}

#[test]
fn whole_rows_are_gathered_in_mode_sum_with_all_their_bits() {
    for (attention_tp, contribution) in [
        (1, Contribution::Partial),
        (1, Contribution::PartialOverContext),
        (1, Contribution::Replicate),
        (2, Contribution::Replicate),
    ] {
        let (asked, buffers) = gathered(attention_tp, contribution, false);
        assert_eq!(asked, [Operation::AllGather], "{attention_tp} {contribution:?}");
        for buffer in buffers {
            let kept = buffer
                .iter()
                .filter(|row| row.iter().all(|&bits| bits == 0x8000))
                .count();
            assert_eq!(kept, 6, "{attention_tp} {contribution:?}");
        }
    }
}

#[test]
fn parts_of_sums_and_counts_that_the_host_does_not_know_are_added_up() {
    for (attention_tp, contribution, on_device) in [
        (2, Contribution::Partial, false),
        (2, Contribution::PartialOverContext, false),
        (2, Contribution::Partial, true),
        (1, Contribution::Replicate, true),
    ] {
        let (asked, _) = gathered(attention_tp, contribution, on_device);
        assert_eq!(
            asked,
            [Operation::AllReduce],
            "{attention_tp} {contribution:?} {on_device}"
        );
    }
}
