//! A WebRTC peer that sends, by the bare `rtc` crate: without a runtime, so that a core holds as many as the endpoint's does.

use std::{
    io::IoSliceMut,
    net::{SocketAddr, UdpSocket},
    os::fd::AsRawFd,
    thread,
    time::{Duration, Instant},
};

use bytes::BytesMut;
use crossbeam_channel::{Receiver, Sender, unbounded};
use nix::{
    cmsg_space,
    errno::Errno,
    sys::{
        socket::{ControlMessageOwned, MsgFlags, SockaddrIn, recvmsg, setsockopt, sockopt},
        time::TimeSpec,
    },
};
use rtc::{
    data_channel::{RTCDataChannelId, RTCDataChannelInit},
    peer_connection::{
        RTCPeerConnection, RTCPeerConnectionBuilder,
        configuration::RTCConfigurationBuilder,
        event::{RTCDataChannelEvent, RTCPeerConnectionEvent},
        message::{RTCMessage, TaggedRTCMessage},
        sdp::RTCSessionDescription,
        transport::{CandidateConfig, CandidateHostConfig, RTCIceCandidate},
    },
    sansio::Protocol,
    shared::{TaggedBytesMut, TransportContext, TransportProtocol},
};
use serde_json::{Value, json};

use crate::linux::common::Res;

/// Bytes in flight beyond which a frame is dropped, as our own client does.
const MAX_BYTES: usize = 32 * 1024;

/// Takes offers to the endpoint, in a thread of its own: a peer that waits would keep the others waiting.
pub struct Signalling {
    offers: Sender<(usize, String)>,
    pub answers: Receiver<(usize, Res<String>)>,
}

impl Signalling {
    pub fn start(to: SocketAddr) -> Self {
        let (offers, taken) = unbounded::<(usize, String)>();
        let (answered, answers) = unbounded();
        thread::spawn(move || {
            for (index, sdp) in taken {
                if answered.send((index, ask(to, &sdp))).is_err() {
                    return;
                }
            }
        });
        Self { offers, answers }
    }
}

fn ask(to: SocketAddr, sdp: &str) -> Res<String> {
    let url = format!("http://{to}/api/v1/rtc/offer");
    let answer: Value = ureq::post(&url).send_json(json!({"type": "offer", "sdp": sdp}))?.body_mut().read_json()?;
    Ok(answer["sdp"].as_str().ok_or("no answer")?.to_owned())
}

/// The answer to a ping of the endpoint's.
pub fn pong(text: &str) -> Option<String> {
    let message: Value = serde_json::from_str(text).ok()?;
    (message["type"] == "ping").then(|| json!({"type": "pong", "t": message["t"]}).to_string())
}

pub struct Peer {
    connection: RTCPeerConnection,
    socket: UdpSocket,
    local: SocketAddr,
    channel: RTCDataChannelId,
    deadline: Option<Instant>,
    open: bool,
    opened: bool,
    buffer: Vec<u8>,
    /// For the kernel's time of a datagram.
    control: Vec<u8>,
    /// When the datagram came that is being read, Unix microseconds.
    arrived_us: i64,
    received: Vec<Received>,
}

/// A binary message.
pub struct Received {
    pub data: BytesMut,
    /// When the kernel had its datagram, Unix microseconds: what this process does before it reads is not of the way here.
    pub arrived_us: i64,
}

impl Peer {
    pub fn new(index: usize, signalling: &Signalling) -> Res<Self> {
        let socket = UdpSocket::bind("127.0.0.1:0")?;
        socket.set_nonblocking(true)?;
        setsockopt(&socket, sockopt::ReceiveTimestampns, &true)?;
        let (local, now) = (socket.local_addr()?, Instant::now());
        let mut connection =
            RTCPeerConnectionBuilder::new().with_configuration(RTCConfigurationBuilder::new().build()).build(now)?;
        let init = RTCDataChannelInit {
            ordered: false,
            max_retransmits: Some(0),
            protocol: "animation-data".to_owned(),
            negotiated: Some(0),
            ..RTCDataChannelInit::default()
        };
        let channel = connection.create_data_channel("animation", Some(init))?.id();
        let host = CandidateHostConfig {
            base_config: CandidateConfig {
                network: "udp".to_owned(),
                address: local.ip().to_string(),
                port: local.port(),
                component: 1,
                ..CandidateConfig::default()
            },
            ..CandidateHostConfig::default()
        };
        connection.add_local_candidate(RTCIceCandidate::from(&host.new_candidate_host()?).to_json()?)?;
        let offer = connection.create_offer(None)?;
        connection.set_local_description(now, offer)?;
        // The crate starts SCTP as the DTLS client alone, and aiortc waits for that.
        let sdp = connection.local_description().ok_or("no description")?.sdp;
        let sdp = sdp.replace("a=setup:actpass\r\n", "a=setup:active\r\n");
        signalling.offers.send((index, sdp)).map_err(|_| "the signalling has ended")?;
        let deadline = None;
        Ok(Self {
            connection,
            socket,
            local,
            channel,
            deadline,
            open: false,
            opened: false,
            buffer: vec![0; 2048],
            control: cmsg_space!(TimeSpec),
            arrived_us: 0,
            received: Vec::new(),
        })
    }

