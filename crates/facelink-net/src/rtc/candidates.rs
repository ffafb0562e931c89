//! Candidates: rewritten when sent, filtered when received.

use std::{
    borrow::Cow,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
};

use crate::{
    address::is_private,
    ice::{IceConfig, IcePolicy},
};
use facelink::wire::json::IceCandidate;

/// One candidate (RFC 8839, 5.1), taken apart as far as it is needed.
struct Candidate<'a> {
    words: Vec<Cow<'a, str>>,
}

impl<'a> Candidate<'a> {
    const TRANSPORT: usize = 2;
    const PRIORITY: usize = 3;
    const ADDRESS: usize = 4;
    const PORT: usize = 5;
    const KIND: usize = 7;

    /// `candidate:1 1 udp 2130706431 192.0.2.1 5000 typ host ...`
    fn parse(text: &'a str) -> Option<Self> {
        let words: Vec<_> = text.split_ascii_whitespace().map(Cow::Borrowed).collect();
        (words.len() > Self::KIND && words[Self::KIND - 1] == "typ").then_some(Self { words })
    }

    fn is_tcp(&self) -> bool {
        self.words[Self::TRANSPORT].eq_ignore_ascii_case("tcp")
    }

    fn address(&self) -> Option<IpAddr> {
        self.words[Self::ADDRESS].parse().ok()
    }

    /// The word after a name among the extensions.
    fn extension(&mut self, name: &str) -> Option<&mut Cow<'a, str>> {
        let place = self.words.iter().skip(Self::KIND + 1).position(|word| word == name)?;
        self.words.get_mut(Self::KIND + 1 + place + 1)
    }

    /// Below every pair over UDP: with the usual priorities a TCP host candidate beats a UDP one behind a NAT.
    fn put_tcp_last(&mut self) {
        if self.is_tcp()
            && let Ok(priority) = self.words[Self::PRIORITY].parse::<u32>()
        {
            self.words[Self::PRIORITY] = Cow::Owned(((priority & 0x00ff_ffff) >> 4).max(1).to_string());
        }
    }

    fn text(&self) -> String {
        self.words.join(" ")
    }

    /// What two candidates may not share.
    fn place(&self) -> String {
        format!(
            "{} {} {} {}",
            self.words[Self::TRANSPORT],
            self.words[Self::ADDRESS],
            self.words[Self::PORT],
            self.words[Self::KIND]
        )
    }
}

/// Whether an address means nothing beyond its own network.
fn is_local(address: IpAddr) -> bool {
    is_private(address) || matches!(address, IpAddr::V4(v4) if v4.is_documentation())
}

/// How our own candidates are changed before they are sent.
#[derive(Clone, Debug, Default)]
pub(super) struct Outgoing {
    v4: Option<Ipv4Addr>,
    v6: Option<Ipv6Addr>,
    /// Loopback stays as it is next to other addresses, for pages on this machine.
    keep_loopback: bool,
    /// Relay candidates do not reveal the address behind them.
    hide: bool,
}

impl Outgoing {
    pub fn new(bind: IpAddr, ice: &IceConfig) -> Self {
        Self {
            v4: ice.advertised.iter().find_map(|address| match address {
                IpAddr::V4(v4) => Some(*v4),
                IpAddr::V6(_) => None,
            }),
            v6: ice.advertised.iter().find_map(|address| match address {
                IpAddr::V6(v6) => Some(*v6),
                IpAddr::V4(_) => None,
            }),
            keep_loopback: bind.is_unspecified(),
            hide: ice.policy == IcePolicy::Relay,
        }
    }

    fn advertised(&self, own: IpAddr) -> Option<IpAddr> {
        if !is_local(own) || (own.is_loopback() && self.keep_loopback) {
            return None;
        }
        match own {
            IpAddr::V4(_) => self.v4.map(IpAddr::V4),
            IpAddr::V6(_) => self.v6.map(IpAddr::V6),
        }
    }

    /// A candidate as others get it, and what it may not share with another one.
    pub fn candidate(&self, text: &str) -> (String, String) {
        let Some(mut candidate) = Candidate::parse(text) else { return (text.to_owned(), text.to_owned()) };
        candidate.put_tcp_last();
        let kind = candidate.words[Candidate::KIND].clone();
        if kind == "host"
            && let Some(address) = candidate.address().and_then(|own| self.advertised(own))
        {
            candidate.words[Candidate::ADDRESS] = Cow::Owned(address.to_string());
        }
        if self.hide
            && let Some(address) = candidate.address()
        {
            let nowhere = if address.is_ipv4() { "0.0.0.0" } else { "::" };
            if let Some(related) = candidate.extension("raddr") {
                *related = Cow::Borrowed(nowhere);
            }
            if let Some(port) = candidate.extension("rport") {
                *port = Cow::Borrowed("0");
            }
        }
        (candidate.text(), candidate.place())
    }

