//! Which addresses may be called. A webhook's owner chooses where we connect to, and must not reach what only we reach.
//!
//! Owns the rules about URLs and addresses, and the resolver that holds them: what it has not passed is never connected
//! to, whatever a name answers from one moment to the next. It must not know what is sent.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;

use async_trait::async_trait;
use reqwest::Url;
use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use thiserror::Error;
use url::Host;

/// The most characters of a URL.
const LONGEST: usize = 2_048;

/// Why a URL is none that events are sent to; the URL itself is never repeated.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum AddressError {
    /// It is no absolute URL with a host.
    #[error("must be a URL such as https://example.com/hooks")]
    Malformed,
    /// Its scheme is another one.
    #[error("must begin with https://")]
    NotHttps,
    /// It bears a user or a password: requests are signed instead.
    #[error("must not bear a user or password")]
    Credentials,
    /// It has a fragment, which is never sent.
    #[error("must not have a fragment")]
    Fragment,
    /// It is too long.
    #[error("must have at most 2048 characters")]
    TooLong,
    /// Its host is, or its name has, an address that is not public.
    #[error("must have a public address")]
    NotPublic,
}

/// A URL that may be called as far as it can be told without asking for the addresses of its name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EndpointUrl(Url);

impl EndpointUrl {
    /// Reads and checks a URL. With `insecure`, which is for development alone, http and every address are allowed.
    ///
    /// # Errors
    /// [`AddressError`].
    pub fn parse(text: &str, insecure: bool) -> Result<Self, AddressError> {
        if text.len() > LONGEST {
            return Err(AddressError::TooLong);
        }
        let visible = text.bytes().all(|byte| byte.is_ascii_graphic());
        let url = Url::parse(text).ok().filter(|_| visible).ok_or(AddressError::Malformed)?;
        match url.scheme() {
            "https" => {}
            "http" if insecure => {}
            _ => return Err(AddressError::NotHttps),
        }
        if !url.username().is_empty() || url.password().is_some() {
            return Err(AddressError::Credentials);
        }
        if url.fragment().is_some() {
            return Err(AddressError::Fragment);
        }
        // The parser has turned every way to write an address in numbers into the address.
        let literal = match url.host().ok_or(AddressError::Malformed)? {
            Host::Ipv4(address) => Some(IpAddr::V4(address)),
            Host::Ipv6(address) => Some(IpAddr::V6(address)),
            Host::Domain(name) => {
                let name = name.trim_end_matches('.');
                if !insecure && (name == "localhost" || name.ends_with(".localhost")) {
                    return Err(AddressError::NotPublic);
                }
                None
            }
        };
        if literal.is_some_and(|address| !insecure && !is_public(address)) {
            return Err(AddressError::NotPublic);
        }
        Ok(Self(url))
    }

    /// The URL.
    #[must_use]
    pub const fn url(&self) -> &Url {
        &self.0
    }
}

/// Whether an address is one of the public internet: not this machine, not its networks, nothing reserved, and no form
/// that carries another address inside.
#[must_use]
pub fn is_public(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => is_public_v4(address),
        IpAddr::V6(address) => is_public_v6(address),
    }
}

/// The blocks of the IANA special-purpose registry (RFC 6890) that are not globally reachable, and those beside it that
/// are no ordinary hosts: network and length of the prefix.
const NOT_PUBLIC_V4: [(Ipv4Addr, u32); 17] = [
    (Ipv4Addr::UNSPECIFIED, 8),           // this network
    (Ipv4Addr::new(10, 0, 0, 0), 8),      // private
    (Ipv4Addr::new(100, 64, 0, 0), 10),   // carrier-grade NAT
    (Ipv4Addr::new(127, 0, 0, 0), 8),     // loopback
    (Ipv4Addr::new(169, 254, 0, 0), 16),  // link-local, metadata services
    (Ipv4Addr::new(172, 16, 0, 0), 12),   // private
    (Ipv4Addr::new(192, 0, 0, 0), 24),    // protocol assignments
    (Ipv4Addr::new(192, 0, 2, 0), 24),    // documentation
    (Ipv4Addr::new(192, 31, 196, 0), 24), // AS112
    (Ipv4Addr::new(192, 52, 193, 0), 24), // AMT
    (Ipv4Addr::new(192, 88, 99, 0), 24),  // 6to4 relays
    (Ipv4Addr::new(192, 168, 0, 0), 16),  // private
    (Ipv4Addr::new(192, 175, 48, 0), 24), // AS112
    (Ipv4Addr::new(198, 18, 0, 0), 15),   // benchmarks
    (Ipv4Addr::new(198, 51, 100, 0), 24), // documentation
    (Ipv4Addr::new(203, 0, 113, 0), 24),  // documentation
    (Ipv4Addr::new(224, 0, 0, 0), 3),     // multicast, reserved, broadcast
];

fn is_public_v4(address: Ipv4Addr) -> bool {
    let inside = |(network, length): &(Ipv4Addr, u32)| (address.to_bits() ^ network.to_bits()) >> (32 - length) == 0;
    !NOT_PUBLIC_V4.iter().any(inside)
}

