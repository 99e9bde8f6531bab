//! `lbm doctor` and `lbm ctl doctor`: what may keep the node from working, and what to do about it.

use std::io::{self, Write};
use std::path::Path;

use super::error::{CliError, Outcome};
use super::output::{self, At, Render};
use super::session::Session;
use super::text::one_line;
use crate::api::client::{Client, ClientError};
use crate::api::types::{Diagnosis, Finding, Grade};
use crate::config::{Flags, Settings, process_environment};
use crate::doctor::{Subject, of_machine, of_start};

/// `lbm ctl doctor`: asks the daemon.
pub(super) async fn ask(session: &mut Session<'_>) -> Result<Outcome, CliError> {
    let diagnosis = session.client.doctor().await?;
    let outcome = Outcome::of(diagnosis.ok);
    session.answer(diagnosis)?;
    Ok(outcome)
}

/// `lbm doctor`: asks the daemon where one answers, and looks by itself where none does.
pub(super) fn run(data: &Path, json: bool, out: &mut dyn Write) -> Result<Outcome, CliError> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(CliError::Start)?;
    let diagnosis = match runtime.block_on(Client::new(data).doctor()) {
        Ok(diagnosis) => diagnosis,
        Err(error) => here(data, &error),
    };
    let outcome = Outcome::of(diagnosis.ok);
    output::print(&At { answer: diagnosis, now_ms: 0 }, json, out)?;
    Ok(outcome)
}

fn here(data: &Path, error: &ClientError) -> Diagnosis {
    let mut findings = Vec::new();
    let subject = match Settings::load(data, Flags::default(), &process_environment) {
        Ok(settings) => Subject::new(data, &settings),
        Err(error) => {
            let remedy = "mend the settings: `lbm config` shows them, and where each comes from";
            findings.push(Finding::problem("settings", error.to_string(), remedy));
            Subject::unset(data)
        }
    };
    if error.is_no_daemon() {
        findings.extend(of_start(&subject));
    } else {
        findings.push(Finding::problem("daemon", error.to_string(), "look at its log, and start it again"));
    }
    findings.extend(of_machine(&subject));
    Diagnosis::of(false, findings)
}

impl Render for At<Diagnosis> {
    fn render(&self, out: &mut dyn Write) -> io::Result<()> {
        for finding in &self.answer.findings {
            let word = match finding.severity {
                Grade::Ok => "ok",
                Grade::Warning => "WARNING",
                Grade::Problem => "PROBLEM",
            };
            writeln!(out, "{word:<8} {}: {}", finding.code, one_line(&finding.detail, 1_000))?;
            if let Some(remedy) = &finding.remedy {
                writeln!(out, "         → {}", one_line(remedy, 1_000))?;
            }
        }
        let count = |grade| self.answer.findings.iter().filter(|finding| finding.severity == grade).count();
        let (problems, warnings) = (count(Grade::Problem), count(Grade::Warning));
        match (problems, warnings) {
            (0, 0) => writeln!(out, "Nothing is wrong."),
            _ => writeln!(out, "{problems} problems, {warnings} warnings."),
        }
    }
}
