//! How many blocks of a kernel a multiprocessor holds at once.

use serde::Serialize;

use crate::compile::Architecture;

/// What a multiprocessor of an architecture has for the blocks that it holds.
struct Limits {
    architecture: Architecture,
    warps: u32,
    blocks: u32,
    shared_bytes: u32,
}

const fn limits(major: u32, minor: u32, warps: u32, blocks: u32, shared_kib: u32) -> Limits {
    Limits {
        architecture: Architecture::new(major, minor),
        warps,
        blocks,
        shared_bytes: shared_kib << 10,
    }
}

/// "Technical Specifications per Compute Capability" of NVIDIA's CUDA C++ Programming Guide, 13.0. Those of 10.3 and 12.1 are
/// not in it: they are taken to be as those of their families.
const LIMITS: [Limits; 10] = [
    limits(7, 5, 32, 16, 64),
    limits(8, 0, 64, 32, 164),
    limits(8, 6, 48, 16, 100),
    limits(8, 7, 48, 16, 164),
    limits(8, 9, 48, 24, 100),
    limits(9, 0, 64, 32, 228),
    limits(10, 0, 64, 32, 228),
    limits(10, 3, 64, 32, 228),
    limits(12, 0, 48, 24, 100),
    limits(12, 1, 48, 24, 100),
];

/// Registers of a multiprocessor, from compute capability 5.0 on.
const REGISTERS: u32 = 64 << 10;
/// A multiprocessor has four parts, each with its own registers and warps.
const PARTS: u32 = 4;
/// Registers are handed out to warps by so many.
const REGISTER_UNIT: u32 = 256;
/// Shared memory is handed out to blocks by so many bytes.
const SHARED_UNIT: u32 = 128;
/// Bytes of shared memory of each block that CUDA keeps for itself, from compute capability 8.0 on.
const RESERVED: u32 = 1024;
const WARP: u32 = 32;

/// How many blocks of a kernel a multiprocessor holds at once, and what they fill first.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Occupancy {
    /// Blocks that a multiprocessor holds.
    pub blocks: u32,
    /// Their warps,
    pub warps: u32,
    /// of so many that it can hold.
    pub most_warps: u32,
    /// What there would be too little of for another block: `warps`, `blocks`, `registers`, `shared memory`.
    pub limited_by: Vec<&'static str>,
    /// How often all multiprocessors are filled by the blocks of the launch; `None` of a launch whose blocks are not known.
    pub waves: Option<f64>,
}

/// What a block takes.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Block {
    pub threads: u32,
    /// Registers of a thread.
    pub registers: u32,
    pub shared_bytes: u32,
}

impl Occupancy {
    /// That of a kernel on an architecture; `None` if its limits are not known.
    pub(crate) fn of(block: Block, architecture: Architecture) -> Option<Self> {
        let limits = LIMITS.iter().find(|limits| limits.architecture == architecture)?;
        let warps = block.threads.div_ceil(WARP).max(1);
        let of_warp = (block.registers * WARP)
            .next_multiple_of(REGISTER_UNIT)
            .max(REGISTER_UNIT);
        let warps_by_registers = REGISTERS / PARTS / of_warp * PARTS;
        let reserved = if architecture.major >= 8 { RESERVED } else { 0 };
        let shared = (block.shared_bytes + reserved).next_multiple_of(SHARED_UNIT);
        let each = [
            ("warps", limits.warps / warps),
            ("blocks", limits.blocks),
            ("registers", warps_by_registers / warps),
            (
                "shared memory",
                limits.shared_bytes.checked_div(shared).unwrap_or(u32::MAX),
            ),
        ];
        let blocks = each.iter().map(|(_, blocks)| *blocks).min().unwrap_or(0);
        let limited_by = each.iter().filter(|(_, most)| *most == blocks).map(|(what, _)| *what);
        Some(Self {
            blocks,
            warps: blocks * warps,
            most_warps: limits.warps,
            limited_by: limited_by.collect(),
            waves: None,
        })
    }

    /// Of a launch of so many blocks on so many multiprocessors.
    pub(super) fn of_launch(mut self, blocks: Option<u32>, multiprocessors: u32) -> Self {
        let at_once = f64::from(self.blocks) * f64::from(multiprocessors);
        self.waves = blocks
            .map(|blocks| f64::from(blocks) / at_once)
            .filter(|waves| waves.is_finite());
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn on(major: u32, minor: u32, threads: u32, registers: u32, shared_bytes: u32) -> Occupancy {
        let block = Block {
            threads,
            registers,
            shared_bytes,
        };
        Occupancy::of(block, Architecture::new(major, minor)).expect("its limits are known")
    }

    #[test]
    fn each_limit_is_that_of_a_kernel_that_meets_it_first() {
        let hopper = |threads, registers, shared| {
            let found = on(9, 0, threads, registers, shared);
            (found.blocks, found.warps, found.limited_by)
        };
        assert_eq!(hopper(1024, 32, 0), (2, 64, vec!["warps", "registers"]));
        assert_eq!(hopper(256, 24, 0), (8, 64, vec!["warps"]));
        assert_eq!(hopper(32, 16, 0), (32, 32, vec!["blocks"]));
        // 40 registers of 32 threads are five units: 12 warps in each of four parts.
        assert_eq!(hopper(128, 40, 0), (12, 48, vec!["registers"]));
        // One register more and a warp takes another unit.
        assert_eq!(hopper(128, 41, 0), (10, 40, vec!["registers"]));
        assert_eq!(hopper(256, 32, 48 << 10), (4, 32, vec!["shared memory"]));
        assert_eq!(
            hopper(1024, 255, 0),
            (0, 0, vec!["registers"]),
            "such a block cannot be launched"
        );
    }

    #[test]
    fn architectures_differ_in_what_they_hold() {
        assert_eq!(on(8, 0, 256, 32, 0).blocks, 8);
        assert_eq!(on(8, 6, 256, 32, 0).blocks, 6);
        assert_eq!(on(7, 5, 256, 32, 0).blocks, 4);
        assert_eq!(on(8, 9, 32, 16, 0).blocks, 24);
        // Before 8.0 nothing of a block's shared memory is reserved.
        assert_eq!(
            [on(7, 5, 32, 16, 8 << 10).blocks, on(8, 6, 32, 16, 8 << 10).blocks],
            [8, 11]
        );
        let unknown = Block {
            threads: 32,
            registers: 32,
            shared_bytes: 0,
        };
        assert_eq!(Occupancy::of(unknown, Architecture::new(3, 5)), None);
    }

    #[test]
    fn waves_are_how_often_all_multiprocessors_are_filled() {
        let found = on(9, 0, 256, 32, 0).of_launch(Some(132 * 8 * 3 / 2), 132);
        assert_eq!(found.waves, Some(1.5));
        assert_eq!(on(9, 0, 256, 32, 0).of_launch(None, 132).waves, None);
    }
}
