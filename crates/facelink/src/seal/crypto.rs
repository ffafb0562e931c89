//! SFrame's keys and AEAD, over buffers that are there already.

use sframe::{
    CipherSuite,
    crypto::{DecryptionBufferView, EncryptionBufferView},
    key::{DecryptionKey, EncryptionKey},
};

use crate::wire::sealed::{KeyId, MAX_CLEAR, TAG_LEN};

/// AES_256_GCM_SHA512_128, number 5 of RFC 9605.
const SUITE: CipherSuite = CipherSuite::AesGcm256Sha512;

/// The cryptography refused. It does not with keys and lengths as they are used here.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the cipher refuses the key or the length")]
pub struct CryptoError;

/// What is authenticated besides the plaintext: the SFrame header, then the kind as metadata.
struct Aad([u8; MAX_CLEAR], usize);

impl Aad {
    fn of(clear: &[u8]) -> Option<Self> {
        let (kind, header) = clear.split_first()?;
        let mut bytes = [0; MAX_CLEAR];
        bytes.get_mut(..header.len())?.copy_from_slice(header);
        *bytes.get_mut(header.len())? = *kind;
        Some(Self(bytes, clear.len()))
    }

    fn bytes(&mut self) -> &mut [u8] {
        &mut self.0[..self.1]
    }
}

/// The key of one stream, to seal with.
#[derive(Debug)]
pub(super) struct SealKey(EncryptionKey);

impl SealKey {
    pub fn derive(base_key: &[u8], key_id: KeyId) -> Result<Self, CryptoError> {
        EncryptionKey::derive_from(SUITE, key_id.get(), base_key).map(Self).map_err(|_| CryptoError)
    }

    /// Encrypts `out[clear..]` in place and appends the tag; `out[start..clear]` is the clear part.
    pub fn seal(&self, out: &mut Vec<u8>, start: usize, clear: usize, counter: u64) -> Result<(), CryptoError> {
        let end = out.len();
        out.resize(end + TAG_LEN, 0);
        let (head, body) = out.split_at_mut(clear);
        let (data, tag) = body.split_at_mut(end - clear);
        let mut aad = Aad::of(&head[start..]).ok_or(CryptoError)?;
        let view = EncryptionBufferView { aad: aad.bytes(), data, tag };
        self.0.encrypt(view, counter).map_err(|_| CryptoError)
    }
}

/// The key of one stream, to open with.
#[derive(Debug)]
pub(super) struct OpenKey(DecryptionKey);

impl OpenKey {
    pub fn derive(base_key: &[u8], key_id: KeyId) -> Result<Self, CryptoError> {
        DecryptionKey::derive_from(SUITE, key_id.get(), base_key).map(Self).map_err(|_| CryptoError)
    }

    /// Decrypts in place; what remains is without the tag.
    pub fn open(&self, clear: &[u8], counter: u64, data: &mut Vec<u8>) -> Result<(), CryptoError> {
        let mut aad = Aad::of(clear).ok_or(CryptoError)?;
        let view = DecryptionBufferView { aad: aad.bytes(), data };
        self.0.decrypt(view, counter).map_err(|_| CryptoError)?;
        data.truncate(data.len().saturating_sub(TAG_LEN));
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::sealed::Packet;

    fn unhex(text: &str) -> Vec<u8> {
        let digit = |byte: &u8| (*byte as char).to_digit(16).expect("hex") as u8;
        text.as_bytes().as_chunks::<2>().0.iter().map(|[high, low]| digit(high) << 4 | digit(low)).collect()
    }

    const BASE_KEY: &str = "000102030405060708090a0b0c0d0e0f";
    const METADATA: &str = "4945544620534672616d65205747";
    const PLAINTEXT: &str = "64726166742d696574662d736672616d652d656e63";
    const KEY_ID: u64 = 0x123;
    const COUNTER: u64 = 0x4567;

    /// RFC 9605, appendix C.3: AES_128_GCM_SHA256_128 and AES_256_GCM_SHA512_128.
    #[test]
    fn seal_crypto_passes_the_vectors_of_rfc9605() {
        for (suite, ciphertext) in [
            (
                CipherSuite::AesGcm128Sha256,
                "9901234567b7412c2513a1b66dbb48841bbaf17f598751176ad847681a69c6d0b091c07018ce4adb34eb",
            ),
            (
                CipherSuite::AesGcm256Sha512,
                "990123456794f509d36e9beacb0e261d99c7d1e972f1fed787d4049f17ca21353c1cc24d56ceabced279",
            ),
        ] {
            let (header, body) = (unhex("9901234567"), unhex(ciphertext)[5..].to_vec());
            let key = EncryptionKey::derive_from(suite, KEY_ID, unhex(BASE_KEY)).expect("a key");
            let mut aad = [header.clone(), unhex(METADATA)].concat();
            let (mut data, mut tag) = (unhex(PLAINTEXT), [0; TAG_LEN]);
            key.encrypt(EncryptionBufferView { aad: &mut aad, data: &mut data, tag: &mut tag }, COUNTER)
                .expect("sealed");
            assert_eq!([&data[..], &tag].concat(), body, "{suite}");

            let key = DecryptionKey::derive_from(suite, KEY_ID, unhex(BASE_KEY)).expect("a key");
            let mut data = body.clone();
            key.decrypt(DecryptionBufferView { aad: &mut aad, data: &mut data }, COUNTER).expect("opened");
            assert_eq!(data[..data.len() - TAG_LEN], unhex(PLAINTEXT), "{suite}");
            for flipped in 0..body.len() {
                let mut data = body.clone();
                data[flipped] ^= 1;
                let view = DecryptionBufferView { aad: &mut aad, data: &mut data };
                assert!(key.decrypt(view, COUNTER).is_err(), "{suite}: byte {flipped}");
            }
        }
    }

    /// The same vector through our own path: the header as we write it, the kind in place of the vector's metadata.
    #[test]
    fn seal_crypto_own_path_is_sframe() {
        use crate::wire::sealed::{Kind, Layer, put_clear};
        let key_id = KeyId::new(crate::wire::sealed::StreamId::from_random(1), 0x23);
        let mut out = vec![0xEE];
        put_clear(Kind::Face(Layer::Base), key_id, COUNTER, &mut out);
        let clear = out.len();
        out.extend(unhex(PLAINTEXT));
        SealKey::derive(&unhex(BASE_KEY), key_id).expect("a key").seal(&mut out, 1, clear, COUNTER).expect("sealed");

        // sframe's own writer of whole frames, with the kind as metadata.
        let key = EncryptionKey::derive_from(SUITE, key_id.get(), unhex(BASE_KEY)).expect("a key");
        let mut counter = sframe::frame::MonotonicCounter::with_start_value(COUNTER, u64::MAX);
        let (plaintext, kind) = (unhex(PLAINTEXT), [0xF4]);
        let frame =
            sframe::frame::MediaFrameView::try_with_meta_data(&mut counter, &plaintext, &kind).expect("a frame");
        let theirs = frame.encrypt(&key).expect("sealed");
        assert_eq!(&out[2..], theirs.sframe_cipher_text());

        let packet = Packet::parse(&out[1..]).expect("a packet");
        let mut data = packet.ciphertext().to_vec();
        let open = OpenKey::derive(&unhex(BASE_KEY), packet.key_id).expect("a key");
        open.open(packet.clear(), packet.counter, &mut data).expect("opened");
        assert_eq!(data, plaintext);
    }
}
