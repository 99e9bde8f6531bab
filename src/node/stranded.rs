//! Own writes that a group is not known to have: they were acknowledged, and then it showed that their author is no member.
//!
//! A membership can end while a write is on its way, and long before its holder learns of it ([`super::shut_out`]). **What was acknowledged
//! does not vanish in silence**: each block of such an author that no seal covers here is among these. The group may have some of
//! them all the same, which nobody here can know; of the others it lacks none.

use std::ops::ControlFlow;

use super::shut_out::shut_out;
use crate::chain::gone::Gone;
use crate::chain::{BlockId, LineKey, rows};
use crate::identity::Identity;
use crate::kv::{KvError, Read};
use crate::ledger::{arrange, former};

/// Where the blocks of somebody whom the members do not take for one lie, that no seal covers: the last first, at most `at_most`; all of
/// them, or those before one.
///
/// # Errors
/// [`KvError`] where the store fails.
pub fn stranded(
    kv: &dyn Read,
    author: &Identity,
    before: Option<&LineKey>,
    at_most: usize,
) -> Result<Vec<LineKey>, KvError> {
    let (mut found, mut failed) = (Vec::new(), Ok(()));
    if at_most == 0 || !is_cut_off(kv, author)? {
        return Ok(found);
    }
    // What a seal covers it covers with all before it.
    rows::line_before(kv, author, before, &mut |line, block| match arrange::is_final(kv, &BlockId::of(&block.body)) {
        Ok(false) => {
            found.push(line);
            if found.len() == at_most { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        }
        Ok(true) => ControlFlow::Break(()),
        Err(error) => {
            failed = Err(error);
            ControlFlow::Break(())
        }
    })?;
    failed.map(|()| found)
}

/// Whether members say that nobody of this node is one, or the blocks here that this one is none. Who has left took its writes along.
fn is_cut_off(kv: &dyn Read, identity: &Identity) -> Result<bool, KvError> {
    Ok(shut_out(kv)?.is_some() || former::of_one(kv, identity)?.is_some_and(|why| why != Gone::Left))
}
