//! Serves a router on loopback without Nagle's algorithm, which would delay some responses by 40 ms.

use std::{
    io,
    net::{Ipv4Addr, SocketAddr},
};

use axum::{Router, serve::Listener};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::server::TlsStream;

use crate::tls::Tls;

/// Starts on a free port, over TLS if `tls` is given. The server ends with the runtime.
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

    /// Accepts one connection at a time: sequential handshakes are fast enough for a single client.
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
