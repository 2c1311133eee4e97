//! Loopback ports for children that cannot bind port 0 themselves.
//!
//! A port that the kernel picks for port 0 can be picked again, for any outgoing connection, as
//! soon as it is let go. So the kit hands out ports from below the kernel's own range, and marks
//! each as taken, for all processes that use the kit, by holding the UDP port of the same number
//! until this process ends.

use std::net::{Ipv4Addr, TcpListener, UdpSocket};
use std::sync::{Mutex, PoisonError};

use crate::{Error, Result};

/// First port that may be handed out.
const FIRST: u16 = 11_000;
/// How many ports there are; the last one stays below Linux's ephemeral range, 32768 and up.
const COUNT: u16 = 20_000;

/// The claims of this process, and how many ports it has looked at.
static CLAIMS: Mutex<(u16, Vec<UdpSocket>)> = Mutex::new((0, Vec::new()));

/// Gives a TCP port of 127.0.0.1 on which nothing listens and that no other caller gets, in this
/// process or another one, as long as this process lives.
pub fn free_port() -> Result<u16> {
    let mut claims = CLAIMS.lock().unwrap_or_else(PoisonError::into_inner);
    // Processes begin at different places, so that they seldom ask for the same port.
    let start = u16::try_from(std::process::id() % 400).unwrap_or_default() * 50;
    for _ in 0..COUNT {
        let port = FIRST + (start + claims.0) % COUNT;
        claims.0 = (claims.0 + 1) % COUNT;
        let Ok(claim) = UdpSocket::bind((Ipv4Addr::LOCALHOST, port)) else {
            continue;
        };
        if TcpListener::bind((Ipv4Addr::UNSPECIFIED, port)).is_ok() {
            claims.1.push(claim);
            return Ok(port);
        }
    }
    Err(Error::Io {
        what: format!("no port from {FIRST} on is free"),
        source: std::io::ErrorKind::AddrInUse.into(),
    })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn no_port_is_handed_out_twice() {
        let ports: BTreeSet<u16> = (0..50).map(|_| free_port().unwrap()).collect();
        assert_eq!(ports.len(), 50);
    }

    #[test]
    fn a_port_can_be_listened_on() {
        let port = free_port().unwrap();
        TcpListener::bind((Ipv4Addr::LOCALHOST, port)).unwrap();
    }
}
