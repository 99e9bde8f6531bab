//! The settings of the panel: where it is served, under which names, and to whom.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::str::FromStr;

use serde::{Serialize, Serializer};

use super::{BadValue, ConfigError, Key, Setting, SettingRow, Sources, row};
use crate::limits;

const ADDRESS: Key = Key { name: "admin", environment: "LB_ADMIN" };
const HOSTS: Key = Key { name: "admin_hosts", environment: "LB_ADMIN_HOSTS" };
const INSECURE: Key = Key { name: "admin_insecure", environment: "LB_ADMIN_INSECURE" };

pub(super) const KEYS: [Key; 3] = [ADDRESS, HOSTS, INSECURE];

/// Where the panel is served when nobody says otherwise. Where another has the port, it is not served, and the log says so.
const DEFAULT: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 8080);

/// Where the panel is served, or nowhere.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AdminAddress(pub Option<SocketAddr>);

impl FromStr for AdminAddress {
    type Err = BadValue;

    fn from_str(text: &str) -> Result<Self, BadValue> {
        if text == "off" {
            return Ok(Self(None));
        }
        text.parse().map(|address| Self(Some(address))).map_err(|_| BadValue::Admin)
    }
}

impl fmt::Display for AdminAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(address) => address.fmt(f),
            None => f.write_str("off"),
        }
    }
}

impl Serialize for AdminAddress {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// What the command line says of the panel.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AdminFlags {
    /// `--admin`.
    pub address: Option<AdminAddress>,
    /// `--admin-host`.
    pub hosts: Vec<String>,
    /// `--admin-insecure`.
    pub insecure: bool,
}

/// The settings of the panel. They were checked against one another.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AdminSettings {
    /// Where it is served.
    pub address: Setting<AdminAddress>,
    /// Names of this machine under which a browser may ask for it, besides loopback's and the address itself.
    pub hosts: Setting<Vec<String>>,
    /// Whether it may be served, unencrypted, to other machines.
    pub insecure: Setting<bool>,
}

/// A name of this machine, as a browser sends it: without a port.
///
/// # Errors
/// [`BadValue::Host`].
pub fn host_name(text: &str) -> Result<String, BadValue> {
    let is_name = |c: char| c.is_ascii_alphanumeric() || ".-:[]_".contains(c);
    let fits = (1..=limits::web::HOST_BYTES).contains(&text.len()) && text.chars().all(is_name);
    if fits { Ok(text.to_ascii_lowercase()) } else { Err(BadValue::Host) }
}

impl AdminSettings {
    pub(super) fn load(from: &Sources<'_>, flags: AdminFlags) -> Result<Self, ConfigError> {
        let hosts = Some(flags.hosts).filter(|hosts| !hosts.is_empty());
        let insecure = flags.insecure.then_some(true);
        let settings = Self {
            address: from.pick(
                ADDRESS,
                ("--admin", flags.address),
                |raw| raw.string().and_then(str::parse),
                AdminAddress(Some(DEFAULT)),
            )?,
            hosts: from.pick(
                HOSTS,
                ("--admin-host", hosts),
                |raw| raw.list(host_name, "a list of names in quotes", limits::web::HOSTS),
                Vec::new(),
            )?,
            insecure: from.pick(INSECURE, ("--admin-insecure", insecure), |raw| raw.boolean(), false)?,
        };
        match settings.address.value {
            AdminAddress(Some(address)) if !address.ip().is_loopback() && !settings.insecure.value => {
                Err(ConfigError::Conflict {
                    key: ADDRESS.name,
                    origin: settings.address.origin,
                    why: "other machines reach it, and all that they send is unencrypted: keep to 127.0.0.1 and forward the port \
                          (ssh -L 8080:127.0.0.1:8080 HOST), or set admin_insecure where the network itself is trusted",
                })
            }
            _ => Ok(settings),
        }
    }

    pub(super) fn rows(&self) -> [SettingRow; 3] {
        [row(ADDRESS, &self.address), row(HOSTS, &self.hosts), row(INSECURE, &self.insecure)]
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Flags, Settings};
    use super::*;
    use std::path::Path;

    fn load(flags: AdminFlags) -> Result<AdminSettings, ConfigError> {
        let flags = Flags { admin: flags, ..Flags::default() };
        Settings::load(Path::new("/nowhere"), flags, &|_| None).map(|settings| settings.admin)
    }

    #[test]
    fn the_panel_keeps_to_loopback_until_it_is_told_otherwise() {
        assert_eq!(load(AdminFlags::default()).unwrap().address.value.to_string(), "127.0.0.1:8080");
        let at = |text: &str| Some(text.parse::<AdminAddress>().unwrap());
        for loopback in ["127.0.0.1:0", "[::1]:9000", "127.8.8.8:1", "off"] {
            assert!(load(AdminFlags { address: at(loopback), ..AdminFlags::default() }).is_ok(), "{loopback}");
        }
        for reachable in ["0.0.0.0:8080", "192.168.1.7:80", "[::]:8080"] {
            let flags = AdminFlags { address: at(reachable), ..AdminFlags::default() };
            let refused = load(flags.clone()).unwrap_err().to_string();
            assert!(refused.contains("admin_insecure") && refused.contains("ssh -L"), "{refused}");
            assert!(load(AdminFlags { insecure: true, ..flags }).is_ok(), "{reachable}");
        }
    }

    #[test]
    fn an_address_has_a_port_and_a_name_is_one() {
        for text in ["", "8080", "localhost:8080", "127.0.0.1", "http://127.0.0.1:8080", "OFF"] {
            assert_eq!(text.parse::<AdminAddress>(), Err(BadValue::Admin), "{text}");
        }
        assert_eq!(host_name("Laptop.local").unwrap(), "laptop.local");
        for text in ["", "a b", "http://x", "ä", "*", &"x".repeat(limits::web::HOST_BYTES + 1)] {
            assert_eq!(host_name(text), Err(BadValue::Host), "{text}");
        }
    }
}