/// What is not public of the one block that is handed out, `2000::/3`. Everything outside of it is loopback, unspecified,
/// mapped, compatible, NAT64, discard, unique local, site-local, link-local, multicast or reserved.
const NOT_PUBLIC_V6: [(Ipv6Addr, u32); 5] = [
    (Ipv6Addr::new(0x2001, 0, 0, 0, 0, 0, 0, 0), 23), // protocol assignments: Teredo, benchmarks, ORCHID
    (Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 0), 32), // documentation
    (Ipv6Addr::new(0x2002, 0, 0, 0, 0, 0, 0, 0), 16), // 6to4
    (Ipv6Addr::new(0x2620, 0x4f, 0x8000, 0, 0, 0, 0, 0), 48), // AS112
    (Ipv6Addr::new(0x3fff, 0, 0, 0, 0, 0, 0, 0), 20), // documentation
];

fn is_public_v6(address: Ipv6Addr) -> bool {
    let inside = |(network, length): &(Ipv6Addr, u32)| (address.to_bits() ^ network.to_bits()) >> (128 - length) == 0;
    address.segments()[0] >> 13 == 1 && !NOT_PUBLIC_V6.iter().any(inside)
}

/// Why a name was not resolved.
#[derive(Debug, Error)]
pub enum NameError {
    /// It has no address.
    #[error("the name has no address")]
    Unknown(#[source] Option<io::Error>),
    /// One of its addresses is not public.
    #[error("the name has an address that is not public")]
    NotPublic,
}

/// Tells the addresses of names.
#[async_trait]
pub trait Names: Send + Sync {
    /// The addresses of a name.
    ///
    /// # Errors
    /// Whatever the machine's resolver says.
    async fn addresses(&self, name: &str) -> io::Result<Vec<IpAddr>>;
}

/// The machine's own resolver.
pub struct SystemNames;

#[async_trait]
impl Names for SystemNames {
    async fn addresses(&self, name: &str) -> io::Result<Vec<IpAddr>> {
        Ok(tokio::net::lookup_host((name, 0)).await?.map(|address| address.ip()).collect())
    }
}

/// Resolves names to addresses that may be called. The connection is made to what is answered here and to nothing else,
/// so that a name cannot have one address when it is checked and another when it is called. A name with any address that
/// is not public is refused whole.
#[derive(Clone)]
pub struct CheckedNames {
    names: Arc<dyn Names>,
    insecure: bool,
}

impl CheckedNames {
    /// Checks what those names answer; with `insecure` everything passes.
    #[must_use]
    pub fn new(names: Arc<dyn Names>, insecure: bool) -> Self {
        Self { names, insecure }
    }

