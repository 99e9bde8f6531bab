//! The task that does what is due: after each piece of news, when a time is over, and again where something failed.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::JoinSet;

use super::{HowToBuy, Trade, TradeError, accept, aside, buy, outside, sell};
use crate::announcement::Offered;
use crate::api::types::EventKind;
use crate::chain::{GroupId, OfferId, PurchaseId};
use crate::kv::Read;
use crate::ledger::market::{PurchaseRow, query};
use crate::ledger::state;
use crate::limits;
use crate::node::engine::Groups;
use crate::node::market::io::OwnOffer;
use crate::node::trade::deed::{self, Deed, Due, Plan};
use crate::node::trade::shelf::{self, Outside, Shelved, Wish};
use crate::runtime::Node;
use crate::runtime::clock::{Uptime, unix_ms};
use crate::store::View;
use crate::wire::market::Place;

/// Something that is worked on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Job {
    /// A part of a purchase.
    Deed(GroupId, PurchaseId, Deed),
    /// A purchase that a person has approved.
    Wish(GroupId, OfferId),
    /// A purchase in a group of others.
    Outside(GroupId, OfferId),
}

/// When something is tried again.
#[derive(Debug, Clone, Copy)]
struct Again {
    tries: u32,
    at_ms: u64,
}

/// The task at work.
struct Work {
    node: Node,
    uptime: Uptime,
    plans: BTreeMap<GroupId, Plan>,
    /// How the purchases of this node stood when they were last told.
    told: BTreeMap<(GroupId, PurchaseId), PurchaseRow>,
    looked: BTreeSet<GroupId>,
    /// Own offers that are announced, and until when they stand.
    announced: BTreeMap<(GroupId, OfferId), Option<u64>>,
    busy: BTreeSet<Job>,
    again: BTreeMap<Job, Again>,
    jobs: JoinSet<(Job, Result<bool, TradeError>)>,
}

/// What one look at a group finds.
#[derive(Default)]
struct Seen {
    plan: Plan,
    /// Own offers that stand, where they were looked at.
    offers: Option<Vec<OwnOffer>>,
    /// Purchases that were open and are no more.
    ended: Vec<(PurchaseId, Option<PurchaseRow>)>,
}

/// Runs until the daemon stops.
pub async fn run(node: Node, mut stop: watch::Receiver<bool>) {
    let mut revision = node.trade.revision.subscribe();
    let mut work = Work {
        uptime: Uptime::start(),
        plans: BTreeMap::new(),
        told: BTreeMap::new(),
        looked: BTreeSet::new(),
        announced: BTreeMap::new(),
        busy: BTreeSet::new(),
        again: BTreeMap::new(),
        jobs: JoinSet::new(),
        node,
    };
    match work.node.trade.view().and_then(|view| view.groups()) {
        Ok(groups) => groups.iter().for_each(|kept| work.node.trade.moved(kept.id, true)),
        Err(error) => tracing::error!(%error, "purchases are not looked after"),
    }
    loop {
        let wake = work.act().await;
        tokio::select! {
            biased;
            _ = stop.wait_for(|stop| *stop) => break,
            Some(done) = work.jobs.join_next(), if !work.jobs.is_empty() => work.done(done),
            changed = revision.changed() => if changed.is_err() { break },
            () = tokio::time::sleep(Duration::from_millis(wake.unwrap_or(u64::MAX >> 20))), if wake.is_some() => {}
        }
    }
    work.jobs.shutdown().await;
}

impl Work {
    fn trade(&self) -> &Trade {
        &self.node.trade
    }

    /// Looks where something has moved or a time is over, and starts what is due; tells in how many milliseconds something is due again.
    async fn act(&mut self) -> Option<u64> {
        let now_ms = unix_ms();
        for (group, plan) in &self.plans {
            if plan.next_ms.is_some_and(|at_ms| at_ms <= now_ms) {
                self.trade().moved(*group, false);
            }
        }
        for ((group, _), until) in &self.announced {
            if until.is_some_and(|until| until < now_ms) {
                self.trade().moved(*group, true);
            }
        }
        for (group, offers) in self.node.trade.take_moved() {
            self.look(group, offers).await;
        }
        let due = self.due().await;
        let up_ms = self.uptime.ms();
        let mut wake: Option<u64> = None;
        let mut wake_in = |in_ms: u64| wake = Some(wake.map_or(in_ms, |first| first.min(in_ms)));
        for (job, deed) in due {
            if self.busy.contains(&job) {
                continue;
            }
            match self.again.get(&job).map(|again| again.at_ms.saturating_sub(up_ms)) {
                Some(in_ms @ 1..) => wake_in(in_ms),
                _ if self.busy.len() < limits::DEEDS => self.start(job, deed),
                // Whatever ends first wakes us.
                _ => {}
            }
        }
        for plan in self.plans.values() {
            plan.next_ms.into_iter().for_each(|at_ms| wake_in(at_ms.saturating_sub(now_ms)));
        }
        for until in self.announced.values().flatten() {
            wake_in(until.saturating_sub(now_ms) + 1);
        }
        wake
    }

