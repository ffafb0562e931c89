//! HTTPS next to HTTP: a certificate by an authority of this machine's own, both of which are kept, or the user's own.

use std::{
    fs, io,
    net::IpAddr,
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use etcetera::BaseStrategy;
use rcgen::{
    BasicConstraints, CertificateParams, CidrSubnet, DistinguishedName, DnType, ExtendedKeyUsagePurpose,
    GeneralSubtree, IsCa, Issuer, KeyPair, KeyUsagePurpose, NameConstraints, PublicKeyData,
};
use rustls::{
    RootCertStore, ServerConfig,
    client::{verify_server_cert_signed_by_trust_anchor, verify_server_name},
    crypto::{CryptoProvider, ring::default_provider},
    pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime, pem, pem::PemObject},
    server::ParsedCertificate,
    sign::CertifiedKey,
};
use tokio_rustls::TlsAcceptor;

use crate::{
    address::{is_private_v4, outward_address},
    authority::CertificateAuthority,
    trust::fingerprint,
};

const DAY: Duration = Duration::from_secs(24 * 3600);
/// Validity of a certificate that we make, a day of which has passed already. Apple's systems refuse more than 398 days by
/// public authorities (support.apple.com/102028), and more than 825 by any (support.apple.com/103769).
const VALID: Duration = Duration::from_secs(396 * 24 * 3600);
/// Validity of our authority: users install it by hand.
const AUTHORITY_VALID: Duration = Duration::from_secs(10 * 365 * 24 * 3600);
/// A certificate that ends sooner than this is replaced.
const RENEW: Duration = Duration::from_secs(30 * 24 * 3600);
/// Addresses of earlier networks that a certificate still names.
const MAX_ADDRESSES: usize = 32;

/// Whether the HTTP port speaks TLS too. Plain HTTP and HTTPS then share it: the first byte of a connection
/// distinguishes them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum TlsConfig {
    /// Plain HTTP alone.
    #[default]
    Off,
    /// A certificate of our own making by an authority of our own, both kept in this folder across runs. Browsers warn of
    /// the certificate once, and remember that the user has accepted it for as long as it stays the same; on a device that
    /// has the authority installed they do not warn, and iPhones open `wss://` too. The endpoint serves the authority's
    /// certificate and says how to install it, at `/certificate`.
    ///
    /// The certificate names this machine, its addresses, and those that it had before, so that a machine which goes to and
    /// fro between two networks keeps one certificate. Another one is made when it ends within 30 days, when this machine
    /// has a private address that it does not name, when it cannot be read, or when others may read its key. The authority lasts
    /// ten years. Its certificate restricts it to names in `.local`, private addresses, and the name and addresses that
    /// this machine has when it is made, so that it vouches for no other site on devices that have it installed. Where the
    /// folder cannot be written, both last as long as the endpoint, and a warning is logged.
    SelfSigned(PathBuf),
    /// The user's certificate chain and key.
    Files {
        /// Certificate chain, PEM, the endpoint's own certificate first.
        certificate: PathBuf,
        /// Private key, PEM (PKCS#8, PKCS#1 or SEC1), not encrypted.
        key: PathBuf,
    },
}

impl TlsConfig {
    /// A certificate of our own making in the folder that the system has for such things, such as
    /// `~/.local/share/facelink`; in the temporary folder where there is no home.
    pub fn self_signed() -> Self {
        let data = etcetera::choose_base_strategy().map(|folders| folders.data_dir());
        Self::SelfSigned(data.unwrap_or_else(|_| std::env::temp_dir()).join("facelink"))
    }
}

