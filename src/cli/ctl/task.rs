//! `lbm ctl task create|assign|claim|start|complete|fail|release|cancel|reserve|list|ready|show`.

use std::io::{self, Write};
use std::time::Duration;

use clap::{Args, Subcommand, ValueEnum};

use super::GroupFlag;
use super::node::{more, tail};
use crate::api::types::{
    AssignTask, CompleteTask, FailTask, ListTasks, NewTask, ReadyTasks, ReleaseTask, ReserveResource, Reserved,
    StartTask, Task, TaskChanged, TaskDetail, TaskList, TaskStatus,
};
use crate::cli::error::{CliError, Outcome};
use crate::cli::output::{At, Render};
use crate::cli::session::Session;
use crate::cli::text::{Table, fields, harmless, one_line};
use crate::cli::when::{When, ago, full, parse_due, parse_span};
use crate::identity::Identity;
use crate::limits;

/// What to do with tasks.
#[derive(Debug, Clone, PartialEq, Eq, Subcommand)]
pub enum TaskCommand {
    /// Create a task
    Create(CreateArgs),
    /// Give a task to a member: who created it and admins can, also while another has it
    Assign(AssignArgs),
    /// Take a task that is ready, or whose lease is over
    Claim(ClaimArgs),
    /// Begin a task that one has; once begun, keep it for another lease
    Start(StartArgs),
    /// End a task as done
    Complete(CompleteArgs),
    /// End a task as not done
    Fail(FailArgs),
    /// Give a task back for others to take; who created it, admins, and when its lease is over anyone can as well
    Release(HeldTask),
    /// Reserve a named resource, like a file or a port, or keep it for another lease; exit code 1 where another has it
    Reserve(ReserveArgs),
    /// End a task that is not wanted any more: who created it and admins can
    Cancel(OneTask),
    /// The tasks that fit, by name
    List(ListArgs),
    /// The tasks that anyone may take now, the best first
    Ready(ReadyArgs),
    /// One task in full
    Show(OneTask),
}

/// A status on the command line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StatusArg(TaskStatus);

impl ValueEnum for StatusArg {
    fn value_variants<'a>() -> &'a [Self] {
        const ALL: [StatusArg; 6] = {
            let [a, b, c, d, e, f] = TaskStatus::ALL;
            [StatusArg(a), StatusArg(b), StatusArg(c), StatusArg(d), StatusArg(e), StatusArg(f)]
        };
        &ALL
    }

    fn to_possible_value(&self) -> Option<clap::builder::PossibleValue> {
        Some(clap::builder::PossibleValue::new(self.0.word()))
    }
}

/// Arguments of `lbm ctl task create`.
#[derive(Debug, Clone, PartialEq, Eq, Args)]
pub struct CreateArgs {
    #[command(flatten)]
    group: GroupFlag,
    /// Its name, new in the group, of letters, digits, `.`, `_`, `:` and `-`
    #[arg(long, value_name = "ID")]
    task: String,
    /// One line
    #[arg(long, value_name = "TITLE", allow_hyphen_values = true)]
    title: String,
    /// What is to be done
    #[arg(long, value_name = "TEXT", allow_hyphen_values = true)]
    description: Option<String>,
    /// Who is to do it [default: whoever takes it]
    #[arg(long, value_name = "ID")]
    assignee: Option<Identity>,
    /// Tokens for whoever completes it; an admin's are made then, another member's are set aside now
    #[arg(long, value_name = "N", default_value_t = 0)]
    reward: u64,
    /// When it should be done: in 2h, 3d, or 2026-11-22, RFC 3339 or milliseconds
    #[arg(long, value_name = "WHEN", value_parser = parse_due)]
    due: Option<When>,
    /// How much it matters: 0 least, 9 most
    #[arg(long, value_name = "0-9", default_value_t = 0)]
    priority: u8,
    /// A task that must be completed before; repeat it for more
    #[arg(long, value_name = "ID")]
    depends_on: Vec<String>,
}

/// Arguments of a command on one task.
#[derive(Debug, Clone, PartialEq, Eq, Args)]
pub struct OneTask {
    /// Task: its name in the group
    #[arg(value_name = "TASK")]
    task: String,
    #[command(flatten)]
    group: GroupFlag,
}

/// How long a task is one's own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Args)]
struct Lease {
    /// How long until anyone may take it over, from 1s to 30d [default: 30m]
    #[arg(long, value_name = "SPAN", value_parser = parse_span)]
    lease: Option<Duration>,
}

