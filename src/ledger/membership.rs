//! Who is in a group and what they may do: genesis, `member_add`, `member_remove`, `role_set`.
//!
//! **A group always has an admin**, and a viewer never writes.

use super::fold::{Refused, Site, refuse};
use super::notary;
use super::outcome::Refusal;
use super::state::{self, Group, Member, Scratch};
use super::token;
use crate::chain::transaction::{Genesis, MemberAdd, MemberRemove, RoleSet};
use crate::chain::{FOUNDING_EPOCH, Role};
use crate::identity::Identity;
use crate::limits;

/// The author's role, where it is at least `least`.
pub(super) fn require(scratch: &Scratch<'_, '_>, site: &Site, least: Role) -> Result<Role, Refused> {
    let member: Option<Member> = scratch.get(&state::member_key(&site.author))?;
    match member.map(|member| member.role) {
        None => refuse(Refusal::NotAMember(site.author)),
        Some(role) if role >= least => Ok(role),
        Some(Role::Viewer) if least == Role::Member => refuse(Refusal::Viewer(site.author)),
        Some(_) => refuse(Refusal::NotAnAdmin(site.author)),
    }
}

pub(super) fn genesis(scratch: &mut Scratch<'_, '_>, site: &Site, genesis: &Genesis) -> Result<(), Refused> {
    if scratch.get::<Group>(state::GROUP)?.is_some() {
        return refuse(Refusal::AlreadyFounded);
    }
    let Genesis { name, currency, discovery_secret } = genesis.clone();
    let group = Group {
        name,
        currency,
        creator: site.author,
        created_ms: site.time_ms,
        notary: site.author,
        discovery_secret,
        members: 1,
        admins: 1,
    };
    scratch.put(state::GROUP.to_vec(), &group);
    let creator = Member { role: Role::Admin, since_ms: site.time_ms, added_by: site.author };
    scratch.put(state::member_key(&site.author), &creator);
    notary::mark_sealed(scratch, site, FOUNDING_EPOCH, site.author)?;
    Ok(())
}

pub(super) fn add(scratch: &mut Scratch<'_, '_>, site: &Site, index: u32, add: &MemberAdd) -> Result<(), Refused> {
    require(scratch, site, Role::Admin)?;
    let removed = state::removed_key(&add.identity);
    if scratch.is_marked(&removed)? {
        scratch.remove(removed);
    }
    enter(scratch, site, index, &add.identity, add.role)
}

/// Makes somebody a member who is none.
pub(super) fn enter(
    scratch: &mut Scratch<'_, '_>,
    site: &Site,
    index: u32,
    identity: &Identity,
    role: Role,
) -> Result<(), Refused> {
    let key = state::member_key(identity);
    if scratch.get::<Member>(&key)?.is_some() {
        return refuse(Refusal::AlreadyAMember(*identity));
    }
    let mut group: Group = scratch.expect(state::GROUP)?;
    if group.members as usize >= limits::GROUP_MEMBERS {
        return refuse(Refusal::GroupFull);
    }
    group.members += 1;
    group.admins += u32::from(role == Role::Admin);
    scratch.put(state::GROUP.to_vec(), &group);
    scratch.put(key, &Member { role, since_ms: site.time_ms, added_by: site.author });
    token::faucet(scratch, site, index, identity)
}

pub(super) fn remove(scratch: &mut Scratch<'_, '_>, site: &Site, remove: &MemberRemove) -> Result<(), Refused> {
    let least = if remove.identity == site.author { Role::Viewer } else { Role::Admin };
    require(scratch, site, least)?;
    let (key, member) = existing(scratch, &remove.identity)?;
    let mut group: Group = scratch.expect(state::GROUP)?;
    leave_an_admin(&mut group, &remove.identity, member.role, None)?;
    notary::require_not_notary(scratch, &group, &remove.identity)?;
    group.members -= 1;
    scratch.put(state::GROUP.to_vec(), &group);
    scratch.remove(key);
    if remove.identity != site.author {
        // No ticket lets it in again: an admin has to name it.
        scratch.mark(state::removed_key(&remove.identity));
    }
    Ok(())
}

pub(super) fn set_role(scratch: &mut Scratch<'_, '_>, site: &Site, set: &RoleSet) -> Result<(), Refused> {
    require(scratch, site, Role::Admin)?;
    let (key, member) = existing(scratch, &set.identity)?;
    if member.role == set.role {
        return refuse(Refusal::SameRole(set.identity, set.role));
    }
    let mut group: Group = scratch.expect(state::GROUP)?;
    leave_an_admin(&mut group, &set.identity, member.role, Some(set.role))?;
    notary::require_not_notary(scratch, &group, &set.identity)?;
    scratch.put(state::GROUP.to_vec(), &group);
    scratch.put(key, &Member { role: set.role, ..member });
    Ok(())
}

fn existing(scratch: &Scratch<'_, '_>, identity: &Identity) -> Result<(Vec<u8>, Member), Refused> {
    let key = state::member_key(identity);
    match scratch.get(&key)? {
        Some(member) => Ok((key, member)),
        None => refuse(Refusal::NoSuchMember(*identity)),
    }
}

/// Counts the admins after one member's role changes, and refuses to count none.
fn leave_an_admin(group: &mut Group, identity: &Identity, before: Role, after: Option<Role>) -> Result<(), Refused> {
    let without = group.admins - u32::from(before == Role::Admin);
    let with = without + u32::from(after == Some(Role::Admin));
    if with == 0 {
        return refuse(Refusal::LastAdmin(*identity));
    }
    group.admins = with;
    Ok(())
}