/// Why HTTPS could not be set up.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TlsError {
    /// A file cannot be read or written.
    #[error("field `tls`: {path}: {source}")]
    File {
        /// Which file.
        path: PathBuf,
        /// The system's reason.
        source: io::Error,
    },
    /// A file does not hold what it should.
    #[error("field `tls`: {path} holds no {what}: {reason}")]
    Content {
        /// Which file.
        path: PathBuf,
        /// What was looked for in it.
        what: &'static str,
        /// What is wrong.
        reason: String,
    },
    /// Key and certificate do not go together, or the certificate cannot be used.
    #[error("field `tls`: the certificate {certificate} cannot be used with the key {key}: {source}")]
    Unusable {
        /// The certificate's file.
        certificate: PathBuf,
        /// The key's file.
        key: PathBuf,
        /// What is wrong with them.
        source: rustls::Error,
    },
    /// TLS could not be set up at all.
    #[error("field `tls`: {0}")]
    SetUp(#[from] rustls::Error),
    /// A certificate could not be made.
    #[error("field `tls`: no certificate could be made: {0}")]
    Make(#[from] rcgen::Error),
}

/// What an endpoint shows of itself over TLS.
pub(crate) struct Identity {
    pub acceptor: TlsAcceptor,
    /// SHA-256 of the certificate.
    pub fingerprint: String,
    /// Who vouches for it, if that is our own authority.
    pub authority: Option<CertificateAuthority>,
}

/// Reads or makes the certificate; `None` without TLS.
///
/// # Errors
/// [`TlsError`] when the user's own certificate or key cannot be used. A certificate of our own making is done without.
pub(crate) fn start(config: &TlsConfig) -> Result<Option<Identity>, TlsError> {
    match (identity(config), config) {
        (Err(error), TlsConfig::SelfSigned(_)) => {
            tracing::warn!("no HTTPS: {error}");
            Ok(None)
        }
        (identity, _) => identity,
    }
}

fn identity(config: &TlsConfig) -> Result<Option<Identity>, TlsError> {
    let provider = Arc::new(default_provider());
    let now = SystemTime::now();
    let (pair, authority) = match config {
        TlsConfig::Off => return Ok(None),
        TlsConfig::Files { certificate, key } => {
            let pair = read_pair(certificate, key, &provider)?;
            if let Err(rustls::Error::InvalidCertificate(error)) = valid(&pair, now, &provider)
                && is_about_time(&error)
            {
                tracing::warn!("clients will refuse {}: {error}", certificate.display());
            }
            (pair, None)
        }
        TlsConfig::SelfSigned(folder) => {
            let Kept { pair, authority } = kept(folder, &addresses(), now, &provider)?;
            (pair, Some(authority))
        }
    };
    let fingerprint = pair.chain.first().map(fingerprint).unwrap_or_default();
    let mut server = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_single_cert(pair.chain, pair.key)?;
    // WebSockets want HTTP/1.1.
    server.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(Some(Identity { acceptor: TlsAcceptor::from(Arc::new(server)), fingerprint, authority }))
}

/// A certificate chain and the key of its first certificate.
struct Pair {
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
}

fn content(path: &Path, what: &'static str, reason: impl ToString) -> TlsError {
    TlsError::Content { path: path.to_owned(), what, reason: reason.to_string() }
}

fn file(path: &Path) -> impl FnOnce(io::Error) -> TlsError {
    let path = path.to_owned();
    |source| TlsError::File { path, source }
}

fn read_pair(certificate: &Path, key: &Path, provider: &CryptoProvider) -> Result<Pair, TlsError> {
    let text = fs::read(certificate).map_err(file(certificate))?;
    let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&text).collect();
    let chain = chain.map_err(|error| content(certificate, "certificate", error))?;
    if chain.is_empty() {
        return Err(content(certificate, "certificate", "there is none in it, in PEM"));
    }
    let text = fs::read(key).map_err(file(key))?;
    let secret = PrivateKeyDer::from_pem_slice(&text).map_err(|error| match error {
        pem::Error::NoItemsFound if String::from_utf8_lossy(&text).contains("BEGIN ENCRYPTED PRIVATE KEY") => {
            content(key, "private key", "it is encrypted; store it without a passphrase")
        }
        pem::Error::NoItemsFound => content(key, "private key", "there is none in it, in PEM"),
        error => content(key, "private key", error),
    })?;
    // What does not go together would only be found out later.
    CertifiedKey::from_der(chain.clone(), secret.clone_key(), provider).map_err(|source| TlsError::Unusable {
        certificate: certificate.to_owned(),
        key: key.to_owned(),
        source,
    })?;
    Ok(Pair { chain, key: secret })
}

