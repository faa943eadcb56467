//! Refuses requests that do not come from the page itself.

use std::sync::Arc;

use axum::{
    extract::{Request, State},
    http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header},
    middleware::Next,
    response::{IntoResponse, Redirect, Response},
};
use uuid::Uuid;

/// The page runs no code and loads no resource but its own. It sends forms only to itself, and no other page may frame it.
const POLICY: &str = "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self'; connect-src 'self'; form-action 'self'; \
                      base-uri 'none'; frame-ancestors 'none'";

/// The secrets of one run of the page, and its address.
pub(super) struct Guard {
    port: u16,
    /// In the address that the command prints. The first request exchanges it for the cookie.
    token: String,
    cookie: String,
}

/// The reason to refuse a request.
#[derive(Debug, PartialEq)]
enum Refusal {
    Host,
    Token,
    Origin,
}

impl Guard {
    pub(super) fn new(port: u16) -> Self {
        let [token, secret] = [(); 2].map(|()| Uuid::new_v4().simple().to_string());
        // Browsers send a cookie to all ports of a host, so the name has the port.
        Self { port, token, cookie: format!("sqjobs-{port}={secret}") }
    }

    pub(super) fn address(&self) -> String {
        format!("http://127.0.0.1:{}/?token={}", self.port, self.token)
    }

    fn own_hosts(&self) -> [String; 2] {
        ["127.0.0.1", "localhost"].map(|host| format!("{host}:{}", self.port))
    }

    fn check(&self, method: &Method, query: Option<&str>, headers: &HeaderMap) -> Result<Entry, Refusal> {
        let text = |name: HeaderName| headers.get(name).and_then(|value| value.to_str().ok());
        // A foreign name that resolves to this machine (DNS rebinding) would make a foreign page the origin of this one.
        let host = text(header::HOST).filter(|host| self.own_hosts().iter().any(|own| own == host)).ok_or(Refusal::Host)?;
        if *method == Method::GET && query == Some(&*format!("token={}", self.token)) {
            return Ok(Entry::New);
        }
        let mut cookies =
            headers.get_all(header::COOKIE).iter().filter_map(|cookies| cookies.to_str().ok()).flat_map(|all| all.split("; "));
        if !cookies.any(|cookie| cookie == self.cookie) {
            return Err(Refusal::Token);
        }
        let site = headers.get("sec-fetch-site").map(HeaderValue::as_bytes);
        if site == Some(b"cross-site") || site == Some(b"same-site") {
            return Err(Refusal::Origin);
        }
        let is_change = ![Method::GET, Method::HEAD].contains(method);
        let is_own = text(header::ORIGIN).is_some_and(|origin| origin == format!("http://{host}"));
        if is_change && !(is_own && site.is_none_or(|site| site == b"same-origin")) {
            return Err(Refusal::Origin);
        }
        Ok(Entry::Known)
    }
}

/// An accepted request.
#[derive(Debug, PartialEq)]
enum Entry {
    /// It has the token of the address, and gets the cookie.
    New,
    Known,
}

/// Checks a request before the page handles it, and adds the headers that all answers have.
pub(super) async fn check(State(guard): State<Arc<Guard>>, request: Request, next: Next) -> Response {
    let mut answer = match guard.check(request.method(), request.uri().query(), request.headers()) {
        Ok(Entry::Known) => next.run(request).await,
        Ok(Entry::New) => {
            let cookie = format!("{}; Path=/; HttpOnly; SameSite=Strict", guard.cookie);
            ([(header::SET_COOKIE, cookie)], Redirect::to(request.uri().path())).into_response()
        }
        Err(refusal) => {
            let why = match refusal {
                Refusal::Host => "This page answers only under the address that `sqjobs ui` has printed.",
                Refusal::Token => "Open the whole address that `sqjobs ui` has printed, with its token. It changes with each start.",
                Refusal::Origin => "This request came from another page, and was refused.",
            };
            (StatusCode::FORBIDDEN, why).into_response()
        }
    };
    let headers = answer.headers_mut();
    for (name, value) in [
        (header::CONTENT_SECURITY_POLICY, POLICY),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        // `no-referrer` would make browsers send `Origin: null` with forms.
        (header::REFERRER_POLICY, "same-origin"),
        (header::CACHE_CONTROL, "no-store"),
        (HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
        (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    answer
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(all: &[(&'static str, &str)]) -> HeaderMap {
        all.iter().map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_str(value).expect("a value"))).collect()
    }

    #[test]
    fn only_the_page_itself_is_served_and_only_it_may_change_something() {
        let guard = Guard::new(4577);
        let (host, cookie) = (("host", "127.0.0.1:4577"), ("cookie", &*guard.cookie));
        let read = |own: &[(&'static str, &str)]| guard.check(&Method::GET, None, &headers(own));
        let write = |own: &[(&'static str, &str)]| guard.check(&Method::POST, None, &headers(own));
        assert_eq!(read(&[host, cookie]), Ok(Entry::Known));
        assert_eq!(read(&[("host", "localhost:4577"), ("cookie", &format!("a=b; {}", guard.cookie))]), Ok(Entry::Known));
        assert_eq!(read(&[("host", "evil.example:4577"), cookie]), Err(Refusal::Host), "the name was bound to this machine");
        assert_eq!(read(&[("host", "127.0.0.1:80"), cookie]), Err(Refusal::Host));
        assert_eq!(read(&[cookie]), Err(Refusal::Host));
        assert_eq!(read(&[host]), Err(Refusal::Token));
        assert_eq!(read(&[host, ("cookie", "sqjobs-4577=guess")]), Err(Refusal::Token));
        assert_eq!(read(&[host, cookie, ("sec-fetch-site", "cross-site")]), Err(Refusal::Origin));
        let own = ("origin", "http://127.0.0.1:4577");
        assert_eq!(write(&[host, cookie, own, ("sec-fetch-site", "same-origin")]), Ok(Entry::Known));
        assert_eq!(write(&[host, cookie]), Err(Refusal::Origin));
        assert_eq!(write(&[host, cookie, ("origin", "null")]), Err(Refusal::Origin));
        assert_eq!(write(&[host, cookie, ("origin", "http://localhost:8000")]), Err(Refusal::Origin));
        assert_eq!(write(&[host, cookie, own, ("sec-fetch-site", "none")]), Err(Refusal::Origin));
        assert_eq!(write(&[host, own]), Err(Refusal::Token));
    }

    #[test]
    fn the_token_of_the_address_opens_the_page_and_no_other_does() {
        let (guard, other) = (Guard::new(4577), Guard::new(4577));
        let own = headers(&[("host", "127.0.0.1:4577")]);
        let open = |by: &Guard| guard.check(&Method::GET, by.address().split_once('?').map(|(_, query)| query), &own);
        assert_eq!(open(&guard), Ok(Entry::New));
        assert_eq!(open(&other), Err(Refusal::Token));
        assert_eq!(guard.check(&Method::POST, Some(&format!("token={}", guard.token)), &own), Err(Refusal::Token));
        assert_ne!(guard.cookie, format!("sqjobs-4577={}", guard.token), "the address alone, as a history keeps it, is not the cookie");
    }
}
