//! What accesses ask of the caches, and programs of the launch after theirs.

/// What a load or store asks of the caches of a GPU. It changes no result.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum CacheHint {
    /// Loads: keep in L1 and L2 (`.ca`).
    AllLevels,
    /// Loads and stores: keep in L2 only (`.cg`).
    GlobalLevel,
    /// Loads and stores: likely used once (`.cs`).
    Streaming,
    /// Loads: read again from memory whatever a cache holds (`.cv`).
    Volatile,
    /// Loads: leave L1 alone (`.L1::no_allocate`).
    NoAllocate,
    /// Loads and stores: the first to leave L1 (`.L1::evict_first`).
    EvictFirst,
    /// Loads and stores: the last to leave L1 (`.L1::evict_last`).
    EvictLast,
    /// Stores: written to memory when it leaves the cache (`.wb`).
    WriteBack,
    /// Stores: written through L2 to memory (`.wt`).
    WriteThrough,
}

/// How a kernel meets the launches before and after it, where the launch lets them overlap.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum GridDependency {
    /// Waits until the launches before are done and what they wrote can be seen.
    Wait,
    /// Lets the launches after begin.
    Trigger,
}

impl CacheHint {
    /// Every hint.
    pub const ALL: [CacheHint; 9] = [
        Self::AllLevels,
        Self::GlobalLevel,
        Self::Streaming,
        Self::Volatile,
        Self::NoAllocate,
        Self::EvictFirst,
        Self::EvictLast,
        Self::WriteBack,
        Self::WriteThrough,
    ];

    /// Whether a load can ask for it.
    pub const fn is_for_loads(self) -> bool {
        !matches!(self, Self::WriteBack | Self::WriteThrough)
    }

    /// Whether a store can ask for it.
    pub const fn is_for_stores(self) -> bool {
        !matches!(self, Self::AllLevels | Self::Volatile | Self::NoAllocate)
    }

    /// The qualifier in PTX, which is also the name that the IR prints.
    pub const fn qualifier(self) -> &'static str {
        match self {
            Self::AllLevels => "ca",
            Self::GlobalLevel => "cg",
            Self::Streaming => "cs",
            Self::Volatile => "cv",
            Self::NoAllocate => "L1::no_allocate",
            Self::EvictFirst => "L1::evict_first",
            Self::EvictLast => "L1::evict_last",
            Self::WriteBack => "wb",
            Self::WriteThrough => "wt",
        }
    }
}

impl GridDependency {
    /// The name the IR prints.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Wait => "wait",
            Self::Trigger => "trigger",
        }
    }
}
