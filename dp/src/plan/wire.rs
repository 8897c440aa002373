//! What travels: hidden states in 16, 8 or 4 bits, their scales, and the experts of every row, in one call.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::{MAX_ROWS, PlanError, Sizes};

/// The most experts of a row.
pub const MAX_EXPERTS_PER_TOKEN: u64 = 1 << 10;

/// How hidden states travel to the experts. What comes back is always bfloat16.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
pub enum WireFormat {
    /// As they are.
    #[default]
    #[serde(rename = "bf16")]
    Bf16,
    /// 8 bits, with a 32-bit scale for 128 elements.
    #[serde(rename = "fp8_128")]
    Fp8,
    /// 8 bits, with an 8-bit scale (`ue8m0`) for 32 elements.
    #[serde(rename = "mxfp8")]
    Mxfp8,
    /// 4 bits, with an 8-bit scale (`e4m3`) for 16 elements and a static one for all, which does not travel.
    #[serde(rename = "nvfp4")]
    Nvfp4,
}

/// A wire that does not suit the step.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum WireError {
    /// A name that is no format's.
    #[error("there is no wire `{}`; the wires are {}", crate::text::value(name), WireFormat::ALL.map(WireFormat::name).join(", "))]
    Unknown {
        /// The name.
        name: String,
    },
    /// Blocks that do not divide the hidden size.
    #[error(
        "a hidden state of {hidden} elements is not blocks of {block}, each with its scale, as the {format} wire needs"
    )]
    UnevenBlocks {
        /// The format.
        format: WireFormat,
        /// Elements of a hidden state.
        hidden: u64,
        /// Elements of a block.
        block: u64,
    },
    /// Rows that are not of bfloat16.
    #[error("rows of {row_bytes} bytes are not of bfloat16, 2 bytes an element, from which the wire is made")]
    NotBf16 {
        /// Bytes of a row.
        row_bytes: u64,
    },
    /// A 4-bit gather for experts that are split otherwise than the ranks.
    #[error(
        "the nvfp4 wire is gathered where every data-parallel rank has a group of experts, and there are {dp} ranks and \
         {groups} groups"
    )]
    ExpertGroups {
        /// Groups of experts.
        groups: u64,
        /// Data-parallel ranks.
        dp: u64,
    },
    /// More experts for a row than there can be.
    #[error("`experts_per_token` is {experts}; the most are {MAX_EXPERTS_PER_TOKEN}")]
    TooManyExperts {
        /// Experts of a row.
        experts: u64,
    },
}

impl WireFormat {
    /// Every format, widest first.
    pub const ALL: [Self; 4] = [Self::Bf16, Self::Fp8, Self::Mxfp8, Self::Nvfp4];

    /// The name in requests, in plans and on the command line.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Bf16 => "bf16",
            Self::Fp8 => "fp8_128",
            Self::Mxfp8 => "mxfp8",
            Self::Nvfp4 => "nvfp4",
        }
    }

    /// Elements that share a scale, if any do.
    pub const fn block(self) -> Option<u64> {
        match self {
            Self::Bf16 => None,
            Self::Fp8 => Some(128),
            Self::Mxfp8 => Some(32),
            Self::Nvfp4 => Some(16),
        }
    }

    /// Bytes of a row of `hidden` elements that go to `experts`, each with a 32-bit weight and a 32-bit number.
    ///
    /// ```
    /// use tilewright_dp::plan::WireFormat;
    ///
    /// let bytes = WireFormat::ALL.map(|format| format.row(7168, 8).map(|row| row.bytes()));
    /// assert_eq!(bytes, [Ok(14400), Ok(7456), Ok(7456), Ok(4096)]);
    /// ```
    ///
    /// # Errors
    /// Its blocks do not divide the hidden size, or a size is out of range.
    pub fn row(self, hidden: u64, experts: u64) -> Result<WireRow, PlanError> {
        super::check_size("hidden", hidden)?;
        if experts > MAX_EXPERTS_PER_TOKEN {
            return Err(WireError::TooManyExperts { experts }.into());
        }
        let blocks = match self.block() {
            Some(block) if !hidden.is_multiple_of(block) => {
                let format = self;
                return Err(WireError::UnevenBlocks { format, hidden, block }.into());
            }
            Some(block) => hidden / block,
            None => 0,
        };
        let (payload, scales) = match self {
            Self::Bf16 => (2 * hidden, 0),
            Self::Fp8 => (hidden, 4 * blocks),
            Self::Mxfp8 => (hidden, blocks),
            Self::Nvfp4 => (hidden / 2, blocks),
        };
        Ok(WireRow {
            payload,
            scales,
            weights: 4 * experts,
            ids: 4 * experts,
        })
    }

    /// Bytes of the 4-bit wire's scales once the experts' kernels have them, padded to whole tiles of 128 rows and 4 scales.
    /// It travels row by row, since parts padded so could not be put together.
    pub fn swizzled_scale_bytes(rows: u64, hidden: u64) -> u128 {
        u128::from(rows).next_multiple_of(128) * u128::from(hidden / 16).next_multiple_of(4)
    }
}

impl fmt::Display for WireFormat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl FromStr for WireFormat {
    type Err = WireError;

    fn from_str(name: &str) -> Result<Self, WireError> {
        let found = Self::ALL.into_iter().find(|format| format.name() == name);
        found.ok_or_else(|| WireError::Unknown { name: name.to_owned() })
    }
}

/// Bytes of one row of each tensor that travels.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
pub struct WireRow {
    /// Of the hidden state.
    pub payload: u64,
    /// Of its scales.
    pub scales: u64,
    /// Of the weights of its experts.
    pub weights: u64,
    /// Of their numbers.
    pub ids: u64,
}

impl WireRow {
    /// Bytes of the row.
    pub const fn bytes(&self) -> u64 {
        self.payload + self.scales + self.weights + self.ids
    }
}

/// What a step sends to the experts and gets back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
pub struct WirePlan {
    /// The format.
    pub format: WireFormat,
    /// Bytes of a row.
    pub row: WireRow,
    /// Rows.
    pub rows: u64,
    /// Bytes of a row that comes back, in bfloat16.
    pub combined_row: u64,
}

impl WirePlan {
    /// What these rows of `hidden` elements take. One call gathers all tensors, with the same sizes.
    ///
    /// # Errors
    /// As for [`WireFormat::row`].
    pub fn new(format: WireFormat, hidden: u64, experts: u64, sizes: &Sizes) -> Result<Self, PlanError> {
        Self::of(format, hidden, experts, sizes.rows())
    }

    pub(super) fn of(format: WireFormat, hidden: u64, experts: u64, rows: u64) -> Result<Self, PlanError> {
        Ok(Self {
            format,
            row: format.row(hidden, experts)?,
            rows,
            combined_row: 2 * hidden,
        })
    }

    /// For a plan's rows, of so many bytes in bfloat16.
    pub(super) fn of_rows(format: WireFormat, row_bytes: u64, experts: u64, rows: u64) -> Result<Self, PlanError> {
        match row_bytes.is_multiple_of(2) {
            true => Self::of(format, row_bytes / 2, experts, rows),
            false => Err(WireError::NotBf16 { row_bytes }.into()),
        }
    }

    /// Bytes that are gathered.
    pub fn gathered_bytes(&self) -> u64 {
        // Rows are at most MAX_ROWS, and a row's bytes a few times that.
        const { assert!(MAX_ROWS <= 1 << 31) };
        self.rows * self.row.bytes()
    }

    /// Bytes that come back.
    pub fn combined_bytes(&self) -> u64 {
        self.rows * self.combined_row
    }
}
