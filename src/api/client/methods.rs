//! One method per route, typed as the route is.

use super::{Client, ClientError, Download, EventStream, NoBody};
use crate::api::routes;
use crate::api::types::{
    AddMember, AddPeer, AdminLink, Agent, AgentCreated, AgentList, AgentRevoked, AgentToken, ApproveRequest, Approved,
    AskBalance, AssignTask, Balance, BanList, Block, Bought, BulkPublished, BuyOffer, Claim, ClaimHolders, ClaimList,
    CompleteTask, Context, ContextQuery, CreateGroup, Diagnosis, DiscoverGroups, Event, ExperienceSubmitted, FailTask,
    GroupAlone, GroupCreated, GroupDetail, GroupLeft, GroupList, GroupPolicy, GroupStats, Health, InviteList,
    InviteMade, InviteRevoked, JoinEvent, JoinGroup, JoinRequestList, LibraryContent, LibraryList, ListClaims,
    ListEvents, ListMoves, ListOffers, ListPresence, ListPurchases, ListRejected, ListRequests, ListStranded,
    ListTasks, MarketPulled, MemberChanged, MemberList, MoveList, NewAdminLink, NewAgent, NewClaim, NewInvite,
    NewOffer, NewTask, NotaryChanged, Offer, OfferCreated, OfferList, OfferRevoked, Paid, Payment, PeerAdded, PeerList,
    PeerRemoved, PeerSet, PolicyChanged, PolicyUpdate, PresenceList, PresenceSet, PublishBulk, PublishedClaim,
    PullMarket, PurchaseList, ReadyTasks, RecentClaims, RejectedList, ReleaseTask, Reloaded, RequestDenied,
    RetractedClaim, RevokeAgent, SetNotary, SetPeer, SetPresence, SetRole, SetSpendingLimit, SetSubscription,
    SettingList, ShowBlock, ShowThread, ShownGroupList, SpendingLimit, StartTask, Status, StrandedList,
    SubmitExperience, Subscription, SubscriptionList, SyncNow, SyncReport, TaskChanged, TaskDetail, TaskList, Thread,
    Unbanned, Unfrozen, Verified, WatchClaims, WatchedClaim, WatchedList,
};
use crate::identity::Identity;

/// Each method's errors: [`ClientError`], as its variants say. `group` is an id, a unique prefix of one, or a unique name;
/// `claim` a hash or a unique prefix of one;
/// `task` its name in the group.
#[allow(clippy::missing_errors_doc)]
impl Client {
    /// [`routes::STATUS`].
    pub async fn status(&self) -> Result<Status, ClientError> {
        self.ask(&routes::STATUS, &[], &()).await
    }

    /// [`routes::HEALTH`].
    pub async fn health(&self) -> Result<Health, ClientError> {
        self.ask(&routes::HEALTH, &[], &()).await
    }

    /// [`routes::SETTINGS`].
    pub async fn settings(&self) -> Result<SettingList, ClientError> {
        self.ask(&routes::SETTINGS, &[], &()).await
    }

    /// [`routes::RELOAD`].
    pub async fn reload(&self) -> Result<Reloaded, ClientError> {
        self.tell(&routes::RELOAD, &[], &NoBody {}).await
    }

    /// [`routes::DOCTOR`].
    pub async fn doctor(&self) -> Result<Diagnosis, ClientError> {
        self.ask(&routes::DOCTOR, &[], &()).await
    }

    /// [`routes::EVENTS`].
    pub async fn events(&self, query: &ListEvents) -> Result<EventStream<Event>, ClientError> {
        self.follow(&routes::EVENTS, &[], query, None::<&NoBody>).await
    }

    /// [`routes::REJECTED`].
    pub async fn rejected(&self, query: &ListRejected) -> Result<RejectedList, ClientError> {
        self.ask(&routes::REJECTED, &[], query).await
    }

    /// [`routes::STRANDED`].
    pub async fn stranded(&self, query: &ListStranded) -> Result<StrandedList, ClientError> {
        self.ask(&routes::STRANDED, &[], query).await
    }

