//! Sorts: which elements are wanted of the order, and who sorts them how.
//!
//! A line is sorted by a team of threads that has it in registers (`network`), or the first elements are found one after
//! the other (`select`); one that is too long for that is sorted in shared memory (`long`). All give the same order: that
//! of the keys, and of equal ones that of the indices.

use super::super::access::memory_type;
use super::super::held::Held;
use super::super::{Lower, LowerError};
use super::keys::Kind;
use super::{Kept, Line, Standing};
use crate::element::ElementType;
use crate::ir::{Expression, Handle};
use crate::thread::{Index, Operation, Place, Predicate, Statement, Use, Vote};

/// Entries that a thread has at most.
const MOST_OWN: i64 = 32;

/// The most elements that are found without a sort.
const MOST_FIRST: i64 = 16;

/// Elements of a packet of results.
const MOST_LANES: i64 = 4;

/// The threads that sort a line in their registers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Team {
    /// How many, a power of two.
    pub(super) threads: i64,
    /// Teams of the program, each with a line of its own.
    pub(super) teams: i64,
    /// Entries of each thread, a power of two.
    pub(super) own: i64,
}

/// What is wanted of a sort.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Wanted {
    /// The indices of the first elements.
    First(i64),
    /// The elements in order, as these values, and no index.
    Elements(Vec<Handle<Expression>>),
    /// The index of every element.
    Order,
}

impl Line {
    /// The elements of a line, and what fills them up to a power of two.
    pub(super) fn padded(&self) -> i64 {
        (self.extent as u64).next_power_of_two() as i64
    }

    /// The team that sorts a line, of a program of so many threads.
    pub(super) fn team(&self, threads: i64) -> Option<Team> {
        let usable = ((threads + 1) as u64).next_power_of_two() as i64 / 2;
        let padded = self.padded();
        let most = usable.min(padded);
        let threads = match self.places {
            1 => most,
            // As few as can, each with several entries.
            _ => (padded / 8).clamp(1, most),
        };
        let own = padded / threads;
        let teams = (usable / threads).min(self.places);
        (own <= MOST_OWN).then_some(Team { threads, teams, own })
    }
}

impl Team {
    /// Threads of a warp that sort one line.
    pub(super) fn in_warp(self) -> i64 {
        self.threads.min(Lower::warp())
    }

    /// Whether finding so many first elements takes less than sorting all of them.
    fn finds_sooner(self, first: i64) -> bool {
        let kept = (first as u64).next_power_of_two() as i64;
        2 * kept <= self.own * self.threads && kept <= self.own.max(1) * self.in_warp()
    }
}

