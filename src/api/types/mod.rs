//! Requests and answers of the API, one file per family.
//!
//! Every key is snake_case and stays; every id is a string: hex for groups, claims, blocks and state, the peer id for an
//! identity; every time is milliseconds since the Unix epoch. **A request refuses keys it does not know** (a misspelt
//! option must not be ignored), **an answer does not** (an older client reads a newer daemon), and an answer always has
//! all its keys: what is unknown is `null`. Requests check their own bounds (`check`), so that a face can refuse a line
//! of a file with its number and the server the same request with the same sentence.

mod agent;
mod block;
mod check;
mod claim;
mod context;
mod doctor;
mod event;
mod group;
mod joining;
mod node;
mod offer;
mod operations;
mod peer;
mod presence;
mod problem;
mod purchase;
mod schema;
mod subscription;
mod task;
mod token;

pub use agent::{Agent, AgentCreated, AgentGroup, AgentList, AgentRevoked, AgentToken, NewAgent, RevokeAgent};
pub use block::{Block, ShowBlock, Wrote};
pub use check::FieldError;
pub use claim::{
    BulkPublished, Claim, ClaimHolders, ClaimList, Evidence, ExperienceSubmitted, ListClaims, NewClaim, PublishBulk,
    PublishedClaim, RecentClaims, RetractedClaim, ShowThread, SubmitExperience, Thread, ThreadClaim, WatchClaims,
    WatchKind, WatchedClaim, WatchedList,
};
pub use context::{Context, ContextEmbedder, ContextItem, ContextQuery};
pub use doctor::{Diagnosis, Finding, Grade};
pub use event::{Event, EventKind, JoinEvent, ListEvents};
pub use group::{
    AddMember, CreateGroup, Group, GroupAlone, GroupCreated, GroupDetail, GroupLeft, GroupList, GroupStats, JoinGroup,
    Member, MemberChanged, MemberList, NotaryChanged, Role, SetNotary, SetRole, ShutOut, Unfrozen, Verified,
};
pub use joining::{
    ApproveRequest, DiscoverGroups, Invite, InviteList, InviteMade, InviteRevoked, InviteState, JoinRequest,
    JoinRequestList, ListRequests, NewInvite, RequestDenied, ShownGroup, ShownGroupList,
};
pub use node::{
    AdminLink, EmbedderState, EmbedderStatus, Health, HealthCheck, ListRejected, ListStranded, NewAdminLink, Rejected,
    RejectedList, Status, Stranded, StrandedList, SyncNow, SyncReport, SyncedGroup, SyncedPeer,
};
pub use offer::{
    ListOffers, MarketPulled, NewOffer, Offer, OfferCreated, OfferList, OfferRevoked, OfferRoyalty, OfferSource,
    OfferSplit, OfferStatus, PullMarket, Settlement,
};
pub use operations::{Alive, Ready, Reloaded, SettingInForce, SettingList};
pub use peer::{AddPeer, Peer, PeerAdded, PeerConnection, PeerDirection, PeerList, PeerRemoved, PeerSet, SetPeer};
pub use presence::{ListPresence, MemberPresence, PresenceList, PresenceSet, PresenceStatus, SetPresence};
pub use problem::{Problem, ProblemCode};
pub use purchase::{
    Approved, Bought, BuyOffer, LibraryContent, LibraryItem, LibraryList, ListPurchases, NextStep, Purchase,
    PurchaseList, PurchaseState, SetSpendingLimit, Side, SpendingLimit,
};
pub use subscription::{
    Ban, BanList, FailingPeer, SetSubscription, Subscription, SubscriptionList, SubscriptionMode, Unbanned,
};
pub use task::{
    AssignTask, BlockingTask, CompleteTask, FailTask, ListTasks, NewTask, ReadyTasks, ReleaseTask, ReserveResource,
    Reserved, StartTask, Task, TaskChanged, TaskDetail, TaskList, TaskStatus,
};
pub use token::{
    AskBalance, Balance, Direction, GroupPolicy, ListMoves, MoveList, Paid, Payment, Policy, PolicyChanged,
    PolicyUpdate, TokenMove,
};

#[cfg(test)]
mod tests;
