//! A certificate for loopback, since every real deployment uses TLS.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::Arc,
};

use tokio_rustls::{
    TlsAcceptor,
    rustls::{
        ServerConfig,
        pki_types::{CertificateDer, PrivateKeyDer},
    },
};

/// A key and its self-signed certificate.
#[derive(Debug)]
pub(crate) struct Tls {
    config: Arc<ServerConfig>,
    /// The certificate file that clients trust.
    pub(crate) file: PathBuf,
}

impl Tls {
    /// Creates a key and writes its certificate into `folder`.
    pub(crate) fn new(folder: &Path) -> Self {
        let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).expect("a certificate can be made");
        let file = folder.join("loopback.pem");
        fs::write(&file, made.cert.pem()).expect("the build folder can be written");
        let key = PrivateKeyDer::try_from(made.signing_key.serialize_der()).expect("the key was just made");
        let certificate = CertificateDer::from(made.cert);
        let config = ServerConfig::builder().with_no_client_auth().with_single_cert(vec![certificate], key);
        Self { config: Arc::new(config.expect("the key fits the certificate")), file }
    }

    pub(crate) fn acceptor(&self) -> TlsAcceptor {
        TlsAcceptor::from(Arc::clone(&self.config))
    }
}
