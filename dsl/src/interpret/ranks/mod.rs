//! What ranks do to each other's memory: launches that run at the same time, in one process.
//!
//! A launch with a list of peers says whose memory is whose. From then on every launch that touches this memory takes part,
//! that of a reader without such a list as well: it belongs to the rank whose memory it is. What is touched is kept
//! ([`shadow`]) until something comes behind it, and two accesses of different ranks that do not go together are reported
//! unless flags order them ([`stamp`]): whether they do depends on no timing, as a wait relies on no more than the earliest
//! release that ends it.

mod shadow;
mod stamp;

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::ops::Range;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread::{self, ThreadId};

use super::argument::Arguments;
use super::{HostMemory, Known};
use crate::analysis::races::Touch;
use crate::ir::{Kernel, Span, Symbol, reached};
pub(super) use shadow::Kind;
use shadow::Shadow;
pub(super) use stamp::Stamp;

/// Who did it: a program of a launch, between two of its releases.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Moment {
    pub agent: u32,
    pub launch: u64,
    pub program: u32,
    pub epoch: u32,
}

/// An access to memory that ranks share.
#[derive(Debug, Clone)]
pub(super) struct Did {
    pub moment: Moment,
    pub kind: Kind,
    pub rank: u32,
    pub kernel: std::sync::Arc<str>,
    pub program: [u64; 3],
    pub span: Span,
}

/// Releases that are remembered of a flag: a wait is for one of the latest.
const MOST_RELEASES: usize = 64;

/// All memory that ranks of this process share.
#[derive(Default)]
struct World {
    /// The number of the last launch.
    launches: u64,
    /// Whose memory is where: from a byte on, to the byte behind.
    owners: BTreeMap<usize, (usize, u32)>,
    agents: Vec<Agent>,
    /// Who a thread is on a device, by the device's number: its launches come one after the other.
    devices: HashMap<(usize, ThreadId), u32>,
    shadow: Shadow,
    /// The values that flags were given, each with what was released by then, the latest last.
    flags: HashMap<usize, VecDeque<(u32, Stamp)>>,
    /// What the host has waited for.
    host: Stamp,
}

/// Who runs one launch after the other: a rank.
struct Agent {
    rank: u32,
    /// Another one that turned out to be this one.
    same_as: Option<u32>,
    /// All that has been seen by the end of its last launch.
    stamp: Stamp,
    /// What ran that.
    thread: Option<ThreadId>,
}

static WORLD: Mutex<Option<World>> = Mutex::new(None);

/// Whether any memory is shared by ranks, so that nothing is asked of [`WORLD`] before.
static IS_SHARED: AtomicBool = AtomicBool::new(false);

fn world() -> MutexGuard<'static, Option<World>> {
    WORLD.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Puts the launches of other threads, of kernels that share memory among ranks, behind those of this thread that have
/// ended: the host waits for them, and does what it does in this order.
pub fn synchronize() {
    if !IS_SHARED.load(Relaxed) {
        return;
    }
    if let Some(world) = &mut *world() {
        let this = thread::current().id();
        for agent in world.agents.iter().filter(|agent| agent.thread == Some(this)) {
            world.host.join(&agent.stamp);
        }
    }
}

/// Forgets who did what to these bytes, which are no memory any more.
pub(super) fn forget(bytes: Range<usize>) {
    if let Some(world) = &mut *world() {
        world
            .owners
            .retain(|start, (end, _)| *end <= bytes.start || *start >= bytes.end);
        world.shadow.forget(bytes.clone());
        world.flags.retain(|flag, _| !bytes.contains(flag));
    }
}

/// A launch that touches memory which ranks share.
pub(super) struct Participant {
    agent: u32,
    launch: u64,
    rank: u32,
    kernel: std::sync::Arc<str>,
    /// What is seen from the start.
    start: Stamp,
    /// By the place of a tensor, where its memory begins, if ranks share it.
    bases: Vec<Option<usize>>,
    /// What has been seen by the programs that have ended.
    end: Mutex<Stamp>,
}

/// What a program of such a launch has seen, and how often it has released.
#[derive(Debug, Clone, Default)]
pub(super) struct Sight {
    stamp: Stamp,
    epoch: u32,
}

