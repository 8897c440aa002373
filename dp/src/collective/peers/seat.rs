//! Where ranks are, as words that they show each other.

use std::fs;
use std::hash::{BuildHasher, Hasher, RandomState};
use std::process;
use std::sync::LazyLock;

use tilewright_runtime::device::cuda::{CudaProperties, Reach, device_count};
use tilewright_runtime::{Device, DeviceError};

use super::{Apart, PeersError};

/// What begins the words of a rank: what it is, and its version.
const MAGIC: u64 = u64::from_le_bytes(*b"twpeers1");
const WORDS: usize = 13;

/// Where a rank is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Seat {
    /// What tells the host, since it was started, from others; 0 where the system does not say.
    host: u128,
    /// What tells apart the places between which no socket without a file reaches.
    network: u64,
    /// What tells the process from others, also from those that it forked.
    process: u128,
    /// The GPU; `None` for the CPU device.
    gpu: Option<[u8; 16]>,
    /// Where it receives files.
    pub(super) address: Address,
}

/// Where a rank receives files.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Address {
    /// The name of its socket.
    pub(super) name: u128,
    /// What its peers say, and nobody else knows.
    pub(super) secret: u128,
}

impl Address {
    /// One that nobody else has.
    pub(super) fn new() -> Self {
        Self {
            name: random(),
            secret: random(),
        }
    }
}

impl Seat {
    /// That of this process, with a device.
    pub(super) fn new(device: &Device, address: Address) -> Self {
        static NONCE: LazyLock<u64> = LazyLock::new(|| random() as u64);
        Self {
            host: host(),
            network: network(),
            process: u128::from(process::id()) << 64 | u128::from(*NONCE),
            gpu: device.as_cuda().map(|cuda| cuda.properties().uuid),
            address,
        }
    }

    pub(super) fn words(&self) -> [u64; WORDS] {
        let [host, process, gpu, name, secret] = [
            self.host,
            self.process,
            self.gpu.map_or(0, u128::from_le_bytes),
            self.address.name,
            self.address.secret,
        ]
        .map(halves);
        [
            MAGIC,
            host[0],
            host[1],
            self.network,
            process[0],
            process[1],
            u64::from(self.gpu.is_some()),
            gpu[0],
            gpu[1],
            name[0],
            name[1],
            secret[0],
            secret[1],
        ]
    }

    pub(super) fn from_words(words: &[u64]) -> Option<Self> {
        let &[
            MAGIC,
            h0,
            h1,
            network,
            p0,
            p1,
            has_gpu @ (0 | 1),
            g0,
            g1,
            n0,
            n1,
            s0,
            s1,
        ] = words
        else {
            return None;
        };
        Some(Self {
            host: whole(h0, h1),
            network,
            process: whole(p0, p1),
            gpu: (has_gpu == 1).then(|| whole(g0, g1).to_le_bytes()),
            address: Address {
                name: whole(n0, n1),
                secret: whole(s0, s1),
            },
        })
    }

    /// Whether both are of one process, in which memory has one address.
    pub(super) fn shares_process_with(&self, other: &Self) -> bool {
        self.process == other.process && self.host == other.host
    }

    /// Whether memory can be given between these, of the ranks `rank` and `other`, and the device of the first reaches that of
    /// the second as far as this process sees both.
    pub(super) fn check(&self, rank: usize, theirs: &Self, other: usize) -> Result<(), PeersError> {
        let elsewhere = |apart| Err(PeersError::Elsewhere { rank, other, apart });
        if self.host != theirs.host {
            return elsewhere(Apart::Host);
        }
        if self.network != theirs.network {
            return elsewhere(Apart::Network);
        }
        match (self.gpu, theirs.gpu) {
            (Some(from), Some(to)) => match reach(from, to) {
                Ok(Some(Reach::None)) => Err(PeersError::NoAccess { rank, other }),
                // What is hidden from this process, mapping it tells.
                _ => Ok(()),
            },
            (None, None) => Ok(()),
            (Some(_), None) | (None, Some(_)) => Err(PeersError::Mixed { rank, other }),
        }
    }
}

