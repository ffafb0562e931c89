//! The certificate authority of this machine, as devices install it.

/// The authority that vouches for the certificate of an endpoint with [`TlsConfig::SelfSigned`](crate::TlsConfig). Its key
/// stays in the folder of the certificate. The page `/certificate` of the endpoint offers it and says how to install it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CertificateAuthority {
    pub(crate) name: String,
    pub(crate) fingerprint: String,
    pub(crate) der: Vec<u8>,
    pub(crate) pem: String,
}

impl CertificateAuthority {
    /// The name under which devices list it, such as `FaceLink 3F7A22C190BB`. It follows from the key.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// SHA-256 of its certificate, as 32 bytes in hexadecimal with colons between.
    pub fn fingerprint(&self) -> &str {
        &self.fingerprint
    }

    /// Its certificate, DER.
    pub fn der(&self) -> &[u8] {
        &self.der
    }

    /// Its certificate, PEM: for `ServerTrust::Authority` of a Rust client, `SSL_CERT_FILE` and the like.
    pub fn pem(&self) -> &str {
        &self.pem
    }
}