impl Participant {
    /// Takes part in what ranks do, if the launch does; `device` is the number of the one that it runs on.
    pub fn begin(kernel: &Kernel, arguments: &Arguments<'_, '_>, device: Option<usize>) -> Option<Self> {
        let peers = |position: &u32| kernel.is_of_peers(*position);
        let lists: Vec<u32> = (0..kernel.parameters.len() as u32).filter(peers).collect();
        if lists.is_empty() && !IS_SHARED.load(Relaxed) {
            return None;
        }
        let mut world = world();
        let world = world.get_or_insert_default();
        IS_SHARED.store(true, Relaxed);
        let mut own = None;
        for &list in &lists {
            let rank = arguments.symbol(Symbol::Count(list + 1)).unwrap_or(0);
            for member in 0..arguments.members(list) as i64 {
                let Some(tensor) = arguments.member(list, member).and_then(|place| arguments.tensor(place)) else {
                    continue;
                };
                let Some(bytes) = tensor.bytes() else { continue };
                tensor.memory.share_among_ranks();
                let agent = world.own(bytes, member as u32);
                if member == rank {
                    own = Some(own.map_or(agent, |own| world.unite(own, agent)));
                }
            }
        }
        let places =
            || (0..arguments.places()).map(|place| arguments.tensor(place).and_then(|t| Some((t, t.bytes()?))));
        if lists.is_empty() {
            own = places().flatten().find_map(|(_, bytes)| world.owner(bytes));
        }
        let this = thread::current().id();
        if let (Some(known), Some(device)) = (own, device) {
            // A rank of several groups has memory in each.
            let other = *world.devices.entry((device, this)).or_insert(known);
            own = Some(world.unite(known, other));
        }
        let own = world.find(own?);
        let bases = places().map(|tensor| {
            let (tensor, bytes) = tensor?;
            world.owner(bytes).map(|_| tensor.memory.address())
        });
        let bases = bases.collect();
        world.launches += 1;
        let host = world.host.clone();
        let agent = &mut world.agents[own as usize];
        agent.stamp.join(&host);
        agent.thread = Some(this);
        Some(Self {
            agent: own,
            launch: world.launches,
            rank: agent.rank,
            kernel: kernel.name.as_str().into(),
            start: agent.stamp.clone(),
            bases,
            end: Mutex::new(agent.stamp.clone()),
        })
    }

    /// What a program has seen that begins.
    pub fn sight(&self) -> Sight {
        Sight {
            stamp: self.start.clone(),
            epoch: 0,
        }
    }

    /// Where the memory of the tensor at a place begins, if ranks share it.
    pub fn base(&self, place: u32) -> Option<usize> {
        self.bases.get(place as usize).copied().flatten()
    }

    fn did(&self, sight: &Sight, program: (u32, [u64; 3]), kind: Kind, span: Span) -> Did {
        Did {
            moment: Moment {
                agent: self.agent,
                launch: self.launch,
                program: program.0,
                epoch: sight.epoch,
            },
            kind,
            rank: self.rank,
            kernel: self.kernel.clone(),
            program: program.1,
            span,
        }
    }

    /// Notes an access to neighbouring bytes; returns an earlier one of another rank that does not go together with it, with
    /// the byte, and this one.
    pub fn touch(
        &self,
        sight: &Sight,
        program: (u32, [u64; 3]),
        bytes: Range<usize>,
        kind: Kind,
        span: Span,
    ) -> Option<(usize, [Did; 2])> {
        let did = self.did(sight, program, kind, span);
        let mut world = world();
        let (at, other) = world.as_mut()?.shadow.touch(bytes, &did, &sight.stamp)?;
        Some((at, [other, did]))
    }

    /// Takes part in an atomic operation, which `change` does: it returns what it did to the flag at an address. Both are
    /// one step for all ranks.
    pub fn change(&self, sight: &mut Sight, program: u32, flag: usize, change: impl FnOnce() -> Turn) {
        let mut world = world();
        let turn = change();
        let Some(world) = world.as_mut() else { return };
        if turn.acquires
            && let Some((_, released)) = world.flags.get(&flag).and_then(VecDeque::back)
        {
            sight.stamp.join(released);
        }
        let Some(value) = turn.value else { return };
        let releases = world.flags.entry(flag).or_default();
        // What is changed by reading and writing in one step hands on what was released before.
        let mut stamp = match turn.continues {
            true => releases.back().map(|(_, stamp)| stamp.clone()).unwrap_or_default(),
            false => Stamp::default(),
        };
        if turn.releases {
            stamp.join(&sight.stamp);
            sight.epoch += 1;
            stamp.set(self.agent, self.launch, program, sight.epoch);
        }
        match releases.back() {
            // A flag that has reached it already tells nobody anything new.
            Some(&(last, _)) if last == value && !turn.continues => {}
            _ => releases.push_back((value, stamp)),
        }
        if releases.len() > MOST_RELEASES {
            releases.pop_front();
        }
    }

