//! Bounds of the MCP server.

/// A line on standard input, bytes: a request of the API as large as it may be. A longer one is thrown away, and refused.
pub const LINE_BYTES: usize = super::API_BODY_BYTES;
/// What is kept of the beginning and of the end of a line that is too long, bytes each: enough to find the request's id.
pub const LINE_END_BYTES: usize = 1024;
/// Requests of one client that are worked on side by side, each until its answer is written; and as many listeners, and short answers.
pub const REQUESTS: usize = 64;
/// Requests of one client that wait for one of those places. Of one more its sender is told that the server is busy.
pub const WAITING: usize = 1024;
/// Bytes that their lines have together; one may have more.
pub const WAITING_BYTES: usize = 4 * 1024 * 1024;
/// Resources that one client follows.
pub const SUBSCRIPTIONS: usize = 256;
/// Tasks and resources that are looked after for one client, so that it is told which it loses.
pub const HELD: usize = 256;
/// An answer's structured part, bytes, where its reader named no limit. The text beside it has about as many: 4,000 tokens in all.
pub const ANSWER_BYTES: usize = 6 * 1024;
/// The same where its reader named a limit.
pub const ANSWER_MOST_BYTES: usize = 256 * 1024;
/// A claim's text in a list, bytes, where its reader named no limit; the rest is in the claim's resource.
pub const CUT_BYTES: usize = 1_200;
/// Rows of a list of claims or offers, where its reader named no limit.
pub const ROWS: usize = 10;
/// Rows of a list of tasks, where its reader named no limit.
pub const TASK_ROWS: usize = 16;
/// What `prime` gives, bytes, the text and the structured part each: 1,500 tokens together.
pub const PRIME_BYTES: usize = 2_900;
/// Tokens of a context, where its reader named no budget.
pub const CONTEXT_TOKENS: usize = 1_500;
/// How long a purchase is waited for, where its reader named no time, milliseconds: clients give up after a minute.
pub const BUY_WAIT_MS: u64 = 20_000;
/// How long a watcher waits at most, milliseconds: clients give up after a minute.
pub const WATCH_WAIT_MS: u64 = 50_000;
/// Members that the state of a group names.
pub const MEMBERS: usize = 40;
/// Changes of a resource within this are told once, milliseconds.
pub const UPDATE_PAUSE_MS: u64 = 50;
/// After how long a daemon that is away is asked again for its events, milliseconds.
pub const FOLLOW_RETRY_MS: u64 = 500;
/// How often is looked whether the parent is still there, milliseconds.
pub const PARENT_MS: u64 = 1_000;
/// Streams of changes of one agent's clients at a time, sessions that follow resources among them.
pub const LISTENERS: usize = 64;
/// Connections to `/mcp` with a token, at a time. Past it the idlest is closed, and where none is idle a request is refused. A session has up
/// to three.
pub const HTTP_CONNECTIONS: usize = 128;
/// The same of one token.
pub const HTTP_AGENT_CONNECTIONS: usize = 48;
/// Connections to `/mcp` that have shown no token yet. Past it the oldest is closed.
pub const HTTP_STRANGERS: usize = 64;
/// How long a connection to `/mcp` may take to show a token, milliseconds.
pub const HTTP_HEAD_MS: u64 = 5_000;
/// Sessions of `/mcp` of one token. Past it the one that was used least recently is closed.
pub const HTTP_AGENT_SESSIONS: usize = 32;
/// After how long without a request a session of `/mcp` is closed, milliseconds.
pub const HTTP_SESSION_MS: u64 = 12 * 3_600_000;
