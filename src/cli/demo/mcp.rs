//! An agent's client: it starts `lbm mcp` as any client does, and says one JSON-RPC message a line.

use std::path::Path;
use std::process::Stdio;

use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};

use super::DemoError;
use super::stage::{PATIENCE, late, system};

/// The revision of the protocol that is spoken.
const REVISION: &str = "2025-11-25";

/// A client and its server, which ends with it.
pub(super) struct Mcp {
    server: Child,
    input: ChildStdin,
    output: Lines<BufReader<ChildStdout>>,
    next: u64,
}

impl Mcp {
    /// Starts a server for an agent of the daemon with this data folder, and shakes hands.
    pub(super) async fn start(exe: &Path, data: &Path, agent: &str, group: &str) -> Result<Self, DemoError> {
        let mut command = Command::new(exe);
        command.args(["mcp", "--agent", agent, "--group", group, "--data"]).arg(data);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null()).kill_on_drop(true);
        let mut server = command.spawn().map_err(system("start an MCP server"))?;
        let (Some(input), Some(output)) = (server.stdin.take(), server.stdout.take()) else {
            return Err(DemoError::Wrong("an MCP server has no streams"));
        };
        let mut mcp = Self { server, input, output: BufReader::new(output).lines(), next: 0 };
        let client = json!({"name": agent, "version": env!("CARGO_PKG_VERSION")});
        let hello = json!({"protocolVersion": REVISION, "capabilities": {}, "clientInfo": client});
        mcp.request("initialize", &hello).await?;
        mcp.say(&json!({"jsonrpc": "2.0", "method": "notifications/initialized"})).await?;
        Ok(mcp)
    }

    /// Calls a tool; the structured part of its result, or what it said where it refused.
    pub(super) async fn call(&mut self, tool: &str, arguments: &Value) -> Result<Result<Value, String>, DemoError> {
        let mut result = self.request("tools/call", &json!({"name": tool, "arguments": arguments})).await?;
        if result.get("isError").is_some_and(|is_error| is_error == true) {
            let said = result.pointer("/content/0/text").and_then(Value::as_str).unwrap_or("nothing");
            return Ok(Err(said.to_owned()));
        }
        Ok(Ok(result.get_mut("structuredContent").map(Value::take).unwrap_or_default()))
    }

    /// Ends the server, and comes back when it is gone.
    pub(super) async fn end(mut self) -> Result<(), DemoError> {
        drop(self.input);
        if tokio::time::timeout(PATIENCE, self.server.wait()).await.is_err() {
            self.server.kill().await.map_err(system("end an MCP server"))?;
        }
        Ok(())
    }

    async fn say(&mut self, message: &Value) -> Result<(), DemoError> {
        let line = format!("{message}\n");
        self.input.write_all(line.as_bytes()).await.map_err(system("speak to an MCP server"))
    }

    async fn request(&mut self, method: &str, params: &Value) -> Result<Value, DemoError> {
        self.next += 1;
        let id = self.next;
        self.say(&json!({"jsonrpc": "2.0", "id": id, "method": method, "params": params})).await?;
        let answered = async {
            while let Some(line) = self.output.next_line().await.map_err(system("hear an MCP server"))? {
                let mut message: Value =
                    serde_json::from_str(&line).map_err(|_| DemoError::Wrong("an MCP server says what is no JSON"))?;
                if message.get("id").is_some_and(|answered| *answered == id) {
                    let result = message.get_mut("result").map(Value::take);
                    return result.ok_or(DemoError::Wrong("an MCP server takes a message for none"));
                }
            }
            Err(DemoError::Wrong("an MCP server ended before it answered"))
        };
        tokio::time::timeout(PATIENCE, answered).await.map_err(|_| late("an MCP server answers"))?
    }
}
