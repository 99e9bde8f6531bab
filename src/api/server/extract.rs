//! Requests on their way to a handler: **read, and checked against their bounds, before it sees them**.

use axum::Json;
use axum::extract::{FromRequest, FromRequestParts, Path, Query, Request};
use axum::http::request::Parts;
use serde::de::DeserializeOwned;

use crate::api::types::{
    AddMember, AddPeer, AskBalance, AssignTask, BuyOffer, CompleteTask, ContextQuery, CreateGroup, FailTask,
    FieldError, JoinGroup, ListClaims, ListEvents, ListMoves, ListOffers, ListPresence, ListPurchases, ListRejected,
    ListTasks, NewClaim, NewOffer, NewTask, Payment, PolicyUpdate, Problem, PublishBulk, PullMarket, ReadyTasks,
    RecentClaims, ReleaseTask, SetNotary, SetPresence, SetRole, SetSpendingLimit, ShowBlock, ShowThread, StartTask,
    SubmitExperience, SyncNow, WatchClaims,
};

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
    NewClaim,
    Payment,
    PolicyUpdate,
    RecentClaims,
    SetPresence,
    ShowBlock,
    SubmitExperience,
    WatchClaims
);
bounded_by_type!(
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

/// The JSON body of a request.
pub(super) struct Body<T>(pub T);

impl<S: Send + Sync, T: Checked> FromRequest<S> for Body<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &S) -> Result<Self, Problem> {
        let Json(body) = Json::<T>::from_request(request, state).await?;
        body.checked()?;
        Ok(Self(body))
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