/// Checks the first certificate at a time, as clients do that trust the last one.
fn valid(pair: &Pair, at: SystemTime, provider: &CryptoProvider) -> Result<(), rustls::Error> {
    let (Some(first), Some(last)) = (pair.chain.first(), pair.chain.last()) else {
        return Err(rustls::Error::NoCertificatesPresented);
    };
    let mut roots = RootCertStore::empty();
    roots.add(last.clone())?;
    let at = UnixTime::since_unix_epoch(at.duration_since(UNIX_EPOCH).unwrap_or_default());
    let algorithms = provider.signature_verification_algorithms.all;
    let between = pair.chain.get(1..).unwrap_or_default();
    verify_server_cert_signed_by_trust_anchor(&ParsedCertificate::try_from(first)?, &roots, between, at, algorithms)
}

fn is_about_time(error: &rustls::CertificateError) -> bool {
    use rustls::CertificateError as E;
    matches!(error, E::Expired | E::ExpiredContext { .. } | E::NotValidYet | E::NotValidYetContext { .. })
}

/// Why a certificate that was kept is of no use any more.
#[derive(Debug, thiserror::Error)]
enum Stale {
    #[error("{0}")]
    Broken(#[from] TlsError),
    #[error("it is not valid for another 30 days: {0}")]
    Ends(#[from] rustls::Error),
    #[error("it does not name this machine's address {0}")]
    Moved(IpAddr),
    #[error("another authority vouches for it")]
    OtherAuthority,
    #[cfg(unix)]
    #[error("others may read its key")]
    Open,
}

/// The authority's key, and what is shown of it.
struct Signer {
    authority: CertificateAuthority,
    key: KeyPair,
}

/// What is served, and who vouches for it.
struct Kept {
    pair: Pair,
    authority: CertificateAuthority,
}

/// The certificate of this folder, made if there is none that can be used.
fn kept(folder: &Path, addresses: &[IpAddr], now: SystemTime, provider: &CryptoProvider) -> Result<Kept, TlsError> {
    let Signer { authority, key: signer } = signer(folder, addresses, now, provider)?;
    let (certificate, key) = (folder.join("certificate.pem"), folder.join("key.pem"));
    if certificate.exists() {
        match usable(&certificate, &key, &authority, addresses, now, provider) {
            Ok(pair) => return Ok(Kept { pair, authority }),
            Err(stale) => {
                tracing::warn!("another certificate is made in place of {}: {stale}", certificate.display());
            }
        }
    }
    // Those of now first; then those that it named before, for this machine may go back to them.
    let list = folder.join("addresses.txt");
    let earlier = fs::read_to_string(&list).unwrap_or_default();
    let mut named = addresses.to_vec();
    for address in earlier.lines().filter_map(|line| line.trim().parse().ok()) {
        if named.len() < MAX_ADDRESSES && !named.contains(&address) {
            named.push(address);
        }
    }
    let (pair, pem) = make(&named, now, &authority, signer, provider)?;
    let named: String = named.iter().map(|address| format!("{address}\n")).collect();
    let written = create(folder)
        .and_then(|()| write(&list, &named))
        .and_then(|()| write(&key, &pem.key))
        .and_then(|()| write(&certificate, &pem.certificate));
    if let Err(error) = written {
        tracing::warn!("the certificate lasts for this run only, and browsers will warn again after the next: {error}");
    }
    Ok(Kept { pair, authority })
}

/// The authority of this folder, made if there is none that can be used.
fn signer(folder: &Path, addresses: &[IpAddr], now: SystemTime, provider: &CryptoProvider) -> Result<Signer, TlsError> {
    let (certificate, key) = (folder.join("authority.pem"), folder.join("authority-key.pem"));
    if certificate.exists() {
        match kept_signer(&certificate, &key, now, provider) {
            Ok(signer) => return Ok(signer),
            Err(stale) => {
                tracing::warn!(
                    "another certificate authority is made in place of {}, and has to be installed anew: {stale}",
                    certificate.display()
                );
            }
        }
    }
    let pair = KeyPair::generate()?;
    let made = authority_params(&pair, addresses, now).self_signed(&pair)?;
    let written = create(folder)
        .and_then(|()| write(&key, &pair.serialize_pem()))
        .and_then(|()| write(&certificate, &made.pem()));
    if let Err(error) = written {
        tracing::warn!("the certificate authority lasts for this run only: {error}");
    }
    Ok(Signer { authority: shown(&pair, made.der(), made.pem()), key: pair })
}

fn kept_signer(certificate: &Path, key: &Path, now: SystemTime, provider: &CryptoProvider) -> Result<Signer, Stale> {
    closed(key)?;
    let pair = read_pair(certificate, key, provider)?;
    for at in [now, now + RENEW] {
        // Its time alone: for all else it is no server's certificate.
        if let Err(rustls::Error::InvalidCertificate(error)) = valid(&pair, at, provider)
            && is_about_time(&error)
        {
            return Err(rustls::Error::InvalidCertificate(error).into());
        }
    }
    let text = fs::read_to_string(key).map_err(file(key))?;
    let secret = KeyPair::from_pem(&text).map_err(|error| content(key, "private key", error))?;
    let pem = fs::read_to_string(certificate).map_err(file(certificate))?;
    let authority = shown(&secret, &pair.chain[0], pem);
    Ok(Signer { authority, key: secret })
}

/// Whether a file is its owner's alone.
fn closed(key: &Path) -> Result<(), Stale> {
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        let mode = fs::metadata(key).map_err(file(key))?.permissions().mode();
        if mode & 0o077 != 0 {
            return Err(Stale::Open);
        }
    }
    #[cfg(not(unix))]
    let _ = key;
    Ok(())
}

fn shown(key: &KeyPair, certificate: &CertificateDer<'_>, pem: String) -> CertificateAuthority {
    CertificateAuthority {
        name: authority_name(key),
        fingerprint: fingerprint(certificate),
        der: certificate.to_vec(),
        pem,
    }
}

/// By which users tell the authorities of two machines apart. It follows from the key.
fn authority_name(key: &KeyPair) -> String {
    let digest = ::ring::digest::digest(&::ring::digest::SHA256, key.der_bytes());
    let digits: String = digest.as_ref().iter().take(6).map(|byte| format!("{byte:02X}")).collect();
    format!("FaceLink {digits}")
}

fn distinguished(name: &str) -> DistinguishedName {
    let mut distinguished = DistinguishedName::new();
    distinguished.push(DnType::CommonName, name);
    distinguished
}

/// Private networks (RFC 1918, 4193, 6598), link-local addresses (RFC 3927, 4291) and loopback.
const PRIVATE: [(&str, u8); 9] = [
    ("10.0.0.0", 8),
    ("100.64.0.0", 10),
    ("127.0.0.0", 8),
    ("169.254.0.0", 16),
    ("172.16.0.0", 12),
    ("192.168.0.0", 16),
    ("::1", 128),
    ("fc00::", 7),
    ("fe80::", 10),
];

fn authority_params(key: &KeyPair, addresses: &[IpAddr], now: SystemTime) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = distinguished(&authority_name(key));
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params.not_before = (now - DAY).into();
    params.not_after = (now - DAY + AUTHORITY_VALID).into();
    let mut hosts = vec!["local".to_owned(), "localhost".to_owned()];
    hosts.extend(host_name());
    let mut networks: Vec<(IpAddr, u8)> =
        PRIVATE.iter().filter_map(|(network, prefix)| Some((network.parse().ok()?, *prefix))).collect();
    networks.extend(addresses.iter().map(|address| (*address, if address.is_ipv4() { 32 } else { 128 })));
    let networks = networks.into_iter().map(|(network, prefix)| CidrSubnet::from_addr_prefix(network, prefix));
    params.name_constraints = Some(NameConstraints {
        permitted_subtrees: hosts
            .into_iter()
            .map(GeneralSubtree::DnsName)
            .chain(networks.map(GeneralSubtree::IpAddress))
            .collect(),
        excluded_subtrees: Vec::new(),
    });
    params
}

