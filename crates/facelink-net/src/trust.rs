//! Which endpoint a client believes to be the right one, over TLS.

use std::{path::PathBuf, sync::Arc};

use rustls::{
    ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme,
    client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    crypto::{CryptoProvider, WebPkiSupportedAlgorithms, ring, verify_tls12_signature, verify_tls13_signature},
    pki_types::{CertificateDer, ServerName, UnixTime, pem::PemObject},
};

/// Whom a client takes for its endpoint when it connects by `wss://`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum ServerTrust {
    /// Certificates of the public authorities (Mozilla's list).
    #[default]
    Public,
    /// The certificate with this SHA-256 fingerprint and no other, in hexadecimal with or without colons: for an endpoint
    /// that made its own, as `--lan` does. [`Endpoint::certificate_fingerprint`](crate::EndpointControl::certificate_fingerprint)
    /// returns it.
    Fingerprint(String),
    /// Certificates that one of these in a PEM file vouches for, in addition to the public ones.
    Authority(PathBuf),
}

/// SHA-256 of a certificate, as 32 bytes in hexadecimal with colons between.
pub(crate) fn fingerprint(certificate: &CertificateDer<'_>) -> String {
    let digest = ::ring::digest::digest(&::ring::digest::SHA256, certificate);
    let bytes: Vec<String> = digest.as_ref().iter().map(|byte| format!("{byte:02X}")).collect();
    bytes.join(":")
}

/// Why a client's trust cannot be set up, naming the field.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TrustError {
    #[error("`trust`: `{0}` is no SHA-256 fingerprint: 32 bytes in hexadecimal")]
    Fingerprint(String),
    #[error("`trust`: {path} holds no certificate: {reason}")]
    Authority { path: PathBuf, reason: String },
    #[error("TLS: {0}")]
    Tls(#[from] rustls::Error),
}

impl ServerTrust {
    pub(crate) fn config(&self) -> Result<Arc<ClientConfig>, TrustError> {
        let provider = Arc::new(ring::default_provider());
        let builder = ClientConfig::builder_with_provider(provider.clone()).with_safe_default_protocol_versions()?;
        let config = match self {
            Self::Fingerprint(text) => {
                let wanted = parse(text).ok_or_else(|| TrustError::Fingerprint(text.clone()))?;
                builder.dangerous().with_custom_certificate_verifier(Arc::new(Pinned::new(wanted, &provider)))
            }
            Self::Public => builder.with_root_certificates(public_roots()),
            Self::Authority(path) => {
                let bad = |reason: String| TrustError::Authority { path: path.clone(), reason };
                let mut roots = public_roots();
                let certificates = CertificateDer::pem_file_iter(path).map_err(|error| bad(error.to_string()))?;
                let mut any = false;
                for certificate in certificates {
                    roots.add(certificate.map_err(|error| bad(error.to_string()))?)?;
                    any = true;
                }
                if !any {
                    return Err(bad("there is none in it".to_owned()));
                }
                builder.with_root_certificates(roots)
            }
        };
        Ok(Arc::new(config.with_no_client_auth()))
    }
}

fn public_roots() -> RootCertStore {
    RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.to_vec() }
}

fn parse(text: &str) -> Option<[u8; 32]> {
    let digits: Vec<u8> = text.bytes().filter(|byte| !matches!(byte, b':' | b' ')).collect();
    if digits.len() != 64 {
        return None;
    }
    let mut bytes = [0; 32];
    for (byte, pair) in bytes.iter_mut().zip(digits.chunks_exact(2)) {
        *byte = u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok()?;
    }
    Some(bytes)
}

/// Accepts one certificate, regardless of its name and dates; that the other side has its key is still verified.
#[derive(Debug)]
struct Pinned {
    wanted: [u8; 32],
    algorithms: WebPkiSupportedAlgorithms,
}

impl Pinned {
    fn new(wanted: [u8; 32], provider: &CryptoProvider) -> Self {
        Self { wanted, algorithms: provider.signature_verification_algorithms }
    }
}

impl ServerCertVerifier for Pinned {
    fn verify_server_cert(
        &self,
        certificate: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _name: &ServerName<'_>,
        _ocsp: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let digest = ::ring::digest::digest(&::ring::digest::SHA256, certificate);
        if digest.as_ref() == self.wanted {
            Ok(ServerCertVerified::assertion())
        } else {
            Err(rustls::Error::General(format!(
                "the endpoint's certificate is another one: {}",
                fingerprint(certificate)
            )))
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, certificate, signature, &self.algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, certificate, signature, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fingerprint_common_spellings_are_parsed() {
        let plain = "ab".repeat(32);
        let colons = ["AB"; 32].join(":");
        assert_eq!(parse(&plain), Some([0xab; 32]));
        assert_eq!(parse(&colons), Some([0xab; 32]));
        for bad in ["", "ab", &"ab".repeat(31), &"xy".repeat(32), &"ab".repeat(33)] {
            assert_eq!(parse(bad), None, "{bad}");
            let error = ServerTrust::Fingerprint(bad.to_owned()).config().expect_err("refused");
            assert!(error.to_string().starts_with("`trust`"), "{error}");
        }
        assert_eq!(fingerprint(&CertificateDer::from(vec![1, 2, 3])).len(), 95);
    }

    #[test]
    fn trust_invalid_authority_is_named() {
        let error = ServerTrust::Authority("/nowhere/ca.pem".into()).config().expect_err("refused").to_string();
        assert!(error.contains("/nowhere/ca.pem"), "{error}");
        assert!(ServerTrust::Public.config().is_ok());
    }
}
