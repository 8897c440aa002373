//! GPU architectures, as the compiler names them.

use std::{fmt, str::FromStr};

/// A GPU architecture that a cubin is compiled for: compute capability 9.0 is written `sm_90`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Architecture {
    /// The first number of the compute capability.
    pub major: u32,
    /// The second number of the compute capability, below ten.
    pub minor: u32,
}

impl Architecture {
    /// The architecture of the given compute capability.
    pub const fn new(major: u32, minor: u32) -> Self {
        Self { major, minor }
    }

    /// The compute capability as one number: 90 for 9.0, 120 for 12.0.
    pub const fn number(self) -> u32 {
        self.major * 10 + self.minor
    }

    /// NVRTC lists architectures as such numbers.
    pub(super) const fn from_number(number: u32) -> Self {
        Self::new(number / 10, number % 10)
    }
}

impl fmt::Display for Architecture {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "sm_{}{}", self.major, self.minor)
    }
}

/// A text that names no GPU architecture.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` names no GPU architecture: write it as `sm_90` or as the compute capability `9.0`")]
pub struct ArchitectureError {
    /// What was read.
    pub text: String,
}

impl FromStr for Architecture {
    type Err = ArchitectureError;

    fn from_str(text: &str) -> Result<Self, ArchitectureError> {
        let wrong = || ArchitectureError { text: text.to_owned() };
        let number = |digits: &str| match digits.bytes().all(|byte| byte.is_ascii_digit()) {
            true => digits.parse::<u32>().map_err(|_| wrong()),
            false => Err(wrong()),
        };
        if let Some((major, minor)) = text.split_once('.') {
            return match (number(major)?, number(minor)?) {
                (major, minor) if minor < 10 => Ok(Self::new(major, minor)),
                _ => Err(wrong()),
            };
        }
        match number(text.strip_prefix("sm_").unwrap_or(text))? {
            number if number >= 10 => Ok(Self::from_number(number)),
            _ => Err(wrong()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_architecture_reads_back_what_it_prints() {
        for architecture in [
            Architecture::new(8, 0),
            Architecture::new(9, 0),
            Architecture::new(12, 1),
        ] {
            assert_eq!(architecture.to_string().parse(), Ok(architecture));
        }
        assert_eq!("9.0".parse(), Ok(Architecture::new(9, 0)));
        assert_eq!("10.3".parse(), Ok(Architecture::new(10, 3)));
    }

    #[test]
    fn a_text_that_is_no_architecture_is_an_error_that_shows_it() {
        for text in ["", "sm_", "sm_9", "hopper", "9.10", "9.", "sm_+90"] {
            let error = text.parse::<Architecture>().expect_err(text);
            assert!(error.to_string().contains(&format!("`{text}`")), "{error}");
        }
    }
}
