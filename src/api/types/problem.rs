//! What a refusal looks like (RFC 9457).

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::FieldError;

/// Makes the codes, their words, HTTP statuses and titles from one table.
macro_rules! problem_codes {
    ($($(#[$doc:meta])* $name:ident = $word:literal, $status:literal, $title:literal;)+) => {
        /// Why a request was refused, as a word that scripts may compare. A word never changes its meaning.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
        #[serde(rename_all = "snake_case")]
        pub enum ProblemCode {
            $($(#[$doc])* $name,)+
            /// A code that this build does not know: the daemon is newer. `type` still has the word.
            #[serde(other)]
            Unrecognised,
        }

        impl ProblemCode {
            /// Every code that a server may send.
            pub const ALL: &[Self] = &[$(Self::$name),+];

            /// The word.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$name => $word,)+ Self::Unrecognised => "unrecognised" }
            }

            /// The HTTP status that goes with it.
            #[must_use]
            pub const fn status(self) -> u16 {
                match self { $(Self::$name => $status,)+ Self::Unrecognised => 500 }
            }

            /// The title: the same for each problem of this code.
            #[must_use]
            pub const fn title(self) -> &'static str {
                match self { $(Self::$name => $title,)+ Self::Unrecognised => "A problem of another version" }
            }
        }
    };
}

problem_codes! {
    /// No JSON, a key that is not known, a value of the wrong type.
    BadRequest = "bad_request", 400, "The request cannot be read";
    /// A field breaks its bounds.
    BadField = "bad_field", 400, "A field of the request is wrong";
    /// Not a multiaddr, or one without a peer id.
    BadAddress = "bad_address", 400, "The address is not a full multiaddr";
    /// A cursor that this group's listing did not give.
    BadCursor = "bad_cursor", 400, "The cursor is not one of this listing";
    /// A cursor of an arrival order that goes on no more: of another copy of the node's data, or of a group that was joined again.
    CursorGone = "cursor_gone", 410, "The cursor is of another sequence";
    /// The route's permission is not the caller's.
    Forbidden = "forbidden", 403, "The caller may not do this";
    /// The node is no member of the group.
    NotAMember = "not_a_member", 403, "Not a member of the group";
    /// A viewer tried to write.
    ViewerCannotWrite = "viewer_cannot_write", 403, "A viewer cannot write";
    /// Only an admin may do this.
    NotAnAdmin = "not_an_admin", 403, "Only an admin of the group may do this";
    /// A claim is taken back by its author or an admin only.
    NotTheAuthor = "not_the_author", 403, "Only the author or an admin may do this";
    /// A task is given away or cancelled by its creator or an admin only.
    NotYourTask = "not_your_task", 403, "Only the task's creator or an admin may do this";
    /// No session of the panel, or one that is over.
    LoginNeeded = "login_needed", 401, "Nobody is logged in";
    /// A link to the panel that was followed, or whose time is over.
    LinkOver = "link_over", 410, "The link is over";
    /// The panel was asked by another page, or under another name.
    WrongOrigin = "wrong_origin", 403, "Asked from elsewhere";
    /// The panel is not served.
    PanelOff = "panel_off", 409, "The panel is not served";
    /// No such route.
    UnknownRoute = "unknown_route", 404, "The daemon has no such route";
    /// No group of that id, prefix or name.
    UnknownGroup = "unknown_group", 404, "No such group";
    /// No claim of that hash in the group.
    NoSuchClaim = "no_such_claim", 404, "No such claim";
    /// No block of that id in the group.
    UnknownBlock = "unknown_block", 404, "No such block";
    /// No task of that id in the group.
    NoSuchTask = "no_such_task", 404, "No such task";
    /// The identity is no member of the group.
    NoSuchMember = "no_such_member", 404, "No such member";
    /// The node hosts no agent of that name, or no more.
    NoSuchAgent = "no_such_agent", 404, "No such agent";
    /// The node hosts an agent of that name already.
    AgentExists = "agent_exists", 409, "There is such an agent already";
    /// The keys have another form than when the daemon started.
    KeysChanged = "keys_changed", 409, "The keys were given another form";
    /// The settings `allow` and `deny` keep the peer away.
    PeerDenied = "peer_denied", 409, "The settings keep the peer away";
    /// No such peer in the address book.
    NoSuchPeer = "no_such_peer", 404, "No such peer";
    /// The route exists, the method does not.
    MethodNotAllowed = "method_not_allowed", 405, "The route does not take this method";
    /// Several groups fit the name or prefix.
    AmbiguousName = "ambiguous_name", 409, "Several groups fit";
    /// Several claims fit the prefix.
    AmbiguousClaim = "ambiguous_claim", 409, "Several claims fit";
    /// The identity is a member already.
    AlreadyAMember = "already_a_member", 409, "A member already";
    /// The node replicates the group already.
    AlreadyJoined = "already_joined", 409, "The node has the group already";
    /// The claim was taken back before.
    AlreadyRetracted = "already_retracted", 409, "The claim is retracted already";
    /// A task of this id is there already.
    TaskExists = "task_exists", 409, "There is such a task already";
    /// Somebody has the task, and its lease is not over.
    TaskTaken = "task_taken", 409, "Somebody has the task";
    /// Another attempt at the task counts than the caller's.
    TaskTakenOver = "task_taken_over", 409, "Somebody else has the task by now";
    /// The task was not claimed or not started.
    TaskNotStarted = "task_not_started", 409, "The task was not started";
    /// The task waits for others.
    TaskBlocked = "task_blocked", 409, "The task waits for others";
    /// The task is completed, failed or cancelled.
    TaskEnded = "task_ended", 409, "The task has ended";
    /// The last admin cannot leave or be removed or made less.
    LastAdmin = "last_admin", 409, "A group needs an admin";
    /// The member seals, and has to hand over first.
    IsNotary = "is_notary", 409, "The notary cannot leave or be removed or made less";
    /// The identity has signed two blocks with one number.
    Frozen = "frozen", 403, "The identity may not spend";
    /// The data folder is an older copy, and this node may not know its own last block of the group.
    RestoredUnsure = "restored_unsure", 409, "The node may not know its own last block";
    /// Members say that this node is none any more.
    MembershipRefused = "membership_refused", 409, "Members say that this node is none any more";
    /// The group is still being joined.
    StillJoining = "still_joining", 409, "The group is still being joined";
    /// The group has no such ticket, or has forgotten it.
    NoSuchTicket = "no_such_ticket", 404, "No such ticket";
    /// The ticket's time is over.
    TicketExpired = "ticket_expired", 410, "The ticket has expired";
    /// As many have come in by the ticket as may.
    TicketUsedUp = "ticket_used_up", 410, "The ticket is used up";
    /// An admin has ended the ticket.
    TicketRevoked = "ticket_revoked", 410, "The ticket was revoked";
    /// The ticket lets this identity in no more.
    TicketRefused = "ticket_refused", 403, "The ticket does not let this identity in";
    /// An admin has denied the join request.
    RequestDenied = "request_denied", 403, "The request was denied";
    /// The string is no ticket, or was copied with a fault.
    BadTicket = "bad_ticket", 400, "The ticket cannot be read";
    /// The group that was sent is not the one that the ticket was made in.
    OtherBranch = "other_branch", 409, "The group has another history than the ticket says";
    /// Nobody asks to be let in by that id.
    NoSuchRequest = "no_such_request", 404, "No such join request";
    /// Something else was written under the idempotency key.
    KeyReused = "key_reused", 409, "The idempotency key stands for another write";
    /// A body or a field is larger than its limit.
    TooLarge = "too_large", 413, "Larger than the limit";
    /// The ledger refused a transaction for a reason without a code of its own.
    Refused = "refused", 422, "The ledger refuses this";
    /// A bound on the number of groups, members or peers is reached.
    Full = "full", 422, "A limit of the node or the group is reached";
    /// An account has fewer tokens than are to be given.
    InsufficientBalance = "insufficient_balance", 422, "Not enough tokens";
    /// More would leave an account within a day than its node's operator lets it.
    SpendingLimit = "spending_limit", 422, "Above the spending limit";
    /// The treasury has fewer tokens than are to be paid.
    InsufficientTreasury = "insufficient_treasury", 422, "Not enough tokens in the treasury";
    /// There would be more tokens than the group may have.
    SupplyCap = "supply_cap", 422, "The group may not have more tokens";
    /// An account would have more tokens than one may have.
    AccountCap = "account_cap", 422, "The account may not have more tokens";
    /// A transfer to its author.
    TransferToOneself = "transfer_to_oneself", 422, "Nobody transfers to itself";
    /// The supply's cap cannot be set below what there is.
    CapBelowSupply = "cap_below_supply", 422, "There are more tokens already";
    /// No such offer is known here.
    NoSuchOffer = "no_such_offer", 404, "No such offer";
    /// Nothing of that offer was bought, or waits to be approved.
    NoSuchPurchase = "no_such_purchase", 404, "No such purchase";
    /// An offer is ended by its seller or an admin only.
    NotYourOffer = "not_your_offer", 403, "Only the offer's seller or an admin may do this";
    /// Several offers fit the prefix, or several nodes announce the offer.
    AmbiguousOffer = "ambiguous_offer", 409, "Several offers fit";
    /// The offer was revoked.
    OfferRevoked = "offer_revoked", 409, "The offer was revoked";
    /// The offer's time is over.
    OfferExpired = "offer_expired", 409, "The offer has expired";
    /// A seller buys nothing from itself.
    OwnOffer = "own_offer", 409, "The offer is the buyer's own";
    /// Its seller could not deliver.
    SellerGone = "seller_gone", 409, "The seller is no member any more";
    /// The offer costs more than was allowed.
    PriceAbove = "price_above", 422, "The offer costs more";
    /// The package cannot be had now.
    PackageMissing = "package_missing", 503, "The package cannot be fetched";
    /// The seller has not granted, and the price came back.
    PurchaseRefunded = "purchase_refunded", 409, "The price was given back";
    /// What was bought does not open.
    PackageDamaged = "package_damaged", 422, "The package does not open";
    /// A member did not take the order.
    OrderDeclined = "order_declined", 422, "The order was not taken";
    /// The daemon failed; its log says more.
    Internal = "internal", 500, "The daemon failed";
    /// The store cannot write.
    Storage = "storage", 507, "The store cannot write";
    /// What the daemon cannot do without is not well.
    NotReady = "not_ready", 503, "The daemon does not serve";
    /// The settings cannot be used.
    BadSettings = "bad_settings", 422, "The settings cannot be used";
    /// The daemon is ending.
    ShuttingDown = "shutting_down", 503, "The daemon is shutting down";
    /// Too much waits already.
    Busy = "busy", 503, "The daemon is busy";
    /// No member of the group could be asked.
    NoMemberReachable = "no_member_reachable", 504, "No member of the group can be reached";
}

/// A refusal, with what to do about it. Media type `application/problem+json`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Problem {
    /// A URI of the kind of problem: `urn:lbm:problem:` and the code.
    #[serde(rename = "type")]
    pub kind: String,
    /// The kind for people.
    pub title: String,
    /// HTTP status.
    pub status: u16,
    /// What was refused, and why: one sentence, with the names that it is about.
    pub detail: String,
    /// The kind for scripts.
    pub code: ProblemCode,
    /// What to do next: one sentence.
    pub remedy: String,
    /// The request that was refused: `urn:lbm:request:` and its name, as the daemon's log has it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub instance: Option<Box<str>>,
}

impl Problem {
    /// A problem with its sentence and what to do about it.
    #[must_use]
    pub fn new(code: ProblemCode, detail: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self {
            kind: format!("urn:lbm:problem:{}", code.as_str()),
            title: code.title().to_owned(),
            status: code.status(),
            detail: detail.into(),
            code,
            remedy: remedy.into(),
            instance: None,
        }
    }
}

impl From<FieldError> for Problem {
    fn from(error: FieldError) -> Self {
        let code = if error.is_size() { ProblemCode::TooLarge } else { ProblemCode::BadField };
        let sentence = error.to_string();
        // Each sentence of a field error says what to do behind its colon.
        match sentence.split_once(": ") {
            Some((detail, remedy)) => Self::new(code, detail, remedy),
            None => Self::new(code, sentence, "correct the field"),
        }
    }
}

impl std::fmt::Display for Problem {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.detail)?;
        if self.remedy.is_empty() { Ok(()) } else { write!(f, ": {}", self.remedy) }
    }
}
