//! Who seals.

use super::fold::{Refused, Site, refuse};
use super::outcome::Refusal;
use super::state::Scratch;
use crate::chain::transaction::{NotarySet, Seal, Unfreeze};

pub(super) fn seal(_scratch: &mut Scratch<'_, '_>, _site: &Site, _it: &Seal) -> Result<(), Refused> {
    refuse(Refusal::Unsupported)
}

pub(super) fn set(_scratch: &mut Scratch<'_, '_>, _site: &Site, _it: &NotarySet) -> Result<(), Refused> {
    refuse(Refusal::Unsupported)
}

pub(super) fn unfreeze(_scratch: &mut Scratch<'_, '_>, _site: &Site, _it: &Unfreeze) -> Result<(), Refused> {
    refuse(Refusal::Unsupported)
}