    async fn addresses(&self, name: &str) -> Result<Vec<SocketAddr>, NameError> {
        let found = self.names.addresses(name).await.map_err(|error| NameError::Unknown(Some(error)))?;
        if found.is_empty() {
            return Err(NameError::Unknown(None));
        }
        if !self.insecure && !found.iter().copied().all(is_public) {
            return Err(NameError::NotPublic);
        }
        Ok(found.into_iter().map(|address| SocketAddr::new(address, 0)).collect())
    }
}

impl Resolve for CheckedNames {
    fn resolve(&self, name: Name) -> Resolving {
        let checked = self.clone();
        Box::pin(async move {
            let addresses = checked.addresses(name.as_str()).await?;
            Ok(Box::new(addresses.into_iter()) as Addrs)
        })
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;

    #[test]
    fn no_way_to_write_a_private_address_passes() {
        for host in [
            "127.0.0.1",
            "127.1",
            "127.0.1",
            "2130706433",
            "0x7f000001",
            "0x7f.1",
            "0177.0.0.1",
            "017700000001",
            "0",
            "0.0.0.0",
            "10.0.0.1",
            "0xa.0.0.1",
            "100.64.0.1",
            "100.127.255.255",
            "169.254.169.254",
            "2852039166",
            "0xa9fea9fe",
            "0251.0376.0251.0376",
            "172.16.0.1",
            "172.31.255.255",
            "192.0.0.1",
            "192.0.2.1",
            "192.88.99.1",
            "192.168.1.1",
            "192.168.257",
            "198.18.0.1",
            "198.19.255.255",
            "198.51.100.1",
            "203.0.113.9",
            "224.0.0.1",
            "239.255.255.255",
            "240.0.0.1",
            "255.255.255.255",
            "１２７.0.0.1",
            "127。0。0。1",
            "localhost",
            "LOCALHOST",
            "localhost.",
            "db.localhost",
            "[::]",
            "[::1]",
            "[0:0:0:0:0:0:0:1]",
            "[::127.0.0.1]",
            "[::ffff:127.0.0.1]",
            "[::ffff:7f00:1]",
            "[::ffff:8.8.8.8]",
            "[::ffff:0:7f00:1]",
            "[64:ff9b::7f00:1]",
            "[64:ff9b:1::1]",
            "[100::1]",
            "[2001::1]",
            "[2001:0:7f00:1::]",
            "[2001:2::1]",
            "[2001:10::1]",
            "[2001:db8::1]",
            "[2002:7f00:1::]",
            "[2002:c0a8:101::1]",
            "[3fff::1]",
            "[5f00::1]",
            "[fc00::1]",
            "[fd12:3456::1]",
            "[fe80::1]",
            "[febf::1]",
            "[fec0::1]",
            "[ff02::1]",
            "[4000::1]",
        ] {
            let refused = EndpointUrl::parse(&format!("https://{host}/hooks"), false);
            // A host in full-width digits is not visible ASCII, and is refused for that already.
            let wanted = if host.is_ascii() { AddressError::NotPublic } else { AddressError::Malformed };
            assert_eq!(refused, Err(wanted), "{host}");
            if host.is_ascii() {
                assert!(EndpointUrl::parse(&format!("http://{host}:9/hooks"), true).is_ok(), "{host}");
            }
        }
    }

    #[test]
    fn public_addresses_pass_at_any_port() {
        for url in [
            "https://example.com",
            "https://example.com:8443/a/b?c=d",
            "https://8.8.8.8/",
            "https://100.63.255.255/",
            "https://100.128.0.1/",
            "https://172.15.0.1/",
            "https://172.32.0.1/",
            "https://198.17.0.1/",
            "https://223.255.255.255/",
            "https://[2606:4700::1111]:1/",
            "https://[2001:200::1]/",
            "https://xn--bcher-kva.example/",
        ] {
            assert!(EndpointUrl::parse(url, false).is_ok(), "{url}");
        }
    }

    #[test]
    fn what_is_no_plain_https_url_is_refused_for_its_own_reason() {
        let long = format!("https://example.com/{}", "a".repeat(LONGEST));
        for (url, wanted) in [
            ("", AddressError::Malformed),
            ("example.com/hooks", AddressError::Malformed),
            ("https://", AddressError::Malformed),
            ("https://exa mple.com", AddressError::Malformed),
            ("https://example.com/\n", AddressError::Malformed),
            ("https://256.256.256.256/", AddressError::Malformed),
            ("https://example.com:99999/", AddressError::Malformed),
            ("http://example.com/", AddressError::NotHttps),
            ("ftp://example.com/", AddressError::NotHttps),
            ("file:///etc/passwd", AddressError::NotHttps),
            ("gopher://example.com/", AddressError::NotHttps),
            ("https://user@example.com/", AddressError::Credentials),
            ("https://user:secret@example.com/", AddressError::Credentials),
            ("https://:secret@example.com/", AddressError::Credentials),
            ("https://127.0.0.1@example.com/", AddressError::Credentials),
            ("https://example.com/#top", AddressError::Fragment),
            (&long, AddressError::TooLong),
        ] {
            assert_eq!(EndpointUrl::parse(url, false), Err(wanted), "{url}");
        }
        assert_eq!(EndpointUrl::parse("ftp://example.com/", true), Err(AddressError::NotHttps));
    }

    /// Answers one after the other.
    struct Turns(Mutex<Vec<Vec<IpAddr>>>);

    #[async_trait]
    impl Names for Turns {
        async fn addresses(&self, _: &str) -> io::Result<Vec<IpAddr>> {
            let mut turns = self.0.lock().unwrap();
            if turns.is_empty() { Err(io::Error::other("unknown")) } else { Ok(turns.remove(0)) }
        }
    }

    fn checked(turns: &[&[&str]], insecure: bool) -> CheckedNames {
        let address = |text: &&str| text.parse().unwrap();
        let turns = turns.iter().map(|turn| turn.iter().map(address).collect()).collect();
        CheckedNames::new(Arc::new(Turns(Mutex::new(turns))), insecure)
    }

    #[tokio::test]
    async fn a_name_that_changes_its_address_is_refused_when_it_does() {
        let names = checked(&[&["8.8.8.8"], &["127.0.0.1"]], false);
        assert_eq!(names.addresses("rebinding.example").await.unwrap(), ["8.8.8.8:0".parse().unwrap()]);
        assert!(matches!(names.addresses("rebinding.example").await, Err(NameError::NotPublic)));
        assert!(matches!(names.addresses("rebinding.example").await, Err(NameError::Unknown(Some(_)))));
    }

    #[tokio::test]
    async fn one_address_that_is_not_public_spoils_a_name() {
        let names = checked(&[&["8.8.8.8", "10.0.0.1"], &["2606:4700::1111", "::ffff:10.0.0.1"], &[]], false);
        for _ in 0..2 {
            assert!(matches!(names.addresses("mixed.example").await, Err(NameError::NotPublic)));
        }
        assert!(matches!(names.addresses("mixed.example").await, Err(NameError::Unknown(None))));
        assert!(checked(&[&["10.0.0.1"]], true).addresses("inside.example").await.is_ok());
    }
}