    /// [`routes::SYNC`].
    pub async fn sync(&self, request: &SyncNow) -> Result<SyncReport, ClientError> {
        self.tell(&routes::SYNC, &[], request).await
    }

    /// [`routes::ADMIN_LINK`].
    pub async fn admin_link(&self, request: &NewAdminLink) -> Result<AdminLink, ClientError> {
        self.tell(&routes::ADMIN_LINK, &[], request).await
    }

    /// [`routes::BACKUP`].
    pub async fn backup(&self) -> Result<Download, ClientError> {
        self.download(&routes::BACKUP).await
    }

    /// [`routes::AGENT_LIST`].
    pub async fn agents(&self) -> Result<AgentList, ClientError> {
        self.ask(&routes::AGENT_LIST, &[], &()).await
    }

    /// [`routes::AGENT_CREATE`].
    pub async fn create_agent(&self, request: &NewAgent) -> Result<AgentCreated, ClientError> {
        self.tell(&routes::AGENT_CREATE, &[], request).await
    }

    /// [`routes::AGENT_SHOW`].
    pub async fn agent(&self, agent: &str) -> Result<Agent, ClientError> {
        self.ask(&routes::AGENT_SHOW, &[agent], &()).await
    }

    /// [`routes::AGENT_REVOKE`].
    pub async fn revoke_agent(&self, agent: &str, request: &RevokeAgent) -> Result<AgentRevoked, ClientError> {
        self.tell(&routes::AGENT_REVOKE, &[agent], request).await
    }

    /// [`routes::AGENT_TOKEN`].
    pub async fn agent_token(&self, agent: &str) -> Result<AgentToken, ClientError> {
        self.ask(&routes::AGENT_TOKEN, &[agent], &()).await
    }

    /// [`routes::AGENT_LIMIT`].
    pub async fn set_agent_limit(&self, agent: &str, to: &SetSpendingLimit) -> Result<Agent, ClientError> {
        self.tell(&routes::AGENT_LIMIT, &[agent], to).await
    }

    /// [`routes::PEER_LIST`].
    pub async fn peers(&self) -> Result<PeerList, ClientError> {
        self.ask(&routes::PEER_LIST, &[], &()).await
    }

    /// [`routes::PEER_ADD`].
    pub async fn add_peer(&self, request: &AddPeer) -> Result<PeerAdded, ClientError> {
        self.tell(&routes::PEER_ADD, &[], request).await
    }

    /// [`routes::PEER_SET`]: `peer` is a peer id or an alias.
    pub async fn set_peer(&self, peer: &str, to: &SetPeer) -> Result<PeerSet, ClientError> {
        self.tell(&routes::PEER_SET, &[peer], to).await
    }

    /// [`routes::PEER_REMOVE`]: `peer` is a peer id or an alias.
    pub async fn remove_peer(&self, peer: &str) -> Result<PeerRemoved, ClientError> {
        self.ask(&routes::PEER_REMOVE, &[peer], &()).await
    }

    /// [`routes::INVITE_CREATE`].
    pub async fn invite(&self, group: &str, request: &NewInvite) -> Result<InviteMade, ClientError> {
        self.tell(&routes::INVITE_CREATE, &[group], request).await
    }

    /// [`routes::INVITE_LIST`].
    pub async fn invites(&self, group: &str) -> Result<InviteList, ClientError> {
        self.ask(&routes::INVITE_LIST, &[group], &()).await
    }

    /// [`routes::INVITE_REVOKE`].
    pub async fn revoke_invite(&self, group: &str, ticket: &str) -> Result<InviteRevoked, ClientError> {
        self.ask(&routes::INVITE_REVOKE, &[group, ticket], &()).await
    }

    /// [`routes::REQUEST_LIST`].
    pub async fn join_requests(&self, query: &ListRequests) -> Result<JoinRequestList, ClientError> {
        self.ask(&routes::REQUEST_LIST, &[], query).await
    }

