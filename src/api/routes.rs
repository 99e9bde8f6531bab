//! The table of routes: method, path and permission of each, for the server, the client and the description.
//!
//! **A handler is reached through its [`Route`] only, and the permission stands on the route**: it is checked once, where
//! the router is built, and no handler can forget it.

use hyper::Method;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

/// What a caller needs to be allowed to use a route.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Permission {
    /// Look: nothing changes.
    Read,
    /// Write into groups in the identity's name.
    Write,
    /// Create groups and manage their members.
    Admin,
    /// Look at what is of all groups and of the machine: nothing changes.
    Inspect,
    /// Change what the node does: its peers, its groups, its syncs.
    Operate,
}

impl Permission {
    /// Whether it is for the node's own people, and no agent's business.
    #[must_use]
    pub const fn is_of_node(self) -> bool {
        matches!(self, Self::Inspect | Self::Operate)
    }

    /// Whether nothing changes.
    #[must_use]
    pub const fn looks(self) -> bool {
        matches!(self, Self::Read | Self::Inspect)
    }
}

/// How long an answer may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Pace {
    /// Up to `limits::API_TIMEOUT_MS`.
    Quick,
    /// Up to `limits::API_SLOW_TIMEOUT_MS`: walks a history or asks peers.
    Slow,
    /// A stream, mostly of server-sent events, for as long as both sides like.
    Stream,
}

/// One route.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Route {
    /// Its name in the description of the API, in capitals.
    pub name: &'static str,
    /// HTTP method.
    pub method: Method,
    /// Path, its parameters in braces (axum's form, and OpenAPI's).
    pub path: &'static str,
    /// What a caller needs.
    pub permission: Permission,
    /// How long an answer may take.
    pub pace: Pace,
    /// What it does, as one line.
    pub summary: &'static str,
}

/// Characters of a parameter that are escaped: all but letters, digits and what group names have besides. A dot is, so that
/// no parameter can be a `..`.
const ESCAPED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b':');

impl Route {
    const fn new(
        name: &'static str,
        method: Method,
        path: &'static str,
        permission: Permission,
        summary: &'static str,
    ) -> Self {
        Self { name, method, path, permission, pace: Pace::Quick, summary }
    }

    const fn slow(mut self) -> Self {
        self.pace = Pace::Slow;
        self
    }

    const fn stream(mut self) -> Self {
        self.pace = Pace::Stream;
        self
    }

    /// The path with its parameters filled in, in the order in which they stand.
    ///
    /// A parameter is whatever a person typed: what has a meaning in a path is escaped.
    #[must_use]
    pub fn fill(&self, parameters: &[&str]) -> String {
        let mut parameters = parameters.iter();
        let mut path = String::with_capacity(self.path.len() + 64);
        for segment in self.path.split('/').skip(1) {
            path.push('/');
            if !segment.starts_with('{') {
                path.push_str(segment);
                continue;
            }
            if let Some(value) = parameters.next() {
                path.extend(utf8_percent_encode(value, ESCAPED));
            }
        }
        path
    }

    /// How many parameters the path has.
    #[must_use]
    pub fn parameters(&self) -> usize {
        self.path.split('/').filter(|segment| segment.starts_with('{')).count()
    }
}

macro_rules! routes {
    ($($name:ident = $method:ident $path:literal $permission:ident $($pace:ident)?, $summary:literal;)+) => {
        $(
            #[doc = concat!("`", stringify!($method), " ", $path, "`: ", $summary)]
            pub static $name: Route =
                Route::new(stringify!($name), Method::$method, $path, Permission::$permission, $summary)$(.$pace())?;
        )+

        /// Every route.
        pub static ALL: &[&Route] = &[$(&$name),+];
    };
}

