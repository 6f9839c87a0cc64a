//! Authorities, certificates and both ends of a handshake, made for one test.

use rcgen::{BasicConstraints, CertificateParams, ExtendedKeyUsagePurpose, IsCa, KeyPair, KeyUsagePurpose};
use rustls::client::ClientConfig;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::server::{ServerConfig, WebPkiClientVerifier};
use rustls::version::{TLS12, TLS13};
use rustls::{HandshakeKind, RootCertStore, SupportedProtocolVersion};
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::client::TlsStream;
use tokio_rustls::{TlsAcceptor, TlsConnector};

/// Who vouches for certificates.
pub(crate) struct Authority {
    certificate: rcgen::Certificate,
    key: KeyPair,
}

/// A certificate with its key, as PEM.
#[derive(Clone)]
pub(crate) struct Issued {
    pub(crate) cert: String,
    pub(crate) key: String,
}

impl Authority {
    pub(crate) fn new() -> Self {
        let mut params = CertificateParams::new(Vec::new()).expect("no names");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
        params.distinguished_name.push(rcgen::DnType::CommonName, "test authority");
        let key = KeyPair::generate().expect("a key");
        Self { certificate: params.self_signed(&key).expect("a certificate"), key }
    }

    /// A certificate for these names and addresses, good for servers and clients.
    pub(crate) fn issue(&self, names: &[&str]) -> Issued {
        self.issue_until(names, 2099)
    }

    /// One that is good until the beginning of a year.
    pub(crate) fn issue_until(&self, names: &[&str], year: i32) -> Issued {
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let mut params = CertificateParams::new(names).expect("names");
        params.not_after = rcgen::date_time_ymd(year, 1, 1);
        params.extended_key_usages =
            vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        let key = KeyPair::generate().expect("a key");
        let certificate = params.signed_by(&key, &self.certificate, &self.key).expect("a certificate");
        Issued { cert: certificate.pem(), key: key.serialize_pem() }
    }

    pub(crate) fn pem(&self) -> String {
        self.certificate.pem()
    }

    fn roots(&self) -> Arc<RootCertStore> {
        let mut roots = RootCertStore::empty();
        roots.add(self.certificate.der().clone()).expect("an authority");
        Arc::new(roots)
    }
}

impl Issued {
    pub(crate) fn der(&self) -> CertificateDer<'static> {
        CertificateDer::from_pem_slice(self.cert.as_bytes()).expect("a certificate")
    }

    fn parts(&self) -> (Vec<CertificateDer<'static>>, PrivateKeyDer<'static>) {
        (vec![self.der()], PrivateKeyDer::from_pem_slice(self.key.as_bytes()).expect("a key"))
    }
}

/// Files of certificates that the gateway reads.
pub(crate) struct Files {
    dir: tempfile::TempDir,
}

impl Files {
    pub(crate) fn new() -> Self {
        Self { dir: tempfile::tempdir().expect("a temporary directory") }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Puts a file there in one step.
    pub(crate) fn put(&self, name: &str, text: &str) -> String {
        let (path, next) = (self.path(name), self.path("next"));
        std::fs::write(&next, text).expect("it is written");
        std::fs::rename(&next, &path).expect("it takes its place");
        shown(&path)
    }

    /// The lines that name a certificate and its key.
    pub(crate) fn pair(&self, name: &str, issued: &Issued) -> String {
        let cert = self.put(&format!("{name}.pem"), &issued.cert);
        let key = self.put(&format!("{name}.key"), &issued.key);
        format!("cert = \"{cert}\", key = \"{key}\"")
    }

    /// `[[server.tls]]` on a free port; `more` are further lines.
    pub(crate) fn listener(&self, issued: &Issued, more: &str) -> String {
        let pair = self.pair("server", issued).replace(", key", "\nkey");
        format!("[[server.tls]]\nlisten = \"127.0.0.1:0\"\n{pair}\n{more}\n")
    }
}

fn shown(path: &Path) -> String {
    path.to_str().expect("a plain path").to_owned()
}

/// A client; connections of one resume each other's sessions.
#[derive(Clone)]
pub(crate) struct Client {
    config: ClientConfig,
    name: ServerName<'static>,
}

impl Client {
    /// One that trusts this authority and asks for this name.
    pub(crate) fn new(authority: &Authority, name: &str) -> Self {
        Self::with(authority, name, None, &[&TLS13, &TLS12])
    }

