//! Tokens.

use super::fold::{Refused, Site, refuse};
use super::outcome::Refusal;
use super::state::Scratch;
use crate::chain::transaction::{Mint, PolicyUpdate, Transfer, TreasuryPay};

pub(super) fn update_policy(_scratch: &mut Scratch<'_, '_>, _site: &Site, _it: &PolicyUpdate) -> Result<(), Refused> {
    refuse(Refusal::Unsupported)
}

pub(super) fn mint(_scratch: &mut Scratch<'_, '_>, _site: &Site, _index: u32, _it: &Mint) -> Result<(), Refused> {
    refuse(Refusal::Unsupported)
}

pub(super) fn transfer(
    _scratch: &mut Scratch<'_, '_>,
    _site: &Site,
    _index: u32,
    _it: &Transfer,
) -> Result<(), Refused> {
    refuse(Refusal::Unsupported)
}

pub(super) fn pay(_scratch: &mut Scratch<'_, '_>, _site: &Site, _index: u32, _it: &TreasuryPay) -> Result<(), Refused> {
    refuse(Refusal::Unsupported)
}