    pub fn socket(&self) -> &UdpSocket {
        &self.socket
    }

    pub fn is_open(&self) -> bool {
        self.open
    }

    /// Whether it has opened since this was asked last.
    pub fn take_opened(&mut self) -> bool {
        std::mem::take(&mut self.opened)
    }

    /// Binary messages since this was asked last.
    pub fn take_received(&mut self) -> Vec<Received> {
        std::mem::take(&mut self.received)
    }

    pub fn answered(&mut self, sdp: &str, now: Instant) -> Res<()> {
        self.connection.set_remote_description(now, RTCSessionDescription::answer(sdp.to_owned())?)?;
        self.drive(now)
    }

    /// Takes every datagram that waits.
    pub fn read(&mut self, now: Instant) -> Res<()> {
        loop {
            let mut into = [IoSliceMut::new(&mut self.buffer)];
            let fd = self.socket.as_raw_fd();
            let got = match recvmsg::<SockaddrIn>(fd, &mut into, Some(&mut self.control), MsgFlags::empty()) {
                Ok(got) => got,
                Err(Errno::EAGAIN) => break,
                Err(error) => return Err(error.into()),
            };
            for control in got.cmsgs()? {
                if let ControlMessageOwned::ScmTimestampns(at) = control {
                    self.arrived_us = at.tv_sec() * 1_000_000 + at.tv_nsec() / 1000;
                }
            }
            let (length, Some(peer_addr)) = (got.bytes, got.address) else { continue };
            let peer_addr = SocketAddr::from((peer_addr.ip(), peer_addr.port()));
            let Some(message) = self.buffer.get(..length) else { continue };
            let transport = TransportContext {
                local_addr: self.local,
                peer_addr,
                ecn: None,
                transport_protocol: TransportProtocol::UDP,
            };
            self.connection.handle_read(TaggedBytesMut { now, transport, message: BytesMut::from(message) })?;
            self.take_messages(now)?;
        }
        self.drive(now)
    }

    /// Does what is due by time.
    pub fn on_time(&mut self, now: Instant) -> Res<()> {
        if self.deadline.is_some_and(|deadline| deadline <= now) {
            self.connection.handle_timeout(now)?;
            self.drive(now)?;
        }
        Ok(())
    }

    /// Sends a message, unless too much waits.
    pub fn send(&mut self, bytes: &[u8], now: Instant) -> Res<bool> {
        let mut channel = self.connection.data_channel(self.channel).ok_or("the channel has ended")?;
        if channel.outstanding_bytes() > MAX_BYTES {
            return Ok(false);
        }
        channel.send(now, BytesMut::from(bytes))?;
        self.drive(now)?;
        Ok(true)
    }

    pub fn send_text(&mut self, text: &str, now: Instant) -> Res<()> {
        let mut channel = self.connection.data_channel(self.channel).ok_or("the channel has ended")?;
        channel.send_text(now, text)?;
        self.drive(now)
    }

    /// Puts out what waits, and takes what has come.
    fn drive(&mut self, now: Instant) -> Res<()> {
        loop {
            while let Some(datagram) = self.connection.poll_write() {
                // What the network does not take is lost, as on any.
                let _ = self.socket.send_to(&datagram.message, datagram.transport.peer_addr);
            }
            while let Some(event) = self.connection.poll_event() {
                if let RTCPeerConnectionEvent::OnDataChannel(RTCDataChannelEvent::OnOpen(_)) = event {
                    (self.open, self.opened) = (true, true);
                }
            }
            if !self.take_messages(now)? {
                break;
            }
        }
        let horizon = now + Duration::from_secs(1);
        self.deadline = Some(self.connection.poll_timeout().map_or(horizon, |at| at.min(horizon)));
        Ok(())
    }

    /// Takes the messages that have come; whether one was answered.
    fn take_messages(&mut self, now: Instant) -> Res<bool> {
        let mut answered = false;
        while let Some(TaggedRTCMessage { message, .. }) = self.connection.poll_read() {
            let RTCMessage::DataChannelMessage(_, message) = message else { continue };
            if !message.is_string {
                self.received.push(Received { data: message.data, arrived_us: self.arrived_us });
                continue;
            }
            let pong = std::str::from_utf8(&message.data).ok().and_then(pong);
            if let (Some(pong), Some(mut channel)) = (pong, self.connection.data_channel(self.channel)) {
                channel.send_text(now, pong)?;
                answered = true;
            }
        }
        Ok(answered)
    }
}
