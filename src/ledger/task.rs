//! Tasks.

use super::fold::{Refused, Site, refuse};
use super::outcome::Refusal;
use super::state::Scratch;
use crate::chain::transaction::{TaskAssign, TaskCancel, TaskComplete, TaskCreate, TaskFail, TaskRelease, TaskStart};

pub(super) fn create(
    _scratch: &mut Scratch<'_, '_>,
    _site: &Site,
    _index: u32,
    _it: &TaskCreate,
) -> Result<(), Refused> {
    refuse(Refusal::Unsupported)
}

pub(super) fn assign(_scratch: &mut Scratch<'_, '_>, _site: &Site, _it: &TaskAssign) -> Result<(), Refused> {
    refuse(Refusal::Unsupported)
}

pub(super) fn start(_scratch: &mut Scratch<'_, '_>, _site: &Site, _it: &TaskStart) -> Result<(), Refused> {
    refuse(Refusal::Unsupported)
}

pub(super) fn complete(
    _scratch: &mut Scratch<'_, '_>,
    _site: &Site,
    _index: u32,
    _it: &TaskComplete,
) -> Result<(), Refused> {
    refuse(Refusal::Unsupported)
}

pub(super) fn fail(_scratch: &mut Scratch<'_, '_>, _site: &Site, _index: u32, _it: &TaskFail) -> Result<(), Refused> {
    refuse(Refusal::Unsupported)
}

pub(super) fn release(_scratch: &mut Scratch<'_, '_>, _site: &Site, _it: &TaskRelease) -> Result<(), Refused> {
    refuse(Refusal::Unsupported)
}

pub(super) fn cancel(
    _scratch: &mut Scratch<'_, '_>,
    _site: &Site,
    _index: u32,
    _it: &TaskCancel,
) -> Result<(), Refused> {
    refuse(Refusal::Unsupported)
}
