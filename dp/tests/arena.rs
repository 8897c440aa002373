//! The memory of gathered buffers.

use half::bf16;
use proptest::prelude::*;
use tilewright_dp::buffer::{Arena, BufferError, Role};
use tilewright_dp::plan::{Plan, Profile, Request, capture_sizes};
use tilewright_harness::testing::for_each_device;
use tilewright_runtime::Device;

const COLUMNS: usize = 8;
const ROW: u64 = 16;

fn plan(counts: &[u64], graph: bool) -> Plan {
    Plan::new(&Request {
        graph_ok: graph,
        graph_buckets: Some(capture_sizes(false, 64)),
        row_bytes: ROW,
        ..Request::new(counts.to_vec(), counts.len() as u64)
    })
    .unwrap()
}

#[test]
fn one_buffer_serves_every_layer_and_every_smaller_step() {
    for_each_device(|device| {
        let mut arena = Arena::<bf16>::new(device, Role::Gathered, COLUMNS);
        let mut addresses = Vec::new();
        for counts in [[300, 7], [1, 0], [0, 0], [300, 7]] {
            let plan = plan(&counts, false);
            for _layer in 0..3 {
                let view = arena.for_plan(&plan).unwrap().unwrap();
                assert_eq!(view.extents(), [plan.layout().rows() as usize, COLUMNS]);
                let pin = arena.pin().unwrap();
                addresses.push(pin.address());
            }
        }
        addresses.dedup();
        assert_eq!(addresses.len(), 1);
        let usage = arena.usage();
        assert_eq!((usage.growths, usage.views), (1, 12));
        assert_eq!(
            (usage.live_bytes, usage.peak_bytes),
            (plan(&[300, 7], false).layout().bytes(), usage.live_bytes)
        );
    });
}

#[test]
fn a_step_that_a_graph_serves_gets_nothing() {
    let mut arena = Arena::<bf16>::new(&Device::cpu(), Role::Gathered, COLUMNS);
    for profile in Profile::ALL {
        let request = Request {
            profile,
            graph_ok: true,
            graph_buckets: Some(vec![64]),
            row_bytes: ROW,
            ..Request::new(vec![20, 20], 2)
        };
        assert!(arena.for_plan(&Plan::new(&request).unwrap()).unwrap().is_none());
    }
    let usage = arena.usage();
    assert_eq!(
        (usage.growths, usage.peak_bytes, usage.graph_steps),
        (0, 0, Profile::ALL.len() as u64)
    );
}

#[test]
fn graphs_share_a_buffer_that_outlives_its_arena() {
    for_each_device(|device| {
        let mut graphs = Arena::<bf16>::new(device, Role::Graph, COLUMNS);
        let large = plan(&[64, 64], true);
        assert_eq!(graphs.for_graph(&large).unwrap().unwrap().extents()[0], 128);
        let pin = graphs.pin().unwrap();
        for counts in [[1, 0], [20, 3], [64, 2]] {
            assert!(graphs.for_graph(&plan(&counts, true)).unwrap().is_some());
            assert_eq!(graphs.pin().unwrap().address(), pin.address());
        }
        assert!(graphs.for_graph(&plan(&[9, 9], false)).unwrap().is_none());

        // A larger one is made beside it, and it stays where it is.
        graphs.rows(129).unwrap();
        assert_ne!(graphs.pin().unwrap().address(), pin.address());
        let usage = graphs.usage();
        assert_eq!(usage.live_bytes, (128 + 129) * ROW);
        assert_eq!((usage.growths, usage.peak_bytes), (2, usage.live_bytes));
        let another = pin.clone();
        drop(pin);
        assert_eq!(graphs.usage().live_bytes, (128 + 129) * ROW);
        drop(another);
        assert_eq!(graphs.usage().live_bytes, 129 * ROW);

        let pin = graphs.pin().unwrap();
        drop(graphs);
        assert_eq!(pin.bytes(), 129 * ROW);
    });
}

#[test]
fn a_sealed_arena_refuses_to_grow_and_serves_what_it_has() {
    let mut arena = Arena::<bf16>::new(&Device::cpu(), Role::Local, COLUMNS);
    arena.rows(10).unwrap();
    arena.seal();
    assert!(arena.rows(10).is_ok());
    let error = arena.rows(11).unwrap_err();
    assert_eq!(
        error,
        BufferError::Sealed {
            role: Role::Local,
            capacity: 10,
            rows: 11
        }
    );
    assert!(
        error
            .to_string()
            .starts_with("the local arena has 10 rows and 11 are needed")
    );
    assert!(arena.rows(9).is_ok());
}

#[test]
fn a_plan_of_other_rows_is_refused() {
    let mut arena = Arena::<f32>::new(&Device::cpu(), Role::Gathered, COLUMNS);
    let error = arena.for_plan(&plan(&[1], false)).unwrap_err();
    assert_eq!(
        error,
        BufferError::OtherRow {
            role: Role::Gathered,
            arena: 32,
            plan: 16
        }
    );
}

#[test]
fn too_much_is_an_error_and_the_arena_stays_usable() {
    let mut arena = Arena::<bf16>::new(&Device::cpu(), Role::Gathered, COLUMNS);
    assert!(matches!(
        arena.rows(u64::MAX),
        Err(BufferError::Memory { rows: u64::MAX, .. })
    ));
    assert_eq!(arena.rows(3).unwrap().extents(), [3, COLUMNS]);
}

proptest! {
    #[test]
    fn an_arena_is_as_large_as_the_largest_plan_so_far(
        steps in prop::collection::vec((prop::collection::vec(0u64..90, 3), any::<bool>()), 1..30),
    ) {
        let mut arena = Arena::<bf16>::new(&Device::cpu(), Role::Gathered, COLUMNS);
        let (mut largest, mut growths) = (None, 0);
        for (counts, graph) in steps {
            let plan = plan(&counts, graph);
            let got = arena.for_plan(&plan).unwrap().map(|view| view.extents()[0] as u64);
            let eager = plan.graph().is_none().then(|| plan.layout().rows());
            prop_assert_eq!(got, eager);
            if let Some(rows) = eager && largest.is_none_or(|largest| rows > largest) {
                (largest, growths) = (Some(rows), growths + 1);
            }
            let usage = arena.usage();
            let bytes = largest.unwrap_or(0) * ROW;
            prop_assert_eq!((usage.live_bytes, usage.peak_bytes, usage.growths), (bytes, bytes, growths));
        }
    }
}
