//! The side of a publisher: makes key pairs and signatures. A private key exists outside of this process only encrypted
//! with a password.

use klines_domain::sanitize::sanitize;
use klines_domain::secret::Secret;
use minisign::{KeyPair, SecretKey, SecretKeyBox};
use thiserror::Error;

use super::digest::Digest;
use super::signature::{MAX_SIGNATURE, PublicKey, Signature};

/// The shortest password, in characters. The file of a key can be attacked without a limit once somebody has it.
pub const MIN_PASSWORD: usize = 12;
/// The maximum length of the text that signatures carry.
const MAX_NAME: usize = 128;

/// A new key pair, as it is written to files.
pub struct NewKeys {
    /// The public key.
    pub public: PublicKey,
    /// The content of the file `.pub`.
    pub public_file: String,
    /// The content of the file of the private key, encrypted.
    pub private_file: Secret,
}

/// Why nothing is signed.
#[derive(Debug, Error)]
pub enum SigningError {
    /// The password is too short to protect a key.
    #[error("the password has fewer than {MIN_PASSWORD} characters")]
    WeakPassword,
    /// The file is not a private key of minisign that is encrypted.
    #[error("it is not an encrypted private key of minisign, or the password is wrong")]
    NotUnlocked,
    /// The system returns no random bits, or another failure that is no fault of the caller.
    #[error("the key cannot be used: {0}")]
    Failed(String),
}

/// Makes a key pair whose private key is encrypted with `password`.
///
/// # Errors
/// [`SigningError`].
pub fn generate(password: &Secret) -> Result<NewKeys, SigningError> {
    if password.expose().chars().count() < MIN_PASSWORD {
        return Err(SigningError::WeakPassword);
    }
    let KeyPair { pk, sk } = KeyPair::generate_encrypted_keypair(Some(password.expose().to_owned())).map_err(failed)?;
    let public_file = pk.to_box().map_err(failed)?.into_string();
    let private_file = sk.to_box(Some("klines encrypted private key")).map_err(failed)?.into_string();
    let public = pk.to_base64().parse().map_err(|_| SigningError::Failed("a new key cannot be read".to_owned()))?;
    Ok(NewKeys { public, public_file, private_file: Secret::new(private_file) })
}

/// A private key, decrypted. It has no text form.
pub struct SigningKey(SecretKey);

impl SigningKey {
    /// Decrypts the content of the file of a private key.
    ///
    /// # Errors
    /// [`SigningError::NotUnlocked`].
    pub fn unlock(private_file: &Secret, password: &Secret) -> Result<Self, SigningError> {
        let content = SecretKeyBox::from_string(private_file.expose()).map_err(failed)?;
        let key = SecretKey::from_box(content, Some(password.expose().to_owned()));
        key.map(Self).map_err(|_| SigningError::NotUnlocked)
    }

    /// Returns the public key.
    ///
    /// # Errors
    /// [`SigningError`] if the file contains no whole key.
    pub fn public(&self) -> Result<PublicKey, SigningError> {
        let key = minisign::PublicKey::from_secret_key(&self.0).map_err(failed)?;
        key.to_base64().parse().map_err(|_| SigningError::NotUnlocked)
    }

    /// Signs the content of a file. The signed comment has its name and its digest.
    ///
    /// # Errors
    /// [`SigningError`].
    pub fn sign(&self, bytes: &[u8], name: &str) -> Result<Signature, SigningError> {
        let comment = format!("file:{}\t{}", sanitize(name, MAX_NAME), Digest::of(bytes));
        let public = minisign::PublicKey::from_secret_key(&self.0).map_err(failed)?;
        let untrusted = "signature of a consumer of klines";
        let made = minisign::sign(Some(&public), &self.0, bytes, Some(&comment), Some(untrusted)).map_err(failed)?;
        let text = made.into_string();
        debug_assert!(text.len() <= MAX_SIGNATURE);
        Signature::parse(&text).map_err(|error| SigningError::Failed(error.to_string()))
    }
}

#[expect(clippy::needless_pass_by_value, reason = "it converts errors")]
fn failed(error: minisign::PError) -> SigningError {
    SigningError::Failed(error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn secret(text: &str) -> Secret {
        Secret::new(text.to_owned())
    }

    #[test]
    fn what_a_new_key_signs_is_verified_by_the_other_implementation() {
        let password = secret("correct horse battery");
        let keys = generate(&password).unwrap();
        assert!(keys.public_file.contains(&keys.public.to_string()));
        assert!(keys.private_file.expose().starts_with("untrusted comment: klines encrypted private key\n"));
        let key = SigningKey::unlock(&keys.private_file, &password).unwrap();
        assert_eq!(key.public().unwrap(), keys.public);
        let signature = key.sign(b"a component", "demo\u{1b}.wasm").unwrap();
        assert!(signature.is_of(b"a component", &keys.public));
        assert!(!signature.is_of(b"b component", &keys.public));
        let comment = signature.comment();
        assert!(comment.starts_with("file:demo") && comment.ends_with(&Digest::of(b"a component").to_string()));
        assert!(matches!(
            SigningKey::unlock(&keys.private_file, &secret("correct horse batterx")),
            Err(SigningError::NotUnlocked)
        ));
        assert!(matches!(SigningKey::unlock(&secret("x\ny\n"), &password), Err(SigningError::NotUnlocked)));
    }

    #[test]
    fn a_short_password_protects_no_key() {
        assert!(matches!(generate(&secret("eleven char")), Err(SigningError::WeakPassword)));
        assert!(matches!(generate(&secret("")), Err(SigningError::WeakPassword)));
    }
}
