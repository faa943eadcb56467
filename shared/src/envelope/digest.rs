//! A short digest of a job's arguments, to detect a duplicate with other arguments.

use std::{fmt, io};

use serde::{Deserialize, Serialize};

use super::{Envelope, step_id};

/// A digest of a job's arguments: the 64-bit FNV-1a of their compact JSON with sorted keys, written as 16 hexadecimal digits.
///
/// Equal arguments have equal digests, regardless of the order of keys and of white space. It is not a cryptographic digest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Digest(u64);

impl Digest {
    /// The digest of empty input.
    const EMPTY: Self = Self(0xcbf2_9ce4_8422_2325);
    const PRIME: u64 = 0x0100_0000_01b3;

    /// Returns the digest of a text.
    pub(crate) fn of(text: &str) -> Self {
        Self(text.bytes().fold(Self::EMPTY.0, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(Self::PRIME)))
    }
}

impl io::Write for Digest {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0 = bytes.iter().fold(self.0, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(Self::PRIME));
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

impl From<Digest> for String {
    fn from(digest: Digest) -> Self {
        digest.to_string()
    }
}

impl TryFrom<String> for Digest {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        u64::from_str_radix(&text, 16).map(Self).map_err(|_| "it is no digest of 16 hexadecimal digits")
    }
}

impl Envelope {
    /// Returns the digest of the arguments.
    ///
    /// ```
    /// use sqjobs::Envelope;
    ///
    /// let digest = |body| Envelope::parse(body).map(|envelope| envelope.digest());
    /// let one = digest(r#"{"name": "adder", "args": {"a": 1, "b": 2}}"#)?;
    /// assert_eq!(one, digest(r#"{"name": "adder", "id": "x", "args": {"b":2,"a":1}}"#)?);
    /// assert_ne!(one, digest(r#"{"name": "adder", "args": {"a": 1, "b": 3}}"#)?);
    /// assert_eq!(digest(r#"{"name": "adder", "args": [1, 2, 3]}"#)?.to_string(), "28bbee4398699f19");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[expect(clippy::missing_panics_doc, reason = "it cannot: the keys are strings and JSON has a place for every value")]
    pub fn digest(&self) -> Digest {
        if let (false, Some(id)) = (self.jobs.is_empty(), &self.id) {
            // The arguments of the closing job, as the function reads them.
            let closing = Self { jobs: Vec::new(), ..self.clone() };
            return closing.with_renamed_outputs(|step| step_id(id, step)).digest();
        }
        let mut digest = Digest::EMPTY;
        serde_json::to_writer(&mut digest, &self.args).expect("a digest takes any bytes");
        if !self.kwargs.is_empty() {
            serde_json::to_writer(&mut digest, &self.kwargs).expect("a digest takes any bytes");
        }
        digest
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_digest_is_that_of_args_and_kwargs_and_comes_back_from_text() {
        let of = |body| Envelope::parse(body).expect("an envelope").digest();
        let digest = of(r#"{"name": "adder", "args": [1, 2, 3]}"#);
        assert_eq!(digest.to_string(), "28bbee4398699f19");
        assert_ne!(digest, of(r#"{"name": "adder", "args": [1, 2, 3], "kwargs": {"a": 1}}"#));
        assert_eq!(Digest::try_from(String::from(digest)), Ok(digest));
    }
}
