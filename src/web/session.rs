//! Who is let in: links that are followed once, and the sessions that they open.
//!
//! A link's token, a session's cookie and its key are 32 random bytes each, and **none of them is kept, only its hash**. Links are forgotten
//! with the process; sessions are written down, so that a restart of the daemon throws nobody out.

use std::collections::{BTreeMap, VecDeque};
use std::fs::File;
use std::io::Read;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};

use crate::datadir::{DataDirError, replace};
use crate::limits::web as limits;

/// The BLAKE3 hash of a secret.
pub type Hash = [u8; 32];

/// What a session may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// What the user of this machine may.
    Operator,
    /// Look.
    Viewer,
}

/// A session as it was opened: the only time that its secrets are there.
pub struct Opened {
    /// Goes into the cookie.
    pub cookie: String,
    /// Goes to the page, which sends it with each request.
    pub key: String,
    /// What it may do.
    pub role: Role,
}

#[derive(Debug, Clone)]
struct Link {
    token: Hash,
    role: Role,
    until_ms: u64,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
struct Session {
    cookie: Hash,
    key: Hash,
    role: Role,
    opened_ms: u64,
    used_ms: u64,
}

impl Session {
    const fn is_over(&self, now_ms: u64) -> bool {
        now_ms.saturating_sub(self.used_ms) >= limits::IDLE_MS
            || now_ms.saturating_sub(self.opened_ms) >= limits::LIFE_MS
    }
}

/// Links and sessions. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Sessions {
    state: Arc<Mutex<State>>,
    /// Held while they are written down: one after the other.
    saving: Arc<Mutex<()>>,
}

#[derive(Debug)]
struct State {
    file: PathBuf,
    /// Where the panel is, as a browser calls it; nothing while it is not served.
    page: Option<String>,
    links: VecDeque<Link>,
    open: BTreeMap<Hash, Session>,
    is_dirty: bool,
}

/// A secret, and its hash.
fn secret() -> std::io::Result<(String, Hash)> {
    let mut bytes = [0; 32];
    getrandom::fill(&mut bytes).map_err(std::io::Error::other)?;
    let text = URL_SAFE_NO_PAD.encode(bytes);
    let hash = hash(&text);
    Ok((text, hash))
}

/// The hash of what somebody shows as a secret.
#[must_use]
pub fn hash(text: &str) -> Hash {
    *blake3::hash(text.as_bytes()).as_bytes()
}

