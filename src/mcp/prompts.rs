//! Prompts: how a person puts an agent to work here.

use rmcp::model::{ErrorData, GetPromptResult, JsonObject, Prompt, PromptArgument, PromptMessage, Role};

use super::answer::{cut, visible};

/// A prompt: its name, what it is for, its arguments (the first of them must be given where `needs`), and its text.
struct Template {
    name: &'static str,
    says: &'static str,
    arguments: &'static [(&'static str, &'static str, bool)],
    text: &'static str,
}

const ALL: [Template; 3] = [
    Template {
        name: "start_work",
        says: "Look around, take the best task that is ready, do it, hand in the result",
        arguments: &[("focus", "what to prefer", false)],
        text: "Call `prime`. Go on with a task that is yours, else take the best one with `start_task`{focus}. Ask `compile_context` about \
               its subject before you begin, and reserve with `reserve_resource` what you will edit. Say with `update_presence` that you are \
               busy. Call `start_task` again well before `lease_until_ms`. When it is done, `publish_claim` what you did and learned, and \
               `complete_task` with that `claim_hash`; where it cannot be done, `fail_task` with the reason. Release what you reserved.",
    },
    Template {
        name: "hand_over",
        says: "Give a task back so that another agent can go on with it",
        arguments: &[("task_id", "the task", true)],
        text: "Hand over the task {task_id}: `publish_claim` how far it is, what is decided and why, what is left, and what did not work, with \
               evidence; tag it `hand-over`. Then `release_task`, release what you reserved, and set your presence to idle.",
    },
    Template {
        name: "review",
        says: "Check the result of a task, and answer it in its thread",
        arguments: &[("task_id", "the task", true)],
        text: "Review the task {task_id}: read it with `list_tasks` (its `task_id`), its result claim with `get_recent_claims` (`thread`), and \
               what the group decided with `compile_context`. Check the evidence yourself. Answer with `publish_claim` and `parent_hash` set to \
               the result: what holds, what does not, what to do. Create a task for each thing that has to be fixed.",
    },
];

pub(super) fn list() -> Vec<Prompt> {
    let of = |template: &Template| {
        let arguments = template
            .arguments
            .iter()
            .map(|(name, says, required)| PromptArgument::new(*name).with_description(*says).with_required(*required));
        Prompt::new(template.name, Some(template.says), Some(arguments.collect()))
    };
    ALL.iter().map(of).collect()
}

/// Fills one in.
///
/// # Errors
/// Where there is none of that name, or an argument is missing or no text.
pub(super) fn get(name: &str, arguments: &JsonObject) -> Result<GetPromptResult, ErrorData> {
    let Some(template) = ALL.iter().find(|template| template.name == name) else {
        let mut name = visible(name);
        cut(&mut name, 80);
        return Err(ErrorData::invalid_params(format!("there is no prompt `{name}`: see prompts/list"), None));
    };
    let mut text = template.text.to_owned();
    for (name, _, required) in template.arguments {
        let given =
            arguments.get(*name).and_then(|value| value.as_str()).map(str::trim).filter(|text| !text.is_empty());
        let filled = match (given, required) {
            (None, true) => return Err(ErrorData::invalid_params(format!("the argument `{name}` is missing"), None)),
            (None, false) => String::new(),
            (Some(given), true) => given.to_owned(),
            (Some(given), false) => format!(" ({name}: {given})"),
        };
        text = text.replace(&format!("{{{name}}}"), &filled);
    }
    Ok(GetPromptResult::new(vec![PromptMessage::new_text(Role::User, text)]).with_description(template.says))
}