    /// [`routes::REQUEST_APPROVE`].
    pub async fn approve_request(
        &self,
        group: &str,
        member: Identity,
        request: &ApproveRequest,
    ) -> Result<MemberChanged, ClientError> {
        self.tell(&routes::REQUEST_APPROVE, &[group, &member.to_string()], request).await
    }

    /// [`routes::REQUEST_DENY`].
    pub async fn deny_request(&self, group: &str, member: Identity) -> Result<RequestDenied, ClientError> {
        self.ask(&routes::REQUEST_DENY, &[group, &member.to_string()], &()).await
    }

    /// [`routes::SHOWN_GROUPS`].
    pub async fn shown_groups(&self, query: &DiscoverGroups) -> Result<ShownGroupList, ClientError> {
        self.ask(&routes::SHOWN_GROUPS, &[], query).await
    }

    /// [`routes::PEER_BANS`].
    pub async fn bans(&self) -> Result<BanList, ClientError> {
        self.ask(&routes::PEER_BANS, &[], &()).await
    }

    /// [`routes::PEER_UNBAN`]: `peer` is a peer id or an alias.
    pub async fn unban(&self, peer: &str) -> Result<Unbanned, ClientError> {
        self.ask(&routes::PEER_UNBAN, &[peer], &()).await
    }

    /// [`routes::SUBSCRIPTION_LIST`].
    pub async fn subscriptions(&self) -> Result<SubscriptionList, ClientError> {
        self.ask(&routes::SUBSCRIPTION_LIST, &[], &()).await
    }

    /// [`routes::SUBSCRIPTION_SET`].
    pub async fn set_subscription(&self, group: &str, to: &SetSubscription) -> Result<Subscription, ClientError> {
        self.tell(&routes::SUBSCRIPTION_SET, &[group], to).await
    }

    /// [`routes::GROUP_CREATE`].
    pub async fn create_group(&self, request: &CreateGroup) -> Result<GroupCreated, ClientError> {
        self.tell(&routes::GROUP_CREATE, &[], request).await
    }

    /// [`routes::GROUP_LIST`].
    pub async fn groups(&self) -> Result<GroupList, ClientError> {
        self.ask(&routes::GROUP_LIST, &[], &()).await
    }

    /// [`routes::GROUP_JOIN`].
    pub async fn join_group(&self, request: &JoinGroup) -> Result<EventStream<JoinEvent>, ClientError> {
        self.follow(&routes::GROUP_JOIN, &[], &(), Some(request)).await
    }

    /// [`routes::GROUP_SHOW`].
    pub async fn group(&self, group: &str) -> Result<GroupDetail, ClientError> {
        self.ask(&routes::GROUP_SHOW, &[group], &()).await
    }

    /// [`routes::GROUP_LEAVE`].
    pub async fn leave_group(&self, group: &str) -> Result<GroupLeft, ClientError> {
        self.ask(&routes::GROUP_LEAVE, &[group], &()).await
    }

    /// [`routes::GROUP_ALONE`].
    pub async fn group_alone(&self, group: &str) -> Result<GroupAlone, ClientError> {
        self.ask(&routes::GROUP_ALONE, &[group], &()).await
    }

    /// [`routes::GROUP_MEMBERS`].
    pub async fn members(&self, group: &str) -> Result<MemberList, ClientError> {
        self.ask(&routes::GROUP_MEMBERS, &[group], &()).await
    }

    /// [`routes::GROUP_STATS`].
    pub async fn group_stats(&self, group: &str) -> Result<GroupStats, ClientError> {
        self.ask(&routes::GROUP_STATS, &[group], &()).await
    }

    /// [`routes::GROUP_VERIFY`].
    pub async fn verify_group(&self, group: &str) -> Result<Verified, ClientError> {
        self.ask(&routes::GROUP_VERIFY, &[group], &()).await
    }

    /// [`routes::MEMBER_ADD`].
    pub async fn add_member(&self, group: &str, request: &AddMember) -> Result<MemberChanged, ClientError> {
        self.tell(&routes::MEMBER_ADD, &[group], request).await
    }