/// How one GPU reaches another; `None` if this process does not see both.
fn reach(from: [u8; 16], to: [u8; 16]) -> Result<Option<Reach>, DeviceError> {
    if from == to {
        return Ok(Some(Reach::Own));
    }
    let (mut from_ordinal, mut to_ordinal) = (None, None);
    for ordinal in 0..device_count()? {
        let uuid = CudaProperties::of(ordinal)?.uuid;
        from_ordinal = from_ordinal.or((uuid == from).then_some(ordinal));
        to_ordinal = to_ordinal.or((uuid == to).then_some(ordinal));
    }
    let both = from_ordinal.zip(to_ordinal);
    both.map(|(from, to)| Reach::between(from, to)).transpose()
}

/// The host's name for the time since it was started. Containers of one host share it.
pub(in crate::collective) fn host() -> u128 {
    let text = fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
    let digits: String = text.chars().filter(char::is_ascii_hexdigit).collect();
    u128::from_str_radix(&digits, 16).unwrap_or(0)
}

/// The network namespace: `net:[4026531992]`.
pub(in crate::collective) fn network() -> u64 {
    let link = fs::read_link("/proc/self/ns/net").unwrap_or_default();
    let digits: String = link.to_string_lossy().chars().filter(char::is_ascii_digit).collect();
    digits.parse().unwrap_or(0)
}

/// A number that nobody guesses: the system's, by which the standard library makes its hash tables safe.
fn random() -> u128 {
    let word = || {
        let mut hasher = RandomState::new().build_hasher();
        // A fork goes on where its parent was.
        hasher.write_u32(process::id());
        u128::from(hasher.finish())
    };
    word() << 64 | word()
}

fn halves(number: u128) -> [u64; 2] {
    [number as u64, (number >> 64) as u64]
}

fn whole(low: u64, high: u64) -> u128 {
    u128::from(high) << 64 | u128::from(low)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seat() -> Seat {
        Seat::new(&Device::cpu(), Address::new())
    }

    #[test]
    fn a_seat_is_read_as_it_was_told_and_nothing_else_is_one() {
        let gpu = Seat {
            gpu: Some([7; 16]),
            ..seat()
        };
        for seat in [seat(), gpu] {
            let words = seat.words();
            assert_eq!(Seat::from_words(&words), Some(seat));
            assert_eq!(Seat::from_words(&words[1..]), None);
            assert_eq!(Seat::from_words(&[&words[..], &[0]].concat()), None);
            let mut other = words;
            other[0] ^= 1 << 56;
            assert_eq!(Seat::from_words(&other), None);
        }
        assert_ne!(seat().address, seat().address);
    }

    #[test]
    fn ranks_of_other_hosts_and_namespaces_are_told_apart() {
        let (here, there) = (seat(), seat());
        assert!(here.shares_process_with(&there));
        assert_eq!(here.check(0, &there, 1), Ok(()));
        let other_host = Seat {
            host: there.host ^ 1,
            ..there
        };
        assert!(!here.shares_process_with(&other_host));
        let error = here.check(0, &other_host, 1).unwrap_err().to_string();
        assert!(
            error.contains("ranks 0 and 1") && error.contains("two hosts") && error.contains("NCCL"),
            "{error}"
        );
        let other_network = Seat {
            network: there.network ^ 1,
            process: there.process ^ 1,
            ..there
        };
        let error = here.check(2, &other_network, 3).unwrap_err().to_string();
        assert!(
            error.contains("ranks 2 and 3") && error.contains("--network host"),
            "{error}"
        );
        let with_gpu = Seat {
            gpu: Some([3; 16]),
            ..there
        };
        assert_eq!(
            here.check(0, &with_gpu, 1),
            Err(PeersError::Mixed { rank: 0, other: 1 })
        );
    }
}
