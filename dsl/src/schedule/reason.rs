//! Why a schedule is what it is.

use std::fmt;

/// What decides a [choice](super::Work::choice).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Reason {
    /// The threads of a program wait for one another.
    Dependent,
    /// Elements of a program meet.
    Meeting,
    /// A program is no more than a warp does.
    Small,
    /// Rows are short, in a launch that is brief for such rows.
    Alone,
    /// Rows are short and begin anywhere.
    Ends,
    /// Where elements lie is known at once.
    Direct,
    /// Programs are short, and many.
    Paired,
    /// Where they lie is loaded first, in a launch that takes not much longer than the memory's latency.
    Brief,
    /// Where they lie is loaded first, and there are too few blocks to hide each other's waits.
    Waiting,
    /// Where they lie is loaded first, and there are so many blocks that they hide each other's waits.
    Long,
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Dependent => "the threads of a program wait for one another, so one block does all of it",
            Self::Meeting => {
                "elements meet, so a warp or a part of one does what it can hold without a barrier, and a block what is longer"
            }
            Self::Small => {
                "a program is no more than a warp does, so programs share blocks where there are more of them than \
                 multiprocessors"
            }
            Self::Alone => {
                "rows are short, and the launch is so brief, or they are so short, that a thread has single elements, of which \
                 nothing has to be found out first"
            }
            Self::Ends => {
                "rows are short and begin anywhere, so a program has threads enough for the ends of its row, and each has \
                 at most two accesses in flight"
            }
            Self::Direct => {
                "where elements lie is known at once, so a thread has one access, and a program as many blocks as that \
                 takes"
            }
            Self::Paired => {
                "programs are short, and there are so many of them that two share a block"
            }
            Self::Brief => {
                "where elements lie is loaded first, and the launch takes not much longer than that wait, so a thread \
                 has one access"
            }
            Self::Waiting => {
                "where elements lie is loaded first, and there are too few blocks to hide each other's waits, so a \
                 thread has up to four loads in flight"
            }
            Self::Long => {
                "where elements lie is loaded first, and there are so many blocks that they hide each other's waits, \
                 so half as many do twice as much each"
            }
        })
    }
}