    /// [`routes::MEMBER_SET_ROLE`].
    pub async fn set_role(&self, group: &str, member: Identity, to: &SetRole) -> Result<MemberChanged, ClientError> {
        self.tell(&routes::MEMBER_SET_ROLE, &[group, &member.to_string()], to).await
    }

    /// [`routes::MEMBER_REMOVE`].
    pub async fn remove_member(&self, group: &str, member: Identity) -> Result<MemberChanged, ClientError> {
        self.ask(&routes::MEMBER_REMOVE, &[group, &member.to_string()], &()).await
    }

    /// [`routes::MEMBER_UNFREEZE`].
    pub async fn unfreeze(&self, group: &str, member: Identity) -> Result<Unfrozen, ClientError> {
        self.ask(&routes::MEMBER_UNFREEZE, &[group, &member.to_string()], &()).await
    }

    /// [`routes::NOTARY_SET`].
    pub async fn set_notary(&self, group: &str, to: &SetNotary) -> Result<NotaryChanged, ClientError> {
        self.tell(&routes::NOTARY_SET, &[group], to).await
    }

    /// [`routes::BLOCK_SHOW`].
    pub async fn block(&self, group: &str, block: &str, query: &ShowBlock) -> Result<Block, ClientError> {
        self.ask(&routes::BLOCK_SHOW, &[group, block], query).await
    }

    /// [`routes::PRESENCE_SET`].
    pub async fn set_presence(&self, group: &str, presence: &SetPresence) -> Result<PresenceSet, ClientError> {
        self.tell(&routes::PRESENCE_SET, &[group], presence).await
    }

    /// [`routes::PRESENCE_LIST`].
    pub async fn presence(&self, group: &str, query: &ListPresence) -> Result<PresenceList, ClientError> {
        self.ask(&routes::PRESENCE_LIST, &[group], query).await
    }

    /// [`routes::CLAIM_PUBLISH`].
    pub async fn publish_claim(&self, group: &str, claim: &NewClaim) -> Result<PublishedClaim, ClientError> {
        self.tell(&routes::CLAIM_PUBLISH, &[group], claim).await
    }

    /// [`routes::CLAIM_BULK`].
    pub async fn publish_bulk(&self, group: &str, request: &PublishBulk) -> Result<BulkPublished, ClientError> {
        self.tell(&routes::CLAIM_BULK, &[group], request).await
    }

    /// [`routes::CLAIM_LIST`].
    pub async fn claims(&self, group: &str, query: &ListClaims) -> Result<ClaimList, ClientError> {
        self.ask(&routes::CLAIM_LIST, &[group], query).await
    }

    /// [`routes::CLAIM_RECENT`].
    pub async fn recent_claims(&self, group: &str, query: &RecentClaims) -> Result<ClaimList, ClientError> {
        self.ask(&routes::CLAIM_RECENT, &[group], query).await
    }

    /// [`routes::CLAIM_WATCH`].
    pub async fn watch_claims(&self, group: &str, query: &WatchClaims) -> Result<WatchedList, ClientError> {
        self.ask(&routes::CLAIM_WATCH, &[group], query).await
    }

    /// [`routes::CLAIM_FOLLOW`].
    pub async fn follow_claims(
        &self,
        group: &str,
        query: &WatchClaims,
    ) -> Result<EventStream<WatchedClaim>, ClientError> {
        self.follow(&routes::CLAIM_FOLLOW, &[group], query, None::<&NoBody>).await
    }

    /// [`routes::CLAIM_SHOW`].
    pub async fn claim(&self, group: &str, claim: &str) -> Result<Claim, ClientError> {
        self.ask(&routes::CLAIM_SHOW, &[group, claim], &()).await
    }

    /// [`routes::CLAIM_THREAD`].
    pub async fn thread(&self, group: &str, claim: &str, query: &ShowThread) -> Result<Thread, ClientError> {
        self.ask(&routes::CLAIM_THREAD, &[group, claim], query).await
    }