    pub(crate) fn with(
        authority: &Authority,
        name: &str,
        own: Option<&Issued>,
        versions: &[&'static SupportedProtocolVersion],
    ) -> Self {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = ClientConfig::builder_with_provider(provider);
        let builder = builder.with_protocol_versions(versions).expect("versions");
        let builder = builder.with_root_certificates(authority.roots());
        let config = match own.map(Issued::parts) {
            Some((chain, key)) => builder.with_client_auth_cert(chain, key).expect("they belong together"),
            None => builder.with_no_client_auth(),
        };
        Self { config, name: ServerName::try_from(name.to_owned()).expect("a name") }
    }

    /// Offers these protocols by ALPN, the one liked best first.
    pub(crate) fn offering(mut self, protocols: &[&str]) -> Self {
        self.config.alpn_protocols = protocols.iter().map(|name| name.as_bytes().to_vec()).collect();
        self
    }

    pub(crate) async fn connect(&self, addr: SocketAddr) -> io::Result<TlsStream<TcpStream>> {
        let tcp = TcpStream::connect(addr).await?;
        tcp.set_nodelay(true)?;
        TlsConnector::from(Arc::new(self.config.clone())).connect(self.name.clone(), tcp).await
    }
}

/// What a connection agreed on.
pub(crate) fn agreed(stream: &TlsStream<TcpStream>) -> (Option<String>, Vec<CertificateDer<'static>>) {
    let session = stream.get_ref().1;
    let protocol = session.alpn_protocol().map(|name| String::from_utf8_lossy(name).into_owned());
    let shown = session.peer_certificates().unwrap_or_default();
    (protocol, shown.iter().map(|certificate| certificate.clone().into_owned()).collect())
}

/// What one connection to a [`Front`] was like.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Seen {
    pub(crate) name: Option<String>,
    pub(crate) protocol: Option<String>,
    pub(crate) resumed: bool,
    pub(crate) client: Option<CertificateDer<'static>>,
}

/// TLS in front of a fake provider.
pub(crate) struct Front {
    pub(crate) addr: SocketAddr,
    seen: Arc<Mutex<Vec<Seen>>>,
}

impl Front {
    /// Shows `issued`, asks for certificates of `clients` if given, and agrees on these protocols.
    pub(crate) async fn start(
        issued: &Issued,
        clients: Option<&Authority>,
        protocols: &[&str],
        provider: SocketAddr,
    ) -> Self {
        let ring = || Arc::new(rustls::crypto::ring::default_provider());
        let builder = ServerConfig::builder_with_provider(ring());
        let builder = builder.with_protocol_versions(&[&TLS13, &TLS12]).expect("versions");
        let builder = match clients {
            Some(authority) => builder.with_client_cert_verifier(
                WebPkiClientVerifier::builder_with_provider(authority.roots(), ring())
                    .build()
                    .expect("a verifier"),
            ),
            None => builder.with_no_client_auth(),
        };
        let (chain, key) = issued.parts();
        let mut config = builder.with_single_cert(chain, key).expect("they belong together");
        config.alpn_protocols = protocols.iter().map(|name| name.as_bytes().to_vec()).collect();
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let addr = listener.local_addr().expect("it has an address");
        let seen: Arc<Mutex<Vec<Seen>>> = Arc::default();
        let (acceptor, noted) = (TlsAcceptor::from(Arc::new(config)), Arc::clone(&seen));
        tokio::spawn(async move {
            while let Ok((tcp, _)) = listener.accept().await {
                let (acceptor, noted) = (acceptor.clone(), Arc::clone(&noted));
                tokio::spawn(async move {
                    let Ok(mut stream) = acceptor.accept(tcp).await else { return };
                    let session = stream.get_ref().1;
                    noted.lock().expect("nobody panics").push(Seen {
                        name: session.server_name().map(str::to_owned),
                        protocol: session.alpn_protocol().map(|name| String::from_utf8_lossy(name).into()),
                        resumed: session.handshake_kind() == Some(HandshakeKind::Resumed),
                        client: session.peer_certificates().map(|chain| chain[0].clone().into_owned()),
                    });
                    let Ok(mut upstream) = TcpStream::connect(provider).await else { return };
                    drop(tokio::io::copy_bidirectional(&mut stream, &mut upstream).await);
                });
            }
        });
        Self { addr, seen }
    }

    /// The connections so far whose handshake was done.
    pub(crate) fn seen(&self) -> Vec<Seen> {
        self.seen.lock().expect("nobody panics").clone()
    }
}