impl Lease {
    fn ms(self) -> Option<u64> {
        self.lease.map(|lease| u64::try_from(lease.as_millis()).unwrap_or(u64::MAX))
    }
}

/// Which attempt speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Args)]
struct Attempt {
    /// The attempt that one has, so that it is refused if another has begun since [default: the one that counts]
    #[arg(long, value_name = "N")]
    attempt: Option<u32>,
}

/// Arguments of `lbm ctl task assign`.
#[derive(Debug, Clone, PartialEq, Eq, Args)]
pub struct AssignArgs {
    #[command(flatten)]
    one: OneTask,
    /// To whom: a member's peer id
    #[arg(long, value_name = "ID")]
    assignee: Identity,
    #[command(flatten)]
    lease: Lease,
}

/// Arguments of `lbm ctl task claim`.
#[derive(Debug, Clone, PartialEq, Eq, Args)]
pub struct ClaimArgs {
    #[command(flatten)]
    one: OneTask,
    #[command(flatten)]
    lease: Lease,
}

/// Arguments of `lbm ctl task reserve`.
#[derive(Debug, Clone, PartialEq, Eq, Args)]
pub struct ReserveArgs {
    #[command(flatten)]
    group: GroupFlag,
    /// What it is called, like src/main.rs; `task release` with the task that is answered gives it back
    #[arg(value_name = "NAME")]
    resource: String,
    #[command(flatten)]
    lease: Lease,
}

/// Arguments of `lbm ctl task start`.
#[derive(Debug, Clone, PartialEq, Eq, Args)]
pub struct StartArgs {
    #[command(flatten)]
    held: HeldTask,
    #[command(flatten)]
    lease: Lease,
}

/// Arguments of a command on a task that one has.
#[derive(Debug, Clone, PartialEq, Eq, Args)]
pub struct HeldTask {
    #[command(flatten)]
    one: OneTask,
    #[command(flatten)]
    attempt: Attempt,
}

/// Arguments of `lbm ctl task complete`.
#[derive(Debug, Clone, PartialEq, Eq, Args)]
pub struct CompleteArgs {
    #[command(flatten)]
    held: HeldTask,
    /// The claim that says what came of it: its hash or a unique prefix
    #[arg(long, value_name = "HASH")]
    claim: Option<String>,
    /// The hash of what came of it, where that is no claim
    #[arg(long, value_name = "HASH")]
    result_hash: Option<String>,
}

/// Arguments of `lbm ctl task fail`.
#[derive(Debug, Clone, PartialEq, Eq, Args)]
pub struct FailArgs {
    #[command(flatten)]
    held: HeldTask,
    /// Why
    #[arg(long, value_name = "TEXT", allow_hyphen_values = true)]
    error: Option<String>,
}

/// Arguments of `lbm ctl task list`.
#[derive(Debug, Clone, PartialEq, Eq, Args)]
pub struct ListArgs {
    #[command(flatten)]
    group: GroupFlag,
    /// Only those that stand so
    #[arg(long, value_enum, value_name = "STATUS")]
    status: Option<StatusArg>,
    /// Only those that this member has, or had when they ended
    #[arg(long, value_name = "ID", conflicts_with = "mine")]
    assignee: Option<Identity>,
    /// Only those that this node has, or had when they ended
    #[arg(long)]
    mine: bool,
    /// Only those that this member created
    #[arg(long, value_name = "ID")]
    creator: Option<Identity>,
    /// Only those that have not ended
    #[arg(long)]
    open: bool,
    /// Only reserved resources
    #[arg(long)]
    reserved: bool,
    /// At most so many
    #[arg(long, value_name = "N", default_value_t = limits::PAGE_DEFAULT_ROWS)]
    limit: usize,
    /// Where the list before ended: its next_cursor
    #[arg(long, value_name = "CURSOR")]
    cursor: Option<String>,
}

/// Arguments of `lbm ctl task ready`.
#[derive(Debug, Clone, PartialEq, Eq, Args)]
pub struct ReadyArgs {
    #[command(flatten)]
    group: GroupFlag,
    /// At most so many
    #[arg(long, value_name = "N", default_value_t = limits::PAGE_DEFAULT_ROWS)]
    limit: usize,
}

impl TaskCommand {
    /// Whether it writes something that can be waited for.
    pub(super) const fn writes(&self) -> bool {
        !matches!(self, Self::Reserve(_) | Self::List(_) | Self::Ready(_) | Self::Show(_))
    }
}

