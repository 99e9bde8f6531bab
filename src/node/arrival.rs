//! The arrival order: what became of claims, in the sequence in which this node learned it.
//!
//! Table `Arrival`; it differs from node to node, and leaving a group removes it:
//!
//! | key | value |
//! |---|---|
//! | `n` ‖ number (8, big-endian, from 1, without gaps) | [`What`] (1) ‖ claim id (32) ‖ at_ms (8): by this node's clock, never less than before |
//! | `m` ‖ claim id (32) | the block's `Line` key (56) ‖ index (4): the claim had come, and its block is refused now |
//!
//! A claim has come when its block is applied and its words are here. **Rows are written in the commit that changes what they tell of,
//! and each claim comes once**: whoever reads on behind the last number that it has seen misses nothing and sees nothing twice,
//! whatever was synced late or placed anew, and whenever the process was killed. What stands on the node is what has come or
//! was restored and was not retracted since.

use std::collections::BTreeSet;
use std::ops::{Bound, ControlFlow};

use crate::chain::rows::{self, Wanted};
use crate::chain::{ClaimId, LineKey};
use crate::kv::{Direction, KvError, Overlay, Read, Table};
use crate::ledger::{Change, ClaimAct, state};

/// What became of a claim.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum What {
    /// It has come.
    Came = 0,
    /// It stands no longer: it was taken back, or its block is refused.
    Retracted = 1,
    /// It stands again.
    Restored = 2,
}

/// One entry of the arrival order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Arrival {
    /// Its number.
    pub number: u64,
    /// What happened.
    pub what: What,
    /// To which claim.
    pub claim: ClaimId,
    /// When, by this node's clock, milliseconds since 1970 UTC.
    pub at_ms: u64,
}

impl Arrival {
    fn parse(key: &[u8], value: &[u8]) -> Result<Self, KvError> {
        let parse = || {
            let number = u64::from_be_bytes(key.strip_prefix(b"n")?.try_into().ok()?);
            let (what, rest) = value.split_first()?;
            let (claim, at_ms) = rest.split_first_chunk()?;
            let what = match what {
                0 => What::Came,
                1 => What::Retracted,
                2 => What::Restored,
                _ => return None,
            };
            Some(Self {
                number,
                what,
                claim: ClaimId::from_bytes(*claim),
                at_ms: u64::from_be_bytes(at_ms.try_into().ok()?),
            })
        };
        parse().ok_or_else(|| KvError::damaged(Table::Arrival, key))
    }
}

fn entry_key(number: u64) -> Vec<u8> {
    let mut key = vec![b'n'];
    key.extend_from_slice(&number.to_be_bytes());
    key
}

fn absent_key(claim: &ClaimId) -> Vec<u8> {
    let mut key = vec![b'm'];
    key.extend_from_slice(claim.as_bytes());
    key
}

/// Where a claim's words lie, where it had come and its block is refused now.
///
/// # Errors
/// [`KvError`] where the store fails.
pub fn absent(kv: &dyn Read, claim: &ClaimId) -> Result<Option<(LineKey, u32)>, KvError> {
    let key = absent_key(claim);
    let Some(value) = kv.get(Table::Arrival, &key)? else { return Ok(None) };
    let parse = || {
        let (line, index) = value.split_at_checked(LineKey::BYTES)?;
        Some((LineKey::from_bytes(line)?, u32::from_be_bytes(index.try_into().ok()?)))
    };
    parse().map(Some).ok_or_else(|| KvError::damaged(Table::Arrival, &key))
}

/// Visits the entries behind a number, ascending.
///
/// # Errors
/// [`KvError`] where the store fails.
pub fn after(kv: &dyn Read, number: u64, visit: &mut dyn FnMut(Arrival) -> ControlFlow<()>) -> Result<(), KvError> {
    let lower = entry_key(number);
    scan(kv, (Bound::Excluded(&lower), Bound::Excluded(b"o")), Direction::Up, visit)
}

/// The last entry.
///
/// # Errors
/// [`KvError`] where the store fails.
pub fn last(kv: &dyn Read) -> Result<Option<Arrival>, KvError> {
    let mut last = None;
    scan(kv, (Bound::Included(b"n"), Bound::Excluded(b"o")), Direction::Down, &mut |arrival| {
        last = Some(arrival);
        ControlFlow::Break(())
    })?;
    Ok(last)
}

fn scan(
    kv: &dyn Read,
    (lower, upper): (Bound<&[u8]>, Bound<&[u8]>),
    direction: Direction,
    visit: &mut dyn FnMut(Arrival) -> ControlFlow<()>,
) -> Result<(), KvError> {
    let mut failed = Ok(());
    kv.scan(Table::Arrival, (lower, upper), direction, &mut |key, value| match Arrival::parse(key, value) {
        Ok(arrival) => visit(arrival),
        Err(error) => {
            failed = Err(error);
            ControlFlow::Break(())
        }
    })?;
    failed
}

/// The number behind which everything stands that came at or after a time.
///
/// # Errors
/// [`KvError`] where the store fails.
pub fn before(kv: &dyn Read, at_ms: u64) -> Result<u64, KvError> {
    // Times never fall, and there is no gap.
    let (mut low, mut high) = (0, last(kv)?.map_or(0, |last| last.number));
    while low < high {
        let middle = low.midpoint(high) + 1;
        let key = entry_key(middle);
        let value = kv.get(Table::Arrival, &key)?.ok_or_else(|| KvError::damaged(Table::Arrival, &key))?;
        if Arrival::parse(&key, &value)?.at_ms < at_ms { low = middle } else { high = middle - 1 }
    }
    Ok(low)
}

