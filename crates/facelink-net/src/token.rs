//! Pairing tokens, and secrets that programs keep.

/// A pairing token to read from one screen and type into another: 50 random bits, without letters that look alike.
pub fn new_token() -> String {
    const LETTERS: &[u8; 32] = b"abcdefghijkmnpqrstuvwxyz23456789";
    // The low 62 bits of a version 4 UUID are all random.
    let bits = uuid::Uuid::new_v4().as_u128();
    (0..10).map(|place| char::from(LETTERS[(bits >> (5 * place)) as usize % LETTERS.len()])).collect()
}

/// A secret that programs keep: 122 random bits.
pub(crate) fn new_secret() -> String {
    uuid::Uuid::new_v4().simple().to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn token_is_random_and_typeable() {
        let tokens: std::collections::HashSet<String> = (0..100).map(|_| new_token()).collect();
        assert_eq!(tokens.len(), 100);
        assert!(tokens.iter().all(|token| token.len() == 10 && token.bytes().all(|b| b.is_ascii_alphanumeric())));
    }
}
