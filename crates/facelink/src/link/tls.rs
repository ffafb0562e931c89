//! HTTPS beside HTTP: a self-signed certificate that is kept, or the user's own.

use std::{
    fs, io,
    net::IpAddr,
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use etcetera::BaseStrategy;
use rcgen::{CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, KeyPair};
use rustls::{
    ServerConfig,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
};
use tokio_rustls::TlsAcceptor;

use super::trust::fingerprint;

/// Validity of a certificate that we make. Apple's systems refuse longer ones.
const VALID: Duration = Duration::from_secs(397 * 24 * 3600);
/// One that ends sooner than this is made anew.
const RENEW: Duration = Duration::from_secs(30 * 24 * 3600);
/// Stands before the certificate in its file, followed by the end of its validity in Unix seconds.
const UNTIL: &str = "Made by FaceLink. Valid until (Unix time): ";

/// Whether the HTTP port speaks TLS too. Plain HTTP and HTTPS then share it: the first byte of a connection tells them
/// apart.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum TlsConfig {
    /// Plain HTTP alone.
    #[default]
    Off,
    /// A certificate of our own making, kept in this folder across runs: browsers warn of it once, and remember that the
    /// user has accepted it for as long as it stays the same.
    SelfSigned(PathBuf),
    /// The user's certificate chain and key.
    Files {
        /// Certificate chain, PEM.
        certificate: PathBuf,
        /// Private key, PEM (PKCS#8, PKCS#1 or SEC1).
        key: PathBuf,
    },
}

impl TlsConfig {
    /// A self-signed certificate in the folder that the system has for such things, such as `~/.local/share/facelink`;
    /// in the temporary folder where there is no home.
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
    #[error("field `tls`: the certificate cannot be used: {0}")]
    Unusable(#[from] rustls::Error),
    /// A certificate could not be made.
    #[error("field `tls`: no certificate could be made: {0}")]
    Make(#[from] rcgen::Error),
}

/// What an endpoint shows of itself over TLS.
pub(super) struct Identity {
    pub acceptor: TlsAcceptor,
    /// SHA-256 of the certificate.
    pub fingerprint: String,
}

/// Reads or makes the certificate; `None` without TLS.
pub(super) fn identity(config: &TlsConfig) -> Result<Option<Identity>, TlsError> {
    let (chain, key) = match config {
        TlsConfig::Off => return Ok(None),
        TlsConfig::Files { certificate, key } => (read_chain(certificate)?, read_key(key)?),
        TlsConfig::SelfSigned(folder) => kept(folder)?,
    };
    let fingerprint = chain.first().map(fingerprint).unwrap_or_default();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut server = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_single_cert(chain, key)?;
    // WebSockets want HTTP/1.1.
    server.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(Some(Identity { acceptor: TlsAcceptor::from(Arc::new(server)), fingerprint }))
}

type Pair = (Vec<CertificateDer<'static>>, PrivateKeyDer<'static>);

fn content(path: &Path, what: &'static str, reason: impl ToString) -> TlsError {
    TlsError::Content { path: path.to_owned(), what, reason: reason.to_string() }
}

fn read(path: &Path) -> Result<Vec<u8>, TlsError> {
    fs::read(path).map_err(|source| TlsError::File { path: path.to_owned(), source })
}

fn read_chain(path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let text = read(path)?;
    let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&text).collect();
    match chain {
        Ok(chain) if chain.is_empty() => Err(content(path, "certificate", "there is none in it")),
        Ok(chain) => Ok(chain),
        Err(error) => Err(content(path, "certificate", error)),
    }
}

fn read_key(path: &Path) -> Result<PrivateKeyDer<'static>, TlsError> {
    PrivateKeyDer::from_pem_slice(&read(path)?).map_err(|error| content(path, "private key", error))
}

/// The certificate of this folder, made if there is none that can be used.
fn kept(folder: &Path) -> Result<Pair, TlsError> {
    let (certificate, key) = (folder.join("certificate.pem"), folder.join("key.pem"));
    if certificate.exists() {
        match usable(&certificate, &key) {
            Ok(Some(pair)) => return Ok(pair),
            Ok(None) => tracing::info!("the certificate in {} ends soon: another one is made", folder.display()),
            Err(error) => tracing::warn!("{error}; another certificate is made"),
        }
    }
    make(folder, &certificate, &key)?;
    Ok((read_chain(&certificate)?, read_key(&key)?))
}

/// `None` when it ends soon.
fn usable(certificate: &Path, key: &Path) -> Result<Option<Pair>, TlsError> {
    let text = read(certificate)?;
    let text = String::from_utf8_lossy(&text);
    let until = text.lines().find_map(|line| line.strip_prefix(UNTIL)?.trim().parse().ok()).map(Duration::from_secs);
    let until = until.ok_or_else(|| content(certificate, "end of its validity", "somebody has changed it"))?;
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    if until < now + RENEW {
        return Ok(None);
    }
    let pair = (read_chain(certificate)?, read_key(key)?);
    // What does not go together would only be found out later.
    let provider = rustls::crypto::ring::default_provider();
    rustls::sign::CertifiedKey::from_der(pair.0.clone(), pair.1.clone_key(), &provider)?;
    Ok(Some(pair))
}

