//! Allowed destinations of a webhook: public addresses over HTTPS, unless configured otherwise.

use std::{fmt, net::IpAddr};

use url::{Host, Url};

use crate::{
    address::{AddressRefused, address_refused},
    failure::Failure,
};

/// The allowed destinations.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reach {
    /// HTTPS to public addresses.
    Public,
    /// Also private addresses and plain HTTP.
    Anywhere,
}

/// Parses a URL and makes all checks that need no name resolution.
///
/// # Errors
///
/// When the text is not a URL, the scheme is not allowed, or the address is refused. The error does not repeat the URL,
/// since its path and query may contain a token.
pub(crate) fn parse_url(text: &str, reach: Reach) -> Result<Url, UrlError> {
    let url = Url::parse(text).map_err(UrlError::Malformed)?;
    match (url.scheme(), reach) {
        ("https", _) | ("http", Reach::Anywhere) => {}
        (scheme, _) => return Err(UrlError::Scheme(scheme.to_owned())),
    }
    match literal_address(&url) {
        Some(address) if reach == Reach::Public && address_refused(address) => {
            Err(UrlError::Address(AddressRefused { host: address.to_string() }))
        }
        _ => Ok(url),
    }
}

/// Returns the address of a URL whose host is an address. Such a host is never resolved.
fn literal_address(url: &Url) -> Option<IpAddr> {
    match url.host()? {
        Host::Domain(_) => None,
        Host::Ipv4(address) => Some(address.into()),
        Host::Ipv6(address) => Some(address.into()),
    }
}

/// The reason why a URL is refused.
#[derive(Debug)]
pub(crate) enum UrlError {
    /// The text is not a URL.
    Malformed(url::ParseError),
    /// The scheme is not `https`.
    Scheme(String),
    /// The host is a refused address.
    Address(AddressRefused),
}

impl fmt::Display for UrlError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Malformed(error) => write!(f, "cannot read the url: {error}; give an absolute https url"),
            Self::Scheme(scheme) => write!(f, "cannot deliver over {scheme}: give an https url"),
            Self::Address(error) => error.fmt(f),
        }
    }
}

impl From<UrlError> for Failure {
    fn from(error: UrlError) -> Self {
        let kind = match error {
            UrlError::Malformed(_) | UrlError::Scheme(_) => "invalid_url",
            UrlError::Address(_) => AddressRefused::KIND,
        };
        Self::for_good(kind, error.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_refused_however_the_url_writes_it() {
        for host in ["127.0.0.1", "127.1", "2130706433", "0x7f.1", "0177.0.0.1", "[::1]", "[::ffff:127.0.0.1]", "１２７.0.0.1"] {
            let url = parse_url(&format!("https://{host}/"), Reach::Public);
            assert!(matches!(url, Err(UrlError::Address(_))), "{host}");
        }
    }

    #[test]
    fn only_https_unless_configured() {
        assert!(matches!(parse_url("http://example.com/", Reach::Public), Err(UrlError::Scheme(_))));
        assert!(parse_url("https://example.com/", Reach::Public).is_ok());
        assert!(parse_url("http://10.0.0.1/", Reach::Anywhere).is_ok());
        assert!(matches!(parse_url("file:///etc/passwd", Reach::Anywhere), Err(UrlError::Scheme(_))));
    }

    #[test]
    fn an_error_does_not_repeat_the_url() {
        let error = parse_url("http://example.com/token-123?key=secret", Reach::Public).unwrap_err().to_string();
        assert_eq!(error, "cannot deliver over http: give an https url");
    }
}