impl Sessions {
    /// The sessions that are written down in a file. What cannot be read of it is over: whoever had one follows a new link.
    #[must_use]
    pub fn open(file: PathBuf, now_ms: u64) -> Self {
        let mut bytes = Vec::new();
        let most = u64::try_from(limits::SESSIONS_BYTES).unwrap_or(u64::MAX);
        let read = File::open(&file).and_then(|found| found.take(most).read_to_end(&mut bytes));
        let kept: Vec<Session> = read.ok().and_then(|_| serde_json::from_slice(&bytes).ok()).unwrap_or_default();
        let kept = kept.into_iter().filter(|session| !session.is_over(now_ms)).take(limits::SESSIONS);
        let open = kept.map(|session| (session.cookie, session)).collect();
        let state = State { file, page: None, links: VecDeque::new(), open, is_dirty: false };
        Self { state: Arc::new(Mutex::new(state)), saving: Arc::default() }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Says where the panel is served: `http://127.0.0.1:8080`.
    pub fn serve_at(&self, page: String) {
        self.state().page = Some(page);
    }

    /// Where that is; nothing while it is not served.
    #[must_use]
    pub fn served_at(&self) -> Option<SocketAddr> {
        self.state().page.as_ref()?.strip_prefix("http://")?.parse().ok()
    }

    /// Makes a link; none where the panel is not served. Its token stands behind the `#`: a browser sends that to nobody, and what fetches
    /// the page ahead of a person does not use it up.
    ///
    /// # Errors
    /// Where the system gives no random bytes.
    pub fn link(&self, role: Role, now_ms: u64) -> std::io::Result<Option<String>> {
        let (text, token) = secret()?;
        let mut state = self.state();
        let Some(url) = state.page.as_ref().map(|page| format!("{page}/#login={text}")) else { return Ok(None) };
        state.links.retain(|link| link.until_ms > now_ms);
        if state.links.len() >= limits::LINKS {
            state.links.pop_front();
        }
        state.links.push_back(Link { token, role, until_ms: now_ms.saturating_add(limits::LINK_MS) });
        Ok(Some(url))
    }

    /// Opens a session for who shows a link's token; none where the link is over. It is from now on.
    ///
    /// # Errors
    /// Where the system gives no random bytes.
    pub fn follow(&self, token: &str, now_ms: u64) -> std::io::Result<Option<Opened>> {
        let ((cookie, cookie_hash), (key, key_hash)) = (secret()?, secret()?);
        let shown = hash(token);
        let mut state = self.state();
        let Some(at) = state.links.iter().position(|link| link.token == shown && link.until_ms > now_ms) else {
            return Ok(None);
        };
        let Some(Link { role, .. }) = state.links.remove(at) else { return Ok(None) };
        state.open.retain(|_, session| !session.is_over(now_ms));
        while state.open.len() >= limits::SESSIONS {
            let Some(oldest) = state.open.values().min_by_key(|session| session.used_ms).map(|session| session.cookie)
            else {
                break;
            };
            state.open.remove(&oldest);
        }
        let (opened_ms, used_ms) = (now_ms, now_ms);
        state.open.insert(cookie_hash, Session { cookie: cookie_hash, key: key_hash, role, opened_ms, used_ms });
        state.is_dirty = true;
        Ok(Some(Opened { cookie, key, role }))
    }

    /// The session of a cookie and a key; none where there is none, or it is over. Whether a person is there, or the page alone asks, says
    /// `is_used`.
    #[must_use]
    pub fn find(&self, cookie: &str, key: &str, is_used: bool, now_ms: u64) -> Option<(Hash, Role)> {
        let mut state = self.state();
        // By hashes: how long it takes to compare them tells nothing of what they are of.
        let session = state.open.get_mut(&hash(cookie)).filter(|session| session.key == hash(key))?;
        if session.is_over(now_ms) {
            return None;
        }
        let found = (session.cookie, session.role);
        if is_used {
            session.used_ms = now_ms;
            state.is_dirty = true;
        }
        Some(found)
    }

    /// Ends a session.
    pub fn close(&self, session: &Hash) {
        let mut state = self.state();
        state.is_dirty |= state.open.remove(session).is_some();
    }

    /// Forgets the sessions that are over.
    pub fn sweep(&self, now_ms: u64) {
        let mut state = self.state();
        let before = state.open.len();
        state.open.retain(|_, session| !session.is_over(now_ms));
        state.is_dirty |= before != state.open.len();
    }

    /// Whether a session stands.
    #[must_use]
    pub fn stands(&self, session: &Hash) -> bool {
        self.state().open.contains_key(session)
    }

    /// Writes down what has changed since it was last written. It waits for the disk.
    ///
    /// # Errors
    /// Where it cannot be written.
    pub fn save(&self) -> Result<(), DataDirError> {
        let _saving = self.saving.lock().unwrap_or_else(PoisonError::into_inner);
        let (bytes, file) = {
            let mut state = self.state();
            if !std::mem::take(&mut state.is_dirty) {
                return Ok(());
            }
            let open: Vec<&Session> = state.open.values().collect();
            (serde_json::to_vec(&open).unwrap_or_default(), state.file.clone())
        };
        replace(&file, &bytes).inspect_err(|_| self.state().is_dirty = true)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fresh() -> (tempfile::TempDir, Sessions) {
        let folder = tempfile::tempdir().unwrap();
        let sessions = Sessions::open(folder.path().join("sessions"), 0);
        sessions.serve_at("http://127.0.0.1:8080".to_owned());
        (folder, sessions)
    }

    fn token(sessions: &Sessions, role: Role, now_ms: u64) -> String {
        let url = sessions.link(role, now_ms).unwrap().unwrap();
        url.strip_prefix("http://127.0.0.1:8080/#login=").unwrap().to_owned()
    }

    #[test]
    fn a_link_opens_one_session_within_its_time() {
        let (_folder, sessions) = fresh();
        let first = token(&sessions, Role::Operator, 0);
        assert!(sessions.follow("something else", 1).unwrap().is_none());
        let opened = sessions.follow(&first, limits::LINK_MS - 1).unwrap().unwrap();
        assert_eq!(opened.role, Role::Operator);
        assert!(sessions.follow(&first, limits::LINK_MS - 1).unwrap().is_none(), "a second time");
        let late = token(&sessions, Role::Viewer, 0);
        assert!(sessions.follow(&late, limits::LINK_MS).unwrap().is_none());
        let many: Vec<_> = (0..=limits::LINKS).map(|_| token(&sessions, Role::Viewer, 0)).collect();
        assert!(sessions.follow(&many[0], 1).unwrap().is_none(), "the oldest gave way");
        assert_eq!(sessions.follow(&many[1], 1).unwrap().unwrap().role, Role::Viewer);
        let unserved = Sessions::open(PathBuf::from("/nowhere"), 0);
        assert!(unserved.link(Role::Viewer, 0).unwrap().is_none());
    }

    #[test]
    fn a_session_takes_both_secrets_and_ends() {
        let (_folder, sessions) = fresh();
        let open = |now_ms| sessions.follow(&token(&sessions, Role::Operator, now_ms), now_ms).unwrap().unwrap();
        let one = open(0);
        let find = |cookie: &str, key: &str, is_used, now_ms| sessions.find(cookie, key, is_used, now_ms).is_some();
        assert!(find(&one.cookie, &one.key, true, 5));
        for (cookie, key) in [(&one.cookie, &one.cookie), (&one.key, &one.key), (&one.key, &one.cookie)] {
            assert!(!find(cookie, key, true, 5));
        }
        assert!(!find(&one.cookie, "", true, 5) && !find("", "", true, 5));
        let idle = limits::IDLE_MS;
        assert!(find(&one.cookie, &one.key, true, 5 + idle - 1));
        assert!(find(&one.cookie, &one.key, false, 5 + 2 * idle - 2), "the page alone asks");
        assert!(!find(&one.cookie, &one.key, true, 5 + 2 * idle - 1), "which keeps no session alive");
        let two = open(0);
        let mut now = 0;
        while now + idle / 2 < limits::LIFE_MS {
            now += idle / 2;
            assert_eq!(find(&two.cookie, &two.key, true, now), now < limits::LIFE_MS);
        }
        assert!(!find(&two.cookie, &two.key, true, limits::LIFE_MS));
        let three = open(limits::LIFE_MS);
        let (session, _) = sessions.find(&three.cookie, &three.key, true, limits::LIFE_MS).unwrap();
        sessions.close(&session);
        assert!(!find(&three.cookie, &three.key, true, limits::LIFE_MS));
    }

    #[test]
    fn sessions_outlast_the_process_and_no_secret_is_written() {
        let (folder, sessions) = fresh();
        let path = folder.path().join("sessions");
        sessions.save().unwrap();
        assert!(!path.exists(), "there is nothing to write");
        let opened = sessions.follow(&token(&sessions, Role::Viewer, 7), 7).unwrap().unwrap();
        sessions.save().unwrap();
        let written = std::fs::read_to_string(&path).unwrap();
        assert!(!written.contains(&opened.cookie) && !written.contains(&opened.key));
        let mode = std::os::unix::fs::PermissionsExt::mode(&std::fs::metadata(&path).unwrap().permissions());
        assert_eq!(mode & 0o777, 0o600);
        let again = Sessions::open(path.clone(), 8);
        assert_eq!(again.find(&opened.cookie, &opened.key, true, 8).unwrap().1, Role::Viewer);
        assert!(Sessions::open(path.clone(), 7 + limits::IDLE_MS).find(&opened.cookie, &opened.key, true, 8).is_none());
        for damaged in ["", "[", "{}", "[{\"cookie\":\"00\"}]"] {
            std::fs::write(&path, damaged).unwrap();
            assert!(Sessions::open(path.clone(), 8).find(&opened.cookie, &opened.key, true, 8).is_none());
        }
    }

    #[test]
    fn there_are_so_many_sessions_and_no_more() {
        let (_folder, sessions) = fresh();
        let open = |now_ms| sessions.follow(&token(&sessions, Role::Viewer, now_ms), now_ms).unwrap().unwrap();
        let all: Vec<_> = (0..=limits::SESSIONS).map(|at| open(at as u64)).collect();
        let stands = |at: usize| sessions.find(&all[at].cookie, &all[at].key, false, 100).is_some();
        assert!(!stands(0) && stands(1) && stands(limits::SESSIONS));
    }
}