    /// A description with its candidates as others get them.
    pub fn description(&self, sdp: &str) -> String {
        let mut seen = Vec::new();
        let mut rewritten = String::with_capacity(sdp.len());
        for line in sdp.split_inclusive('\n') {
            if line.starts_with("m=") {
                seen.clear();
            }
            let Some(candidate) = line.strip_prefix("a=candidate:") else {
                rewritten.push_str(line);
                continue;
            };
            let (candidate, place) = self.candidate(candidate.trim_end());
            if !seen.contains(&place) {
                seen.push(place);
                rewritten.push_str("a=candidate:");
                rewritten.push_str(&candidate);
                rewritten.push_str("\r\n");
            }
        }
        rewritten
    }
}

/// A peer's candidate as our side takes it, and whether it is for TCP. `None` for one that leads nowhere.
///
/// No resolver here handles the `.local` names that browsers put in place of their addresses: the browser finds us, and is then
/// known by its packets.
pub(super) fn incoming(candidate: &IceCandidate, tcp: bool) -> Option<(IceCandidate, bool)> {
    let mut parsed = Candidate::parse(&candidate.candidate)?;
    let address = parsed.address()?;
    let port: u16 = parsed.words[Candidate::PORT].parse().ok()?;
    let is_tcp = parsed.is_tcp();
    // Peers choose where we connect to over TCP: nowhere unless it is wanted, and never without a listener.
    if address.is_unspecified() || address.is_multicast() || port == 0 || (is_tcp && !tcp) {
        return None;
    }
    parsed.put_tcp_last();
    Some((IceCandidate { candidate: parsed.text(), ..candidate.clone() }, is_tcp))
}

/// The same port of a peer's host at the loopback address that this side is bound to: such a socket reaches this machine alone,
/// and what a peer bound to all addresses answers comes from there, which is no answer of the address that was asked (RFC 8445,
/// 7.2.5.2.1). `None` where it would say nothing new.
pub(super) fn on_loopback(candidate: &IceCandidate, bind: IpAddr) -> Option<IceCandidate> {
    let mut parsed = Candidate::parse(&candidate.candidate)?;
    let address = parsed.address();
    let other = address.is_some_and(|address| address.is_loopback() || address.is_ipv4() != bind.is_ipv4());
    if !bind.is_loopback() || parsed.is_tcp() || parsed.words[Candidate::KIND] != "host" || other {
        return None;
    }
    parsed.words[Candidate::ADDRESS] = Cow::Owned(bind.to_string());
    Some(IceCandidate { candidate: parsed.text(), ..candidate.clone() })
}

/// Candidates of the peer that one description may bring: a hostile peer may send them without end.
pub(super) const MAX_CANDIDATES: usize = 32;
/// Those of them with addresses of the Internet. Each is sent several checks, so that a peer which names the addresses of
/// others would make us send more to them than it sends to us. A browser has few: its own, and those of its relays.
const MAX_PUBLIC: usize = 8;

/// How many candidates of a description were taken.
#[derive(Debug, Default)]
pub(super) struct Taken {
    all: usize,
    public: usize,
}

impl Taken {
    /// Whether one more is taken.
    pub fn take(&mut self, candidate: &IceCandidate) -> bool {
        let address = Candidate::parse(&candidate.candidate).and_then(|candidate| candidate.address());
        let is_public = address.is_none_or(|address| !is_local(address));
        if self.all >= MAX_CANDIDATES || (is_public && self.public >= MAX_PUBLIC) {
            return false;
        }
        self.all += 1;
        self.public += usize::from(is_public);
        true
    }
}

/// A description without its candidates, and these: the crate connects over TCP only to candidates that come by
/// themselves, and fails on some that it cannot resolve.
pub(super) fn split(sdp: &str) -> (String, Vec<IceCandidate>) {
    let mut rest = String::with_capacity(sdp.len());
    let mut candidates = Vec::new();
    let mut section: Option<u16> = None;
    let mut mid = None;
    let mut old = false;
    for line in sdp.split_inclusive('\n') {
        if line.starts_with("m=") {
            section = Some(section.map_or(0, |section| section.saturating_add(1)));
            mid = None;
        } else if let Some(name) = line.strip_prefix("a=mid:") {
            mid = Some(name.trim_end().to_owned());
        } else if let Some(candidate) = line.strip_prefix("a=").filter(|line| line.starts_with("candidate:")) {
            candidates.push(IceCandidate {
                candidate: candidate.trim_end().to_owned(),
                sdp_mid: mid.clone(),
                sdp_mline_index: section,
            });
            continue;
        }
        match modern(line) {
            Some(line) => {
                old = true;
                rest.push_str(&line);
            }
            None => rest.push_str(line),
        }
    }
    if old {
        // A peer that writes so opens SCTP when it offers and does not listen, as aiortc to 1.4. Nor does the crate listen
        // where it opens DTLS, so that is theirs to open.
        rest = rest.replace("a=setup:actpass", "a=setup:active");
    }
    (rest, candidates)
}

