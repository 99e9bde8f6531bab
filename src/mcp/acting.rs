//! Who acts, and where: the client of the daemon with the agent's name on it, and the group that is meant where none is named.

use std::sync::{Arc, OnceLock};

use super::answer::Failure;
use super::arguments::Arguments;
use crate::api::client::Client;
use crate::api::types::AskBalance;
use crate::identity::{AgentName, Identity};

/// Who acts, and where. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Acting {
    /// The daemon.
    pub client: Client,
    /// What the agent is called; the node itself where there is none.
    pub agent: Option<AgentName>,
    group: Option<Arc<DefaultGroup>>,
}

/// The group that is meant where none is named.
#[derive(Debug)]
struct DefaultGroup {
    named: String,
    /// Its full id, once the daemon has said it: then the daemon looks nothing up.
    id: OnceLock<String>,
}

impl Acting {
    /// Acts as the daemon's agent of this name, or as the node itself, and in `group` where a call names none.
    #[must_use]
    pub fn new(client: &Client, agent: Option<AgentName>, group: Option<String>) -> Self {
        let client = agent.iter().fold(client.clone(), |client, agent| client.as_agent(agent.clone()));
        let group = group.map(|named| Arc::new(DefaultGroup { named, id: OnceLock::new() }));
        Self { client, agent, group }
    }

    /// Acts as an agent that the daemon knows.
    pub(super) fn of(client: &Client, name: &AgentName, identity: &Identity) -> Self {
        let client = client.clone().as_this_agent(name.clone(), identity);
        Self { client, agent: Some(name.clone()), group: None }
    }

    /// The group of a call: the one that it names, the one that this server was started for, or the only one that there is.
    ///
    /// # Errors
    /// [`Failure`] where there are several or none, and where the daemon cannot be asked.
    pub(super) async fn group(&self, arguments: &mut Arguments) -> Result<String, Failure> {
        if let Some(named) = arguments.take("group")? {
            return Ok(named);
        }
        self.default_group().await
    }

    /// The same where nothing is named.
    pub(super) async fn default_group(&self) -> Result<String, Failure> {
        if let Some(group) = &self.group {
            if let Some(id) = group.id.get() {
                return Ok(id.clone());
            }
            let id = self.client.group(&group.named).await?.group.group_id;
            return Ok(group.id.get_or_init(|| id).clone());
        }
        let mut groups = self.client.groups().await?.groups;
        match (groups.pop(), groups.len()) {
            (Some(only), 0) => Ok(only.group_id),
            (None, _) if self.agent.is_some() => Err(Failure::Said {
                code: "no_group",
                detail: "this agent is a member of no group".to_owned(),
                remedy: "a person adds it: `lbm ctl group add-member --group GROUP --member IDENTITY`, with the identity that `prime` shows",
            }),
            (None, _) => Err(Failure::Said {
                code: "no_group",
                detail: "this node has no group yet".to_owned(),
                remedy: "a person creates one with `lbm ctl group create --name NAME`, or joins one with `lbm ctl group join`",
            }),
            (Some(last), _) => {
                let names: Vec<String> =
                    groups.iter().chain([&last]).filter_map(|group| group.name.clone()).take(16).collect();
                Err(Failure::Said {
                    code: "which_group",
                    detail: format!("there are several groups ({})", names.join(", ")),
                    remedy: "name one in `group`",
                })
            }
        }
    }

    /// The identity that acts in a group: a peer id.
    pub(super) async fn identity(&self, group: &str) -> Result<String, Failure> {
        Ok(self.client.balance(group, &AskBalance { account: None }).await?.account)
    }
}