fn names() -> Vec<String> {
    let mut names = vec!["localhost".to_owned(), "127.0.0.1".to_owned(), "::1".to_owned()];
    if let Some(host) = fs::read_to_string("/etc/hostname").ok().or_else(|| std::env::var("COMPUTERNAME").ok()) {
        let host = host.trim().trim_end_matches('.').to_owned();
        if !host.is_empty() && host.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.')) {
            names.push(format!("{host}.local"));
            names.push(host);
        }
    }
    let addresses = if_addrs::get_if_addrs().unwrap_or_default();
    names.extend(
        addresses.iter().map(if_addrs::Interface::ip).filter(|ip| !ip.is_loopback()).map(|ip: IpAddr| ip.to_string()),
    );
    names
}

fn make(folder: &Path, certificate: &Path, key: &Path) -> Result<(), TlsError> {
    let mut params = CertificateParams::new(names())?;
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, "FaceLink on this network");
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    let now = SystemTime::now();
    // A phone's clock may be a little behind.
    params.not_before = (now - Duration::from_secs(24 * 3600)).into();
    params.not_after = (now + VALID - Duration::from_secs(48 * 3600)).into();
    let until = (now + VALID - Duration::from_secs(48 * 3600)).duration_since(UNIX_EPOCH).unwrap_or_default();
    let pair = KeyPair::generate()?;
    let made = params.self_signed(&pair)?;
    fs::create_dir_all(folder).map_err(|source| TlsError::File { path: folder.to_owned(), source })?;
    write(key, &pair.serialize_pem())?;
    write(certificate, &format!("{UNTIL}{}\n{}", until.as_secs(), made.pem()))
}

/// All of the file or nothing, for its owner's eyes alone.
fn write(path: &Path, text: &str) -> Result<(), TlsError> {
    let error = |source| TlsError::File { path: path.to_owned(), source };
    let mut temporary = path.as_os_str().to_owned();
    temporary.push(format!(".{}", std::process::id()));
    let temporary = PathBuf::from(temporary);
    let mut options = fs::OpenOptions::new();
    options.write(true).create(true).truncate(true);
    #[cfg(unix)]
    {
        use std::os::unix::fs::OpenOptionsExt;
        options.mode(0o600);
    }
    let mut file = options.open(&temporary).map_err(error)?;
    io::Write::write_all(&mut file, text.as_bytes()).map_err(error)?;
    drop(file);
    fs::rename(&temporary, path).map_err(error)
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

    #[test]
    fn a_certificate_is_kept_and_made_anew_when_it_is_of_no_use() {
        let folder = folder();
        let config = TlsConfig::SelfSigned(folder.path().join("deep/er"));
        let first = of(&config);
        assert_eq!(of(&config), first, "kept across runs");
        let path = folder.path().join("deep/er/certificate.pem");
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt;
            let mode = fs::metadata(folder.path().join("deep/er/key.pem")).expect("there").permissions().mode();
            assert_eq!(mode & 0o777, 0o600);
        }
        fs::write(&path, "nonsense").expect("written");
        let second = of(&config);
        assert_ne!(second, first);
        // One that ends next week.
        let text = fs::read_to_string(&path).expect("there");
        let soon = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_secs() + 7 * 24 * 3600;
        let (_, rest) = text.split_once('\n').expect("lines");
        fs::write(&path, format!("{UNTIL}{soon}\n{rest}")).expect("written");
        let third = of(&config);
        assert!(![first, second].contains(&third));
        // The key of another one.
        fs::write(folder.path().join("deep/er/key.pem"), KeyPair::generate().expect("a key").serialize_pem())
            .expect("written");
        assert_ne!(of(&config), third);
    }

    #[test]
    fn files_of_the_users_own_are_named_when_they_are_wrong() {
        let folder = folder();
        let made = TlsConfig::SelfSigned(folder.path().to_owned());
        let fingerprint = of(&made);
        let (certificate, key) = (folder.path().join("certificate.pem"), folder.path().join("key.pem"));
        let own =
            |certificate: &Path, key: &Path| TlsConfig::Files { certificate: certificate.into(), key: key.into() };
        assert_eq!(of(&own(&certificate, &key)), fingerprint);
        let missing = folder.path().join("missing.pem");
        let empty = folder.path().join("empty.pem");
        fs::write(&empty, "").expect("written");
        for (config, path) in [
            (own(&missing, &key), &missing),
            (own(&certificate, &missing), &missing),
            (own(&empty, &key), &empty),
            (own(&certificate, &empty), &empty),
        ] {
            let error = identity(&config).err().expect("refused").to_string();
            assert!(error.contains(&path.display().to_string()), "{error}");
        }
        let other = folder.path().join("other.pem");
        fs::write(&other, KeyPair::generate().expect("a key").serialize_pem()).expect("written");
        assert!(matches!(identity(&own(&certificate, &other)), Err(TlsError::Unusable(_))));
        assert!(identity(&TlsConfig::Off).expect("nothing to do").is_none());
    }
}
