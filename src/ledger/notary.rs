//! Who seals.

use super::fold::{Refused, Site, refuse};
use super::outcome::Refusal;
use super::state::Scratch;
use crate::chain::transaction::{NotarySet, Seal, Unfreeze};
use crate::identity::Identity;

pub(super) fn seal(_scratch: &mut Scratch<'_, '_>, _site: &Site, _it: &Seal) -> Result<(), Refused> {
    refuse(Refusal::Unsupported)
}

pub(super) fn set(_scratch: &mut Scratch<'_, '_>, _site: &Site, _it: &NotarySet) -> Result<(), Refused> {
    refuse(Refusal::Unsupported)
}

pub(super) fn unfreeze(_scratch: &mut Scratch<'_, '_>, _site: &Site, _it: &Unfreeze) -> Result<(), Refused> {
    refuse(Refusal::Unsupported)
}

/// Refuses what an identity may not do while it is frozen. Nobody is, before there are seals.
#[allow(clippy::unnecessary_wraps, reason = "the rule comes with the seals")]
pub(super) fn require_not_frozen(_scratch: &Scratch<'_, '_>, _identity: &Identity) -> Result<(), Refused> {
    Ok(())
}
