//! Bounds of the panel.

/// Names of this machine that the settings give. More are a list of everything.
pub const HOSTS: usize = 16;
/// One of them, bytes: the longest name of DNS.
pub const HOST_BYTES: usize = 253;
/// Login links that nobody has followed yet. With one more the oldest is over.
pub const LINKS: usize = 16;
/// How long a login link can be followed, milliseconds: as long as it takes to copy it to a browser.
pub const LINK_MS: u64 = 5 * 60_000;
/// Sessions at a time. With one more the one that was used longest ago is over.
pub const SESSIONS: usize = 64;
/// How long a session stands that nobody uses, milliseconds.
pub const IDLE_MS: u64 = 30 * 60_000;
/// How long a session stands in any case, milliseconds: a working day.
pub const LIFE_MS: u64 = 12 * 3_600_000;
/// File of the sessions, bytes.
pub const SESSIONS_BYTES: usize = 64 * 1024;
/// How often is looked which sessions are over, and the others are written down, milliseconds.
pub const SWEEP_MS: u64 = 15_000;
/// Body of a login and of what becomes a QR code, bytes: the longest ticket, and more.
pub const BODY_BYTES: usize = 4 * 1024;
/// Connections that belong to a session, at a time. Past it the idlest is closed, and where none is idle a request is refused. A browser
/// has up to six, and a page one stream of events.
pub const CONNECTIONS: usize = 512;
/// The same of one session.
pub const SESSION_CONNECTIONS: usize = 256;
/// Connections that belong to no session yet. Past it the oldest is closed.
pub const STRANGERS: usize = 64;
/// How long a connection may idle without a session, milliseconds.
pub const HEAD_MS: u64 = 10_000;
