//! Whom blocks have named as members, whatever became of those blocks: who may write a first one, and who may have been a member.

use std::ops::ControlFlow;

use super::keyed;
use crate::chain::ids::BlockId;
use crate::identity::Identity;
use crate::kv::{KvError, Overlay, Read, Table};

/// Whether some stored block has named the identity as a member, at whatever place in the order.
///
/// # Errors
/// [`KvError`] where the store fails.
pub fn is_named(kv: &dyn Read, identity: &Identity) -> Result<bool, KvError> {
    Ok(kv.get(Table::Meta, &keyed(b'n', identity.as_bytes()))?.is_some())
}

/// The highest block that has named the identity as a member, at whatever place in the order.
///
/// # Errors
/// [`KvError`] where the store fails.
pub fn named_by(kv: &dyn Read, identity: &Identity) -> Result<Option<BlockId>, KvError> {
    let key = keyed(b'n', identity.as_bytes());
    let parse = |value: Vec<u8>| Some(BlockId::from_bytes(value.get(8..)?.try_into().ok()?));
    kv.get(Table::Meta, &key)?.map(|value| parse(value).ok_or_else(|| KvError::damaged(Table::Meta, &key))).transpose()
}

/// Whether no stored block has named anybody but `own` as a member.
///
/// # Errors
/// [`KvError`] where the store fails.
pub fn is_alone(kv: &dyn Read, own: &[Identity]) -> Result<bool, KvError> {
    let own: Vec<Vec<u8>> = own.iter().map(|identity| keyed(b'n', identity.as_bytes())).collect();
    let mut is_alone = true;
    kv.scan_prefix(Table::Meta, b"n", &mut |key, _| {
        is_alone = own.iter().any(|own| key == *own);
        if is_alone { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
    })?;
    Ok(is_alone)
}

/// Who was ever named as a member, each with the highest block that did; ascending by identity.
///
/// # Errors
/// [`KvError`] where the store fails.
pub fn all_named(kv: &dyn Read) -> Result<Vec<(Identity, BlockId)>, KvError> {
    let (mut named, mut failed) = (Vec::new(), Ok(()));
    kv.scan_prefix(Table::Meta, b"n", &mut |key, value| {
        let parse = || {
            let identity = Identity::from_stored(key.get(1..)?.try_into().ok()?);
            Some((identity, BlockId::from_bytes(value.get(8..)?.try_into().ok()?)))
        };
        match parse() {
            Some(one) => named.push(one),
            None => {
                failed = Err(KvError::damaged(Table::Meta, key));
                return ControlFlow::Break(());
            }
        }
        ControlFlow::Continue(())
    })?;
    failed.map(|()| named)
}

/// Notes that a block has named somebody as a member. Of several the highest stays, so that the row depends on no sequence.
pub(crate) fn set_named(
    kv: &mut Overlay<'_>,
    identity: &Identity,
    height: u64,
    block: &BlockId,
) -> Result<(), KvError> {
    let key = keyed(b'n', identity.as_bytes());
    let mut value = height.to_be_bytes().to_vec();
    value.extend_from_slice(block.as_bytes());
    if kv.get(Table::Meta, &key)?.is_none_or(|before| before < value) {
        kv.put(Table::Meta, key, value);
    }
    Ok(())
}
