//! A component that is offered: its bytes were read once, its digest and signature are verified, and these bytes are
//! compiled. None of its code has run.

use std::fmt::Write as _;
use std::sync::Arc;

use anyhow::{Context, bail};
use klines_authoring::tools::cache_of_process;
use klines_config::Config;
use klines_domain::sanitize::sanitize;
use klines_sharing::digest::Digest;
use klines_sharing::lock::Signed;
use klines_sharing::signature::Signature;
use klines_sharing::source::Source;
use klines_sharing::trust::{TrustError, TrustedKeys};
use klines_system::limits::Limits;
use klines_wasm::component::Component;
use klines_wasm::component_loader::ComponentFile;

use super::source::{Fetched, fetch, place_of_signature};
use crate::app::wiring::compiling;

/// What an operator demands of a component.
#[derive(Clone, Copy, Debug)]
pub(super) struct Demands<'a> {
    /// Its digest.
    pub(super) digest: Option<&'a Digest>,
    /// Its publisher.
    pub(super) publisher: Option<&'a str>,
    /// Whether it may be without a signature of a trusted key.
    pub(super) allow_unsigned: bool,
    /// Its limits.
    pub(super) limits: &'a Limits,
}

/// A component that fulfils the demands.
pub(super) struct Offer {
    /// Its bytes.
    pub(super) file: ComponentFile,
    /// The digest of the bytes.
    pub(super) digest: Digest,
    /// Who has signed it; `None` if it was accepted without that.
    pub(super) signed: Option<Signed>,
    /// The compiled component.
    pub(super) component: Arc<Component>,
    /// Where it was: in a registry, exactly which manifest.
    pub(super) source: Source,
}

impl Offer {
    /// Reads, verifies and compiles a component.
    ///
    /// # Errors
    /// When it does not fulfil the demands, or is no component.
    pub(super) fn take(source: &Source, demands: Demands<'_>, config: &Config) -> anyhow::Result<Self> {
        let Fetched { file, signature, source } = fetch(source, config)?;
        let shown = sanitize(&source.to_string(), usize::MAX);
        let digest = Digest::of(&file.bytes);
        if let Some(wanted) = demands.digest.filter(|wanted| **wanted != digest) {
            bail!("{shown}: it has {digest}, and {wanted} was demanded: it is another file, or was changed");
        }
        let signed = verify(&source, &file.bytes, signature.as_deref(), demands, &config.trusted_keys)?;
        let components = compiling::for_an_author(cache_of_process().as_deref())?;
        let component = components.from_untrusted(&file, demands.limits).with_context(|| shown)?;
        Ok(Self { file, digest, signed, component, source })
    }

    /// Returns the version that its manifest names.
    pub(super) fn release(&self) -> Option<String> {
        let manifest = self.component.wants().manifest.as_ref()?;
        Some(manifest.version.clone()).filter(|version| !version.is_empty())
    }

    /// Describes it for people.
    pub(super) fn text(&self) -> String {
        let mut text = String::new();
        let mut line = |name: &str, value: &str| {
            // Writing to a `String` cannot fail.
            let _ = writeln!(text, "{name:<12}{}", sanitize(value, usize::MAX));
        };
        if let Some(manifest) = &self.component.wants().manifest {
            // Many blanks could move a text to the beginning of another line, where it looks like one of these.
            let text = format!("{} {}: {}", manifest.name, manifest.version, manifest.description);
            line("manifest", &text.split_whitespace().collect::<Vec<_>>().join(" "));
        }
        line("digest", &self.digest.to_string());
        line("signed", &signer(self.signed.as_ref()));
        line("contract", &self.component.contract());
        text
    }
}

/// Describes who has signed a component.
pub(super) fn signer(signed: Option<&Signed>) -> String {
    match signed {
        Some(Signed { signer, signature }) => {
            format!("by {} with the key {} ({})", signer.publisher, signer.key.id(), signature.comment())
        }
        None => "no: nothing says whose it is".to_owned(),
    }
}

fn verify(
    source: &Source,
    bytes: &[u8],
    signature: Option<&str>,
    demands: Demands<'_>,
    trusted: &TrustedKeys,
) -> anyhow::Result<Option<Signed>> {
    let (shown, place) = (sanitize(&source.to_string(), usize::MAX), place_of_signature(source));
    let unsigned = "accept exactly these bytes with --allow-unsigned";
    let Some(text) = signature else {
        if demands.allow_unsigned {
            return Ok(None);
        }
        bail!("{shown}: it has no signature ({place}): ask its publisher for one, or {unsigned}");
    };
    let signature = Signature::parse(text).with_context(|| place)?;
    match trusted.signer(&signature, bytes) {
        Ok(signer) => {
            if let Some(wanted) = demands.publisher.filter(|wanted| *wanted != signer.publisher) {
                bail!("{shown}: it is signed by `{}`, and a component of `{wanted}` is expected", signer.publisher);
            }
            Ok(Some(Signed { signer, signature }))
        }
        Err(TrustError::Unknown(_)) if demands.allow_unsigned => Ok(None),
        Err(error @ TrustError::Unknown(_)) => bail!("{shown}: {error}: expected {}; or {unsigned}", error.fix()),
        Err(error) => bail!("{shown}: {error}: expected {}", error.fix()),
    }
}
