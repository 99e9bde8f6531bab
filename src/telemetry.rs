//! Logs: where they go and in what form.
//!
//! Owns the set-up of `tracing` for a process: standard error always, a file per day where a folder is set, text or JSON.
//! **No secret and no claim's text is ever logged**: those who log give ids and counts as fields. Dependencies are held to
//! warnings unless everything is traced, so that a debug log shows what LBM does.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, OnceLock, PoisonError};
use std::time::SystemTime;

use time::{Date, OffsetDateTime};
use tracing::Subscriber;
use tracing::field::{Field, Visit};
use tracing::level_filters::LevelFilter;
use tracing::{Event, Metadata};
use tracing_subscriber::filter::{FilterExt, Targets};
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::fmt::writer::BoxMakeWriter;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::layer::{Context, Filter};
use tracing_subscriber::reload::{self, Handle};
use tracing_subscriber::{Layer, Registry};

use crate::config::LogLevel;
use crate::limits;

/// What to log, and where to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogSettings {
    /// How much.
    pub level: LogLevel,
    /// One JSON object a line, not text for people.
    pub json: bool,
    /// A folder for a file per day, besides standard error.
    pub folder: Option<PathBuf>,
}

/// Why logging cannot start.
#[derive(Debug, thiserror::Error)]
pub enum TelemetryError {
    /// The folder or its file cannot be made.
    #[error("cannot write logs to {}: {source}; name another folder with LB_LOG_DIR", path.display())]
    Folder {
        /// The folder or file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Something else in the process has set up logging.
    #[error("logging is set up already in this process")]
    Twice,
}

/// Starts logging for this process. Once per process.
///
/// # Errors
/// [`TelemetryError`].
pub fn start(settings: &LogSettings) -> Result<(), TelemetryError> {
    let (subscriber, level) = subscriber(settings, BoxMakeWriter::new(io::stderr))?;
    tracing::subscriber::set_global_default(subscriber).map_err(|_| TelemetryError::Twice)?;
    LEVEL.set(level).map_err(|_| TelemetryError::Twice)
}

/// Changes how much the process logs.
static LEVEL: OnceLock<Handle<Targets, Registry>> = OnceLock::new();

/// Logs this much from now on; nothing changes where this process has not started to log.
pub fn set_level(level: LogLevel) {
    if let Some(handle) = LEVEL.get()
        && let Err(error) = handle.reload(targets(level))
    {
        tracing::error!(%error, "the level of logging stays as it is");
    }
}

fn targets(level: LogLevel) -> Targets {
    let level = match level {
        LogLevel::Error => LevelFilter::ERROR,
        LogLevel::Warn => LevelFilter::WARN,
        LogLevel::Info => LevelFilter::INFO,
        LogLevel::Debug => LevelFilter::DEBUG,
        LogLevel::Trace => LevelFilter::TRACE,
    };
    let others = if level == LevelFilter::TRACE { LevelFilter::DEBUG } else { level.min(LevelFilter::WARN) };
    // A target also covers those it is a prefix of: the library, its modules and all binaries.
    // `rmcp` writes down what agents send, claims and all, and each refusal as a warning.
    let agents = level.min(LevelFilter::ERROR);
    // What a stranger can make these say as often as it likes would fill the disk.
    let peers = ["libp2p_request_response", "libp2p_gossipsub", "libp2p_mdns"].map(|target| (target, agents));
    let targets = Targets::new().with_default(others).with_target("rmcp", agents).with_target("lbm", level);
    targets.with_targets(peers)
}

/// Leaves out what a node says that is the first of its network: Kademlia looks for others wherever it begins to listen, and warns that it
/// knows nobody yet. What else it warns of stays.
struct Telling;

impl<S> Filter<S> for Telling {
    fn enabled(&self, _: &Metadata<'_>, _: &Context<'_, S>) -> bool {
        true
    }

