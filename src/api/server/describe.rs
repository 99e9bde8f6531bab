//! What a handler takes and gives, read off its signature: **the description of the API cannot say anything else than the code**.

use std::future::Future;

use axum::Json;
use axum::http::HeaderMap;
use axum::response::{Response, Sse};
use utoipa::ToSchema;

use super::extract::{As, Body, Params, Segments};
use crate::api::openapi::{Call, Content, TypeOf};
use crate::api::types::Problem;

/// An argument of a handler.
pub(super) trait Argument {
    fn describe(call: &mut Call);
}

impl Argument for As {
    fn describe(_: &mut Call) {}
}

impl Argument for HeaderMap {
    fn describe(_: &mut Call) {}
}

impl<T> Argument for Segments<T> {
    // Their names stand in the route's path.
    fn describe(_: &mut Call) {}
}

impl<T: ToSchema> Argument for Params<T> {
    fn describe(call: &mut Call) {
        call.query = Some(TypeOf::new::<T>());
    }
}

impl<T: ToSchema> Argument for Body<T> {
    fn describe(call: &mut Call) {
        call.body = Some(TypeOf::new::<T>());
    }
}

/// What a handler gives where it does not refuse.
pub(super) trait Answered {
    fn describe(call: &mut Call);
}

impl<T: ToSchema> Answered for Json<T> {
    fn describe(call: &mut Call) {
        call.answer = Content::Json(TypeOf::new::<T>());
    }
}

impl<S> Answered for Sse<S> {
    // What its events are, stands beside the route.
    fn describe(_: &mut Call) {}
}

impl Answered for Response {
    // So does what this is.
    fn describe(_: &mut Call) {}
}

/// A handler whose arguments are `A`.
pub(super) trait Described<A> {
    fn described() -> Call;
}

macro_rules! described {
    ($($argument:ident),*) => {
        impl<F, G, R, $($argument),*> Described<($($argument,)*)> for F
        where
            F: Fn($($argument),*) -> G,
            G: Future<Output = Result<R, Problem>>,
            R: Answered,
            $($argument: Argument),*
        {
            fn described() -> Call {
                let mut call = Call::default();
                $($argument::describe(&mut call);)*
                R::describe(&mut call);
                call
            }
        }
    };
}

described!(A);
described!(A, B);
described!(A, B, C);
described!(A, B, C, D);
