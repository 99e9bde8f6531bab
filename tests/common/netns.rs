//! Machines of a test: network namespaces on one bridge.
//!
//! Needs root and iproute2. [`Lan::new`] says why where it cannot be had, so that a test skips loudly instead of passing
//! in silence. Everything is removed on drop, also when the test panics.

#![allow(dead_code, reason = "each test program uses its part")]

use std::io;
use std::process::{Child, Command, Output, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use super::{Daemon, skipped, wait_until};

/// After a cable was pulled: how long it takes at most until both sides know, where they have something to say; and on a busy machine
/// until all is whole again.
pub const HEALING: Duration = Duration::from_secs(30);

/// Numbers the networks of one test process, so that tests may run side by side.
static NEXT: AtomicU32 = AtomicU32::new(0);

/// Several machines on one Ethernet, each with an address of `10.77.X.0/24`, without any other network.
///
/// The bridge stands in a namespace of its own: nothing of the host's network is touched, and no other test's subnet can
/// get in the way.
pub struct Lan {
    tag: String,
    machines: usize,
    subnet: u32,
}

impl Lan {
    /// A network of so many machines.
    ///
    /// # Errors
    /// Why there can be none: not root, no `ip` program, or no right to make namespaces.
    pub fn new(machines: usize) -> Result<Self, String> {
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        // An interface name has at most 15 characters.
        let tag = format!("lbm{:x}n{number}", std::process::id());
        let subnet = (std::process::id() + number) % 250 + 1;
        let lan = Self { tag, machines, subnet };
        lan.build().map(|()| lan)
    }

    fn build(&self) -> Result<(), String> {
        let switch = self.switch();
        ip(&["netns", "add", &switch])?;
        ip(&["-n", &switch, "link", "add", "br0", "type", "bridge"])?;
        // Without snooping multicast is flooded, as on a plain switch; with it mDNS waits for a querier that never comes.
        ip(&["-n", &switch, "link", "set", "br0", "type", "bridge", "mcast_snooping", "0"])?;
        ip(&["-n", &switch, "link", "set", "br0", "up"])?;
        for machine in 0..self.machines {
            let (name, port) = (self.name(machine), Self::port(machine));
            ip(&["netns", "add", &name])?;
            ip(&["-n", &name, "link", "add", "eth0", "type", "veth", "peer", "name", &port, "netns", &switch])?;
            ip(&["-n", &switch, "link", "set", &port, "master", "br0", "up"])?;
            ip(&["-n", &name, "addr", "add", &format!("{}/24", self.address(machine)), "dev", "eth0"])?;
            ip(&["-n", &name, "link", "set", "lo", "up"])?;
            ip(&["-n", &name, "link", "set", "eth0", "address", &Self::mac(machine), "up"])?;
        }
        if self.machines > 30 { self.introduce() } else { Ok(()) }
    }

    /// Tells each machine the hardware addresses of the others. All namespaces share the kernel's table of what ARP has found
    /// (`gc_thresh3`, 1,024 in general), which machines that all speak to each other soon fill; what is told does not count there.
    fn introduce(&self) -> Result<(), String> {
        let all: String = (0..self.machines)
            .map(|n| format!("neigh replace {} lladdr {} dev eth0 nud permanent\n", self.address(n), Self::mac(n)))
            .collect();
        let file = tempfile::NamedTempFile::new().map_err(|error| error.to_string())?;
        std::fs::write(file.path(), all).map_err(|error| error.to_string())?;
        let lines = file.path().to_string_lossy().into_owned();
        (0..self.machines).try_for_each(|machine| ip(&["-n", &self.name(machine), "-batch", &lines]))
    }

    fn mac(machine: usize) -> String {
        format!("02:00:00:00:00:{:02x}", machine + 1)
    }

    fn switch(&self) -> String {
        format!("{}sw", self.tag)
    }

    fn port(machine: usize) -> String {
        format!("port{machine}")
    }

    /// The namespace of a machine.
    #[must_use]
    pub fn name(&self, machine: usize) -> String {
        format!("{}m{machine}", self.tag)
    }

    /// The IPv4 address of a machine.
    #[must_use]
    pub fn address(&self, machine: usize) -> String {
        format!("10.77.{}.{}", self.subnet, machine + 1)
    }

    /// A command to be run on a machine. It is killed by hand: a namespace goes only when its last process has ended.
    #[must_use]
    pub fn command(&self, machine: usize, program: impl AsRef<std::ffi::OsStr>) -> Command {
        let mut command = Command::new("ip");
        command.args(["netns", "exec", &self.name(machine)]).arg(program);
        command
    }

    /// Keeps multicast from a machine, as a router or a guest network does.
    ///
    /// # Errors
    /// What `ip` says.
    pub fn no_multicast(&self, machine: usize) -> Result<(), String> {
        ip(&["-n", &self.switch(), "link", "set", &Self::port(machine), "type", "bridge_slave", "mcast_flood", "off"])
    }

    /// Starts a command on a machine with its output piped.
    ///
    /// # Errors
    /// Where `ip` cannot be started.
    pub fn spawn(&self, machine: usize, program: &str, args: &[&str]) -> io::Result<Child> {
        self.command(machine, program).args(args).stdin(Stdio::null()).stdout(Stdio::piped()).spawn()
    }

    /// Runs a command on a machine to its end.
    ///
    /// # Errors
    /// Where `ip` cannot be started.
    pub fn run(&self, machine: usize, program: &str, args: &[&str]) -> io::Result<Output> {
        self.command(machine, program).args(args).output()
    }

    /// Gives a machine another address, as a DHCP server does: the old one goes, the new one comes.
    ///
    /// # Errors
    /// What `ip` says.
    pub fn readdress(&self, machine: usize) -> Result<(), String> {
        let name = self.name(machine);
        let with = |last: usize| format!("10.77.{}.{last}/24", self.subnet);
        ip(&["-n", &name, "addr", "del", &with(machine + 1), "dev", "eth0"])?;
        ip(&["-n", &name, "addr", "add", &with(machine + 101), "dev", "eth0"])
    }

    /// Pulls a machine's cable, or plugs it in again. The machine itself sees its link as up.
    ///
    /// # Errors
    /// What `ip` says.
    pub fn plug(&self, machine: usize, plugged: bool) -> Result<(), String> {
        let (master, switch) = (if plugged { "master" } else { "nomaster" }, self.switch());
        let port = Self::port(machine);
        let mut args = vec!["-n", &switch, "link", "set", &port, master];
        args.extend(plugged.then_some("br0"));
        ip(&args)
    }
}

impl Drop for Lan {
    fn drop(&mut self) {
        for machine in 0..self.machines {
            drop(ip(&["netns", "del", &self.name(machine)]));
        }
        drop(ip(&["netns", "del", &self.switch()]));
    }
}

/// A daemon on each machine of a network, with nothing in its address book.
#[must_use]
pub fn machines<const N: usize>(test: &str, names: [&str; N], listen: &str) -> Option<(Lan, [Daemon; N])> {
    let (lan, mut daemons) = machines_off(test, names, listen)?;
    daemons.iter_mut().for_each(Daemon::restart);
    Some((lan, daemons))
}

/// The same, with the daemons yet to be started.
#[must_use]
pub fn machines_off<const N: usize>(test: &str, names: [&str; N], listen: &str) -> Option<(Lan, [Daemon; N])> {
    let lan = match Lan::new(N) {
        Ok(lan) => lan,
        Err(why) => {
            skipped(test, &why);
            return None;
        }
    };
    let mut machine = 0;
    let daemons = names.map(|name| {
        let mut daemon = Daemon::prepared(name);
        daemon.wrapper(&["ip", "netns", "exec", &lan.name(machine)]);
        daemon.args(&["--listen", listen]);
        machine += 1;
        daemon
    });
    Some((lan, daemons))
}

/// Waits until a daemon has connections to all of these.
#[track_caller]
pub fn wait_for(daemon: &Daemon, others: &[&Daemon], patience: Duration) -> Duration {
    let what =
        format!("{} is connected to {:?}", daemon.name, others.iter().map(|other| &other.name).collect::<Vec<_>>());
    wait_until(patience, &what, || {
        let peers = daemon.ctl(&["peer", "list"]).done();
        let peers = peers["peers"].as_array().unwrap();
        let is_there = |id: &str| peers.iter().any(|peer| peer["peer_id"] == id && peer["connected"] == true);
        others.iter().all(|other| is_there(&other.id))
    })
}

fn ip(args: &[&str]) -> Result<(), String> {
    let output = Command::new("ip").args(args).output().map_err(|error| format!("`ip` (iproute2): {error}"))?;
    if output.status.success() {
        return Ok(());
    }
    Err(format!("`ip {}`: {}", args.join(" "), String::from_utf8_lossy(&output.stderr).trim()))
}
