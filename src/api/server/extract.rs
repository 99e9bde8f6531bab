//! Requests on their way to a handler: **read, and checked against their bounds, before it sees them**.

use std::fmt;
use std::marker::PhantomData;
use std::sync::Arc;

use axum::Json;
use axum::extract::{FromRequest, FromRequestParts, Path, Query, Request};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderValue};
use serde::de::value::MapAccessDeserializer;
use serde::de::{DeserializeOwned, MapAccess, Visitor};
use serde::{Deserialize, Deserializer};

use super::Api;
use super::agent::no_such_agent;
use super::router::Caller;
use crate::api::types::{
    AddMember, AddPeer, ApproveRequest, AskBalance, AssignTask, BuyOffer, CompleteTask, ContextQuery, CreateGroup,
    DiscoverGroups, FailTask, FieldError, JoinGroup, ListClaims, ListEvents, ListMoves, ListOffers, ListPresence,
    ListPurchases, ListRejected, ListRequests, ListStranded, ListTasks, NewAdminLink, NewAgent, NewClaim, NewInvite,
    NewOffer, NewTask, Payment, PolicyUpdate, Problem, ProblemCode, PublishBulk, PullMarket, ReadyTasks, RecentClaims,
    ReleaseTask, RevokeAgent, SetNotary, SetPeer, SetPresence, SetRole, SetSpendingLimit, SetSubscription, ShowBlock,
    ShowThread, StartTask, SubmitExperience, SyncNow, WatchClaims,
};
use crate::api::{AGENT_ID_HEADER, ONCE_HEADER};
use crate::limits;
use crate::node::engine::OnceName;

/// A request that knows its bounds.
pub(super) trait Checked: DeserializeOwned {
    fn checked(&self) -> Result<(), Problem>;
}

macro_rules! checked {
    ($($name:ident),+) => {
        $(impl Checked for $name {
            fn checked(&self) -> Result<(), Problem> {
                Ok(self.check()?)
            }
        })+
    };
}

/// All bounds of these are in their types.
macro_rules! bounded_by_type {
    ($($name:ident),+) => {
        $(impl Checked for $name {
            fn checked(&self) -> Result<(), Problem> {
                Ok(())
            }
        })+
    };
}

checked!(
    AddPeer,
    NewInvite,
    NewAgent,
    BuyOffer,
    ListOffers,
    ListPurchases,
    NewOffer,
    AssignTask,
    CompleteTask,
    FailTask,
    ListTasks,
    NewTask,
    ReadyTasks,
    StartTask,
    ContextQuery,
    CreateGroup,
    JoinGroup,
    ListClaims,
    ShowThread,
    ListMoves,
    ListRejected,
    ListStranded,
    NewClaim,
    Payment,
    PolicyUpdate,
    RecentClaims,
    SetPeer,
    SetPresence,
    SetSubscription,
    ShowBlock,
    SubmitExperience,
    WatchClaims
);
bounded_by_type!(
    ApproveRequest,
    DiscoverGroups,
    NewAdminLink,
    ListRequests,
    RevokeAgent,
    PullMarket,
    SetSpendingLimit,
    AddMember,
    AskBalance,
    ListEvents,
    ListPresence,
    ReleaseTask,
    SetNotary,
    SetRole,
    SyncNow
);

impl Checked for PublishBulk {
    fn checked(&self) -> Result<(), Problem> {
        self.check().map_err(|(at, error): (Option<usize>, FieldError)| {
            let mut problem = Problem::from(error);
            if let Some(at) = at {
                problem.detail = format!("claim {at} (counted from 0): {}", problem.detail);
            }
            problem
        })
    }
}

/// The API in the name of whoever calls: of the node, or of the agent that the request names.
pub(super) struct As(pub Arc<Api>);

impl FromRequestParts<Arc<Api>> for As {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, api: &Arc<Api>) -> Result<Self, Problem> {
        let (node, stop) = match parts.extensions.get::<Caller>() {
            Some(Caller::Agent(name)) => {
                let node = api.node().as_agent(name).ok_or_else(|| no_such_agent(name))?;
                let meant = parts.headers.get(AGENT_ID_HEADER).map(HeaderValue::as_bytes);
                if meant.is_some_and(|meant| meant != node.identity.to_string().as_bytes()) {
                    let detail = format!("the agent `{name}` that this began as was revoked; another has its name now");
                    return Err(Problem::new(ProblemCode::NoSuchAgent, detail, "start anew to act as that one"));
                }
                // What it follows ends with it.
                let stop = api.stop.of_agent(name, node.agents.gone(&node.identity));
                (node, stop)
            }
            Some(Caller::Local | Caller::Viewer) | None => (api.node().clone(), api.stop.clone()),
        };
        let once = once_word(&parts.headers)?.map(|word| OnceName::new(&node.identity, word));
        Ok(Self(Arc::new(Api { node, stop, once, ..(**api).clone() })))
    }
}

/// What the request's sender calls its write.
fn once_word(headers: &HeaderMap) -> Result<Option<&[u8]>, Problem> {
    let mut given = headers.get_all(ONCE_HEADER).iter();
    let Some(word) = given.next().map(HeaderValue::as_bytes) else { return Ok(None) };
    let fits = (1..=limits::ONCE_NAME_BYTES).contains(&word.len()) && word.iter().all(u8::is_ascii_graphic);
    if fits && given.next().is_none() {
        return Ok(Some(word));
    }
    let detail = format!("the header `{ONCE_HEADER}` is no name for a write");
    let remedy = format!("give one of 1 to {} visible ASCII characters", limits::ONCE_NAME_BYTES);
    Err(Problem::new(ProblemCode::BadField, detail, remedy))
}

/// The JSON body of a request.
pub(super) struct Body<T>(pub T);

impl<S: Send + Sync, T: Checked> FromRequest<S> for Body<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &S) -> Result<Self, Problem> {
        let Json(Object(body)) = Json::<Object<T>>::from_request(request, state).await?;
        body.checked()?;
        Ok(Self(body))
    }
}

/// What is read from a JSON object alone. By itself serde takes an array for a struct as well, its keys in the sequence of the source.
struct Object<T>(T);

impl<'de, T: DeserializeOwned> Deserialize<'de> for Object<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Keys<T>(PhantomData<T>);

        impl<'de, T: DeserializeOwned> Visitor<'de> for Keys<T> {
            type Value = T;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a JSON object")
            }

            fn visit_map<A: MapAccess<'de>>(self, keys: A) -> Result<T, A::Error> {
                T::deserialize(MapAccessDeserializer::new(keys))
            }
        }

        deserializer.deserialize_map(Keys(PhantomData)).map(Self)
    }
}

/// The query of a request.
pub(super) struct Params<T>(pub T);

impl<S: Send + Sync, T: Checked> FromRequestParts<S> for Params<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let Query(query) = Query::<T>::from_request_parts(parts, state).await?;
        query.checked()?;
        Ok(Self(query))
    }
}

/// What stands in the path.
pub(super) struct Segments<T>(pub T);

impl<S: Send + Sync, T: DeserializeOwned + Send> FromRequestParts<S> for Segments<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let Path(segments) = Path::<T>::from_request_parts(parts, state).await?;
        Ok(Self(segments))
    }
}