routes! {
    OPENAPI = GET "/api/openapi.json" Read, "this description of the API";
    LIVE = GET "/health/live" Read, "whether the daemon answers";
    READY = GET "/health/ready" Read, "whether it can read, write and has room: 503 where not";
    METRICS = GET "/metrics" Inspect, "what is counted and measured, for Prometheus";
    SETTINGS = GET "/api/v1/settings" Inspect, "the settings in force, and where each comes from";
    RELOAD = POST "/api/v1/reload" Operate, "read the settings again";
    STATUS = GET "/api/v1/status" Read, "who the node is and what it does";
    HEALTH = GET "/api/v1/health" Read, "what is well and what is not";
    DOCTOR = GET "/api/v1/doctor" Read slow, "what may keep the node from working, and what to do about it";
    EVENTS = GET "/api/v1/events" Read stream, "what happens, as it happens";
    REJECTED = GET "/api/v1/rejected" Read, "blocks that the ledger refuses, and why";
    STRANDED = GET "/api/v1/stranded" Read, "own writes that a group is not known to have, as their author is no member any more";
    SYNC = POST "/api/v1/sync" Write slow, "ask every connected member for what is missing, now";
    ADMIN_LINK = POST "/api/v1/admin/link" Operate, "a link to the panel, to be followed once";
    BACKUP = POST "/api/v1/backup" Operate stream, "every row as of now, as the frames of a backup";
    AGENT_LIST = GET "/api/v1/agents" Read, "the agents that this node hosts";
    AGENT_CREATE = POST "/api/v1/agents" Operate, "make an agent with a key of its own, and add it to a group";
    AGENT_SHOW = GET "/api/v1/agents/{agent}" Read, "one agent";
    AGENT_REVOKE = POST "/api/v1/agents/{agent}/revoke" Operate slow, "end an agent: its key is destroyed";
    AGENT_TOKEN = POST "/api/v1/agents/{agent}/token" Operate, "a new bearer token of an agent";
    AGENT_LIMIT = PUT "/api/v1/agents/{agent}/spending-limit" Operate, "bound what an agent spends in a day";
    PEER_LIST = GET "/api/v1/peers" Read, "the address book";
    PEER_ADD = POST "/api/v1/peers" Operate, "add a peer's address and dial it";
    PEER_SET = PATCH "/api/v1/peers/{peer}" Operate, "call a peer by another name here";
    PEER_REMOVE = DELETE "/api/v1/peers/{peer}" Operate, "forget a peer, by peer id or alias";
    PEER_BANS = GET "/api/v1/bans" Read, "who was sent away for its faults";
    PEER_UNBAN = DELETE "/api/v1/bans/{peer}" Operate, "let a peer come back, by peer id or alias";
    SUBSCRIPTION_LIST = GET "/api/v1/subscriptions" Read, "how each group is synced";
    SUBSCRIPTION_SET = PUT "/api/v1/groups/{group}/subscription" Operate, "change how a group is synced";
    GROUP_CREATE = POST "/api/v1/groups" Operate, "create a group";
    GROUP_LIST = GET "/api/v1/groups" Read, "this node's groups";
    GROUP_JOIN = POST "/api/v1/join" Write stream, "join a group by its id or a ticket, and follow how it goes";
    GROUP_SHOW = GET "/api/v1/groups/{group}" Read, "one group";
    GROUP_LEAVE = POST "/api/v1/groups/{group}/leave" Write, "replicate a group no longer; as an agent, be no member any more";
    GROUP_ALONE = POST "/api/v1/groups/{group}/alone" Operate, "nobody else has blocks of this node: write without asking";
    GROUP_MEMBERS = GET "/api/v1/groups/{group}/members" Read, "a group's members";
    GROUP_STATS = GET "/api/v1/groups/{group}/stats" Read, "a group's sizes";
    GROUP_VERIFY = POST "/api/v1/groups/{group}/verify" Read slow, "check every signature and fold again from nothing";
    BLOCK_SHOW = GET "/api/v1/groups/{group}/blocks/{block}" Read slow, "what became of a block; waits until it is final";
    NOTARY_SET = PUT "/api/v1/groups/{group}/notary" Admin, "hand the right to seal over";
    MEMBER_ADD = POST "/api/v1/groups/{group}/members" Admin, "add a member";
    MEMBER_SET_ROLE = PUT "/api/v1/groups/{group}/members/{member}" Admin, "change a member's role";
    MEMBER_REMOVE = DELETE "/api/v1/groups/{group}/members/{member}" Admin, "remove a member";
    MEMBER_UNFREEZE = POST "/api/v1/groups/{group}/members/{member}/unfreeze" Admin, "let a member spend again";
    INVITE_CREATE = POST "/api/v1/groups/{group}/invites" Admin, "make a ticket";
    INVITE_LIST = GET "/api/v1/groups/{group}/invites" Read, "the tickets of a group, without their secrets";
    INVITE_REVOKE = DELETE "/api/v1/groups/{group}/invites/{ticket}" Admin, "end a ticket";
    REQUEST_LIST = GET "/api/v1/join-requests" Read, "who asks to be let into a group";
    REQUEST_APPROVE = POST "/api/v1/groups/{group}/join-requests/{member}/approve" Admin, "let somebody in who asks";
    REQUEST_DENY = POST "/api/v1/groups/{group}/join-requests/{member}/deny" Admin, "let somebody not in who asks";
    SHOWN_GROUPS = GET "/api/v1/shown-groups" Read slow, "the groups that connected peers show";
    PRESENCE_SET = PUT "/api/v1/groups/{group}/presence" Write, "say what this node is up to";
    PRESENCE_LIST = GET "/api/v1/groups/{group}/presence" Read, "what the members say of themselves";
    CLAIM_PUBLISH = POST "/api/v1/groups/{group}/claims" Write, "publish a claim";
    CLAIM_BULK = POST "/api/v1/groups/{group}/claims/bulk" Write, "publish many claims, all or none";
    CLAIM_LIST = GET "/api/v1/groups/{group}/claims" Read, "a page of the claims, the last stored first";
    CLAIM_RECENT = GET "/api/v1/groups/{group}/claims/recent" Read, "the newest claims";
    CLAIM_WATCH = GET "/api/v1/groups/{group}/claims/watch" Read slow, "what became of claims here, behind a cursor";
    CLAIM_FOLLOW = GET "/api/v1/groups/{group}/claims/follow" Read stream, "the same, as it happens";
    CLAIM_SHOW = GET "/api/v1/groups/{group}/claims/{claim}" Read, "one claim";
    CLAIM_THREAD = GET "/api/v1/groups/{group}/claims/{claim}/thread" Read, "the thread that a claim stands in";
    CLAIM_HOLDERS = GET "/api/v1/groups/{group}/claims/{claim}/holders" Read, "on which peers a claim is seen to be";
    CLAIM_RETRACT = POST "/api/v1/groups/{group}/claims/{claim}/retract" Write, "take a claim back";
    TASK_CREATE = POST "/api/v1/groups/{group}/tasks" Write, "create a task";
    TASK_LIST = GET "/api/v1/groups/{group}/tasks" Read, "a page of the tasks that fit a filter";
    TASK_READY = GET "/api/v1/groups/{group}/ready-tasks" Read, "the tasks that anyone may take now, the best first";
    TASK_SHOW = GET "/api/v1/groups/{group}/tasks/{task}" Read, "one task";
    TASK_ASSIGN = POST "/api/v1/groups/{group}/tasks/{task}/assign" Write, "give a task to a member, or take it";
    TASK_START = POST "/api/v1/groups/{group}/tasks/{task}/start" Write, "begin a task, or keep it for another lease";
    TASK_COMPLETE = POST "/api/v1/groups/{group}/tasks/{task}/complete" Write, "end a task as done";
    TASK_FAIL = POST "/api/v1/groups/{group}/tasks/{task}/fail" Write, "end a task as not done";
    TASK_RELEASE = POST "/api/v1/groups/{group}/tasks/{task}/release" Write, "give a task back";
    TASK_CANCEL = POST "/api/v1/groups/{group}/tasks/{task}/cancel" Write, "end a task that is not wanted any more";
    CONTEXT = POST "/api/v1/groups/{group}/context" Read, "compile a context for a query";
    EXPERIENCE_SUBMIT = POST "/api/v1/groups/{group}/experiences" Write, "submit the record of an agent's run";
    GROUP_POLICY = GET "/api/v1/groups/{group}/policy" Read, "the rules of a group's tokens";
    POLICY_UPDATE = PATCH "/api/v1/groups/{group}/policy" Admin, "change some of the rules";
    TOKEN_BALANCE = GET "/api/v1/groups/{group}/balance" Read, "what an account has";
    TOKEN_HISTORY = GET "/api/v1/groups/{group}/history" Read, "what moved an account's tokens, the last first";
    TOKEN_MINT = POST "/api/v1/groups/{group}/mint" Admin, "make tokens";
    TOKEN_TRANSFER = POST "/api/v1/groups/{group}/transfer" Write, "give tokens to another account";
    TOKEN_PAY = POST "/api/v1/groups/{group}/pay" Admin, "pay out of the treasury";
    OFFER_CREATE = POST "/api/v1/groups/{group}/offers" Write slow, "encrypt a package and offer it";
    OFFER_LIST = GET "/api/v1/offers" Read, "a page of the offers of all groups, and of those that are announced";
    OFFER_SHOW = GET "/api/v1/offers/{offer}" Read, "one offer";
    OFFER_REVOKE = POST "/api/v1/offers/{offer}/revoke" Write, "end an offer";
    OFFER_BUY = POST "/api/v1/offers/{offer}/buy" Write slow, "buy an offer's package, or open what is bought";
    OFFER_APPROVE = POST "/api/v1/offers/{offer}/approve" Operate, "let a purchase through that is above the spending limit";
    PURCHASE_LIST = GET "/api/v1/purchases" Read, "this node's purchases and sales, and what happens next";
    LIBRARY_LIST = GET "/api/v1/library" Read, "what this node has bought or sells";
    LIBRARY_SHOW = GET "/api/v1/library/{offer}" Read slow, "the content of a package that was bought or is sold";
    LIMIT_SHOW = GET "/api/v1/groups/{group}/spending-limit" Read, "what this node may spend in a day";
    LIMIT_SET = PUT "/api/v1/groups/{group}/spending-limit" Operate, "bound what this node spends in a day";
    MARKET_PULL = POST "/api/v1/market/pull" Write, "ask peers for what is for sale, now";
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn no_two_routes_are_one() {
        let distinct: HashSet<_> = ALL.iter().map(|route| (route.method.as_str(), route.path)).collect();
        assert_eq!(distinct.len(), ALL.len());
    }

    #[test]
    fn what_only_looks_needs_read_and_what_changes_needs_more() {
        for route in ALL {
            let asks = route.path.ends_with("/context") || route.path.ends_with("/verify");
            // They are of all groups and of the machine.
            let is_of_all = route.path.ends_with("/metrics") || route.path.ends_with("/settings");
            assert_eq!(route.permission.looks(), route.method == Method::GET || asks, "{}", route.path);
            assert_eq!(route.permission == Permission::Inspect, is_of_all, "{}", route.path);
        }
    }

    #[test]
    fn paths_escape_what_a_person_typed() {
        for (typed, path) in [
            ("domain:research", "/api/v1/groups/domain:research"),
            ("a/b?c#d e", "/api/v1/groups/a%2Fb%3Fc%23d%20e"),
            ("..", "/api/v1/groups/%2E%2E"),
            ("ä", "/api/v1/groups/%C3%A4"),
            ("\r\nX: y", "/api/v1/groups/%0D%0AX:%20y"),
        ] {
            assert_eq!(GROUP_SHOW.fill(&[typed]), path);
        }
        assert_eq!(CLAIM_THREAD.fill(&["g", "ab"]), "/api/v1/groups/g/claims/ab/thread");
        assert_eq!((STATUS.parameters(), CLAIM_THREAD.parameters()), (0, 2));
    }
}