/// How a claim stands in some rows.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Standing {
    /// Its block is applied and its words are here.
    is_here: bool,
    /// And nobody has taken it back.
    stands: bool,
}

impl Standing {
    fn of(kv: &dyn Read, claim: &ClaimId) -> Result<(Self, Option<(LineKey, u32)>), KvError> {
        let Some(row) = state::claim(kv, claim)? else { return Ok((Self::default(), None)) };
        let line = LineKey::new(&row.author, row.seq, &row.block);
        let is_here = rows::has_object(kv, &line, row.index)?;
        Ok((Self { is_here, stands: is_here && row.retracted_by.is_none() }, Some((line, row.index))))
    }
}

/// Writes what a batch has changed: by the blocks whose outcome is new or another, and by the objects that have come for older
/// ones. Tells whether there is anything new.
///
/// # Errors
/// [`KvError`] where the store fails.
pub(super) fn record(
    kv: &mut Overlay<'_>,
    changes: &[Change],
    filled: &[Wanted],
    now_ms: u64,
) -> Result<bool, KvError> {
    let mut new_blocks = BTreeSet::new();
    let mut claims: Vec<(ClaimId, bool)> = Vec::new();
    for change in changes {
        if change.before.is_none() && !change.claims.is_empty() {
            new_blocks.insert(change.block);
        }
        for act in &change.claims {
            claims.push(match act {
                ClaimAct::Publishes(claim) => (*claim, new_blocks.contains(&change.block)),
                ClaimAct::Retracts(claim) => (*claim, false),
            });
        }
    }
    claims.extend(filled.iter().map(|wanted| (ClaimId::derive(wanted.block, wanted.index), false)));
    let mut writer = None;
    let mut seen = BTreeSet::new();
    // A claim that is new was not there before, so that is not looked up.
    let new: BTreeSet<ClaimId> = claims.iter().filter(|(_, is_new)| *is_new).map(|(claim, _)| *claim).collect();
    for (claim, _) in claims {
        if seen.insert(claim) {
            one(kv, &claim, new.contains(&claim), now_ms, &mut writer)?;
        }
    }
    Ok(writer.is_some())
}

/// Where the next entry goes, once there is one: its number, and the time of the one before.
type Next = Option<(u64, u64)>;

fn one(kv: &mut Overlay<'_>, claim: &ClaimId, is_new: bool, now_ms: u64, next: &mut Next) -> Result<(), KvError> {
    let (was, place_before) = if is_new { Default::default() } else { Standing::of(kv.base(), claim)? };
    let (is, _) = Standing::of(kv, claim)?;
    if was == is {
        return Ok(());
    }
    let mut what = Vec::with_capacity(2);
    match (was.is_here, is.is_here) {
        (false, true) => {
            let had_come = !is_new && absent(kv, claim)?.is_some();
            if had_come {
                kv.delete(Table::Arrival, absent_key(claim));
                what.extend(is.stands.then_some(What::Restored));
            } else {
                what.push(What::Came);
                what.extend((!is.stands).then_some(What::Retracted));
            }
        }
        (true, false) => {
            if let Some((line, index)) = place_before {
                let mut value = line.as_bytes().to_vec();
                value.extend_from_slice(&index.to_be_bytes());
                kv.put(Table::Arrival, absent_key(claim), value);
            }
            what.extend(was.stands.then_some(What::Retracted));
        }
        (true, true) => what.push(if is.stands { What::Restored } else { What::Retracted }),
        (false, false) => {}
    }
    for what in what {
        let (number, before_ms) = match *next {
            Some(next) => next,
            None => last(kv)?.map_or((1, 0), |last| (last.number + 1, last.at_ms)),
        };
        let at_ms = now_ms.max(before_ms);
        let mut value = Vec::with_capacity(41);
        value.push(what as u8);
        value.extend_from_slice(claim.as_bytes());
        value.extend_from_slice(&at_ms.to_be_bytes());
        kv.put(Table::Arrival, entry_key(number), value);
        *next = Some((number + 1, at_ms));
    }
    Ok(())
}

/// Checks that the entries tell exactly what stands, each claim once.
///
/// # Panics
/// Where they do not.
#[cfg(test)]
pub(crate) fn check(kv: &crate::kv::Memory) {
    let (mut came, mut standing, mut next) = (BTreeSet::new(), BTreeSet::new(), 1);
    after(kv, 0, &mut |arrival| {
        assert_eq!(arrival.number, next, "a gap");
        next += 1;
        match arrival.what {
            What::Came => {
                assert!(came.insert(arrival.claim), "{:?} has come twice", arrival.claim);
                assert!(standing.insert(arrival.claim));
            }
            What::Retracted => assert!(standing.remove(&arrival.claim), "{:?} did not stand", arrival.claim),
            What::Restored => assert!(came.contains(&arrival.claim) && standing.insert(arrival.claim)),
        }
        ControlFlow::Continue(())
    })
    .unwrap();
    let mut expected: std::collections::BTreeMap<ClaimId, Standing> = std::collections::BTreeMap::new();
    for key in kv.rows(Table::State).range(vec![b'c']..vec![b'd']).map(|(key, _)| key) {
        let claim = ClaimId::from_bytes(key[1..].try_into().unwrap());
        expected.insert(claim, Standing::of(kv, &claim).unwrap().0);
    }
    let stands: BTreeSet<ClaimId> = expected.iter().filter(|(_, is)| is.stands).map(|(claim, _)| *claim).collect();
    assert_eq!(standing, stands, "what is told is not what stands");
    for (claim, is) in &expected {
        assert_eq!(came.contains(claim), is.is_here || absent(kv, claim).unwrap().is_some(), "{claim:?}");
    }
}

#[cfg(test)]
mod tests;
