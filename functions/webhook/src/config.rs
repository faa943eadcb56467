//! Settings from the environment.

use crate::{
    destination::Reach,
    sign::{Key, parse_secrets},
};

const SECRET: &str = "WEBHOOK_SECRET";
const ALLOW_PRIVATE: &str = "WEBHOOK_ALLOW_PRIVATE";

/// The settings of the function.
pub(crate) struct Config {
    pub(crate) keys: Vec<Key>,
    pub(crate) reach: Reach,
}

impl Config {
    /// Reads the environment.
    pub(crate) fn from_env() -> Result<Self, sqjobs::Error> {
        Self::read(variable).map_err(sqjobs::Error::config)
    }

    /// # Errors
    ///
    /// A sentence that names the variable and does not repeat a secret.
    fn read(variable: impl Fn(&str) -> Option<String>) -> Result<Self, String> {
        Ok(Self { keys: keys(variable(SECRET).as_deref())?, reach: reach(variable(ALLOW_PRIVATE).as_deref())? })
    }
}

#[expect(clippy::disallowed_methods, reason = "this module reads the settings of this function")]
fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok()
}

fn keys(value: Option<&str>) -> Result<Vec<Key>, String> {
    const FORM: &str = "set it to secrets that are separated by spaces; a secret is whsec_ and 24 to 64 bytes in base64";
    let text = value.ok_or_else(|| format!("{SECRET} is not set; {FORM}"))?;
    parse_secrets(text).map_err(|error| format!("{SECRET} {error}; {FORM}"))
}

fn reach(value: Option<&str>) -> Result<Reach, String> {
    match value {
        Some("1") => Ok(Reach::Anywhere),
        None | Some("" | "0") => Ok(Reach::Public),
        Some(other) => Err(format!("{ALLOW_PRIVATE} is {other:?}; set it to 1 to permit private addresses, or remove it")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

    fn read(secret: Option<&str>, allow_private: Option<&str>) -> Result<Config, String> {
        Config::read(|name| match name {
            SECRET => secret.map(str::to_owned),
            ALLOW_PRIVATE => allow_private.map(str::to_owned),
            _ => None,
        })
    }

    fn sentence(secret: Option<&str>, allow_private: Option<&str>) -> String {
        read(secret, allow_private).err().unwrap()
    }

    #[test]
    fn private_addresses_are_refused_unless_permitted() {
        assert_eq!(read(Some(GOOD), None).ok().unwrap().reach, Reach::Public);
        assert_eq!(read(Some(GOOD), Some("0")).ok().unwrap().reach, Reach::Public);
        assert_eq!(read(Some(GOOD), Some("1")).ok().unwrap().reach, Reach::Anywhere);
        assert!(sentence(Some(GOOD), Some("yes")).starts_with("WEBHOOK_ALLOW_PRIVATE is \"yes\"; "));
    }

    #[test]
    fn the_error_for_a_missing_secret_names_the_variable() {
        assert!(sentence(None, None).starts_with("WEBHOOK_SECRET is not set; set it to secrets "));
        assert!(sentence(Some(""), None).starts_with("WEBHOOK_SECRET holds no secret; set it to "));
    }

    #[test]
    fn a_malformed_secret_is_not_repeated() {
        let sentence = sentence(Some("whsec_do-not-tell"), None);
        assert!(sentence.starts_with("WEBHOOK_SECRET holds a secret that is not base64"));
        assert!(!sentence.contains("do-not-tell"));
    }
}
