//! The address of a cluster, as the setting `broker` writes it.

use std::str::FromStr;

/// The port of an Apache Kafka that names none.
const DEFAULT_PORT: u16 = 9092;

/// A cluster, and how it is reached.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BrokerAddress {
    /// Apache Kafka, or what speaks its protocol.
    Kafka {
        /// `host:port`, several with commas between them.
        bootstrap: String,
    },
    /// The development broker inside this process.
    Embedded {
        /// Its port on the loopback interface; 0 takes any that is free.
        port: u16,
    },
}

impl FromStr for BrokerAddress {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let Some((scheme, rest)) = text.trim().split_once("://") else {
            return Err(format!(
                "`{text}` has no scheme; write `kafka://{text}` or `embedded://`"
            ));
        };
        // A list of whole addresses is understood as well.
        let rest = rest.replace(&format!(",{scheme}://"), ",");
        let rest = rest.strip_suffix('/').unwrap_or(&rest);
        if rest.contains('@') {
            return Err(
                "an address carries no credentials; give `sasl.username` and `sasl.password` under [kafka]"
                    .to_owned(),
            );
        }
        if rest.contains(['/', '?', '#']) {
            return Err(format!(
                "`{text}` goes on behind the port; write hosts and ports only"
            ));
        }
        match scheme {
            "kafka" => kafka(rest),
            "embedded" => embedded(rest),
            _ => Err(format!(
                "there is no broker `{scheme}://`; write `kafka://host:9092` or `embedded://`"
            )),
        }
    }
}

fn kafka(hosts: &str) -> Result<BrokerAddress, String> {
    let mut bootstrap = Vec::new();
    for host in hosts.split(',').map(str::trim) {
        let (host, port) = host_and_port(host)?;
        let port = port.unwrap_or(DEFAULT_PORT);
        if host.is_empty() {
            return Err(
                "a host is missing; write `kafka://host:9092`, several as `kafka://a:9092,b:9092`".to_owned(),
            );
        }
        bootstrap.push(format!("{host}:{port}"));
    }
    Ok(BrokerAddress::Kafka {
        bootstrap: bootstrap.join(","),
    })
}

fn embedded(rest: &str) -> Result<BrokerAddress, String> {
    if !cfg!(feature = "embedded") {
        return Err("this build has no embedded broker; build it with the feature `embedded`".to_owned());
    }
    let (host, port) = host_and_port(rest)?;
    // Any free port: several programs may run on one machine, and each tells its own.
    let port = port.unwrap_or(0);
    match host {
        "" | "localhost" | "127.0.0.1" => Ok(BrokerAddress::Embedded { port }),
        _ => Err(format!(
            "the embedded broker serves this machine alone, not `{host}`; write `embedded://`"
        )),
    }
}

fn host_and_port(text: &str) -> Result<(&str, Option<u16>), String> {
    // The colons of an IPv6 address stand between brackets.
    let after_host = text.rfind(']').map_or(0, |bracket| bracket + 1);
    let Some(colon) = text[after_host..].find(':') else {
        return Ok((text, None));
    };
    let (host, port) = text.split_at(after_host + colon);
    match port[1..].parse() {
        Ok(port) => Ok((host, Some(port))),
        Err(_) => Err(format!("`{}` is not a port, in `{text}`", &port[1..])),
    }
}
