//! Which client a request comes from where proxies stand before the service.
//!
//! Owns the list of proxies that are believed and the reading of `X-Forwarded-For`. It must not know what an address is used
//! for. Without a proxy that is believed the header says nothing: anybody can send it.

use std::net::{IpAddr, SocketAddr};
use std::str::FromStr;

use http::{HeaderMap, HeaderName};
use thiserror::Error;

const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");

/// The text is no list of addresses and networks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("must be a list such as 10.0.0.1,10.1.0.0/16,fd00::/8")]
pub struct NoNetworks;

/// Proxies whose word on the client's address is taken. None by default.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct TrustedProxies(Vec<Network>);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Network {
    first: IpAddr,
    bits: u32,
}

impl FromStr for TrustedProxies {
    type Err = NoNetworks;

    /// Addresses and networks (`address/bits`) by commas; an empty text is none.
    fn from_str(text: &str) -> Result<Self, NoNetworks> {
        let networks = text.split(',').map(str::trim).filter(|one| !one.is_empty()).map(Network::parse);
        networks.collect::<Option<_>>().map(Self).ok_or(NoNetworks)
    }
}

impl Network {
    fn parse(text: &str) -> Option<Self> {
        let (address, bits) = text.split_once('/').map_or((text, None), |(address, bits)| (address, Some(bits)));
        let first: IpAddr = address.parse().ok()?;
        let width = if first.is_ipv4() { 32 } else { 128 };
        let bits = match bits {
            Some(bits) if bits.bytes().all(|byte| byte.is_ascii_digit()) => bits.parse().ok()?,
            Some(_) => return None,
            None => width,
        };
        (bits <= width).then_some(Self { first, bits })
    }

    fn holds(self, address: IpAddr) -> bool {
        match (self.first, address) {
            (IpAddr::V4(first), IpAddr::V4(address)) => {
                (u32::from(first) ^ u32::from(address)).checked_shr(32 - self.bits).unwrap_or(0) == 0
            }
            (IpAddr::V6(first), IpAddr::V6(address)) => {
                (u128::from(first) ^ u128::from(address)).checked_shr(128 - self.bits).unwrap_or(0) == 0
            }
            (IpAddr::V4(_), IpAddr::V6(_)) | (IpAddr::V6(_), IpAddr::V4(_)) => false,
        }
    }
}

impl TrustedProxies {
    fn believes(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        self.0.iter().any(|network| network.holds(address))
    }

    /// The client behind a connection: its other end, or, where that is a proxy that is believed, the last address of
    /// `X-Forwarded-For` that is none. What a client has written in front of that is never looked at.
    #[must_use]
    pub fn client(&self, peer: SocketAddr, headers: &HeaderMap) -> SocketAddr {
        if self.0.is_empty() || !self.believes(peer.ip()) {
            return peer;
        }
        let mut nearest = peer;
        for value in headers.get_all(FORWARDED_FOR).iter().rev() {
            for named in value.to_str().unwrap_or_default().rsplit(',') {
                let Some(address) = address(named.trim()) else {
                    return nearest;
                };
                nearest = SocketAddr::new(address, 0);
                if !self.believes(address) {
                    return nearest;
                }
            }
        }
        nearest
    }
}

/// An address as proxies write it: with or without a port, an IPv6 one in brackets or not.
fn address(text: &str) -> Option<IpAddr> {
    let bare = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(text);
    bare.parse().ok().or_else(|| text.parse::<SocketAddr>().ok().map(|address| address.ip()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;

    fn client(proxies: &str, peer: &str, forwarded: &[&'static str]) -> String {
        let mut headers = HeaderMap::new();
        for value in forwarded {
            headers.append(FORWARDED_FOR, HeaderValue::from_static(value));
        }
        let proxies: TrustedProxies = proxies.parse().unwrap();
        proxies.client(SocketAddr::new(peer.parse().unwrap(), 7), &headers).ip().to_string()
    }

    #[test]
    fn without_a_proxy_that_is_believed_the_header_says_nothing() {
        for proxies in ["", "10.0.0.2", "10.0.1.0/24", "::/0"] {
            assert_eq!(client(proxies, "10.0.0.1", &["192.0.2.1"]), "10.0.0.1", "{proxies}");
        }
    }

    #[test]
    fn the_last_address_that_is_no_proxy_is_the_client() {
        let proxies = "10.0.0.0/24, fd00::/8";
        assert_eq!(client(proxies, "10.0.0.1", &["192.0.2.1"]), "192.0.2.1");
        assert_eq!(client(proxies, "::ffff:10.0.0.1", &["192.0.2.1"]), "192.0.2.1");
        assert_eq!(
            client(proxies, "10.0.0.1", &["6.6.6.6, 192.0.2.1, 10.0.0.9"]),
            "192.0.2.1",
            "forged ones go before"
        );
        assert_eq!(client(proxies, "10.0.0.1", &["6.6.6.6", "192.0.2.1", "fd00::1"]), "192.0.2.1");
        assert_eq!(client(proxies, "10.0.0.1", &["192.0.2.1:80, [fd00::1]:443, [fd00::2]"]), "192.0.2.1");
        assert_eq!(client(proxies, "10.0.0.1", &["10.0.0.9"]), "10.0.0.9");
    }

    #[test]
    fn what_is_no_address_ends_the_search() {
        for unusable in ["unknown", "", "192.0.2.1, _hidden", "192.0.2.1,"] {
            assert_eq!(client("10.0.0.1", "10.0.0.1", &[unusable]), "10.0.0.1", "{unusable:?}");
        }
        assert_eq!(client("10.0.0.0/8", "10.0.0.1", &["192.0.2.1, x, 10.0.0.2"]), "10.0.0.2");
        assert_eq!(client("10.0.0.0/8", "10.0.0.1", &[]), "10.0.0.1");
    }

    #[test]
    fn a_list_is_addresses_and_networks_and_nothing_else() {
        for good in ["", "0.0.0.0/0", "::/0", "192.0.2.1/32", "192.0.2.1,2001:db8::1"] {
            assert!(good.parse::<TrustedProxies>().is_ok(), "{good}");
        }
        for bad in ["proxy", "10.0.0.0/33", "::/129", "10.0.0.0/", "10.0.0.0/+8", "10.0.0.1;10.0.0.2", "10.0.0/8"] {
            assert_eq!(bad.parse::<TrustedProxies>(), Err(NoNetworks), "{bad}");
        }
    }
}