pub(super) async fn run(command: &TaskCommand, session: &mut Session<'_>) -> Result<Outcome, CliError> {
    match command {
        TaskCommand::List(args) => {
            let answer = list(args, session).await?;
            session.answer(answer)?;
        }
        TaskCommand::Ready(args) => {
            let query = ReadyTasks { limit: Some(args.limit) };
            query.check()?;
            let answer = session.client.ready_tasks(&args.group.group, &query).await?;
            session.answer(answer)?;
        }
        TaskCommand::Show(OneTask { task, group }) => {
            let answer = session.client.task(&group.group, task).await?;
            session.answer(answer)?;
        }
        TaskCommand::Create(args) => create(args, session).await?,
        TaskCommand::Assign(AssignArgs { one, assignee, lease }) => {
            assign(one, Some(*assignee), *lease, session).await?;
        }
        TaskCommand::Claim(ClaimArgs { one, lease }) => assign(one, None, *lease, session).await?,
        TaskCommand::Start(StartArgs { held: HeldTask { one, attempt }, lease }) => {
            let how = StartTask { attempt: attempt.attempt, lease_ms: lease.ms() };
            how.check()?;
            let answer = session.client.start_task(&one.group.group, &one.task, &how).await?;
            session.wrote(&one.group.group, answer).await?;
        }
        TaskCommand::Complete(args) => complete(args, session).await?,
        TaskCommand::Fail(FailArgs { held: HeldTask { one, attempt }, error }) => {
            let why = FailTask { attempt: attempt.attempt, error_message: error.clone() };
            why.check()?;
            let answer = session.client.fail_task(&one.group.group, &one.task, &why).await?;
            session.wrote(&one.group.group, answer).await?;
        }
        TaskCommand::Reserve(ReserveArgs { group, resource, lease }) => {
            let request = ReserveResource::named(resource, lease.ms())?;
            let answer = session.client.reserve_resource(&group.group, &request).await?;
            let outcome = Outcome::of(answer.reserved);
            session.answer(answer)?;
            return Ok(outcome);
        }
        TaskCommand::Release(HeldTask { one, attempt }) => {
            let which = ReleaseTask { attempt: attempt.attempt };
            let answer = session.client.release_task(&one.group.group, &one.task, &which).await?;
            session.wrote(&one.group.group, answer).await?;
        }
        TaskCommand::Cancel(OneTask { task, group }) => {
            let answer = session.client.cancel_task(&group.group, task).await?;
            session.wrote(&group.group, answer).await?;
        }
    }
    Ok(Outcome::Done)
}

async fn create(args: &CreateArgs, session: &mut Session<'_>) -> Result<(), CliError> {
    let task = NewTask {
        task_id: args.task.clone(),
        title: args.title.clone(),
        description: args.description.clone(),
        due_ms: args.due.map(|due| due.resolve(session.now_ms)),
        priority: args.priority,
        depends_on: args.depends_on.clone(),
        assignee: args.assignee,
        reward: args.reward,
    };
    task.check()?;
    let answer = session.client.create_task(&args.group.group, &task).await?;
    session.wrote(&args.group.group, answer).await
}

async fn assign(
    one: &OneTask,
    assignee: Option<Identity>,
    lease: Lease,
    session: &mut Session<'_>,
) -> Result<(), CliError> {
    let to = AssignTask { assignee, lease_ms: lease.ms() };
    to.check()?;
    let answer = session.client.assign_task(&one.group.group, &one.task, &to).await?;
    session.wrote(&one.group.group, answer).await
}

async fn complete(args: &CompleteArgs, session: &mut Session<'_>) -> Result<(), CliError> {
    let CompleteArgs { held: HeldTask { one, attempt }, claim, result_hash } = args;
    let (claim_hash, result_hash) = (claim.clone(), result_hash.clone());
    let result = CompleteTask { attempt: attempt.attempt, claim_hash, result_hash };
    result.check()?;
    let answer = session.client.complete_task(&one.group.group, &one.task, &result).await?;
    session.wrote(&one.group.group, answer).await
}

/// One page, or as many as it takes for the number that was asked for.
async fn list(args: &ListArgs, session: &Session<'_>) -> Result<TaskList, CliError> {
    let mut list = TaskList { tasks: Vec::new(), next_cursor: args.cursor.clone() };
    loop {
        let limit = (args.limit - list.tasks.len().min(args.limit)).min(limits::PAGE_ROWS);
        let query = ListTasks {
            status: args.status.map(|status| status.0),
            assignee: args.assignee,
            mine: args.mine,
            creator: args.creator,
            open: args.open,
            reserved: args.reserved.then_some(true),
            limit: Some(limit),
            cursor: list.next_cursor.take(),
        };
        query.check()?;
        let page = session.client.tasks(&args.group.group, &query).await?;
        list.tasks.extend(page.tasks);
        list.next_cursor = page.next_cursor;
        if list.tasks.len() >= args.limit || list.next_cursor.is_none() {
            return Ok(list);
        }
    }
}

