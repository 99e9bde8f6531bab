//! Who is right in a dispute: a matter of what the offer, the grant and the one-time secret say, and of nothing else, so that every
//! node comes to the same.

use super::rows::Ending;
use crate::chain::transaction::{Dispute, Grant};
use crate::package::Commitment;

/// Opens a grant with the secret that a dispute reveals, which the caller has found to be the order's, and looks at what it delivers.
pub(super) fn of(package: &Commitment, grant: &Grant, dispute: &Dispute) -> Ending {
    let Ok(key) = grant.open(&dispute.secret) else { return Ending::BadKey };
    if key.commitment() != package.key {
        return Ending::BadKey;
    }
    match &dispute.chunk {
        // A chunk that is not the package's shows nothing.
        Some(proof) if package.has(proof) && package.open_chunk(&key, proof.index, &proof.chunk).is_err() => {
            Ending::BadChunk
        }
        _ => Ending::Unfounded,
    }
}