    fn event_enabled(&self, event: &Event<'_>, _: &Context<'_, S>) -> bool {
        let mut found = Needless(false);
        if event.metadata().target().starts_with("libp2p_kad") {
            event.record(&mut found);
        }
        !found.0
    }
}

struct Needless(bool);

impl Visit for Needless {
    fn record_debug(&mut self, field: &Field, value: &dyn std::fmt::Debug) {
        let is_it = || format!("{value:?}").starts_with("Failed to trigger bootstrap: No known peers");
        self.0 |= field.name() == "message" && is_it();
    }
}

fn subscriber(
    settings: &LogSettings,
    people: BoxMakeWriter,
) -> Result<(impl Subscriber + Send + Sync + use<>, Handle<Targets, Registry>), TelemetryError> {
    let (targets, handle) = reload::Layer::new(targets(settings.level));
    let mut layers = vec![form(settings.json, people)];
    if let Some(folder) = &settings.folder {
        layers.push(form(settings.json, BoxMakeWriter::new(DailyFile::open(folder)?)));
    }
    Ok((tracing_subscriber::registry().with(layers.with_filter(targets.and(Telling))), handle))
}

fn form(json: bool, writer: BoxMakeWriter) -> Box<dyn Layer<Registry> + Send + Sync> {
    let layer = tracing_subscriber::fmt::layer().with_writer(writer).with_ansi(false);
    if json { layer.json().flatten_event(true).boxed() } else { layer.boxed() }
}

/// Log files per day (UTC), `lbm-node.YYYY-MM-DD.00000.log` and on: another begins after `limits::LOG_FILE_BYTES`. The newest
/// `limits::LOG_FILES` are kept, so that all together are bounded.
struct DailyFile {
    folder: PathBuf,
    today: Mutex<Part>,
    now: fn() -> SystemTime,
    most_bytes: u64,
}

/// The file that is written.
struct Part {
    day: Date,
    number: u32,
    file: File,
    bytes: u64,
}

const FILE_PREFIX: &str = "lbm-node.";
const FILE_SUFFIX: &str = ".log";

impl DailyFile {
    fn open(folder: &Path) -> Result<Self, TelemetryError> {
        Self::open_at(folder, SystemTime::now, limits::LOG_FILE_BYTES)
    }

    fn open_at(folder: &Path, now: fn() -> SystemTime, most_bytes: u64) -> Result<Self, TelemetryError> {
        let failed = |path: &Path, source| TelemetryError::Folder { path: path.to_owned(), source };
        std::fs::create_dir_all(folder).map_err(|source| failed(folder, source))?;
        let day = OffsetDateTime::from(now()).date();
        let number = last_number(folder, day);
        let part = Part::open(folder, day, number).map_err(|source| failed(&file_of(folder, day, number), source))?;
        remove_old(folder);
        Ok(Self { folder: folder.to_owned(), today: Mutex::new(part), now, most_bytes })
    }
}

fn file_of(folder: &Path, day: Date, number: u32) -> PathBuf {
    // `Date` displays as YYYY-MM-DD.
    folder.join(format!("{FILE_PREFIX}{day}.{number:05}{FILE_SUFFIX}"))
}

/// The number of the last file of a day; 0 where there is none.
fn last_number(folder: &Path, day: Date) -> u32 {
    let start = format!("{FILE_PREFIX}{day}.");
    let number = |name: String| name.strip_prefix(&start)?.strip_suffix(FILE_SUFFIX)?.parse().ok();
    let names = std::fs::read_dir(folder).into_iter().flatten().flatten();
    names.filter_map(|entry| number(entry.file_name().into_string().ok()?)).max().unwrap_or(0)
}

impl Part {
    fn open(folder: &Path, day: Date, number: u32) -> io::Result<Self> {
        let file = OpenOptions::new().create(true).append(true).open(file_of(folder, day, number))?;
        let bytes = file.metadata()?.len();
        Ok(Self { day, number, file, bytes })
    }
}

/// Removes all but the newest files. What cannot be listed or removed stays: a log is no reason to fail.
fn remove_old(folder: &Path) {
    let Ok(entries) = std::fs::read_dir(folder) else { return };
    let ours = |name: &str| name.starts_with(FILE_PREFIX) && name.ends_with(FILE_SUFFIX);
    let names = entries.flatten().filter_map(|entry| entry.file_name().into_string().ok());
    let mut names: Vec<_> = names.filter(|name| ours(name)).collect();
    names.sort_unstable();
    for old in names.iter().rev().skip(limits::LOG_FILES) {
        let _ = std::fs::remove_file(folder.join(old));
    }
}

/// Writes one event: an event is one call of `write_all`, so that lines of two threads do not mix.
struct DailyWriter<'a>(&'a DailyFile);