    /// [`routes::CLAIM_HOLDERS`].
    pub async fn claim_holders(&self, group: &str, claim: &str) -> Result<ClaimHolders, ClientError> {
        self.ask(&routes::CLAIM_HOLDERS, &[group, claim], &()).await
    }

    /// [`routes::CLAIM_RETRACT`].
    pub async fn retract_claim(&self, group: &str, claim: &str) -> Result<RetractedClaim, ClientError> {
        self.ask(&routes::CLAIM_RETRACT, &[group, claim], &()).await
    }

    /// [`routes::TASK_CREATE`].
    pub async fn create_task(&self, group: &str, task: &NewTask) -> Result<TaskChanged, ClientError> {
        self.tell(&routes::TASK_CREATE, &[group], task).await
    }

    /// [`routes::TASK_LIST`].
    pub async fn tasks(&self, group: &str, query: &ListTasks) -> Result<TaskList, ClientError> {
        self.ask(&routes::TASK_LIST, &[group], query).await
    }

    /// [`routes::TASK_READY`].
    pub async fn ready_tasks(&self, group: &str, query: &ReadyTasks) -> Result<TaskList, ClientError> {
        self.ask(&routes::TASK_READY, &[group], query).await
    }

    /// [`routes::TASK_SHOW`].
    pub async fn task(&self, group: &str, task: &str) -> Result<TaskDetail, ClientError> {
        self.ask(&routes::TASK_SHOW, &[group, task], &()).await
    }

    /// [`routes::TASK_ASSIGN`].
    pub async fn assign_task(&self, group: &str, task: &str, to: &AssignTask) -> Result<TaskChanged, ClientError> {
        self.tell(&routes::TASK_ASSIGN, &[group, task], to).await
    }

    /// [`routes::TASK_START`].
    pub async fn start_task(&self, group: &str, task: &str, how: &StartTask) -> Result<TaskChanged, ClientError> {
        self.tell(&routes::TASK_START, &[group, task], how).await
    }

    /// [`routes::TASK_COMPLETE`].
    pub async fn complete_task(
        &self,
        group: &str,
        task: &str,
        result: &CompleteTask,
    ) -> Result<TaskChanged, ClientError> {
        self.tell(&routes::TASK_COMPLETE, &[group, task], result).await
    }

    /// [`routes::TASK_FAIL`].
    pub async fn fail_task(&self, group: &str, task: &str, why: &FailTask) -> Result<TaskChanged, ClientError> {
        self.tell(&routes::TASK_FAIL, &[group, task], why).await
    }

    /// [`routes::TASK_RELEASE`].
    pub async fn release_task(&self, group: &str, task: &str, which: &ReleaseTask) -> Result<TaskChanged, ClientError> {
        self.tell(&routes::TASK_RELEASE, &[group, task], which).await
    }

    /// [`routes::TASK_CANCEL`].
    pub async fn cancel_task(&self, group: &str, task: &str) -> Result<TaskChanged, ClientError> {
        self.ask(&routes::TASK_CANCEL, &[group, task], &()).await
    }

    /// [`routes::CONTEXT`].
    pub async fn context(&self, group: &str, query: &ContextQuery) -> Result<Context, ClientError> {
        self.tell(&routes::CONTEXT, &[group], query).await
    }

    /// [`routes::EXPERIENCE_SUBMIT`].
    pub async fn submit_experience(
        &self,
        group: &str,
        experience: &SubmitExperience,
    ) -> Result<ExperienceSubmitted, ClientError> {
        self.tell(&routes::EXPERIENCE_SUBMIT, &[group], experience).await
    }

    /// [`routes::GROUP_POLICY`].
    pub async fn policy(&self, group: &str) -> Result<GroupPolicy, ClientError> {
        self.ask(&routes::GROUP_POLICY, &[group], &()).await
    }

    /// [`routes::POLICY_UPDATE`].
    pub async fn update_policy(&self, group: &str, update: &PolicyUpdate) -> Result<PolicyChanged, ClientError> {
        self.tell(&routes::POLICY_UPDATE, &[group], update).await
    }