impl Lower<'_> {
    /// What is wanted of a sort that has a team.
    fn wanted_of(&self, order: Handle<Expression>, line: &Line, team: Team) -> Wanted {
        if let Some(first) = self.uses.first_of(self.kernel, order)
            && i64::from(first) <= MOST_FIRST
            && (line.places == 1 || team.threads <= Self::warp())
            && team.finds_sooner(first.into())
        {
            return Wanted::First(first.into());
        }
        // What a word has room for beside the index is found by it, as fast.
        let has_room = line.element.is_float() && line.element.size() < 4;
        match self.uses.as_elements(self.kernel, order) {
            Some(elements) if !has_room => Wanted::Elements(elements),
            _ => Wanted::Order,
        }
    }

    /// What becomes of a sort in shared memory: its type, and how many.
    pub(super) fn kept_of_sort(&self, order: Handle<Expression>, line: &Line) -> (ElementType, u64) {
        let all = (line.places * line.extent) as u64;
        let Some(team) = line.team(self.schedule.threads.into()) else {
            // The only line is sorted where its result is, with what fills it up.
            let padded = if line.places == 1 { line.padded() as u64 } else { all };
            return (ElementType::I32, padded);
        };
        match self.wanted_of(order, line, team) {
            Wanted::First(first) if line.places == 1 => (ElementType::I32, first as u64),
            Wanted::First(_) | Wanted::Order => (ElementType::I32, all),
            Wanted::Elements(_) => (memory_type(line.element), all),
        }
    }

    /// The indices that sort each line, or the elements where they are all that is wanted.
    pub(super) fn argsort(
        &mut self,
        order: Handle<Expression>,
        line: &Line,
        descending: bool,
        (result, stored): Kept,
    ) -> Result<(), LowerError> {
        let Some(team) = line.team(self.schedule.threads.into()) else {
            return self.sort_long(line, descending, result);
        };
        let wanted = self.wanted_of(order, line, team);
        let trips = (line.places + team.teams - 1) / team.teams;
        self.looped(trips, |lower, trip| {
            let (team_number, lane) = lower.split(lower.worker, team.threads);
            let first = lower.b.indices().scale(trip, team.teams);
            let place = lower.b.indices().add(first, team_number);
            let (teams, places) = (lower.b.constant(team.teams), lower.b.constant(line.places));
            let (works, exists) = (
                lower.b.indices().less(team_number, teams),
                lower.b.indices().less(place, places),
            );
            let here = lower.b.indices().all([works, exists]);
            let standing = Standing { place, lane, here };
            let elements = lower.elements_of(line, team, standing)?;
            match &wanted {
                _ if team.counts() => {
                    let first = match wanted {
                        Wanted::First(first) => first,
                        Wanted::Order | Wanted::Elements(_) => line.extent,
                    };
                    let put = (first, matches!(wanted, Wanted::Elements(_)));
                    let place = lower.place_in_order(line, team, standing, descending, elements[0]);
                    lower.put_in_order_at(line, standing, place, elements[0], put, (result, stored))
                }
                Wanted::First(first) => {
                    let entries = lower.entries(line, Kind::Numbered, descending, &elements);
                    lower.select(line, team, standing, *first, entries, result)
                }
                Wanted::Order => {
                    let entries = lower.entries(line, Kind::Numbered, descending, &elements);
                    let sorted = lower.sort_entries(team, standing, entries)?;
                    let numbers: Vec<Use> = sorted.iter().map(|entry| lower.number_of(entry)).collect();
                    lower.put_sorted(line, team, standing, (result, stored), &numbers)
                }
                Wanted::Elements(_) => {
                    lower.sort_elements(line, team, standing, descending, &elements, (result, stored))
                }
            }?;
            // Behind it the result is there, and what was exchanged for it is free.
            lower.barrier();
            Ok(())
        })?;
        if let Wanted::Elements(elements) = wanted {
            for element in elements {
                self.held.insert(element, Held::Shared(result, stored));
            }
        }
        Ok(())
    }

    /// Elements of a line, spread over a team as those are that threads hold: where each is on the line.
    fn elements_of(
        &mut self,
        line: &Line,
        team: Team,
        standing: Standing,
    ) -> Result<Vec<(Handle<Index>, Use)>, LowerError> {
        let lanes = i64::from(self.layout(line.shape).lanes).min(team.own);
        let mut elements = Vec::with_capacity(team.own as usize);
        for packet in 0..team.own / lanes {
            let packet = self.b.indices().offset(standing.lane, packet * team.threads);
            let first = self.b.indices().scale(packet, lanes);
            let along = self.packet_at(packet, lanes as u8);
            let end = self.b.constant(line.extent);
            let there = match line.extent % lanes {
                0 => self.b.indices().less(first, end),
                _ => self.b.indices().less(along, end),
            };
            let needed = self.b.indices().all([standing.here, there]);
            let point = self.on_line(line, standing.place, along);
            let value = self.where_needed(needed, |lower| lower.pull(line.value, &point))?;
            for lane in 0..lanes {
                let at = self.b.indices().offset(first, lane);
                elements.push((at, self.lane_of(value, lane as u8)));
            }
        }
        Ok(elements)
    }

    /// Sorts elements that nobody wants the indices of. Equal elements are the same but for zeros and NaN: where there may
    /// be any that differ, it is done by their indices.
    fn sort_elements(
        &mut self,
        line: &Line,
        team: Team,
        standing: Standing,
        descending: bool,
        elements: &[(Handle<Index>, Use)],
        (result, stored): Kept,
    ) -> Result<(), LowerError> {
        let by_keys = |lower: &mut Self| {
            let entries = lower.entries(line, Kind::Keys, descending, elements);
            let sorted = lower.sort_entries(team, standing, entries)?;
            let sorted: Vec<Use> = sorted
                .iter()
                .map(|entry| lower.sorted_element(line, descending, entry))
                .collect();
            lower.put_sorted(line, team, standing, (result, stored), &sorted)
        };
        if !line.element.is_float() {
            return by_keys(self);
        }
        let mut differing = Vec::with_capacity(elements.len());
        for (along, element) in elements {
            let end = self.b.constant(line.extent);
            let there = self.b.indices().less(*along, end);
            let differs = self.may_differ(*element);
            differing.push(self.b.indices().all([standing.here, there, differs]));
        }
        let any = self.b.indices().any(differing);
        let any = self.holds_for_any(any)?;
        let before = self.order.clone();
        let by_numbers = self.inside(|lower| {
            // Until all have found theirs, elements are where the result will be.
            for (along, element) in elements {
                let end = lower.b.constant(line.extent);
                let there = lower.b.indices().less(*along, end);
                let needed = lower.b.indices().all([standing.here, there]);
                let to = lower.place_on_line(line, standing, *along, (result, stored));
                lower.where_needed(needed, |lower| {
                    lower.put(to, *element);
                    Ok(())
                })?;
            }
            lower.barrier();
            let entries = lower.entries(line, Kind::Numbered, descending, elements);
            let entries = lower.sort_entries(team, standing, entries)?;
            let mut sorted = Vec::with_capacity(entries.len());
            for entry in &entries {
                let number = lower.number_of(entry);
                let number = lower.b.index(number);
                // What fills the line up has no element.
                let (zero, last) = (lower.b.constant(0), lower.b.constant(line.extent - 1));
                let number = lower.b.indices().maximum(number, zero);
                let number = lower.b.indices().minimum(number, last);
                let from = lower.place_on_line(line, standing, number, (result, stored));
                sorted.push(lower.where_needed(standing.here, |lower| Ok(lower.fetch(from, stored, line.element)))?);
            }
            lower.barrier();
            lower.put_sorted(line, team, standing, (result, stored), &sorted)
        })?;
        self.order = before;
        let by_keys = self.inside(by_keys)?;
        self.b.push(Statement::If {
            condition: any,
            accept: by_numbers,
            reject: by_keys,
        });
        Ok(())
    }

    /// Whether a thread is one of a team.
    pub(super) fn in_team(&mut self, team: Team) -> Handle<Predicate> {
        let all = self.b.constant(team.threads * team.teams);
        self.b.indices().less(self.worker, all)
    }

    /// Whether a condition holds for any thread of the program, or of those that share its warp: all are told the same, so that
    /// warps stay together.
    fn holds_for_any(&mut self, condition: Handle<Predicate>) -> Result<Handle<Predicate>, LowerError> {
        let block = i64::from(self.schedule.threads * self.schedule.programs_per_block);
        let together = if block < Self::warp() {
            self.together_in_warp()
        } else {
            Self::warp()
        };
        let vote = Operation::Vote {
            kind: Vote::Any,
            condition: condition.into(),
            group: together as u32,
        };
        let found = self.b.emit(vote);
        let found = self.b.condition(found);
        let (threads, warp) = (i64::from(self.schedule.threads), Self::warp());
        if threads <= warp {
            return Ok(found);
        }
        let warps = threads / warp;
        self.beside_shared();
        let buffer = self.shared(ElementType::U8, warps as u64)?;
        let (which, lane) = self.split(self.worker, warp);
        let zero = self.b.constant(0);
        let (first, to) = (
            self.b.indices().equal(lane, zero),
            self.element_place(buffer, which, ElementType::U8),
        );
        self.where_needed(first, |lower| {
            lower.put(to, found.into());
            Ok(())
        })?;
        self.barrier();
        self.reads_shared(buffer);
        let mut any = Vec::with_capacity(warps as usize);
        for warp in 0..warps {
            let at = self.b.constant(warp);
            let from = self.element_place(buffer, at, ElementType::U8);
            let told = self.fetch(from, ElementType::U8, ElementType::Bool);
            any.push(self.b.condition(told));
        }
        Ok(self.b.indices().any(any))
    }

    /// The place of an element of the line of a team in what is made of all lines.
    pub(super) fn place_on_line(
        &mut self,
        line: &Line,
        standing: Standing,
        along: Handle<Index>,
        (buffer, stored): Kept,
    ) -> Place {
        let point = self.on_line(line, standing.place, along);
        let position = self.position(&point, line.shape);
        self.element_place(buffer, position, stored)
    }

    /// Writes what a team has sorted: its thread `t` has the elements from `t` times as many on.
    fn put_sorted(
        &mut self,
        line: &Line,
        team: Team,
        standing: Standing,
        result: Kept,
        sorted: &[Use],
    ) -> Result<(), LowerError> {
        let is_innermost = line.axis + 1 == line.shape.rank();
        let mut lanes = team.own.min(MOST_LANES);
        while line.extent % lanes != 0 || (lanes > 1 && !is_innermost) {
            lanes /= 2;
        }
        let begin = self.b.indices().scale(standing.lane, team.own);
        for (packet, values) in sorted.chunks(lanes as usize).enumerate() {
            let first = self.b.indices().offset(begin, packet as i64 * lanes);
            let lane = if lanes > 1 {
                self.b.lane(lanes as u8)
            } else {
                self.b.constant(0)
            };
            let along = self.b.indices().add(first, lane);
            let end = self.b.constant(line.extent);
            let there = self.b.indices().less(first, end);
            let needed = self.b.indices().all([standing.here, there]);
            let to = self.place_on_line(line, standing, along, result);
            let values = values.iter().map(|value| self.as_stored(*value)).collect();
            let packet = self.b.join(values);
            self.where_needed(needed, |lower| {
                lower.put(to, packet);
                Ok(())
            })?;
        }
        Ok(())
    }
}
