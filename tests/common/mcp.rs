//! An MCP client without a library: lines to `lbm mcp`, and lines back.

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::{LBM, PATIENCE, clean};

/// A client and its server. The server ends with it.
pub struct Mcp {
    pub child: Child,
    input: Option<ChildStdin>,
    lines: Receiver<String>,
    next: u64,
    /// The tools, once they were asked for.
    tools: Value,
    /// What came that nobody has asked for.
    pub told: Vec<Value>,
}

impl Drop for Mcp {
    fn drop(&mut self) {
        drop(self.input.take());
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// Whoever calls tools, by whatever client.
pub trait Agent {
    /// Calls a tool; its result.
    fn call(&mut self, tool: &str, arguments: &Value) -> Value;

    /// Calls a tool that must do it; its structured part.
    #[track_caller]
    fn done(&mut self, tool: &str, arguments: &Value) -> Value {
        let result = self.call(tool, arguments);
        assert_ne!(result["isError"], true, "{tool}: {result}");
        result["structuredContent"].clone()
    }

    /// Calls a tool that must refuse, with each of these words in what it says.
    #[track_caller]
    fn refused(&mut self, tool: &str, arguments: &Value, words: &[&str]) -> String {
        let result = self.call(tool, arguments);
        assert_eq!(result["isError"], true, "{tool}: {result}");
        let text = result["content"][0]["text"].as_str().unwrap().to_owned();
        for word in words {
            assert!(text.contains(word), "no `{word}` in: {text}");
        }
        text
    }
}

impl Agent for Mcp {
    #[track_caller]
    fn call(&mut self, tool: &str, arguments: &Value) -> Value {
        let answer = self.request("tools/call", &json!({"name": tool, "arguments": arguments}));
        assert!(answer["error"].is_null(), "{tool}: {answer}");
        let result = answer["result"].clone();
        if result["isError"] == false
            && let Some(required) = self.required(tool)
        {
            for name in required {
                assert!(result["structuredContent"].get(&name).is_some(), "{tool} gives no `{name}`: {result}");
            }
        }
        result
    }
}

/// A client out of somebody else's library: a program that reads a call a line and writes its result.
pub struct Driver {
    child: Child,
    input: Option<ChildStdin>,
    lines: Receiver<String>,
    /// What it said when it was connected.
    pub begun: Value,
}

impl Drop for Driver {
    fn drop(&mut self) {
        drop(self.input.take());
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

impl Driver {
    /// Starts one, and waits until it is connected.
    #[track_caller]
    pub fn start(mut command: Command) -> Self {
        let shown = format!("{command:?}");
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let (input, output) = (child.stdin.take(), child.stdout.take().unwrap());
        let (send, lines) = channel();
        std::thread::spawn(move || {
            for line in BufReader::new(output).lines().map_while(Result::ok) {
                if send.send(line).is_err() {
                    return;
                }
            }
        });
        let mut driver = Self { child, input, lines, begun: Value::Null };
        driver.begun = driver.hear(&shown);
        driver
    }

    /// Writes a line to it.
    pub fn say(&mut self, line: &str) {
        let input = self.input.as_mut().expect("open");
        writeln!(input, "{line}").unwrap();
        input.flush().unwrap();
    }

    /// The next line of it.
    #[track_caller]
    pub fn hear(&mut self, what: &str) -> Value {
        let line = self.lines.recv_timeout(2 * PATIENCE).unwrap_or_else(|_| panic!("no answer: {what}"));
        serde_json::from_str(&line).unwrap_or_else(|error| panic!("no JSON ({error}): {line}"))
    }
}

impl Agent for Driver {
    #[track_caller]
    fn call(&mut self, tool: &str, arguments: &Value) -> Value {
        self.say(&json!({"tool": tool, "arguments": arguments}).to_string());
        self.hear(tool)
    }
}

impl Mcp {
    /// A server on this data folder, that nothing was said to yet.
    pub fn silent(data: &str, args: &[&str]) -> Self {
        let mut command = clean(Command::new(LBM));
        command.args(["mcp", "--data", data]).args(args);
        Self::of(command)
    }

    /// Any server, that nothing was said to yet.
    pub fn of(mut command: Command) -> Self {
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let (input, output) = (child.stdin.take().unwrap(), child.stdout.take().unwrap());
        let (send, lines) = channel();
        std::thread::spawn(move || {
            for line in BufReader::new(output).lines().map_while(Result::ok) {
                if send.send(line).is_err() {
                    return;
                }
            }
        });
        Self { child, input: Some(input), lines, next: 0, tools: Value::Null, told: vec![] }
    }

    /// A server on this data folder after the handshake of this revision.
    pub fn begun(data: &str, revision: &str) -> Self {
        let mut mcp = Self::silent(data, &[]);
        let result = mcp.initialize(revision);
        assert_eq!(result["protocolVersion"], revision);
        mcp
    }

    /// Shakes hands.
    pub fn initialize(&mut self, revision: &str) -> Value {
        let client =
            json!({"protocolVersion": revision, "capabilities": {}, "clientInfo": {"name": "t", "version": "1"}});
        let answer = self.request("initialize", &client);
        self.say(&json!({"jsonrpc": "2.0", "method": "notifications/initialized"}));
        answer["result"].clone()
    }

    /// Sends bytes as they are.
    pub fn raw(&mut self, bytes: &[u8]) {
        let input = self.input.as_mut().expect("open");
        input.write_all(bytes).unwrap();
        input.flush().unwrap();
    }

    /// Sends a message.
    pub fn say(&mut self, message: &Value) {
        self.raw(format!("{message}\n").as_bytes());
    }

    /// Closes the server's input.
    pub fn close(&mut self) {
        drop(self.input.take());
    }

    /// The next message, whatever it is.
    #[track_caller]
    pub fn hear(&mut self) -> Value {
        self.hear_within(PATIENCE).expect("a message in time")
    }

    /// The next message, where one comes in time.
    pub fn hear_within(&mut self, patience: Duration) -> Option<Value> {
        let line = self.lines.recv_timeout(patience).ok()?;
        Some(serde_json::from_str(&line).unwrap_or_else(|error| panic!("no JSON ({error}): {line}")))
    }

    /// Sends a request; its id.
    pub fn ask(&mut self, method: &str, params: &Value) -> u64 {
        self.next += 1;
        let id = self.next;
        self.say(&json!({"jsonrpc": "2.0", "id": id, "method": method, "params": params}));
        id
    }

    /// Sends a request and waits for its answer.
    #[track_caller]
    pub fn request(&mut self, method: &str, params: &Value) -> Value {
        let id = self.ask(method, params);
        loop {
            let message = self.hear();
            if message["id"] == id {
                return message;
            }
            self.told.push(message);
        }
    }

    /// What a tool's output always has, as it says itself; nothing of one that does not say.
    fn required(&mut self, tool: &str) -> Option<Vec<String>> {
        if self.tools.is_null() {
            self.tools = self.request("tools/list", &json!({}))["result"]["tools"].clone();
        }
        let listed = self.tools.as_array()?.iter().find(|listed| listed["name"] == tool)?;
        let required = listed["outputSchema"]["required"].as_array()?;
        Some(required.iter().map(|name| name.as_str().unwrap().to_owned()).collect())
    }

    /// Waits for a notification of this method.
    #[track_caller]
    pub fn wait_for_note(&mut self, method: &str) -> Value {
        if let Some(at) = self.told.iter().position(|message| message["method"] == method) {
            return self.told.remove(at);
        }
        let until = Instant::now() + PATIENCE;
        loop {
            let left = until.saturating_duration_since(Instant::now());
            let message = self.hear_within(left).unwrap_or_else(|| panic!("waited in vain for {method}"));
            if message["method"] == method {
                return message;
            }
            self.told.push(message);
        }
    }

    /// The process's exit code, once it has ended by itself.
    #[track_caller]
    pub fn exit_code(&mut self) -> Option<i32> {
        let started = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status.code();
            }
            assert!(started.elapsed() < PATIENCE, "the server does not end");
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}