fn usable(
    certificate: &Path,
    key: &Path,
    authority: &CertificateAuthority,
    addresses: &[IpAddr],
    now: SystemTime,
    provider: &CryptoProvider,
) -> Result<Pair, Stale> {
    closed(key)?;
    let pair = read_pair(certificate, key, provider)?;
    if pair.chain.len() != 2 || pair.chain.last().is_none_or(|last| **last != *authority.der) {
        return Err(Stale::OtherAuthority);
    }
    valid(&pair, now, provider)?;
    valid(&pair, now + RENEW, provider)?;
    let parsed = ParsedCertificate::try_from(&pair.chain[0])?;
    // The IPv6 addresses of a machine change daily and are not typed by hand; for a public address that is new the
    // authority may not vouch.
    for address in addresses.iter().filter(|address| is_private(**address)) {
        verify_server_name(&parsed, &ServerName::IpAddress((*address).into())).map_err(|_| Stale::Moved(*address))?;
    }
    Ok(pair)
}

/// Addresses of this machine that others may know it by, the one that it is invited to first.
fn addresses() -> Vec<IpAddr> {
    let mut addresses: Vec<IpAddr> = outward_address().into_iter().collect();
    for address in if_addrs::get_if_addrs().unwrap_or_default().iter().map(if_addrs::Interface::ip) {
        let reachable = match address {
            IpAddr::V4(address) => !address.is_loopback() && !address.is_link_local(),
            IpAddr::V6(address) => !address.is_loopback() && !address.is_unicast_link_local(),
        };
        if reachable && !addresses.contains(&address) && addresses.len() < MAX_ADDRESSES {
            addresses.push(address);
        }
    }
    addresses
}