    /// All that is due: parts of purchases, what a person has approved, and what is under way elsewhere.
    async fn due(&self) -> Vec<(Job, Option<Due>)> {
        let of_plans = self.plans.iter().flat_map(|(group, plan)| {
            plan.due.iter().map(|due| (Job::Deed(*group, due.purchase, due.deed), Some(due.clone())))
        });
        let mut due: Vec<_> = of_plans.collect();
        let trade = self.trade().clone();
        let own = aside(move || {
            let view = trade.view()?;
            let mut own = Vec::new();
            for (key, row) in view.local_rows(&shelf::all_of::<Wish>(&trade.me))? {
                let is_approved = Wish::from_row(&row).is_some_and(|wish| wish.approved);
                own.extend(shelf::named(&key).filter(|_| is_approved).map(|(group, offer)| Job::Wish(group, offer)));
            }
            for (key, row) in view.local_rows(&shelf::all_of::<Outside>(&trade.me))? {
                let is_open = Outside::from_row(&row).is_some_and(|row| !outside::is_over(&row));
                own.extend(shelf::named(&key).filter(|_| is_open).map(|(group, offer)| Job::Outside(group, offer)));
            }
            Ok(own)
        });
        match own.await {
            Ok(own) => due.extend(own.into_iter().map(|job| (job, None))),
            Err(error) => tracing::error!(%error, "approved purchases are not looked after"),
        }
        due
    }

    fn start(&mut self, job: Job, due: Option<Due>) {
        self.busy.insert(job);
        let node = self.node.clone();
        self.jobs.spawn(async move {
            let done = match (job, due) {
                (Job::Deed(group, ..), Some(due)) => accept::carry_out(&node, group, &due).await.map(|()| true),
                (Job::Outside(group, offer), _) => outside::follow(&node, group, offer).await,
                (Job::Wish(_, offer), _) => {
                    let wait = Duration::from_millis(limits::BUY_DEFAULT_WAIT_MS);
                    let how = HowToBuy { max_price: None, wait, seller: None };
                    buy(&node, &offer.to_string(), how).await.map(|_| true)
                }
                (Job::Deed(..), None) => Ok(true),
            };
            (job, done)
        });
    }

    fn done(&mut self, done: Result<(Job, Result<bool, TradeError>), tokio::task::JoinError>) {
        let (job, result) = match done {
            Ok(done) => done,
            // Its job stays busy: what fails like that would fail again.
            Err(error) => return tracing::error!(%error, "a part of a purchase failed"),
        };
        self.busy.remove(&job);
        let tries = self.again.get(&job).map_or(0, |again| again.tries);
        let up_ms = self.uptime.ms();
        let again = |tries: u32, first_ms: u64, most_ms: u64| {
            let pause_ms = first_ms.saturating_mul(1 << tries.min(16)).min(most_ms);
            Again { tries: tries.saturating_add(1), at_ms: up_ms + pause_ms }
        };
        match (job, result) {
            // It is asked about until it ends, less and less often as long as nothing changes.
            (Job::Outside(..), result) => {
                let (first, most) = (*limits::ACCOUNT_ASK_MS.start(), *limits::ACCOUNT_ASK_MS.end());
                let tries = if matches!(result, Ok(true)) { 0 } else { tries };
                self.again.insert(job, again(tries, first, most));
                if let Err(error) = result {
                    tracing::warn!(%error, "a purchase elsewhere");
                }
            }
            (Job::Deed(group, ..), Ok(_)) => {
                self.again.remove(&job);
                self.trade().moved(group, false);
            }
            (Job::Wish(group, offer), Err(error)) if error.is_for_good() => {
                tracing::warn!(%error, %offer, "an approved purchase is given up");
                self.again.remove(&job);
                let trade = self.trade().clone();
                tokio::spawn(async move {
                    let forgotten =
                        trade.shelve::<Wish>(shelf::of_offer::<Wish>(&trade.me, &group, &offer), None).await;
                    if let Err(error) = forgotten {
                        tracing::warn!(%error, %offer, "and is still listed");
                    }
                });
            }
            (_, Ok(_)) => drop(self.again.remove(&job)),
            (_, Err(error)) => {
                tracing::warn!(%error, ?job, "a part of a purchase is tried again");
                self.again.insert(job, again(tries, limits::DEED_RETRY_MS, limits::DEED_RETRY_MOST_MS));
            }
        }
    }

