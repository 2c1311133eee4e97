//! Passwords, which no log, error or debug output may show.

use std::fmt;

use aes::Aes256;
use aes::cipher::KeyIvInit;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};

/// A password. `Debug` and `Display` give `******`; [`Secret::expose`] is the only way to the text.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Secret(String);

/// The cluster's key for passwords in files: AES-256 in CFB mode.
#[derive(Clone)]
pub struct SecretKey([u8; 32]);

impl From<[u8; 32]> for SecretKey {
    fn from(key: [u8; 32]) -> Self {
        Self(key)
    }
}

impl fmt::Debug for SecretKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(MASK)
    }
}

/// What is shown in place of a password.
pub const MASK: &str = "******";

impl Secret {
    /// The clear text, for a connection or for etcd.
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// The clear text of a password that may be encrypted with the cluster's key. What is not of the encrypted form
    /// is clear already; a wrong key is not noticed, since the form has no authentication.
    #[must_use]
    pub fn decrypted(&self, key: &SecretKey) -> Self {
        self.try_decrypt(key).map_or_else(|| self.clone(), Self)
    }

    fn try_decrypt(&self, key: &SecretKey) -> Option<String> {
        let bytes = STANDARD.decode(&self.0).ok()?;
        let (iv, rest) = bytes.split_first_chunk::<16>()?;
        let mut text = rest.strip_prefix(b"@")?.to_vec();
        cfb_mode::Decryptor::<Aes256>::new(&key.0.into(), &(*iv).into()).decrypt(&mut text);
        Some(String::from_utf8_lossy(&text).into_owned())
    }

    /// Whether there is no password.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl From<String> for Secret {
    fn from(text: String) -> Self {
        Self(text)
    }
}

impl From<&str> for Secret {
    fn from(text: &str) -> Self {
        Self(text.to_owned())
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(MASK)
    }
}

impl fmt::Display for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(MASK)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_formatting_shows_the_text() {
        let secret = Secret::from("hunter2");
        assert_eq!(
            format!("{secret} {secret:?} {:?}", Some(&secret)),
            "****** ****** Some(******)"
        );
        assert_eq!(secret.expose(), "hunter2");
    }

    #[test]
    fn an_encrypted_password_is_read_and_any_other_stays_as_it_is() {
        let key = SecretKey::from(std::array::from_fn(|i| u8::try_from(i).unwrap()));
        let encrypted = Secret::from("Dw8PDw8PDw8PDw8PDw8PD0CRhZBf5vapzbFSMhDgO0fVWyC+");
        assert_eq!(encrypted.decrypted(&key).expose(), "secret password 123");
        for plain in [
            "",
            "hunter2",
            "YWJj",
            "Dw8PDw8PDw8PDw8PDw8PD0GRhZBf5vapzbFSMhDgO0fVWyC+",
        ] {
            assert_eq!(Secret::from(plain).decrypted(&key).expose(), plain);
        }
        assert_eq!(format!("{key:?}"), MASK);
    }
}