    /// A wait has ended that was for the flag at an address to reach an epoch: what was released by then is seen.
    pub fn acquire(&self, sight: &mut Sight, flag: usize, epoch: u32) {
        let world = world();
        let releases = world.as_ref().and_then(|world| world.flags.get(&flag));
        let mut releases = releases.into_iter().flatten();
        if let Some((_, released)) = releases.find(|(value, _)| reached(*value, epoch)) {
            sight.stamp.join(released);
        }
    }

    /// A program has ended.
    pub fn finish(&self, sight: &Sight) {
        let mut end = self.end.lock().unwrap_or_else(PoisonError::into_inner);
        end.join(&sight.stamp);
    }
}

impl Drop for Participant {
    /// The launch has ended: its rank's next one comes behind it.
    fn drop(&mut self) {
        let mut end = std::mem::take(&mut *self.end.lock().unwrap_or_else(PoisonError::into_inner));
        end.finish(self.agent, self.launch);
        if let Some(world) = &mut *world() {
            let agent = world.find(self.agent);
            world.agents[agent as usize].stamp.join(&end);
        }
    }
}

/// What an atomic operation does to a flag.
#[derive(Debug, Clone, Copy)]
pub(super) struct Turn {
    /// Whether it sees what was released.
    pub acquires: bool,
    /// Whether it releases what came before it.
    pub releases: bool,
    /// Whether it reads and writes in one step.
    pub continues: bool,
    /// What the flag is then, if it changes.
    pub value: Option<u32>,
}

impl World {
    /// The agent whose memory these bytes are; that of `rank`, if nobody's so far.
    fn own(&mut self, bytes: Range<usize>, rank: u32) -> u32 {
        let mut agent = self.owner(bytes.clone());
        let (mut start, mut end) = (bytes.start, bytes.end);
        while let Some((at, (to, other))) = self.overlapping(&bytes) {
            self.owners.remove(&at);
            (start, end) = (start.min(at), end.max(to));
            agent = Some(agent.map_or(other, |agent| self.unite(agent, other)));
        }
        let agent = agent.unwrap_or_else(|| {
            self.agents.push(Agent {
                rank,
                same_as: None,
                stamp: Stamp::default(),
                thread: None,
            });
            self.agents.len() as u32 - 1
        });
        self.owners.insert(start, (end, agent));
        agent
    }

    fn overlapping(&self, bytes: &Range<usize>) -> Option<(usize, (usize, u32))> {
        let (&start, &(end, agent)) = self.owners.range(..bytes.end).next_back()?;
        (end > bytes.start).then_some((start, (end, agent)))
    }

    fn owner(&self, bytes: Range<usize>) -> Option<u32> {
        self.overlapping(&bytes).map(|(_, (_, agent))| self.find(agent))
    }

    fn find(&self, mut agent: u32) -> u32 {
        while let Some(other) = self.agents.get(agent as usize).and_then(|agent| agent.same_as) {
            agent = other;
        }
        agent
    }

    /// Two ranks are one: what has been seen by either is seen by it.
    fn unite(&mut self, one: u32, other: u32) -> u32 {
        let (one, other) = (self.find(one), self.find(other));
        if one != other {
            let seen = std::mem::take(&mut self.agents[other as usize].stamp);
            self.agents[other as usize].same_as = Some(one);
            self.agents[one as usize].stamp.join(&seen);
        }
        one
    }
}

impl Kind {
    /// What it is called where it is reported.
    pub fn as_touch(self) -> Touch {
        match self {
            Self::Read | Self::AtomicRead => Touch::Read,
            Self::AtomicWrite => Touch::Atomic,
            Self::Write => Touch::Write,
        }
    }
}

impl HostMemory {
    /// Where its first byte is.
    fn address(&self) -> usize {
        self.as_ptr().addr()
    }
}
