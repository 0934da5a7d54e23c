//! Whether Redis keeps what it accepts, and how full it is.

/// How full Redis is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Memory {
    /// `used_memory`, bytes.
    pub used: u64,
    /// `maxmemory`; 75 % of the machine's memory where the server sets none. Bytes.
    pub max: u64,
}