impl Write for DailyWriter<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut today = self.0.today.lock().unwrap_or_else(PoisonError::into_inner);
        let day = OffsetDateTime::from((self.0.now)()).date();
        let is_full = today.bytes >= self.0.most_bytes;
        if day != today.day || is_full {
            let number = if day == today.day { today.number.saturating_add(1) } else { 0 };
            *today = Part::open(&self.0.folder, day, number)?;
            remove_old(&self.0.folder);
        }
        let written = today.file.write(bytes)?;
        today.bytes = today.bytes.saturating_add(written as u64);
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.today.lock().unwrap_or_else(PoisonError::into_inner).file.flush()
    }
}

impl<'a> MakeWriter<'a> for DailyFile {
    type Writer = DailyWriter<'a>;

    fn make_writer(&'a self) -> Self::Writer {
        DailyWriter(self)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU64, Ordering};
    use std::time::Duration;

    use super::*;

    #[derive(Clone, Default)]
    struct Page(Arc<Mutex<Vec<u8>>>);

    impl Write for Page {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn log(level: LogLevel, json: bool, folder: Option<PathBuf>) -> String {
        let page = Page::default();
        let writer = page.clone();
        let settings = LogSettings { level, json, folder };
        let subscriber = subscriber(&settings, BoxMakeWriter::new(move || writer.clone())).unwrap().0;
        tracing::subscriber::with_default(subscriber, || {
            tracing::debug!(group = "ab12", "ours in detail");
            tracing::info!(target: "lbm_node", blocks = 3, "the daemon's");
            tracing::info!(target: "libp2p_swarm", "theirs");
            tracing::warn!(target: "libp2p_swarm", "their warning");
            tracing::warn!(target: "libp2p_request_response::handler", "a stranger's doing");
            tracing::warn!(target: "libp2p_kad::behaviour", "Failed to trigger bootstrap: {}", "No known peers.");
            tracing::warn!(target: "libp2p_kad::behaviour", "Failed to trigger bootstrap: {}", "something else");
        });
        let bytes = page.0.lock().unwrap().clone();
        String::from_utf8(bytes).unwrap()
    }

    #[test]
    fn our_level_is_ours_and_others_warn() {
        let info = log(LogLevel::Info, false, None);
        assert!(info.contains("the daemon's blocks=3") && info.contains("their warning"), "{info}");
        assert!(info.contains("something else") && !info.contains("No known peers"), "{info}");
        assert!(!info.contains("stranger") && !info.contains("ours in detail") && !info.contains("theirs"), "{info}");
        let debug = log(LogLevel::Debug, false, None);
        assert!(debug.contains("ours in detail group=\"ab12\"") && !debug.contains("theirs"), "{debug}");
        assert_eq!(log(LogLevel::Error, false, None), "");
        assert!(log(LogLevel::Trace, false, None).contains("theirs"));
    }

    #[test]
    fn json_is_one_object_a_line_with_its_fields() {
        let text = log(LogLevel::Info, true, None);
        let lines: Vec<serde_json::Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert_eq!(lines.len(), 3);
        assert_eq!((&lines[0]["message"], &lines[0]["blocks"]), (&"the daemon's".into(), &3.into()));
    }