    async fn look(&mut self, group: GroupId, offers: bool) {
        let trade = self.trade().clone();
        let open: Vec<PurchaseId> = self.told.keys().filter(|(of, _)| *of == group).map(|(_, id)| *id).collect();
        let seen = aside(move || {
            let view = trade.view()?;
            let Some(kv) = view.group(&group)? else {
                return Ok(Seen { offers: Some(vec![]), ..Seen::default() });
            };
            let kv = kv.as_ref();
            let plan = deed::plan(kv, &trade.me, unix_ms())?;
            let is_open = |id: &PurchaseId| plan.open.iter().any(|(other, _)| other == id);
            let mut ended = Vec::new();
            for id in open.into_iter().filter(|id| !is_open(id)) {
                ended.push((id, query::purchase(kv, &id)?));
            }
            let offers = if offers { Some(own_offers(&trade, &view, kv, group)?) } else { None };
            Ok(Seen { plan, offers, ended })
        });
        match seen.await {
            Ok(seen) => self.saw(group, seen).await,
            Err(error) => tracing::error!(%error, %group, "purchases cannot be looked at"),
        }
    }

    async fn saw(&mut self, group: GroupId, seen: Seen) {
        let Seen { plan, offers, ended } = seen;
        let is_first = self.looked.insert(group);
        for (id, row) in &plan.open {
            let before = self.told.insert((group, *id), row.clone());
            if !is_first && before.is_none_or(|before| before.status != row.status) {
                self.tell(group, id, row);
            }
        }
        for (id, row) in ended {
            self.told.remove(&(group, id));
            if let Some(row) = row {
                self.tell(group, &id, &row);
            }
        }
        let is_due = |job: &Job| match job {
            Job::Deed(of, purchase, deed) if *of == group => {
                plan.due.iter().any(|due| due.purchase == *purchase && due.deed == *deed)
            }
            _ => true,
        };
        self.again.retain(|job, _| is_due(job));
        self.plans.insert(group, plan);
        if let Some(offers) = offers {
            self.announce(group, offers).await;
        }
    }

    fn tell(&self, group: GroupId, id: &PurchaseId, row: &PurchaseRow) {
        self.trade().events.tell(EventKind::PurchaseChanged {
            group_id: group.to_string(),
            purchase_id: id.to_string(),
            offer_id: row.deal.offer.to_string(),
            buyer: row.deal.buyer.to_string(),
            seller: row.deal.seller.to_string(),
            status: row.status.into(),
        });
    }

    /// Announces what stands and is not announced yet, and withdraws what stands no more.
    async fn announce(&mut self, group: GroupId, offers: Vec<OwnOffer>) {
        let standing: BTreeMap<(GroupId, OfferId), OwnOffer> =
            offers.into_iter().map(|offer| ((group, offer.offer), offer)).collect();
        let gone: Vec<_> =
            self.announced.keys().filter(|at| at.0 == group && !standing.contains_key(*at)).copied().collect();
        for at in gone {
            self.announced.remove(&at);
            let place = Place { seller: self.trade().me, offer: at.1 };
            if self.node.withdraw(group, place).await.is_err() {
                return;
            }
        }
        for (at, offer) in standing {
            if let std::collections::btree_map::Entry::Vacant(entry) = self.announced.entry(at) {
                entry.insert(offer.offered.offer.expires_ms);
                if self.node.announce(offer).await.is_err() {
                    return;
                }
            }
        }
    }
}

/// This node's offers in a group that stand, and that it could deliver.
fn own_offers(trade: &Trade, view: &View, kv: &dyn Read, group: GroupId) -> Result<Vec<OwnOffer>, TradeError> {
    let Some(about) = state::group(kv)? else { return Ok(vec![]) };
    if state::member(kv, &trade.me)?.is_none() {
        return Ok(vec![]);
    }
    let filter = query::Filter { seller: Some(trade.me), at_ms: Some(unix_ms()), ..query::Filter::default() };
    let (mut own, mut after) = (Vec::new(), None);
    loop {
        let page = query::offers(kv, &filter, after.as_ref(), limits::PAGE_ROWS)?;
        for offer in page.rows {
            if sell::own_key(trade, view, &offer.terms.package)?.is_none() {
                tracing::warn!(offer = %offer.id, "an offer whose package's key is not known here is not announced: revoke it");
                continue;
            }
            let (group_name, currency) = (about.name.clone(), about.currency.clone());
            let offered = Box::new(Offered { group_name, currency, offer: offer.terms });
            own.push(OwnOffer { group, offer: offer.id, seller: trade.me, offered });
        }
        after = page.next;
        if after.is_none() {
            return Ok(own);
        }
    }
}