/// Whether this is an IPv4 address of one of these networks.
fn is_private(address: IpAddr) -> bool {
    matches!(address, IpAddr::V4(address) if is_private_v4(address))
}

/// This machine's name, if it is one that a certificate can name.
fn host_name() -> Option<String> {
    let host = gethostname::gethostname().to_string_lossy().to_ascii_lowercase();
    let host = host.trim_end_matches('.').trim_end_matches(".local");
    let usable =
        !host.is_empty() && host.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.'));
    usable.then(|| host.to_owned())
}

/// Names and addresses of a certificate; `all`: also those for which an older authority may not vouch.
fn names(addresses: &[IpAddr], all: bool) -> Vec<String> {
    let mut names = vec!["localhost".to_owned(), "127.0.0.1".to_owned(), "::1".to_owned()];
    if let Some(host) = host_name() {
        names.push(format!("{host}.local"));
        if all {
            names.push(host);
        }
    }
    names.extend(addresses.iter().filter(|address| all || is_private(**address)).map(IpAddr::to_string));
    names.sort();
    names.dedup();
    names
}

struct Pem {
    certificate: String,
    key: String,
}

fn make(
    addresses: &[IpAddr],
    now: SystemTime,
    authority: &CertificateAuthority,
    signer: KeyPair,
    provider: &CryptoProvider,
) -> Result<(Pair, Pem), TlsError> {
    let mut issuer = CertificateParams::default();
    issuer.distinguished_name = distinguished(&authority.name);
    issuer.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    let issuer = Issuer::new(issuer, signer);
    let key = KeyPair::generate()?;
    let signed = |all: bool| -> Result<(Pair, Pem), TlsError> {
        let mut params = CertificateParams::new(names(addresses, all))?;
        params.distinguished_name = distinguished("FaceLink on this network");
        params.is_ca = IsCa::ExplicitNoCa;
        params.use_authority_key_identifier_extension = true;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        // A phone's clock may be a little behind.
        params.not_before = (now - DAY).into();
        params.not_after = (now - DAY + VALID).into();
        let made = params.signed_by(&key, &issuer)?;
        let pem = Pem { certificate: format!("{}{}", made.pem(), authority.pem), key: key.serialize_pem() };
        let chain = vec![made.into(), CertificateDer::from(authority.der.to_vec())];
        let secret = PrivateKeyDer::try_from(key.serialize_der()).map_err(|reason| TlsError::Content {
            path: PathBuf::from("key.pem"),
            what: "private key",
            reason: reason.to_owned(),
        })?;
        Ok((Pair { chain, key: secret }, pem))
    };
    let all = signed(true)?;
    // The machine may have got a name or a public address that its authority does not know.
    if valid(&all.0, now, provider).is_ok() { Ok(all) } else { signed(false) }
}