    #[test]
    fn a_folder_gets_the_same_lines() {
        let folder = tempfile::tempdir().unwrap();
        let nested = folder.path().join("a/b");
        let seen = log(LogLevel::Debug, false, Some(nested.clone()));
        let files: Vec<_> = std::fs::read_dir(&nested).unwrap().map(|entry| entry.unwrap().path()).collect();
        assert_eq!(files.len(), 1);
        let messages = |text: &str| -> Vec<String> {
            text.lines().map(|line| line.split_once(' ').unwrap().1.trim().to_owned()).collect()
        };
        let written = std::fs::read_to_string(&files[0]).unwrap();
        assert_eq!(messages(&written), messages(&seen));
        assert_eq!(messages(&seen).len(), 4);
    }

    #[test]
    fn a_folder_that_cannot_be_is_named() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let settings = LogSettings { level: LogLevel::Info, json: false, folder: Some(file.path().join("logs")) };
        let error = subscriber(&settings, BoxMakeWriter::new(io::sink)).err().unwrap().to_string();
        assert!(error.contains(&file.path().display().to_string()) && error.contains("LB_LOG_DIR"), "{error}");
    }

    #[test]
    fn each_day_has_its_file_and_the_oldest_go() {
        static DAY: AtomicU64 = AtomicU64::new(0);
        fn now() -> SystemTime {
            SystemTime::UNIX_EPOCH + Duration::from_secs(DAY.load(Ordering::SeqCst) * 86_400)
        }
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("other.log"), "mine").unwrap();
        let daily = DailyFile::open_at(folder.path(), now, 1_000).unwrap();
        for day in 0..20 {
            DAY.store(day, Ordering::SeqCst);
            daily.make_writer().write_all(format!("day {day}\n").as_bytes()).unwrap();
        }
        let entries = std::fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().file_name());
        let mut names: Vec<_> = entries.map(|name| name.into_string().unwrap()).collect();
        names.sort_unstable();
        assert_eq!(names.len(), limits::LOG_FILES + 1);
        assert_eq!(
            (names[0].as_str(), names[13].as_str()),
            ("lbm-node.1970-01-07.00000.log", "lbm-node.1970-01-20.00000.log")
        );
        assert_eq!(std::fs::read_to_string(folder.path().join(&names[13])).unwrap(), "day 19\n");
    }
    #[test]
    fn a_file_is_bounded_and_so_are_all_of_a_day() {
        let folder = tempfile::tempdir().unwrap();
        let now = || SystemTime::UNIX_EPOCH;
        let line = |number: u32| format!("{number:04} {}\n", "x".repeat(94));
        for run in 0..2 {
            // The second one goes on where the first ended.
            let daily = DailyFile::open_at(folder.path(), now, 500).unwrap();
            for number in 0..50 {
                daily.make_writer().write_all(line(run * 50 + number).as_bytes()).unwrap();
            }
        }
        let entries = std::fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().path());
        let mut files: Vec<_> = entries.collect();
        files.sort_unstable();
        assert_eq!(files.len(), limits::LOG_FILES);
        let text: String = files.iter().map(|file| std::fs::read_to_string(file).unwrap()).collect();
        assert!(files.iter().all(|file| file.metadata().unwrap().len() <= 500));
        assert_eq!(text, (30..100).map(line).collect::<String>());
    }

    #[test]
    fn the_level_changes_while_it_runs() {
        let page = Page::default();
        let writer = page.clone();
        let settings = LogSettings { level: LogLevel::Warn, json: false, folder: None };
        let (subscriber, level) = subscriber(&settings, BoxMakeWriter::new(move || writer.clone())).unwrap();
        tracing::subscriber::with_default(subscriber, || {
            tracing::info!("before");
            level.reload(targets(LogLevel::Info)).unwrap();
            tracing::info!("after");
        });
        let text = String::from_utf8(page.0.lock().unwrap().clone()).unwrap();
        assert!(!text.contains("before") && text.contains("after"), "{text}");
    }
}
