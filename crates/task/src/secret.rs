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

impl SecretKey {
    /// Reads the text of a key file: 64 hexadecimal digits, blanks around them apart. The error says what is wrong
    /// and never what was read.
    pub fn from_hex(text: &str) -> Result<Self, KeyTextError> {
        let digits = text.trim().as_bytes();
        let mut key = [0; 32];
        if digits.len() != 2 * key.len() {
            return Err(KeyTextError::Length(digits.len()));
        }
        for (byte, pair) in key.iter_mut().zip(digits.chunks(2)) {
            let nibble = |digit: u8| {
                char::from(digit)
                    .to_digit(16)
                    .and_then(|n| u8::try_from(n).ok())
            };
            let (high, low) = nibble(pair[0])
                .zip(nibble(pair[1]))
                .ok_or(KeyTextError::Digit)?;
            *byte = high << 4 | low;
        }
        Ok(Self(key))
    }

    /// The raw key, for workers.
    pub fn expose(&self) -> &[u8] {
        &self.0
    }

    /// The encrypted form of a text, with 16 bytes that were never used before.
    pub fn encrypt(&self, iv: [u8; 16], clear: &str) -> String {
        let mut cipher = clear.as_bytes().to_vec();
        cfb_mode::Encryptor::<Aes256>::new(&self.0.into(), &iv.into()).encrypt(&mut cipher);
        STANDARD.encode([&iv[..], b"@", &cipher].concat())
    }
}

/// Why a text is no key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeyTextError {
    /// Too many or too few digits.
    #[error("the key must be 64 hexadecimal digits, not {0} characters")]
    Length(usize),
    /// Something that is no digit.
    #[error("the key must be hexadecimal digits only")]
    Digit,
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
    fn a_key_encrypts_what_it_decrypts_and_is_read_from_hexadecimal() {
        let digits: String = (0..32).map(|i| format!("{i:02x}")).collect();
        let key = SecretKey::from_hex(&format!(" {digits}\n")).unwrap();
        let encrypted = key.encrypt([15; 16], "secret password 123");
        assert_eq!(
            encrypted,
            "Dw8PDw8PDw8PDw8PDw8PD0CRhZBf5vapzbFSMhDgO0fVWyC+"
        );
        assert_eq!(
            Secret::from(encrypted).decrypted(&key).expose(),
            "secret password 123"
        );
        assert_eq!(
            SecretKey::from_hex("00").unwrap_err(),
            KeyTextError::Length(2)
        );
        assert_eq!(
            SecretKey::from_hex(&"é".repeat(32)).unwrap_err(),
            KeyTextError::Digit
        );
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
