//! From the table of routes to the router: each route with its handler, and the one check of its permission.
//!
//! **No handler is reached but through [`Table::route`]**, which puts the check in front of it.

use std::sync::{Arc, LazyLock};

use axum::Router;
use axum::body::Body;
use axum::extract::{DefaultBodyLimit, Request};
use axum::handler::Handler;
use axum::http::{Method, Uri, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::{MethodFilter, on};
use hyper::body::Bytes;
use serde_json::Value;

use super::describe::Described;
use super::extract::As;
use super::resolve::shown;
use super::waits::Waits;
use super::{
    Api, agent, backup, block, claim, context, doctor, events, group, invite, join, listing, member, node, offer,
    operations, panel, peer, presence, purchase, request_id, stranded, subscription, sync, task, thread, token,
    watching,
};
use crate::api::openapi::{self, Call, Content, TypeOf};
use crate::api::room::Held;
use crate::api::routes::{self, Pace, Permission, Route};
use crate::api::types::{Event, JoinEvent, Problem, ProblemCode, WatchedClaim};
use crate::api::{AGENT_HEADER, BACKUP_MEDIA_TYPE};
use crate::identity::{AgentName, AgentNameError};
use crate::limits;
use crate::metrics::{self, Queue};

/// Who calls. What it may do is decided here and nowhere else.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Caller {
    /// A process of the user whose daemon this is, over the local socket: it acts as the node.
    Local,
    /// Whoever may only look, by the panel.
    Viewer,
    /// The same as the first, or another, in the name of an agent.
    Agent(AgentName),
}

impl Caller {
    /// What the node does for all is not an agent's business; in its groups the ledger says what it may.
    const fn may(&self, permission: Permission) -> bool {
        match (self, permission) {
            (Self::Local, _) => true,
            (Self::Viewer, permission) => permission.looks(),
            (Self::Agent(_), permission) => !permission.is_of_node(),
        }
    }

    /// Who calls, where the request names an agent or not. What is meant to make it less than it is, and is not read here, is refused.
    fn of(request: &Request) -> Result<Option<Self>, Problem> {
        if request.headers().contains_key(header::AUTHORIZATION) {
            let detail =
                "no token is read here: whoever reaches this API acts as the node, and a token would be ignored";
            let remedy = format!(
                "name the agent with the header `{AGENT_HEADER}`, or leave `authorization` out to act as the node; tokens are for the MCP \
                 address (`lbm-node --mcp`)"
            );
            return Err(Problem::new(ProblemCode::Forbidden, detail, remedy));
        }
        let caller = request.extensions().get::<Self>().cloned();
        let mut named = request.headers().get_all(AGENT_HEADER).iter();
        let Some(first) = named.next() else { return Ok(caller) };
        let name = first.to_str().ok().filter(|_| named.next().is_none()).and_then(|text| text.parse().ok());
        let name: AgentName = name.ok_or_else(|| {
            let detail = format!("the header `{AGENT_HEADER}` names no agent: {AgentNameError}");
            Problem::new(ProblemCode::BadField, detail, "`lbm ctl agent list` shows which agents there are")
        })?;
        Ok(match caller {
            Some(Self::Local) => Some(Self::Agent(name)),
            // Who is an agent already is that one and no other.
            Some(Self::Agent(is)) if is == name => Some(Self::Agent(name)),
            Some(Self::Agent(_) | Self::Viewer) | None => None,
        })
    }
}