/// A line of a data section as aiortc to 1.4 and others write it (draft-ietf-mmusic-sctp-sdp-20) in the words of RFC
/// 8841, which are all that the crate reads.
fn modern(line: &str) -> Option<String> {
    if let Some(port) = line.trim_end().strip_prefix("a=sctpmap:") {
        return Some(format!("a=sctp-port:{}\r\n", port.split_whitespace().next()?));
    }
    let mut words = line.strip_prefix("m=application ")?.split_whitespace();
    let (port, protocol) = (words.next()?, words.next()?);
    let old =
        ["DTLS/SCTP", "UDP/DTLS/SCTP", "TCP/DTLS/SCTP"].contains(&protocol) && words.next()? != "webrtc-datachannel";
    old.then(|| format!("m=application {port} UDP/DTLS/SCTP webrtc-datachannel\r\n"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn candidates_of_a_peer_are_bounded() {
        let candidate = |address: String| IceCandidate {
            candidate: format!("candidate:1 1 udp 1 {address} 9 typ host"),
            ..IceCandidate::default()
        };
        let mut taken = Taken::default();
        let public = (0..64).filter(|i| taken.take(&candidate(format!("198.18.7.{i}")))).count();
        assert_eq!(public, MAX_PUBLIC, "of a third party");
        let private = (0..64).filter(|i| taken.take(&candidate(format!("192.168.1.{i}")))).count();
        assert_eq!(public + private, MAX_CANDIDATES);
    }

    const HOST: &str = "candidate:7 1 udp 2130706431 192.168.1.5 5000 typ host";

    fn outgoing(advertised: &[&str]) -> Outgoing {
        let advertised = advertised.iter().map(|address| address.parse().unwrap()).collect();
        Outgoing::new([0, 0, 0, 0].into(), &IceConfig { advertised, ..IceConfig::default() })
    }

    fn incoming_text(text: &str, tcp: bool) -> Option<(String, bool)> {
        let candidate = IceCandidate { candidate: text.to_owned(), sdp_mid: None, sdp_mline_index: None };
        incoming(&candidate, tcp).map(|(candidate, is_tcp)| (candidate.candidate, is_tcp))
    }

    #[test]
    fn candidates_private_host_is_replaced_by_advertised() {
        let both = outgoing(&["203.0.113.7", "2001:db8::7"]);
        for (own, wanted) in [
            ("192.168.1.5", "203.0.113.7"),
            ("100.64.3.1", "203.0.113.7"),
            ("fd00::2", "2001:db8::7"),
            ("8.8.8.8", "8.8.8.8"),
            ("2600::1", "2600::1"),
            // For pages on this machine.
            ("127.0.0.1", "127.0.0.1"),
        ] {
            let (text, _) = both.candidate(&HOST.replace("192.168.1.5", own));
            assert_eq!(text, HOST.replace("192.168.1.5", wanted));
        }
        let relay = "candidate:7 1 udp 16777215 192.168.1.5 5000 typ relay raddr 10.0.0.1 rport 9";
        assert_eq!(both.candidate(relay).0, relay);
        let only_v4 = outgoing(&["203.0.113.7"]);
        let v6 = HOST.replace("192.168.1.5", "fd00::2");
        assert_eq!(only_v4.candidate(&v6).0, v6);
    }

    #[test]
    fn description_rewrite_has_no_duplicates() {
        let sdp = "v=0\r\nm=application 9 UDP/DTLS/SCTP webrtc-datachannel\r\na=candidate:1 1 udp 9 192.168.1.5 5000 typ \
                   host\r\na=candidate:2 1 udp 9 10.0.0.5 5000 typ host\r\na=candidate:3 1 udp 9 10.0.0.5 5001 typ \
                   host\r\na=end-of-candidates\r\n";
        assert_eq!(
            outgoing(&["203.0.113.7"]).description(sdp),
            "v=0\r\nm=application 9 UDP/DTLS/SCTP webrtc-datachannel\r\na=candidate:1 1 udp 9 203.0.113.7 5000 typ \
             host\r\na=candidate:3 1 udp 9 203.0.113.7 5001 typ host\r\na=end-of-candidates\r\n"
        );
        assert_eq!(outgoing(&[]).description(sdp), sdp);
    }

    #[test]
    fn candidates_relay_only_hides_related_address() {
        let outgoing = Outgoing { hide: true, ..Outgoing::default() };
        let (text, _) = outgoing.candidate("candidate:7 1 udp 9 192.0.2.1 5000 typ relay raddr 10.0.0.1 rport 51234");
        assert_eq!(text, "candidate:7 1 udp 9 192.0.2.1 5000 typ relay raddr 0.0.0.0 rport 0");
    }

    #[test]
    fn candidates_tcp_priority_below_udp() {
        let tcp = "candidate:7 1 tcp 2128609279 192.168.1.5 5000 typ host tcptype passive";
        let relay_over_udp = 65535 << 8 | 255;
        for text in [outgoing(&[]).candidate(tcp).0, incoming_text(tcp, true).unwrap().0] {
            let priority: u32 = text.split(' ').nth(3).unwrap().parse().unwrap();
            assert!((1..relay_over_udp / 8).contains(&priority), "{text}");
        }
        assert_eq!(incoming_text(tcp, false), None);
        assert_eq!(incoming_text(HOST, false), Some((HOST.to_owned(), false)));
    }

    #[test]
    fn candidates_unusable_are_dropped() {
        let local = "candidate:7 1 udp 1 5c1b0f4e-1b1a-4b3e-8f43-4c5e8a2e9a11.local 5000 typ host";
        for text in [
            local,
            "",
            "candidate:",
            "garbage",
            "candidate:7 1 udp 1 0.0.0.0 5000 typ host",
            "candidate:7 1 udp 1 224.0.0.251 5353 typ host",
            "candidate:7 1 udp 1 192.0.2.1 0 typ host",
            "candidate:7 1 udp 1 192.0.2.1 99999 typ host",
        ] {
            assert_eq!(incoming_text(text, true), None, "{text}");
        }
    }

    #[test]
    fn candidates_of_this_machine_are_tried_on_loopback() {
        let tried = |text: &str, bind: &str| {
            let candidate = IceCandidate { candidate: text.to_owned(), ..IceCandidate::default() };
            on_loopback(&candidate, bind.parse().unwrap()).map(|candidate| candidate.candidate)
        };
        let local = HOST.replace("192.168.1.5", "5c1b0f4e-1b1a-4b3e-8f43-4c5e8a2e9a11.local");
        let wanted = |address| Some(HOST.replace("192.168.1.5", address));
        assert_eq!(tried(HOST, "127.0.0.1"), wanted("127.0.0.1"));
        assert_eq!(tried(&local, "127.0.0.1"), wanted("127.0.0.1"));
        assert_eq!(tried(&local, "::1"), wanted("::1"));
        assert_eq!(tried(&HOST.replace("192.168.1.5", "fd00::2"), "::1"), wanted("::1"));
        for (text, bind) in [
            (HOST, "0.0.0.0"),
            (HOST, "192.168.1.5"),
            (HOST, "::1"),
            (&HOST.replace("192.168.1.5", "127.0.0.1"), "127.0.0.1"),
            (&HOST.replace("udp", "tcp"), "127.0.0.1"),
            (&HOST.replace("typ host", "typ srflx"), "127.0.0.1"),
            ("garbage", "127.0.0.1"),
        ] {
            assert_eq!(tried(text, bind), None, "{text} {bind}");
        }
    }

    #[test]
    fn description_old_data_section_is_rewritten() {
        let old =
            "m=application 51880 DTLS/SCTP 5000\r\na=sctpmap:5000 webrtc-datachannel 65535\r\na=setup:actpass\r\n";
        let new = "m=application 51880 UDP/DTLS/SCTP webrtc-datachannel\r\na=sctp-port:5000\r\na=setup:active\r\n";
        assert_eq!(split(old).0, new);
        let usual = new.replace("active", "actpass");
        assert_eq!(split(&usual).0, usual);
        for other in
            ["m=application 9 UDP/DTLS/SCTP\r\n", "m=application\r\n", "a=sctpmap:\r\n", "m=audio 9 RTP/AVP 0\r\n"]
        {
            assert_eq!(split(other).0, other);
        }
    }

    #[test]
    fn description_is_split_from_its_candidates() {
        let sdp = "v=0\r\nm=audio 9 x\r\na=mid:audio\r\nm=application 9 x\r\na=mid:1\r\na=candidate:1 1 udp 9 192.0.2.1 \
                   5000 typ host\r\na=x\r\n";
        let (rest, candidates) = split(sdp);
        assert_eq!(rest, "v=0\r\nm=audio 9 x\r\na=mid:audio\r\nm=application 9 x\r\na=mid:1\r\na=x\r\n");
        let [candidate] = &candidates[..] else { unreachable!("{candidates:?}") };
        assert_eq!(candidate.candidate, "candidate:1 1 udp 9 192.0.2.1 5000 typ host");
        assert_eq!((candidate.sdp_mid.as_deref(), candidate.sdp_mline_index), (Some("1"), Some(1)));
    }
}
