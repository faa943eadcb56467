//! Serves a router on loopback, without Nagle's delay, which would add 40 ms to what takes one.

use std::{
    io,
    net::{Ipv4Addr, SocketAddr},
};

use axum::{Router, serve::Listener};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::server::TlsStream;

use crate::tls::Tls;

/// Starts on a free port, over TLS where that is given. It ends with the runtime.
pub(crate) async fn start(router: Router, tls: Option<&Tls>) -> SocketAddr {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("loopback has a free port");
    let address = listener.local_addr().expect("a bound socket has an address");
    let prompt = Prompt(listener);
    match tls.map(Tls::acceptor) {
        Some(acceptor) => tokio::spawn(async move { axum::serve(Secure { prompt, acceptor }, router).await }),
        None => tokio::spawn(async move { axum::serve(prompt, router).await }),
    };
    address
}

struct Prompt(TcpListener);

impl Listener for Prompt {
    type Io = TcpStream;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (TcpStream, SocketAddr) {
        let (stream, address) = Listener::accept(&mut self.0).await;
        stream.set_nodelay(true).ok();
        (stream, address)
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.0.local_addr()
    }
}

struct Secure {
    prompt: Prompt,
    acceptor: tokio_rustls::TlsAcceptor,
}

impl Listener for Secure {
    type Io = TlsStream<TcpStream>;
    type Addr = SocketAddr;

    /// Handshakes follow one another, which is quick enough for the one client there is.
    async fn accept(&mut self) -> (Self::Io, SocketAddr) {
        loop {
            let (stream, address) = self.prompt.accept().await;
            if let Ok(stream) = self.acceptor.accept(stream).await {
                return (stream, address);
            }
        }
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.prompt.local_addr()
    }
}