/// The router in the making, and the routes that it serves.
pub(super) struct Table {
    router: Router<Arc<Api>>,
    served: Vec<(&'static Route, Call)>,
}

impl Table {
    fn route<H, T, A>(mut self, route: &'static Route, handler: H) -> Self
    where
        H: Handler<T, Arc<Api>> + Described<A>,
        T: 'static,
    {
        let filter = MethodFilter::try_from(route.method.clone());
        // A method without a filter would be a fault of the table; the route is missing then, and a test says so.
        if let Ok(filter) = filter {
            let check = move |request: Request, next: Next| checked(route, request, next);
            let method = on(filter, handler).route_layer(middleware::from_fn(check));
            self.router = self.router.route(route.path, method);
            self.served.push((route, H::described()));
        }
        self
    }

    /// What the last route answers with, where its handler's type does not say so.
    fn gives(mut self, content: Content) -> Self {
        if let Some((_, call)) = self.served.last_mut() {
            call.answer = content;
        }
        self
    }
}

/// The one check: whether the caller may, and whether it has a place to wait.
async fn checked(route: &'static Route, mut request: Request, next: Next) -> Response {
    let wait = match Caller::of(&request) {
        Ok(Some(caller)) if caller.may(route.permission) => {
            let wait = match (&caller, request.extensions().get::<Waits>()) {
                (Caller::Agent(agent), Some(waits)) if route.pace != Pace::Quick => waits.one_more(agent).map(Some),
                _ => Ok(None),
            };
            request.extensions_mut().insert(caller);
            wait
        }
        Ok(caller) => Err(forbidden(route, caller.as_ref())),
        Err(problem) => Err(problem),
    };
    let mut response = match wait {
        Ok(wait) => next.run(request).await.map(|body| Body::new(Held(body, wait))),
        Err(problem) => {
            let is_full = problem.code == ProblemCode::Busy;
            let mut response = problem.into_response();
            if is_full {
                response.extensions_mut().insert(Queue::AgentWaits);
            }
            response
        }
    };
    response.extensions_mut().insert(route);
    response
}

fn table() -> Table {
    with_work_and_trade(with_groups(Table { router: Router::new(), served: Vec::new() }))
}

fn with_groups(table: Table) -> Table {
    table
        .route(&routes::OPENAPI, description)
        .gives(Content::Other("application/json"))
        .route(&routes::LIVE, operations::live)
        .route(&routes::READY, operations::ready)
        .route(&routes::METRICS, operations::metrics)
        .gives(Content::Other(metrics::MEDIA_TYPE))
        .route(&routes::SETTINGS, operations::settings)
        .route(&routes::RELOAD, operations::reload)
        .route(&routes::STATUS, node::status)
        .route(&routes::HEALTH, node::health)
        .route(&routes::DOCTOR, doctor::doctor)
        .route(&routes::EVENTS, events::events)
        .gives(Content::Events(TypeOf::new::<Event>()))
        .route(&routes::REJECTED, listing::rejected)
        .route(&routes::STRANDED, stranded::list)
        .route(&routes::SYNC, sync::sync)
        .route(&routes::ADMIN_LINK, panel::link)
        .route(&routes::BACKUP, backup::backup)
        .gives(Content::Other(BACKUP_MEDIA_TYPE))
        .route(&routes::AGENT_LIST, agent::list)
        .route(&routes::AGENT_CREATE, agent::create)
        .route(&routes::AGENT_SHOW, agent::show)
        .route(&routes::AGENT_REVOKE, agent::revoke)
        .route(&routes::AGENT_TOKEN, agent::token)
        .route(&routes::AGENT_LIMIT, agent::limit)
        .route(&routes::PEER_LIST, peer::list)
        .route(&routes::PEER_ADD, peer::add)
        .route(&routes::PEER_SET, peer::set)
        .route(&routes::PEER_REMOVE, peer::remove)
        .route(&routes::PEER_BANS, subscription::bans)
        .route(&routes::PEER_UNBAN, subscription::unban)
        .route(&routes::SUBSCRIPTION_LIST, subscription::list)
        .route(&routes::SUBSCRIPTION_SET, subscription::set)
        .route(&routes::GROUP_CREATE, group::create)
        .route(&routes::GROUP_LIST, group::list)
        .route(&routes::GROUP_JOIN, join::join)
        .gives(Content::Events(TypeOf::new::<JoinEvent>()))
        .route(&routes::GROUP_SHOW, group::show)
        .route(&routes::GROUP_LEAVE, group::leave)
        .route(&routes::GROUP_ALONE, group::alone)
        .route(&routes::GROUP_MEMBERS, member::list)
        .route(&routes::GROUP_STATS, group::stats)
        .route(&routes::GROUP_VERIFY, group::verify)
        .route(&routes::BLOCK_SHOW, block::show)
        .route(&routes::NOTARY_SET, member::set_notary)
        .route(&routes::MEMBER_ADD, member::add)
        .route(&routes::MEMBER_SET_ROLE, member::set_role)
        .route(&routes::MEMBER_REMOVE, member::remove)
        .route(&routes::MEMBER_UNFREEZE, member::unfreeze)
        .route(&routes::INVITE_CREATE, invite::create)
        .route(&routes::INVITE_LIST, invite::list)
        .route(&routes::INVITE_REVOKE, invite::revoke)
        .route(&routes::REQUEST_LIST, invite::requests)
        .route(&routes::REQUEST_APPROVE, invite::approve)
        .route(&routes::REQUEST_DENY, invite::deny)
        .route(&routes::SHOWN_GROUPS, invite::discover)
        .route(&routes::PRESENCE_SET, presence::set)
        .route(&routes::PRESENCE_LIST, presence::list)
        .route(&routes::CLAIM_PUBLISH, claim::publish)
        .route(&routes::CLAIM_BULK, claim::bulk)
        .route(&routes::CLAIM_LIST, listing::list)
        .route(&routes::CLAIM_RECENT, listing::recent)
        .route(&routes::CLAIM_WATCH, watching::watch)
        .route(&routes::CLAIM_FOLLOW, watching::follow)
        .gives(Content::Events(TypeOf::new::<WatchedClaim>()))
        .route(&routes::CLAIM_SHOW, listing::show)
        .route(&routes::CLAIM_THREAD, thread::thread)
        .route(&routes::CLAIM_HOLDERS, listing::holders)
        .route(&routes::CLAIM_RETRACT, claim::retract)
}

fn with_work_and_trade(table: Table) -> Table {
    table
        .route(&routes::TASK_CREATE, task::create)
        .route(&routes::TASK_LIST, task::list)
        .route(&routes::TASK_READY, task::ready)
        .route(&routes::TASK_SHOW, task::show)
        .route(&routes::TASK_ASSIGN, task::assign)
        .route(&routes::TASK_START, task::start)
        .route(&routes::TASK_COMPLETE, task::complete)
        .route(&routes::TASK_FAIL, task::fail)
        .route(&routes::TASK_RELEASE, task::release)
        .route(&routes::TASK_CANCEL, task::cancel)
        .route(&routes::CONTEXT, context::context)
        .route(&routes::EXPERIENCE_SUBMIT, claim::experience)
        .route(&routes::GROUP_POLICY, token::policy)
        .route(&routes::POLICY_UPDATE, token::update_policy)
        .route(&routes::TOKEN_BALANCE, token::balance)
        .route(&routes::TOKEN_HISTORY, token::history)
        .route(&routes::TOKEN_MINT, token::mint)
        .route(&routes::TOKEN_TRANSFER, token::transfer)
        .route(&routes::TOKEN_PAY, token::pay)
        .route(&routes::OFFER_CREATE, offer::create)
        .route(&routes::OFFER_LIST, offer::list)
        .route(&routes::OFFER_SHOW, offer::show)
        .route(&routes::OFFER_REVOKE, offer::revoke)
        .route(&routes::OFFER_BUY, purchase::buy)
        .route(&routes::OFFER_APPROVE, purchase::approve)
        .route(&routes::PURCHASE_LIST, purchase::list)
        .route(&routes::LIBRARY_LIST, purchase::library)
        .route(&routes::LIBRARY_SHOW, purchase::content)
        .route(&routes::LIMIT_SHOW, purchase::show_limit)
        .route(&routes::LIMIT_SET, purchase::set_limit)
        .route(&routes::MARKET_PULL, offer::pull)
}

pub(super) fn router(api: Arc<Api>) -> Router {
    table()
        .router
        .fallback(unknown_route)
        .method_not_allowed_fallback(unknown_method)
        .layer(DefaultBodyLimit::max(limits::API_BODY_BYTES))
        .layer(middleware::from_fn_with_state(Arc::clone(&api), request_id::name))
        .with_state(api)
}

/// The description of this API.
pub(super) fn document() -> Value {
    openapi::document(&table().served)
}

/// The description of this API, as one line of JSON. It is made once.
async fn description(As(_): As) -> Result<Response, Problem> {
    static TEXT: LazyLock<Bytes> = LazyLock::new(|| document().to_string().into());
    Ok(([(header::CONTENT_TYPE, "application/json")], TEXT.clone()).into_response())
}

fn forbidden(route: &Route, caller: Option<&Caller>) -> Problem {
    let needed = format!("{:?}", route.permission).to_lowercase();
    let detail =
        format!("`{} {}` needs the permission `{needed}`, which this caller has not", route.method, route.path);
    let remedy = match caller {
        Some(Caller::Agent(_)) => "it is the node's business: call it in the node's own name, without --agent",
        Some(Caller::Viewer) => "log in by a link that `lbm ctl admin url` prints without --read-only",
        Some(Caller::Local) | None => "call it over the local socket, as the user whose daemon this is",
    };
    Problem::new(ProblemCode::Forbidden, detail, remedy)
}

async fn unknown_route(method: Method, uri: Uri) -> Problem {
    let detail = format!("there is no route `{method} {}`", shown(uri.path()));
    let remedy = "check the path, and with `lbm ctl status` that the daemon is of the same version";
    Problem::new(ProblemCode::UnknownRoute, detail, remedy)
}

async fn unknown_method(method: Method, uri: Uri) -> Problem {
    let detail = format!("the route `{}` does not take {method}", shown(uri.path()));
    Problem::new(ProblemCode::MethodNotAllowed, detail, "use a method that the header `allow` of this answer names")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exactly_the_routes_of_the_table_are_served() {
        let served: Vec<_> = table().served.iter().map(|(route, _)| (route.method.as_str(), route.path)).collect();
        let all: Vec<_> = routes::ALL.iter().map(|route| (route.method.as_str(), route.path)).collect();
        assert_eq!(served, all);
    }
}
