//! Tokens: a secret printed once, of which only a hash is kept.

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use crate::names::hex;
use crate::platform::Platform;

/// A secret with at least 128 bits. It has no `Debug` or `Display`.
#[derive(Clone, PartialEq, Eq)]
pub struct Token(String);

/// The hash of a token: what a record keeps of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct TokenHash(String);

impl TryFrom<String> for TokenHash {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        let digit = |byte: u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
        let whole = text.len() == 64 && text.bytes().all(digit);
        if whole { Ok(Self(text)) } else { Err("a token's hash has 64 hexadecimal digits") }
    }
}

impl From<TokenHash> for String {
    fn from(hash: TokenHash) -> Self {
        hash.0
    }
}

impl std::fmt::Debug for Token {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Token(…)")
    }
}

impl Token {
    /// A new token of 256 bits.
    ///
    /// # Errors
    /// When the system has no secure randomness.
    pub fn generate(platform: &dyn Platform) -> std::io::Result<Self> {
        let mut bytes = [0u8; 32];
        platform.random(&mut bytes)?;
        Ok(Self(format!("hdl_{}", hex(&bytes))))
    }

    /// A token that the caller gives, surrounding white space removed; `None` if nothing
    /// is left.
    #[must_use]
    pub fn given(text: &str) -> Option<Self> {
        let text = text.trim();
        (!text.is_empty()).then(|| Self(text.to_owned()))
    }

    /// The secret itself, for the one answer that carries it.
    #[must_use]
    pub fn reveal(&self) -> &str {
        &self.0
    }

    /// Its hash. Tokens have full entropy, so one round of a plain hash cannot be guessed
    /// back.
    #[must_use]
    pub fn hash(&self) -> TokenHash {
        TokenHash(hex(&Sha256::digest(format!("heddle token\0{}", self.0).as_bytes())))
    }

    /// Whether this is the token with that hash, compared in constant time.
    #[must_use]
    pub fn matches(&self, hash: &TokenHash) -> bool {
        let ours = self.hash();
        // Both have the same length.
        ours.0.bytes().zip(hash.0.bytes()).fold(0u8, |sum, (a, b)| sum | (a ^ b)) == 0
    }

    /// Hides `secret` so that only the holder of this token can read it: XOR with a stream
    /// of hashes keyed by the token and by `salt`, used for this one secret only.
    #[must_use]
    pub fn seal(&self, secret: &Self, salt: &str) -> String {
        hex(&self.stream(secret.0.as_bytes(), salt))
    }

    /// What [`Self::seal`] hid; `None` if the text is not a sealed token.
    #[must_use]
    pub fn unseal(&self, sealed: &str, salt: &str) -> Option<Self> {
        let bytes: Option<Vec<u8>> = (0..sealed.len() / 2)
            .map(|at| sealed.get(at * 2..at * 2 + 2).and_then(|pair| u8::from_str_radix(pair, 16).ok()))
            .collect();
        String::from_utf8(self.stream(&bytes?, salt)).ok().map(Self)
    }

    fn stream(&self, text: &[u8], salt: &str) -> Vec<u8> {
        text.chunks(32)
            .enumerate()
            .flat_map(|(block, chunk)| {
                let key = Sha256::digest(format!("heddle seal\0{}\0{salt}\0{block}", self.0).as_bytes());
                chunk.iter().zip(key).map(|(byte, key)| byte ^ key).collect::<Vec<_>>()
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sealed_token_opens_with_its_key_only() {
        let secret = Token::generate(&crate::platform::System::new()).expect("random");
        let key = Token::given(" 0123456789abcdef0123456789abcdef\n").expect("given");
        let sealed = key.seal(&secret, "agent-1");
        assert!(!sealed.contains(secret.reveal()));
        assert_eq!(key.unseal(&sealed, "agent-1"), Some(secret.clone()));
        let other = Token::given("another").expect("given");
        assert_ne!(other.unseal(&sealed, "agent-1"), Some(secret.clone()));
        assert!(secret.matches(&secret.hash()));
        assert!(!other.matches(&secret.hash()));
    }
}