fn create(folder: &Path) -> Result<(), TlsError> {
    let mut builder = fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(folder).map_err(file(folder))
}

/// Writes the file atomically, readable by its owner only.
fn write(path: &Path, text: &str) -> Result<(), TlsError> {
    let mut temporary = path.as_os_str().to_owned();
    temporary.push(format!(".{}", uuid::Uuid::new_v4().simple()));
    let temporary = PathBuf::from(temporary);
    let mut options = fs::OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let written = options.open(&temporary).and_then(|mut file| {
        io::Write::write_all(&mut file, text.as_bytes())?;
        file.sync_all()?;
        drop(file);
        fs::rename(&temporary, path)
    });
    written.map_err(|error| {
        let _ = fs::remove_file(&temporary);
        file(path)(error)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folder() -> tempfile::TempDir {
        tempfile::tempdir().expect("a folder")
    }

    fn of(config: &TlsConfig) -> String {
        identity(config).expect("set up").expect("TLS").fingerprint
    }

    /// The fingerprint of what is kept for a machine with these addresses, at a time.
    fn kept_at(folder: &Path, addresses: &[[u8; 4]], now: SystemTime) -> (String, Pair) {
        let addresses: Vec<IpAddr> = addresses.iter().map(|address| IpAddr::from(*address)).collect();
        let Kept { pair, authority } = kept(folder, &addresses, now, &default_provider()).expect("kept or made");
        assert_eq!(pair.chain.len(), 2);
        assert_eq!(*pair.chain[1], authority.der);
        (fingerprint(&pair.chain[0]), pair)
    }

    #[test]
    fn certificate_is_kept_and_replaced_when_unusable() {
        let folder = folder();
        let config = TlsConfig::SelfSigned(folder.path().join("deep/er"));
        let first = of(&config);
        assert_eq!(of(&config), first, "kept across runs");
        let path = folder.path().join("deep/er/certificate.pem");
        let key = folder.path().join("deep/er/key.pem");
        fs::write(&path, "nonsense").expect("written");
        let second = of(&config);
        assert_ne!(second, first);
        assert_eq!(of(&config), second);
        // The key of another one.
        fs::write(&key, KeyPair::generate().expect("a key").serialize_pem()).expect("written");
        let third = of(&config);
        assert_ne!(third, second);
        fs::remove_file(&key).expect("removed");
        let fourth = of(&config);
        assert_ne!(fourth, third);
        assert_eq!(of(&config), fourth);
        let left: Vec<_> = fs::read_dir(path.parent().expect("one")).expect("read").flatten().collect();
        assert_eq!(left.len(), 5, "no temporary file stays: {left:?}");
    }

    #[cfg(unix)]
    #[test]
    fn certificate_key_is_readable_by_its_owner_only() {
        use std::os::unix::fs::PermissionsExt;
        let folder = folder();
        let config = TlsConfig::SelfSigned(folder.path().join("new"));
        let first = of(&config);
        let mode = |path: &str| fs::metadata(folder.path().join(path)).expect("there").permissions().mode() & 0o777;
        assert_eq!((mode("new"), mode("new/key.pem")), (0o700, 0o600));
        let key = folder.path().join("new/key.pem");
        fs::set_permissions(&key, fs::Permissions::from_mode(0o644)).expect("set");
        let second = of(&config);
        assert_ne!(second, first, "a key that others could read is a secret no more");
        assert_eq!(mode("new/key.pem"), 0o600);
    }

    #[test]
    fn certificate_near_expiry_is_replaced() {
        let folder = folder();
        let (home, now) = ([[192, 0, 2, 7]], SystemTime::now());
        let (first, pair) = kept_at(folder.path(), &home, now);
        assert!(valid(&pair, now, &default_provider()).is_ok());
        assert!(valid(&pair, now + DAY * 394, &default_provider()).is_ok());
        assert!(valid(&pair, now + DAY * 396, &default_provider()).is_err(), "more than Apple's systems take");
        assert_eq!(kept_at(folder.path(), &home, now + DAY * 364).0, first);
        let (second, _) = kept_at(folder.path(), &home, now + DAY * 366);
        assert_ne!(second, first);
        // A clock that was years ahead for once.
        let (third, _) = kept_at(folder.path(), &home, now);
        assert_ne!(third, second);
        assert_eq!(kept_at(folder.path(), &home, now).0, third);
    }

    #[test]
    fn certificate_is_kept_across_networks() {
        let folder = folder();
        let (home, work, now) = ([[192, 168, 2, 7]], [[10, 51, 100, 7]], SystemTime::now());
        let (at_home, _) = kept_at(folder.path(), &home, now);
        let (at_work, pair) = kept_at(folder.path(), &work, now);
        assert_ne!(at_work, at_home, "the first did not name this address");
        assert_eq!(kept_at(folder.path(), &home, now).0, at_work);
        assert_eq!(kept_at(folder.path(), &work, now).0, at_work);
        let parsed = ParsedCertificate::try_from(&pair.chain[0]).expect("a certificate");
        let named = |name: &str| {
            let name = ServerName::try_from(name.to_owned()).expect("a name");
            verify_server_name(&parsed, &name).is_ok()
        };
        for name in ["localhost", "127.0.0.1", "::1", "192.168.2.7", "10.51.100.7"] {
            assert!(named(name), "{name}");
        }
        assert!(!named("192.168.2.8") && !named("show.example"));
        // An attack on the list makes no endless certificate.
        let many: String = (0..10_000).map(|i| format!("10.0.{}.{}\n", i / 256, i % 256)).collect();
        fs::write(folder.path().join("addresses.txt"), many).expect("written");
        kept_at(folder.path(), &[[172, 16, 0, 7]], now);
        let list = fs::read_to_string(folder.path().join("addresses.txt")).expect("there");
        assert_eq!((list.lines().count(), list.lines().next()), (MAX_ADDRESSES, Some("172.16.0.7")));
    }

    #[test]
    fn authority_outlives_certificates_and_vouches_for_this_network_alone() {
        let (folder, provider, now) = (folder(), default_provider(), SystemTime::now());
        let (home, work) = ([[192, 168, 0, 7]], [[10, 0, 0, 7]]);
        let authority = |addresses: &[[u8; 4]], at| {
            let addresses: Vec<IpAddr> = addresses.iter().map(|address| IpAddr::from(*address)).collect();
            kept(folder.path(), &addresses, at, &provider).expect("kept or made").authority
        };
        let first = authority(&home, now);
        assert_eq!(authority(&work, now).der, first.der, "another network");
        assert_eq!(authority(&home, now + DAY * 366).der, first.der, "another certificate");
        assert_eq!(authority(&home, now + DAY * 3600).der, first.der, "almost ten years");
        // A public address that came later is left out, so that the rest stays valid.
        let (_, pair) = kept_at(folder.path(), &[[192, 168, 0, 7], [8, 8, 8, 8]], now);
        assert!(valid(&pair, now, &provider).is_ok());
        let parsed = ParsedCertificate::try_from(&pair.chain[0]).expect("a certificate");
        let named =
            |name: &str| verify_server_name(&parsed, &ServerName::try_from(name.to_owned()).expect("a name")).is_ok();
        assert!(named("192.168.0.7") && !named("8.8.8.8"));
        // Nor can its key make certificates of other sites.
        let signer =
            kept_signer(&folder.path().join("authority.pem"), &folder.path().join("authority-key.pem"), now, &provider);
        let Signer { authority: kept, key } = signer.expect("usable");
        assert_eq!((&kept.der, &kept.name), (&first.der, &first.name));
        let mut issuer = CertificateParams::default();
        issuer.distinguished_name = distinguished(&kept.name);
        let issuer = Issuer::new(issuer, key);
        for (name, vouched) in [
            ("bank.example", false),
            ("8.8.8.8", false),
            ("2001:db8::1", false),
            ("stage.local", true),
            ("10.1.2.3", true),
        ] {
            let own = KeyPair::generate().expect("a key");
            let params = CertificateParams::new(vec![name.to_owned()]).expect("a name");
            let made = params.signed_by(&own, &issuer).expect("signed");
            let chain = vec![made.into(), CertificateDer::from(kept.der.to_vec())];
            let pair = Pair { chain, key: PrivateKeyDer::try_from(own.serialize_der()).expect("a key") };
            assert_eq!(valid(&pair, now, &provider).is_ok(), vouched, "{name}");
        }
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt;
            let key = folder.path().join("authority-key.pem");
            assert_eq!(fs::metadata(&key).expect("there").permissions().mode() & 0o777, 0o600);
            fs::set_permissions(&key, fs::Permissions::from_mode(0o644)).expect("set");
            assert_ne!(authority(&home, now).der, first.der, "a key that others could read is a secret no more");
        }
        let second = authority(&home, now);
        assert_ne!(authority(&home, now + DAY * 3640).der, second.der, "it ends within a month");
    }

    #[test]
    fn certificate_folder_read_only() {
        let folder = folder();
        let taken = folder.path().join("a file");
        fs::write(&taken, "").expect("written");
        let config = TlsConfig::SelfSigned(taken.join("below"));
        assert_ne!(of(&config), of(&config), "one for each run");
    }

    #[test]
    fn certificate_user_files_invalid_are_named() {
        let folder = folder();
        let made = TlsConfig::SelfSigned(folder.path().to_owned());
        let fingerprint = of(&made);
        let (certificate, key) = (folder.path().join("certificate.pem"), folder.path().join("key.pem"));
        let own =
            |certificate: &Path, key: &Path| TlsConfig::Files { certificate: certificate.into(), key: key.into() };
        assert_eq!(of(&own(&certificate, &key)), fingerprint);
        let file = |name: &str, text: &str| {
            let path = folder.path().join(name);
            fs::write(&path, text).expect("written");
            path
        };
        let missing = folder.path().join("missing.pem");
        let empty = file("empty.pem", "");
        let broken = file("broken.pem", "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n");
        let locked =
            file("locked.pem", "-----BEGIN ENCRYPTED PRIVATE KEY-----\nMIIB\n-----END ENCRYPTED PRIVATE KEY-----\n");
        let other = file("other.pem", &KeyPair::generate().expect("a key").serialize_pem());
        for (config, path, reason) in [
            (own(&missing, &key), &missing, "No such file"),
            (own(&certificate, &missing), &missing, "No such file"),
            (own(&empty, &key), &empty, "no certificate: there is none"),
            (own(&certificate, &empty), &empty, "no private key: there is none"),
            (own(&certificate, &certificate), &certificate, "no private key: there is none"),
            (own(&certificate, &locked), &locked, "encrypted"),
            (own(&broken, &key), &broken, "cannot be used"),
            (own(&certificate, &other), &other, "cannot be used"),
        ] {
            let error = identity(&config).err().expect("refused").to_string();
            assert!(error.starts_with("field `tls`: "), "{error}");
            assert!(error.contains(&path.display().to_string()), "{error}");
            // The system has its own words on Windows.
            assert!(error.contains(reason) || (cfg!(windows) && path == &missing), "{error}");
        }
        assert!(identity(&TlsConfig::Off).expect("nothing to do").is_none());
    }
}