    /// [`routes::TOKEN_BALANCE`].
    pub async fn balance(&self, group: &str, query: &AskBalance) -> Result<Balance, ClientError> {
        self.ask(&routes::TOKEN_BALANCE, &[group], query).await
    }

    /// [`routes::TOKEN_HISTORY`].
    pub async fn token_history(&self, group: &str, query: &ListMoves) -> Result<MoveList, ClientError> {
        self.ask(&routes::TOKEN_HISTORY, &[group], query).await
    }

    /// [`routes::TOKEN_MINT`].
    pub async fn mint(&self, group: &str, payment: &Payment) -> Result<Paid, ClientError> {
        self.tell(&routes::TOKEN_MINT, &[group], payment).await
    }

    /// [`routes::TOKEN_TRANSFER`].
    pub async fn transfer(&self, group: &str, payment: &Payment) -> Result<Paid, ClientError> {
        self.tell(&routes::TOKEN_TRANSFER, &[group], payment).await
    }

    /// [`routes::TOKEN_PAY`].
    pub async fn pay(&self, group: &str, payment: &Payment) -> Result<Paid, ClientError> {
        self.tell(&routes::TOKEN_PAY, &[group], payment).await
    }

    /// [`routes::OFFER_CREATE`].
    pub async fn create_offer(&self, group: &str, offer: &NewOffer) -> Result<OfferCreated, ClientError> {
        self.tell(&routes::OFFER_CREATE, &[group], offer).await
    }

    /// [`routes::OFFER_LIST`].
    pub async fn offers(&self, query: &ListOffers) -> Result<OfferList, ClientError> {
        self.ask(&routes::OFFER_LIST, &[], query).await
    }

    /// [`routes::OFFER_SHOW`].
    pub async fn offer(&self, offer: &str) -> Result<Offer, ClientError> {
        self.ask(&routes::OFFER_SHOW, &[offer], &()).await
    }

    /// [`routes::OFFER_REVOKE`].
    pub async fn revoke_offer(&self, offer: &str) -> Result<OfferRevoked, ClientError> {
        self.ask(&routes::OFFER_REVOKE, &[offer], &()).await
    }

    /// [`routes::OFFER_BUY`].
    pub async fn buy_offer(&self, offer: &str, how: &BuyOffer) -> Result<Bought, ClientError> {
        self.tell(&routes::OFFER_BUY, &[offer], how).await
    }

    /// [`routes::OFFER_APPROVE`]: `offer` is an offer's id or a prefix of it.
    pub async fn approve_purchase(&self, offer: &str) -> Result<Approved, ClientError> {
        self.ask(&routes::OFFER_APPROVE, &[offer], &()).await
    }

    /// [`routes::PURCHASE_LIST`].
    pub async fn purchases(&self, query: &ListPurchases) -> Result<PurchaseList, ClientError> {
        self.ask(&routes::PURCHASE_LIST, &[], query).await
    }

    /// [`routes::LIBRARY_LIST`].
    pub async fn library(&self) -> Result<LibraryList, ClientError> {
        self.ask(&routes::LIBRARY_LIST, &[], &()).await
    }

    /// [`routes::LIBRARY_SHOW`].
    pub async fn library_content(&self, offer: &str) -> Result<LibraryContent, ClientError> {
        self.ask(&routes::LIBRARY_SHOW, &[offer], &()).await
    }

    /// [`routes::LIMIT_SHOW`].
    pub async fn spending_limit(&self, group: &str) -> Result<SpendingLimit, ClientError> {
        self.ask(&routes::LIMIT_SHOW, &[group], &()).await
    }

    /// [`routes::LIMIT_SET`].
    pub async fn set_spending_limit(&self, group: &str, to: &SetSpendingLimit) -> Result<SpendingLimit, ClientError> {
        self.tell(&routes::LIMIT_SET, &[group], to).await
    }

    /// [`routes::MARKET_PULL`].
    pub async fn pull_market(&self, of: &PullMarket) -> Result<MarketPulled, ClientError> {
        self.tell(&routes::MARKET_PULL, &[], of).await
    }
}
