//! The panel: a page for people, served on loopback, that asks the API what everything else asks it.
//!
//! Owns the listener, who is let in ([`session`]), from where ([`guard`](self)), and the files of the page. **It has no handler of the API of
//! its own**: a request below `/api` goes to the API's router as the operator, or as somebody who may only look, and the permission stands on
//! the route as for any caller. **Nothing is done for a page of another origin**: the `Host` must name this machine, what is no page must
//! come from this very origin, and each request shows two secrets, a cookie and a key that the page keeps for its origin alone (a cookie goes
//! to every port of a host, also to a program of somebody else). The page asks nothing of any other host, and its policy forbids it.

mod assets;
mod guard;
mod listener;
mod qr;
pub mod session;

pub use listener::{BindError, bind, serve};
