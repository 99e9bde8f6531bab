//! One method per route, typed as the route is.

use super::{Client, ClientError, Download, EventStream, NoBody};
use crate::api::routes;
use crate::api::types::{
    AddMember, AddPeer, Block, BulkPublished, Claim, ClaimList, Context, ContextQuery, CreateGroup, Event,
    ExperienceSubmitted, GroupAlone, GroupCreated, GroupDetail, GroupLeft, GroupList, GroupStats, Health, JoinEvent,
    JoinGroup, ListClaims, ListEvents, ListRejected, MemberChanged, MemberList, NewClaim, NotaryChanged, PeerAdded,
    PeerList, PeerRemoved, PublishBulk, PublishedClaim, RecentClaims, RejectedList, RetractedClaim, SetNotary, SetRole,
    ShowBlock, Status, SubmitExperience, SyncNow, SyncReport, Thread, Unfrozen, Verified,
};
use crate::identity::Identity;

/// Each method's errors: [`ClientError`], as its variants say. `group` is an id, a unique prefix of one, or a unique name;
/// `claim` a hash or a unique prefix of one.
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

    /// [`routes::EVENTS`].
    pub async fn events(&self, query: &ListEvents) -> Result<EventStream<Event>, ClientError> {
        self.follow(&routes::EVENTS, query, None::<&NoBody>).await
    }

    /// [`routes::REJECTED`].
    pub async fn rejected(&self, query: &ListRejected) -> Result<RejectedList, ClientError> {
        self.ask(&routes::REJECTED, &[], query).await
    }

    /// [`routes::SYNC`].
    pub async fn sync(&self, request: &SyncNow) -> Result<SyncReport, ClientError> {
        self.tell(&routes::SYNC, &[], request).await
    }

    /// [`routes::BACKUP`].
    pub async fn backup(&self) -> Result<Download, ClientError> {
        self.download(&routes::BACKUP).await
    }

    /// [`routes::PEER_LIST`].
    pub async fn peers(&self) -> Result<PeerList, ClientError> {
        self.ask(&routes::PEER_LIST, &[], &()).await
    }

    /// [`routes::PEER_ADD`].
    pub async fn add_peer(&self, request: &AddPeer) -> Result<PeerAdded, ClientError> {
        self.tell(&routes::PEER_ADD, &[], request).await
    }

    /// [`routes::PEER_REMOVE`]: `peer` is a peer id or an alias.
    pub async fn remove_peer(&self, peer: &str) -> Result<PeerRemoved, ClientError> {
        self.ask(&routes::PEER_REMOVE, &[peer], &()).await
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
        self.follow(&routes::GROUP_JOIN, &(), Some(request)).await
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

    /// [`routes::CLAIM_SHOW`].
    pub async fn claim(&self, group: &str, claim: &str) -> Result<Claim, ClientError> {
        self.ask(&routes::CLAIM_SHOW, &[group, claim], &()).await
    }

    /// [`routes::CLAIM_THREAD`].
    pub async fn thread(&self, group: &str, claim: &str) -> Result<Thread, ClientError> {
        self.ask(&routes::CLAIM_THREAD, &[group, claim], &()).await
    }

    /// [`routes::CLAIM_RETRACT`].
    pub async fn retract_claim(&self, group: &str, claim: &str) -> Result<RetractedClaim, ClientError> {
        self.ask(&routes::CLAIM_RETRACT, &[group, claim], &()).await
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
}
