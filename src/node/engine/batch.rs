//! One group while a batch is worked on: its rows as they will be, the blocks of our own that are yet to be signed, and the news.

use std::collections::BTreeMap;

use serde_bytes::ByteBuf;

use super::io::{Failure, News, ToSeal};
use crate::chain::link::{self, Block, DraftError};
use crate::chain::rows::Wanted;
use crate::chain::{Draft, GroupId, Linked, Transaction, rows};
use crate::identity::Identity;
use crate::kv::{KvError, Overlay, Read};
use crate::ledger::state::Kept;
use crate::ledger::{Change, Outcome, arrange, fold, state};

/// One group while a batch is worked on.
pub(in crate::node) struct GroupBatch<'a> {
    pub(in crate::node) overlay: Overlay<'a>,
    pub(super) drafts: Vec<(Linked<Draft>, Vec<ByteBuf>)>,
    pub(in crate::node) news: News,
    /// Where objects have come for blocks that were stored before.
    pub(in crate::node) filled: Vec<Wanted>,
}

impl<'a> GroupBatch<'a> {
    pub(super) fn new(group: GroupId, base: &'a dyn Read) -> Self {
        let news = News {
            group,
            blocks: vec![],
            changes: vec![],
            members: None,
            former: BTreeMap::new(),
            shut_out: None,
            equivocators: vec![],
            to_seal: None,
            sealed: None,
            in_doubt: None,
            has_arrivals: false,
        };
        Self { overlay: Overlay::new(base), drafts: vec![], news, filled: vec![] }
    }

    pub(super) fn doubt(&mut self, in_doubt: bool) {
        rows::set_in_doubt(&mut self.overlay, in_doubt);
        self.news.in_doubt = Some(in_doubt);
    }

    pub(super) fn took(&mut self, change: Change) {
        if change.membership && self.news.members.is_none() {
            self.news.members = Some(Vec::new());
        }
        self.news.changes.push(change);
    }

    /// Judges and stores a block of our own. Where the ledger refuses it, nothing is kept.
    pub(super) fn write(&mut self, linked: Linked<Draft>, objects: Vec<ByteBuf>) -> Result<(), Failure> {
        let draft = linked.block();
        let id = draft.id();
        // A branch of its author's own line may stand behind it: then what holds at the end of the order says nothing.
        let is_last = fold::last(&self.overlay)?.is_none_or(|last| last < draft.order_key());
        let judged = is_last.then(|| fold::judge(&self.overlay, id, draft.body(), None)).transpose()?;
        if let Some((_, Outcome::Refused(_, refusal))) = judged {
            return Err(refusal.into());
        }
        self.keep(linked, objects, judged)?;
        match self.news.changes.iter().rfind(|change| change.block == id).map(|change| &change.after) {
            Some(Outcome::Refused(_, refusal)) => Err(refusal.clone().into()),
            _ => Ok(()),
        }
    }

    /// Stores a block of our own: at the end of the order where it was judged there, else at its place.
    pub(super) fn keep(
        &mut self,
        linked: Linked<Draft>,
        objects: Vec<ByteBuf>,
        judged: Option<(Kept, Outcome)>,
    ) -> Result<(), Failure> {
        let draft = linked.block();
        link::store(&mut self.overlay, &linked)?;
        // Signed with the others of the batch. Until then it can be read, where what stands before it changes.
        rows::set_block(&mut self.overlay, &draft.line_key(), &[0; 64], draft.bytes());
        let changes = match judged {
            Some(judged) => vec![fold::append(&mut self.overlay, draft, judged)?],
            None => arrange::insert(&mut self.overlay, std::slice::from_ref(&linked))?,
        };
        for change in changes {
            self.took(change);
        }
        self.drafts.push((linked, objects));
        Ok(())
    }
}

/// The next block of an author.
pub(super) fn draft(
    kv: &dyn Read,
    group: GroupId,
    author: Identity,
    now_ms: u64,
    transactions: Vec<Transaction>,
) -> Result<Linked<Draft>, Failure> {
    let prev = state::line_head(kv, &author)?;
    link::draft(kv, group, author, prev, now_ms, transactions).map_err(|error| match error {
        DraftError::NoGroup => Failure::NotHereYet(group),
        DraftError::Invalid(invalid) => invalid.into(),
        DraftError::Store(error) => error.into(),
    })
}

/// What waits for a seal, where one of `ours` makes it.
///
/// # Errors
/// [`KvError`] where the store fails.
pub fn to_seal(kv: &dyn Read, urgent: bool, ours: impl Fn(&Identity) -> bool) -> Result<Option<ToSeal>, KvError> {
    match state::sealing(kv)? {
        Some(sealing) if ours(&sealing.sealer) => Ok(Some(ToSeal { blocks: rows::counters(kv)?.open(), urgent })),
        _ => Ok(None),
    }
}
