//! Arguments of the daemon: of `lbm-node`, and of its alias `lbm node`.

use std::path::PathBuf;

use clap::{Args, Parser};
use libp2p::Multiaddr;

use super::password::PasswordArgs;
use crate::api::BUILD;
use crate::config::{
    AdminAddress, AdminFlags, EmbedderFlags, Flags, KademliaRole, LogLevel, LoopbackAddress, host_name, listen_address,
    peer_address,
};

/// The daemon: keeps this machine's groups, and syncs them with other machines
///
/// Its first line on standard output is `ready` and its addresses. It ends on SIGTERM and Ctrl-C, after what it has taken on.
#[derive(Debug, Clone, Parser)]
#[command(name = "lbm-node", version = BUILD, max_term_width = 100)]
pub struct NodeCli {
    /// Data folder, made by `lbm init` [env: LB_DATA] [default: the platform's data folder]
    #[arg(long, value_name = "DIR")]
    pub data: Option<PathBuf>,
    /// The rest, which `lbm node` has too.
    #[command(flatten)]
    pub node: NodeArgs,
}

/// What the daemon takes besides its data folder.
#[derive(Debug, Clone, Default, PartialEq, Eq, Args)]
pub struct NodeArgs {
    /// Address to listen on, like /ip4/0.0.0.0/tcp/7337 or /ip4/0.0.0.0/udp/7337/quic-v1; port 0 takes a free one (repeatable)
    #[arg(long, value_name = "ADDR", value_parser = listen_address)]
    pub listen: Vec<Multiaddr>,
    /// Peer to keep connected: its full address with /p2p/ and its id (repeatable)
    #[arg(long = "peer", value_name = "ADDR", value_parser = peer_address)]
    pub peers: Vec<Multiaddr>,
    /// Neither look for peers by multicast DNS nor be found by it
    #[arg(long)]
    pub no_mdns: bool,
    /// Find members beyond this network through nodes that serve as meeting points: off, client, or server to be one [default: client]
    #[arg(long, value_name = "ROLE")]
    pub kademlia: Option<KademliaRole>,
    /// Serve agents over HTTP too, at /mcp of this loopback address, like 127.0.0.1:8765 [default: off]
    #[arg(long, value_name = "ADDR|off")]
    pub mcp: Option<LoopbackAddress>,
    /// Serve metrics and health to Prometheus, at /metrics and /health/ready of this loopback address, like 127.0.0.1:9464 [default: off]
    #[arg(long, value_name = "ADDR|off")]
    pub metrics: Option<LoopbackAddress>,
    /// Serve the web panel at this address; `lbm ctl admin url` prints a link to it [default: 127.0.0.1:8080]
    #[arg(long, value_name = "ADDR|off")]
    pub admin: Option<AdminAddress>,
    /// Name of this machine under which a browser may ask for the panel, besides localhost (repeatable)
    #[arg(long = "admin-host", value_name = "NAME", value_parser = host_name)]
    pub admin_hosts: Vec<String>,
    /// Let the panel be served to other machines, unencrypted
    #[arg(long)]
    pub admin_insecure: bool,
    /// Settings file [default: config.toml in the data folder]
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Where the password of the node's key comes from.
    #[command(flatten)]
    pub password: PasswordArgs,
    /// What to log: error, warn, info, debug or trace
    #[arg(long, value_name = "LEVEL")]
    pub log_level: Option<LogLevel>,
    /// OpenAI-compatible endpoint that makes vectors of claims and queries, like http://127.0.0.1:11434/v1
    #[arg(long, value_name = "URL")]
    pub embedder_url: Option<String>,
    /// The model to ask it for, like nomic-embed-text
    #[arg(long, value_name = "NAME")]
    pub embedder_model: Option<String>,
    /// Folder of a model2vec model, instead of an endpoint
    #[arg(long, value_name = "DIR")]
    pub embedder_folder: Option<PathBuf>,
    /// Let the endpoint be on another machine: it is sent the text of every claim and query
    #[arg(long)]
    pub embedder_allow_remote: bool,
}

impl NodeArgs {
    /// What of them are settings.
    #[must_use]
    pub fn flags(&self) -> Flags {
        Flags {
            config: self.config.clone(),
            listen: self.listen.clone(),
            peers: self.peers.clone(),
            no_mdns: self.no_mdns,
            kademlia: self.kademlia,
            mcp: self.mcp,
            metrics: self.metrics,
            admin: AdminFlags { address: self.admin, hosts: self.admin_hosts.clone(), insecure: self.admin_insecure },
            log_level: self.log_level,
            embedder: EmbedderFlags {
                url: self.embedder_url.clone(),
                model: self.embedder_model.clone(),
                folder: self.embedder_folder.clone(),
                allow_remote: self.embedder_allow_remote,
            },
        }
    }
}