impl Render for At<Reserved> {
    fn render(&self, out: &mut dyn Write) -> io::Result<()> {
        let Reserved { reserved, resource, task_id, holder, attempt, lease_until_ms } = &self.answer;
        let name = one_line(resource, 100);
        match (reserved, holder) {
            (true, _) => write!(out, "{name} is yours as {task_id} (attempt {attempt})")?,
            (false, Some(holder)) => write!(out, "{name} is with {} as {task_id} (attempt {attempt})", tail(holder))?,
            (false, None) => write!(out, "{name} was given back just now: ask again")?,
        }
        if let Some(until) = lease_until_ms {
            write!(out, ", lease until {}", full(*until))?;
        }
        writeln!(out)
    }
}

impl Render for At<TaskChanged> {
    fn render(&self, out: &mut dyn Write) -> io::Result<()> {
        let TaskChanged { task_id, status, assignee, attempt, lease_until_ms, .. } = &self.answer;
        write!(out, "Task {} is {status}", one_line(task_id, 100))?;
        if let Some(assignee) = assignee {
            write!(
                out,
                ", {} {} (attempt {attempt})",
                if status.is_ended() { "was with" } else { "with" },
                tail(assignee)
            )?;
        }
        if let Some(until) = lease_until_ms {
            write!(out, ", lease until {}", full(*until))?;
        }
        writeln!(out)
    }
}

impl Render for At<TaskList> {
    fn render(&self, out: &mut dyn Write) -> io::Result<()> {
        let mut table = Table::new(&["TASK", "STATUS", "PRIORITY#", "REWARD#", "DUE", "ASSIGNEE", "TITLE"]);
        for task in &self.answer.tasks {
            let Task { task_id, status, priority, reward, due_ms, assignee, title, .. } = task;
            let due = due_ms.map_or_else(|| "-".to_owned(), |due| ago(due, self.now_ms));
            let assignee = assignee.as_deref().map_or_else(|| "-".to_owned(), tail);
            table.row([task_id, status.word(), &priority.to_string(), &reward.to_string(), &due, &assignee, title]);
        }
        if table.is_empty() {
            return writeln!(out, "No tasks.");
        }
        table.write(out)?;
        more(out, self.answer.next_cursor.as_deref())
    }
}

impl Render for At<TaskDetail> {
    fn render(&self, out: &mut dyn Write) -> io::Result<()> {
        let TaskDetail { task, description, blocked_by, sponsor, claim_hash, result_hash, error_message, .. } =
            &self.answer;
        let when = |at_ms| format!("{} ({})", full(at_ms), ago(at_ms, self.now_ms));
        let mut rows = vec![("task", task.task_id.clone()), ("title", task.title.clone())];
        let ready = if task.ready { ", ready to be taken" } else { "" };
        rows.push(("status", format!("{}{ready}", task.status)));
        let assignee = task.assignee.as_ref().map(|assignee| format!("{assignee} (attempt {})", task.attempt));
        rows.extend(assignee.map(|assignee| ("assignee", assignee)));
        rows.extend(task.lease_until_ms.map(|until| ("lease until", when(until))));
        rows.push(("creator", task.creator.clone()));
        rows.push(("created", when(task.created_ms)));
        rows.extend(task.due_ms.map(|due| ("due", when(due))));
        rows.push(("priority", task.priority.to_string()));
        if task.reward > 0 {
            let from = if sponsor.is_some() { "made on completion" } else { "set aside by its creator" };
            rows.push(("reward", format!("{} ({from})", task.reward)));
        }
        rows.extend(blocked_by.iter().map(|other| ("waits for", format!("{} ({})", other.task_id, other.status))));
        rows.extend(claim_hash.clone().map(|claim| ("result", claim)));
        rows.extend(result_hash.clone().map(|hash| ("result hash", hash)));
        rows.extend(error_message.clone().map(|said| ("error", said)));
        rows.push(("state", if task.is_final { "final" } else { "pending" }.to_owned()));
        fields(out, &rows)?;
        match description {
            Some(description) => writeln!(out, "\n{}", harmless(description).trim_end()),
            None => Ok(()),
        }
    }
}
