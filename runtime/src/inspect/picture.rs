//! How programs and a tile are spread over blocks and threads, drawn.

use std::fmt::Write;

use super::report::{Distribution, Inspection};

/// Blocks that are drawn.
const MOST_BLOCKS: u64 = 5;
/// Items that are drawn.
const MOST_ITEMS: usize = 1024;
/// Items of a line.
const COLUMNS: usize = 64;
/// Points from one item to the next.
const STEP: usize = 15;
const WIDTH: usize = COLUMNS * STEP + 20;
const WARP: u64 = 32;

/// The blocks of the launch, and what each does.
pub(super) fn blocks(found: &Inspection) -> String {
    let schedule = &found.schedule;
    let all = u64::from(found.launch.blocks.unwrap_or(u32::MAX));
    let programs = found.launch.programs;
    let (drawn, width, height) = (all.min(MOST_BLOCKS), WIDTH as u64 / MOST_BLOCKS, 58);
    let mut svg = format!(r#"<svg viewBox="0 0 {WIDTH} {height}" role="img" aria-label="blocks and programs">"#);
    for block in 0..drawn {
        let is_last = block + 1 == drawn && all > drawn;
        let block = if is_last { all - 1 } else { block };
        let does = match (schedule.in_order, schedule.splits, schedule.programs_per_block) {
            (true, ..) => format!("all {programs} programs"),
            (_, 1, 1) => format!("program {block}"),
            (_, 1, shared) => {
                let first = block * u64::from(shared);
                let last = (first + u64::from(shared)).min(programs).saturating_sub(1);
                format!("programs {first} to {last}")
            }
            (_, splits, _) => {
                let (program, part) = (block / u64::from(splits), block % u64::from(splits) + 1);
                format!("program {program}, part {part} of {splits}")
            }
        };
        let x = if is_last { drawn - 1 } else { block } * width + 2;
        // Writing to a string cannot fail.
        let _ = write!(
            svg,
            r#"<rect class="block" x="{x}" y="2" width="{}" height="{}" rx="6"/><text x="{}" y="24">block {block}</text><text class="faint" x="{}" y="43">{does}</text>"#,
            width - 8,
            height - 4,
            x + 9,
            x + 9
        );
        if is_last && all > drawn + 1 {
            let _ = write!(svg, r#"<text x="{}" y="33">…</text>"#, x - 10);
        }
    }
    svg + "</svg>"
}

/// The items of a tile, coloured by the warps and threads that do them.
pub(super) fn tile(found: &Inspection, spread: &Distribution) -> String {
    let drawn = spread.owners.len().min(MOST_ITEMS);
    let rows = drawn.div_ceil(COLUMNS);
    let height = rows * STEP + 8;
    let mut svg = format!(
        r#"<svg class="tile" viewBox="0 0 {WIDTH} {height}" role="img" aria-label="items of a tile and threads">"#
    );
    let threads = u64::from(found.schedule.threads.max(1));
    for (item, owner) in spread.owners.iter().take(drawn).enumerate() {
        let (x, y) = (item % COLUMNS * STEP + 4, item / COLUMNS * STEP + 4);
        let (warp, lane) = (owner / WARP, owner % WARP);
        // Neighbouring warps are far apart in hue, neighbouring threads near in brightness.
        let (hue, bright) = (warp * 137 % 360, 38 + lane);
        let first = item as u64 * spread.lanes;
        let elements = match spread.lanes {
            1 => format!("element {first}"),
            lanes => format!("elements {first} to {}", first + lanes - 1),
        };
        let part = match spread.workers > threads {
            true => format!(" of part {}", owner / threads + 1),
            false => String::new(),
        };
        let _ = write!(
            svg,
            r#"<rect class="item" data-owner="{owner}" style="--h:{hue};--b:{bright}%" x="{x}" y="{y}" width="{}" height="{}" rx="2"><title>{elements}: thread {}{part}, warp {}</title></rect>"#,
            STEP - 2,
            STEP - 2,
            owner % threads,
            owner % threads / WARP,
        );
    }
    svg + "</svg>"
}

/// How much of a tile is drawn.
pub(super) fn told(spread: &Distribution) -> String {
    let drawn = spread.owners.len().min(MOST_ITEMS) as u64;
    let what = match spread.lanes {
        1 => "an element".to_owned(),
        lanes => format!("a packet of {lanes} elements"),
    };
    match spread.items > drawn {
        true => format!("Each square is {what}, the first {drawn} of {}", spread.items),
        false => format!("Each square is {what}"),
    }
}
