//! Links to the panel.

use axum::Json;

use super::extract::{As, Body};
use crate::api::types::{AdminLink, NewAdminLink, Problem, ProblemCode};
use crate::limits;
use crate::runtime::clock::unix_ms;
use crate::web::session::Role;

type Answer<T> = Result<Json<T>, Problem>;

/// Makes a link to the panel.
pub(super) async fn link(As(api): As, Body(request): Body<NewAdminLink>) -> Answer<AdminLink> {
    let now_ms = unix_ms();
    let role = if request.read_only { Role::Viewer } else { Role::Operator };
    let made = api.sessions.link(role, now_ms).map_err(|error| {
        Problem::new(ProblemCode::Internal, format!("the system gives no random bytes: {error}"), "try again")
    })?;
    let url = made.ok_or_else(|| {
        let detail = "the panel is not served: it is off, or another program had its port when the daemon started";
        let remedy = "start the daemon with `--admin 127.0.0.1:PORT` and a port that is free";
        Problem::new(ProblemCode::PanelOff, detail, remedy)
    })?;
    Ok(Json(AdminLink { url, read_only: request.read_only, expires_ms: now_ms + limits::web::LINK_MS }))
}
