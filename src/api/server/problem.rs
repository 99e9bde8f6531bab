//! What each failure is for the caller: its code, what happened, and what to do.

use axum::extract::rejection::{JsonRejection, PathRejection, QueryRejection};
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};

use super::request_id;
use crate::api::PROBLEM_MEDIA_TYPE;
use crate::api::types::{Problem, ProblemCode};
use crate::chain::gone::Gone;
use crate::chain::{FormError, Invalid};
use crate::kv::KvError;
use crate::ledger::market::MarketRefusal;
use crate::ledger::{Refusal, TaskRefusal, TicketRefusal, TokenRefusal};
use crate::limits;
use crate::net::AddPeerError;
use crate::node::engine::Failure;
use crate::runtime::Stopping;
use crate::runtime::index::AskError;
use crate::runtime::trade::TradeError;
use crate::runtime::writer::WriteError;
use crate::store::{PackageStoreError, StoreError};

impl IntoResponse for Problem {
    fn into_response(mut self) -> Response {
        self.instance = self.instance.or_else(request_id::instance);
        let status = StatusCode::from_u16(self.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let body = serde_json::to_vec(&self).unwrap_or_default();
        (status, [(header::CONTENT_TYPE, HeaderValue::from_static(PROBLEM_MEDIA_TYPE))], body).into_response()
    }
}

/// A sentence of an error type says what to do behind its colon; where it does not, `remedy` does.
pub(super) fn split(code: ProblemCode, sentence: &str, remedy: &str) -> Problem {
    match sentence.split_once(": ") {
        Some((detail, remedy)) => Problem::new(code, detail, remedy),
        None => Problem::new(code, sentence, remedy),
    }
}

const SEE_HEALTH: &str = "see `lbm ctl health` and the daemon's log";

fn internal(error: &dyn std::fmt::Display) -> Problem {
    tracing::error!(%error, "a request failed");
    Problem::new(ProblemCode::Internal, error.to_string(), SEE_HEALTH)
}

/// A thread that worked for a request is gone.
pub(super) fn crashed(error: &tokio::task::JoinError) -> Problem {
    internal(error)
}

impl From<Stopping> for Problem {
    fn from(error: Stopping) -> Self {
        Self::new(
            ProblemCode::ShuttingDown,
            error.to_string(),
            "start it again with `lbm-node`, and repeat the request",
        )
    }
}

impl From<KvError> for Problem {
    fn from(error: KvError) -> Self {
        internal(&error)
    }
}

impl From<AskError> for Problem {
    fn from(error: AskError) -> Self {
        internal(&error)
    }
}

impl From<WriteError> for Problem {
    fn from(error: WriteError) -> Self {
        match &error {
            WriteError::Failure(failure) => of_failure(failure),
            WriteError::Store(store) => of_store(store),
            WriteError::Stopping => Stopping.into(),
        }
    }
}

fn of_store(error: &StoreError) -> Problem {
    match error {
        StoreError::DiskFull { .. } => split(ProblemCode::Storage, &error.to_string(), SEE_HEALTH),
        StoreError::Redb { .. } => {
            tracing::error!(%error, "the store cannot write");
            Problem::new(
                ProblemCode::Storage,
                error.to_string(),
                "check the disk's room and health; nothing was written",
            )
        }
        StoreError::Row(_)
        | StoreError::UnknownTable { .. }
        | StoreError::Newer { .. }
        | StoreError::Owner { .. }
        | StoreError::Busy(_) => internal(error),
    }
}

fn of_failure(failure: &Failure) -> Problem {
    match failure {
        Failure::Refused(refusal) => refusal.into(),
        Failure::Invalid(Invalid::Form(form)) => form.into(),
        Failure::Invalid(Invalid::TooLong(_) | Invalid::Transactions(_)) => {
            split(ProblemCode::TooLarge, &failure.to_string(), "send less at once")
        }
        Failure::Invalid(_) => Problem::new(ProblemCode::Refused, failure.to_string(), SEE_HEALTH),
        Failure::NoSuchGroup(_) => split(ProblemCode::UnknownGroup, &failure.to_string(), ""),
        Failure::NotHereYet(_) => split(ProblemCode::StillJoining, &failure.to_string(), ""),
        Failure::InDoubt(group) => {
            let remedy = format!(
                "connect to a member that has been on since the copy was made (`lbm ctl peer list`), and try again; where nobody else \
                 has the group, `lbm ctl group alone {group}`"
            );
            Problem::new(ProblemCode::RestoredUnsure, failure.to_string(), remedy)
        }
        Failure::ShutOut { group, said } => {
            let remedy = come_back(said.why, &group.to_string());
            let remedy = format!("{remedy}; where that is not so, connect to other members (`lbm ctl peer list`)");
            Problem::new(ProblemCode::MembershipRefused, failure.to_string(), remedy)
        }
        Failure::NoKey(author) => {
            // Only an agent can lose its key while the daemon runs.
            let detail = format!("the agent {author} was revoked: nothing was written");
            Problem::new(ProblemCode::NoSuchAgent, detail, "`lbm ctl agent list` shows which agents there are")
        }
        Failure::AboveLimit { .. } => split(ProblemCode::SpendingLimit, &failure.to_string(), ""),
        Failure::OtherRequest => split(ProblemCode::KeyReused, &failure.to_string(), ""),
        Failure::Store(_) => internal(failure),
    }
}

impl From<&Refusal> for Problem {
    fn from(refusal: &Refusal) -> Self {
        let code = match refusal {
            Refusal::NotAMember(_) => ProblemCode::NotAMember,
            Refusal::Viewer(_) => ProblemCode::ViewerCannotWrite,
            Refusal::NotAnAdmin(_) => ProblemCode::NotAnAdmin,
            Refusal::AlreadyAMember(_) => ProblemCode::AlreadyAMember,
            Refusal::NoSuchMember(_) => ProblemCode::NoSuchMember,
            Refusal::LastAdmin(_) => ProblemCode::LastAdmin,
            Refusal::IsNotary(_) => ProblemCode::IsNotary,
            Refusal::Frozen(_) => ProblemCode::Frozen,
            Refusal::GroupFull => ProblemCode::Full,
            Refusal::NoSuchParent(_) | Refusal::NoSuchClaim(_) => ProblemCode::NoSuchClaim,
            Refusal::AlreadyRetracted(_) => ProblemCode::AlreadyRetracted,
            Refusal::NotYourClaim(_) | Refusal::NotYoursToSupersede(_) => ProblemCode::NotTheAuthor,
            Refusal::Task(refusal) => of_task(refusal),
            Refusal::Token(why) => of_tokens(why),
            Refusal::Market(why) => of_market(why),
            Refusal::Ticket(why) => of_ticket(why),
            Refusal::SameRole(..)
            | Refusal::NotFrozen(_)
            | Refusal::NotTheSeal(_)
            | Refusal::NotTheNotary { .. }
            | Refusal::NotaryNotAdmin(_)
            | Refusal::SameNotary(_)
            | Refusal::Unsupported
            | Refusal::AlreadyFounded
            | Refusal::Equivocation(_) => ProblemCode::Refused,
        };
        split(code, &refusal.to_string(), "look at the group with `lbm ctl group show`")
    }
}

const fn of_task(refusal: &TaskRefusal) -> ProblemCode {
    match refusal {
        TaskRefusal::Exists(_) => ProblemCode::TaskExists,
        TaskRefusal::NoSuchTask(_) => ProblemCode::NoSuchTask,
        TaskRefusal::Taken(..) | TaskRefusal::TakenByYou(..) => ProblemCode::TaskTaken,
        TaskRefusal::TakenOver(..) | TaskRefusal::OtherAttempt(..) => ProblemCode::TaskTakenOver,
        TaskRefusal::NotAssigned(_) | TaskRefusal::NotStarted(_) => ProblemCode::TaskNotStarted,
        TaskRefusal::Blocked(..) => ProblemCode::TaskBlocked,
        TaskRefusal::Ended(..) => ProblemCode::TaskEnded,
        TaskRefusal::NotYourTask(..) => ProblemCode::NotYourTask,
        TaskRefusal::NoSuchResult(_) => ProblemCode::NoSuchClaim,
        TaskRefusal::NoWorker(_) => ProblemCode::NoSuchMember,
        TaskRefusal::DependencyEnded(..) | TaskRefusal::NoSponsor(..) => ProblemCode::Refused,
        TaskRefusal::TooManyDependents(_) => ProblemCode::Full,
    }
}

const fn of_market(why: &MarketRefusal) -> ProblemCode {
    match why {
        MarketRefusal::NoSuchOffer(_) => ProblemCode::NoSuchOffer,
        MarketRefusal::OfferRevoked(_) => ProblemCode::OfferRevoked,
        MarketRefusal::OfferExpired(_) => ProblemCode::OfferExpired,
        MarketRefusal::NotYourOffer(..) => ProblemCode::NotYourOffer,
        MarketRefusal::OwnOffer(_) => ProblemCode::OwnOffer,
        MarketRefusal::SellerGone(..) => ProblemCode::SellerGone,
        MarketRefusal::NoSuchPurchase(_) => ProblemCode::NoSuchPurchase,
        MarketRefusal::Price { .. }
        | MarketRefusal::OtherSeller { .. }
        | MarketRefusal::OtherTerms(_)
        | MarketRefusal::Nonce { .. }
        | MarketRefusal::OrderExpired(_)
        | MarketRefusal::AlreadyPlaced(_)
        | MarketRefusal::AlreadyBought(..)
        | MarketRefusal::NotTheSeller(..)
        | MarketRefusal::AlreadyGranted(_)
        | MarketRefusal::NotGranted(_)
        | MarketRefusal::NotFinal(_)
        | MarketRefusal::GrantLate { .. }
        | MarketRefusal::TooEarly { .. }
        | MarketRefusal::AlreadyAsked(_)
        | MarketRefusal::Ended(..)
        | MarketRefusal::WrongSecret(_) => ProblemCode::Refused,
    }
}

const fn of_ticket(why: &TicketRefusal) -> ProblemCode {
    match why {
        TicketRefusal::NoSuchTicket(_) => ProblemCode::NoSuchTicket,
        TicketRefusal::Expired(..) => ProblemCode::TicketExpired,
        TicketRefusal::UsedUp(..) => ProblemCode::TicketUsedUp,
        TicketRefusal::Revoked(_) => ProblemCode::TicketRevoked,
        TicketRefusal::InviterGone(_) | TicketRefusal::Removed(_) => ProblemCode::TicketRefused,
        TicketRefusal::TooMany => ProblemCode::Full,
        TicketRefusal::Exists(_) | TicketRefusal::Life(_) => ProblemCode::Refused,
    }
}

const fn of_packages(error: &PackageStoreError) -> ProblemCode {
    match error {
        PackageStoreError::Full { .. } => ProblemCode::Full,
        PackageStoreError::Package(_) => ProblemCode::PackageDamaged,
        PackageStoreError::DiskFull { .. } | PackageStoreError::Io { .. } => ProblemCode::Storage,
    }
}

impl From<TradeError> for Problem {
    fn from(error: TradeError) -> Self {
        let code = match &error {
            TradeError::NoSuchOffer(_) => ProblemCode::NoSuchOffer,
            TradeError::Ambiguous { .. } | TradeError::Sellers { .. } => ProblemCode::AmbiguousOffer,
            TradeError::PriceAbove { .. } => ProblemCode::PriceAbove,
            TradeError::Lost(_) => ProblemCode::PackageDamaged,
            TradeError::NotFetched { .. } | TradeError::NotHere { .. } | TradeError::FetchLate(_) => {
                ProblemCode::PackageMissing
            }
            TradeError::TooManyWishes | TradeError::TooManyOutside => ProblemCode::Full,
            TradeError::NothingToApprove(_) | TradeError::NotOwned(_) => ProblemCode::NoSuchPurchase,
            TradeError::NoMember(_) => ProblemCode::NoMemberReachable,
            TradeError::NoAccount { .. } => ProblemCode::InsufficientBalance,
            TradeError::Declined(_) => ProblemCode::OrderDeclined,
            TradeError::Refused(refusal) => return (&**refusal).into(),
            TradeError::DoesNotOpen { .. } | TradeError::NoKey(_) => ProblemCode::PackageDamaged,
            TradeError::Package(_) => ProblemCode::TooLarge,
            TradeError::Packages(why) => of_packages(why),
            TradeError::Write(_)
            | TradeError::Store(_)
            | TradeError::Stopping(_)
            | TradeError::Random(_)
            | TradeError::Crashed(_) => return of_daemon(error),
        };
        split(code, &error.to_string(), SEE_HEALTH)
    }
}

fn of_daemon(error: TradeError) -> Problem {
    match error {
        TradeError::Write(error) => error.into(),
        TradeError::Store(error) => error.into(),
        TradeError::Stopping(error) => error.into(),
        error => internal(&error),
    }
}

const fn of_tokens(why: &TokenRefusal) -> ProblemCode {
    match why {
        TokenRefusal::Balance { .. } => ProblemCode::InsufficientBalance,
        TokenRefusal::Treasury { .. } => ProblemCode::InsufficientTreasury,
        TokenRefusal::SupplyCap { .. } => ProblemCode::SupplyCap,
        TokenRefusal::AccountCap { .. } => ProblemCode::AccountCap,
        TokenRefusal::ToOneself(_) => ProblemCode::TransferToOneself,
        TokenRefusal::CapBelowSupply { .. } => ProblemCode::CapBelowSupply,
    }
}

impl From<&FormError> for Problem {
    fn from(error: &FormError) -> Self {
        let too_large = match error {
            FormError::Length { got, max, .. } | FormError::Count { got, max, .. } => got > max,
            FormError::Range { .. }
            | FormError::Characters { .. }
            | FormError::Key(_)
            | FormError::Resource(_)
            | FormError::TagTwice(_)
            | FormError::Unsorted(_)
            | FormError::OneTimeKey
            | FormError::OrderSignature(_)
            | FormError::OrderGroup
            | FormError::TicketProof(_)
            | FormError::NoChange => false,
        };
        let code = if too_large { ProblemCode::TooLarge } else { ProblemCode::BadField };
        Self::new(code, error.to_string(), "correct the field and send it again")
    }
}

impl From<FormError> for Problem {
    fn from(error: FormError) -> Self {
        (&error).into()
    }
}

impl From<AddPeerError> for Problem {
    fn from(error: AddPeerError) -> Self {
        let (code, remedy) = match error {
            AddPeerError::NoPeerId | AddPeerError::KeyType | AddPeerError::Own | AddPeerError::Form => {
                (ProblemCode::BadAddress, "give an address as the other machine's `lbm ctl status` prints it")
            }
            AddPeerError::Denied { .. } => (ProblemCode::PeerDenied, "change `allow` or `deny`"),
            AddPeerError::Alias => (ProblemCode::BadField, "choose another alias"),
            AddPeerError::Full(_) => (ProblemCode::Full, "forget some with `lbm ctl peer remove`"),
        };
        split(code, &error.to_string(), remedy)
    }
}

const CHECK_REQUEST: &str = "correct the request; an unknown key may also mean that the daemon is of another version";

impl From<JsonRejection> for Problem {
    fn from(rejection: JsonRejection) -> Self {
        if rejection.status() == StatusCode::PAYLOAD_TOO_LARGE {
            let detail = format!("the request's body has more than {} bytes", limits::API_BODY_BYTES);
            return Self::new(ProblemCode::TooLarge, detail, "send less at once");
        }
        Self::new(ProblemCode::BadRequest, rejection.body_text(), CHECK_REQUEST)
    }
}

impl From<QueryRejection> for Problem {
    fn from(rejection: QueryRejection) -> Self {
        Self::new(ProblemCode::BadRequest, rejection.body_text(), CHECK_REQUEST)
    }
}

impl From<PathRejection> for Problem {
    fn from(rejection: PathRejection) -> Self {
        Self::new(ProblemCode::BadRequest, rejection.body_text(), "write the path in UTF-8, its parameters escaped")
    }
}

/// How somebody comes back who is no member any more.
pub(super) fn come_back(why: Gone, group: &str) -> String {
    if why.may_come_by_ticket() {
        return "ask an admin of the group for a new ticket (`lbm ctl group invite`), and join by it".to_owned();
    }
    format!(
        "no ticket lets it in again: ask an admin of the group to add it (`lbm ctl group add-member --group {group}`)"
    )
}
