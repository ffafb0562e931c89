//! Two sides of a connection and the emulated network between them, in virtual time.

use std::{
    cmp::Reverse,
    collections::{BinaryHeap, HashMap},
    sync::Arc,
    time::{Duration, Instant},
};

use facelink::{
    connection::{
        Action, CLOSE_UNAUTHORISED, Cause, Close, Config, Connection, Event, Lane, PeerId, PeerState, SocketId,
    },
    simulate::network::{Network, NetworkSettings},
    timing::{LossMeter, Order},
};

use super::{
    stream::Stream,
    table::{Fault, Kind, Row, Token},
};

const FRAME_US: i64 = 16_667;
const MS: i64 = 1000;
/// An attempt to open a TCP connection is given up after this time; its first packet is repeated after a second.
const TCP_LIMIT_US: i64 = 1_500 * MS;
const SYN_AGAIN_US: i64 = 1_000 * MS;
/// ICE sends checks for so long.
const ICE_CHECKS_US: i64 = 3_000 * MS;
const ICE_CHECK_US: i64 = 50 * MS;
const KEEPALIVE_US: i64 = 250 * MS;
const DISCONNECTED_US: i64 = 2_000 * MS;
const FAILED_US: i64 = 9_000 * MS;
/// The client looks at its address this often.
const NETWORK_SEEN_US: i64 = 50 * MS;
const REPORT_US: i64 = 200 * MS;

#[derive(Clone, Debug)]
pub enum Message {
    Hello {
        resume: Option<Arc<str>>,
    },
    Welcome {
        id: Arc<str>,
        resumed: bool,
    },
    Offer {
        peer: usize,
        restart: bool,
        network: u32,
    },
    Answer {
        peer: usize,
        restart: bool,
        network: u32,
    },
    Ping(u64),
    Pong(u64),
    Report {
        redundancy: u8,
    },
    /// A frame, and the numbers that it repeats.
    Frame {
        number: u64,
        repeats: u64,
    },
    Close(Option<u16>),
}

#[derive(Debug)]
enum Happening {
    Fault(usize),
    FaultEnds(usize),
    NetworkSeen,
    Frames,
    Reports,
    Syn { stream: usize, since: i64 },
    Upgrade { stream: usize },
    DialFails { stream: usize, refused: bool },
    Opens { stream: usize },
    Segment { stream: usize, up: bool, place: usize, tries: u32 },
    SegmentArrives { stream: usize, up: bool, place: usize },
    SocketEnds { stream: usize, client: bool },
    Offers { peer: usize, restart: bool },
    Answers { peer: usize, restart: bool, network: u32 },
    IceCheck { peer: usize, since: i64, restart: bool, network: u32 },
    ChannelOpens { peer: usize, client: bool },
    Datagram { peer: usize, up: bool, message: Message },
    ChannelCloses { peer: usize, client: bool },
    Keepalive { peer: usize },
}

/// A peer connection, seen from above.
#[derive(Debug)]
struct Peer {
    client_id: PeerId,
    server: Option<(usize, PeerId)>,
    /// Each end is open.
    ends: [bool; 2],
    /// ICE has found a path from this network of the client.
    network: Option<u32>,
    endpoint: u32,
    dead: bool,
    heard: [i64; 2],
    states: [PeerState; 2],
    spoke: bool,
}

/// One connection of the endpoint.
struct Server {
    connection: Connection,
    id: Arc<str>,
    owns_face: bool,
    subscribed: bool,
    over: bool,
}

/// The frames that one side has received of the other's.
#[derive(Debug, Default)]
pub struct Seen {
    made: Vec<i64>,
    order: LossMeter,
    newest: Option<u64>,
    pub shown: Vec<(u64, i64)>,
    /// Shown twice, or after a newer one.
    pub wrong: usize,
    fresh: u32,
    expected: u32,
}

impl Seen {
    fn make(&mut self, at: i64) -> u64 {
        self.made.push(at);
        self.made.len() as u64
    }

    /// Takes a frame as the endpoint does: numbered ones by their number, others as they come.
    fn take(&mut self, number: u64, repeats: u64, numbered: bool, at: i64) {
        if numbered {
            let missed = self.newest.map_or(0, |newest| number.saturating_sub(newest + 1));
            if self.newest.is_none_or(|newest| number > newest) {
                self.fresh += 1;
                self.expected += 1 + u32::try_from(missed).unwrap_or(0);
            }
            for number in number - repeats..number {
                if self.newest.is_some_and(|newest| number > newest) {
                    self.show(number, numbered, at);
                }
            }
        }
        self.show(number, numbered, at);
    }

    fn show(&mut self, number: u64, numbered: bool, at: i64) {
        if numbered && self.order.record(number) == Order::Stale {
            return;
        }
        self.wrong += usize::from(self.newest.is_some_and(|newest| number <= newest));
        self.newest = self.newest.max(Some(number));
        self.shown.push((number, at));
    }

    /// Frames made after the first one shown that were never shown.
    pub fn lost(&self, until: i64) -> usize {
        let Some((first, _)) = self.shown.first() else { return self.made.len() };
        let made = self.made.iter().skip(*first as usize - 1).filter(|at| **at <= until).count();
        let shown = self.shown.iter().filter(|(number, _)| self.made[*number as usize - 1] <= until).count();
        made.saturating_sub(shown)
    }

    pub fn gap_ms(&self, end: i64) -> i64 {
        let times = self.shown.iter().map(|(_, at)| *at);
        let next = times.clone().skip(1).chain([end]);
        times.zip(next).map(|(a, b)| b - a).max().unwrap_or(end) / MS
    }

    /// From `at` until a frame that was made after it is shown.
    pub fn return_ms(&self, at: i64) -> Option<i64> {
        let fresh = self.shown.iter().find(|(number, _)| self.made[*number as usize - 1] >= at)?;
        Some((fresh.1 - at) / MS)
    }
}

/// How a run went.
#[derive(Debug, Default)]
pub struct Result {
    pub up: Seen,
    pub down: Seen,
    pub moves: usize,
    pub transport: Option<Lane>,
    pub ids: Vec<Arc<str>>,
    pub refused: bool,
    pub closed: bool,
    pub faces: usize,
    pub face_gone: Option<i64>,
    pub sends_both: usize,
    pub timeouts: usize,
    pub dials_after_refusal: usize,
    pub log: Vec<(i64, String)>,
}

struct Face {
    owner: usize,
    gone: Option<(i64, i64)>,
}

pub struct World {
    row: Row,
    start: Instant,
    now: i64,
    queue: BinaryHeap<Reverse<(i64, u64, usize)>>,
    happenings: Vec<Option<Happening>>,
    count: u64,
    client: Connection,
    client_sockets: HashMap<SocketId, usize>,
    client_peers: HashMap<PeerId, usize>,
    asleep_until: i64,
    killed: bool,
    redundancy: u8,
    servers: Vec<Server>,
    streams: Vec<Stream>,
    peers: Vec<Peer>,
    /// Up and down: datagrams, segments.
    paths: [[Network; 2]; 2],
    blocked: [[u32; 2]; 2],
    network: u32,
    endpoint: u32,
    endpoint_down: bool,
    face: Option<Face>,
    seed: u64,
    pub result: Result,
}

impl World {
    pub fn new(row: Row, seed: u64) -> Self {
        let settings = NetworkSettings {
            delay_us: row.link.delay_ms * MS,
            jitter_us: row.link.jitter_ms * MS,
            loss: row.link.loss,
            burst: row.link.burst,
            ..NetworkSettings::default()
        };
        let path = |number| Network::new(settings, seed.wrapping_mul(8) + number);
        let start = Instant::now();
        let config = config(row.webrtc, seed);
        let mut world = Self {
            start,
            now: 0,
            queue: BinaryHeap::new(),
            happenings: Vec::new(),
            count: 0,
            client: Connection::dial(config, start),
            client_sockets: HashMap::new(),
            client_peers: HashMap::new(),
            asleep_until: 0,
            killed: false,
            redundancy: 0,
            servers: Vec::new(),
            streams: Vec::new(),
            peers: Vec::new(),
            paths: [[path(0), path(1)], [path(2), path(3)]],
            blocked: [[0; 2]; 2],
            network: 0,
            endpoint: 0,
            endpoint_down: false,
            face: None,
            seed,
            result: Result::default(),
            row,
        };
        for i in 0..world.row.faults.len() {
            world.at(world.row.faults[i].at_ms * MS, Happening::Fault(i));
        }
        // Not in step with anything that happens at a round time.
        world.at(3 * MS + (seed % 16) as i64 * MS, Happening::Frames);
        world.at(REPORT_US, Happening::Reports);
        world
    }

    fn instant(&self) -> Instant {
        self.start + Duration::from_micros(self.now as u64)
    }

    fn us(&self, at: Instant) -> i64 {
        // Rounded up, so that a deadline is never met early.
        i64::try_from(at.saturating_duration_since(self.start).as_nanos().div_ceil(1000)).unwrap_or(i64::MAX)
    }

    fn log(&mut self, what: String) {
        self.result.log.push((self.now / MS, what));
    }

    fn at(&mut self, at: i64, what: Happening) {
        self.count += 1;
        self.happenings.push(Some(what));
        self.queue.push(Reverse((at, self.count, self.happenings.len() - 1)));
    }

    fn after(&mut self, delay: i64, what: Happening) {
        self.at(self.now + delay, what);
    }

    fn round_trip(&self) -> i64 {
        2 * self.row.link.delay_ms * MS + 1
    }

    fn asleep(&self) -> bool {
        self.now < self.asleep_until
    }

    /// Runs the row to its end.
    pub fn run(mut self) -> Result {
        let end = self.row.run_ms * MS;
        self.settle();
        loop {
            let event = self.queue.peek().map(|Reverse((at, ..))| *at);
            let timer =
                self.client.poll_timeout().filter(|_| !self.killed).map(|at| self.us(at).max(self.asleep_until));
            let server = self.servers.iter().enumerate().filter(|(_, server)| !server.over);
            let server = server.filter_map(|(i, server)| Some((self.us(server.connection.poll_timeout()?), i))).min();
            let next = [event, timer, server.map(|(at, _)| at)].into_iter().flatten().min();
            let spins = self.result.timeouts > self.row.run_ms as usize;
            let Some(next) = next.filter(|next| *next <= end && !spins) else { break };
            self.now = self.now.max(next);
            let now = self.instant();
            if event == Some(next) {
                if let Some(Reverse((_, _, what))) = self.queue.pop()
                    && let Some(what) = self.happenings[what].take()
                {
                    self.happen(what);
                }
            } else if timer == Some(next) {
                self.result.timeouts += 1;
                self.client.on_timeout(now);
            } else if let Some((_, i)) = server {
                self.result.timeouts += 1;
                self.servers[i].connection.on_timeout(now);
            }
            self.settle();
        }
        self.now = end;
        self.age_face();
        self.result.transport = if self.killed { None } else { self.client.lane() };
        self.result
    }

    // ---- the drivers ----------------------------------------------------------------------------------------------

    fn settle(&mut self) {
        while let Some(action) = self.client.poll_action() {
            if !self.killed {
                self.client_act(action);
            }
        }
        while let Some(event) = self.client.poll_event() {
            self.log(format!("client {event:?}"));
            match event {
                Event::Moved { from, .. } => self.result.moves += usize::from(from.is_some()),
                Event::Refused => self.result.refused = true,
                Event::Closed => self.result.closed = true,
                Event::Redundancy(redundancy) => self.redundancy = redundancy,
                _ => {}
            }
        }
        for i in 0..self.servers.len() {
            while let Some(action) = self.servers[i].connection.poll_action() {
                self.server_act(i, action);
            }
            while let Some(event) = self.servers[i].connection.poll_event() {
                self.log(format!("endpoint {i} {event:?}"));
                if let Event::Disconnected { keep_faces, .. } = event {
                    self.servers[i].over = true;
                    let grace = i64::try_from(keep_faces.as_micros()).unwrap_or(i64::MAX);
                    let now = self.now;
                    if let Some(face) = self.face.as_mut().filter(|face| face.owner == i) {
                        face.gone.get_or_insert((now, grace));
                    }
                }
            }
        }
    }

    fn client_act(&mut self, action: Action) {
        match action {
            Action::Dial(id) => {
                self.result.dials_after_refusal += usize::from(self.result.refused);
                self.streams.push(Stream::new(self.network, self.endpoint));
                let stream = self.streams.len() - 1;
                self.client_sockets.insert(id, stream);
                self.after(0, Happening::Syn { stream, since: self.now });
            }
            Action::Hello(id, resume) => {
                if let Some(&stream) = self.client_sockets.get(&id) {
                    self.write(stream, true, Message::Hello { resume });
                }
            }
            Action::CloseSocket(id, how) => {
                if let Some(&stream) = self.client_sockets.get(&id) {
                    self.close_stream(stream, true, how);
                }
            }
            Action::Offer(id) => {
                self.peers.push(Peer {
                    client_id: id,
                    server: None,
                    ends: [true, false],
                    network: None,
                    endpoint: self.endpoint,
                    dead: false,
                    heard: [0; 2],
                    states: [PeerState::Connected; 2],
                    spoke: false,
                });
                let peer = self.peers.len() - 1;
                self.client_peers.insert(id, peer);
                self.after(5 * MS, Happening::Offers { peer, restart: false });
            }
            Action::RestartIce(id) => {
                if let Some(&peer) = self.client_peers.get(&id) {
                    self.after(5 * MS, Happening::Offers { peer, restart: true });
                }
            }
            Action::ClosePeer(id) => {
                if let Some(&peer) = self.client_peers.get(&id) {
                    self.close_peer(peer, true);
                }
            }
            Action::Ping(lane, clock) => self.client_send(lane, Message::Ping(clock)),
            action => panic!("unknown action {action:?}"),
        }
    }

    fn server_act(&mut self, i: usize, action: Action) {
        match action {
            Action::CloseSocket(SocketId(stream), how) => self.close_stream(stream as usize, false, how),
            Action::ClosePeer(PeerId(peer)) => self.close_peer(peer as usize, false),
            Action::Ping(lane, clock) => self.server_send(i, lane, Message::Ping(clock)),
            action => panic!("not of this side: {action:?}"),
        }
    }

    fn client_send(&mut self, lane: Lane, message: Message) {
        match lane {
            Lane::WebSocket => {
                if let Some(stream) = self.client.socket().and_then(|id| self.client_sockets.get(&id).copied()) {
                    self.write(stream, true, message);
                }
            }
            Lane::DataChannel => {
                if let Some(peer) = self.client.peer().and_then(|id| self.client_peers.get(&id).copied()) {
                    self.datagram(peer, true, message);
                }
            }
        }
    }

    fn server_send(&mut self, i: usize, lane: Lane, message: Message) {
        match (lane, self.servers[i].connection.socket(), self.servers[i].connection.peer()) {
            (Lane::WebSocket, Some(SocketId(stream)), _) => self.write(stream as usize, false, message),
            (Lane::DataChannel, _, Some(PeerId(peer))) => self.datagram(peer as usize, false, message),
            _ => {}
        }
    }

    fn frames(&mut self) {
        self.after(FRAME_US, Happening::Frames);
        let now = self.instant();
        if !self.asleep() && !self.killed && !self.result.closed {
            let number = self.result.up.make(self.now);
            let route = self.client.route(self.row.numbered, now);
            let frame = Message::Frame { number, repeats: u64::from(self.redundancy).min(number - 1) };
            self.result.sends_both += usize::from(route.is_both());
            if route.channel {
                self.client_send(Lane::DataChannel, frame.clone());
            }
            if route.websocket {
                self.client_send(Lane::WebSocket, frame);
            }
        }
        if self.endpoint_down {
            return;
        }
        let number = self.result.down.make(self.now);
        for i in 0..self.servers.len() {
            if self.servers[i].over || !self.servers[i].subscribed {
                continue;
            }
            let route = self.servers[i].connection.route(self.row.numbered, now);
            let frame = Message::Frame { number, repeats: 0 };
            if route.channel {
                self.server_send(i, Lane::DataChannel, frame.clone());
            }
            if route.websocket {
                self.server_send(i, Lane::WebSocket, frame);
            }
        }
    }

    fn reports(&mut self) {
        self.after(REPORT_US, Happening::Reports);
        let Some(i) = self.face.as_ref().map(|face| face.owner).filter(|i| !self.servers[*i].over) else { return };
        let up = &mut self.result.up;
        let loss = 1.0 - f64::from(up.fresh) / f64::from(up.expected.max(1));
        if up.expected > 300 {
            (up.fresh, up.expected) = (up.fresh / 2, up.expected / 2);
        }
        let redundancy = if loss > 0.12 { 2 } else { u8::from(loss > 0.02) };
        if let Some(lane) = self.servers[i].connection.report_lane() {
            self.server_send(i, lane, Message::Report { redundancy });
        }
    }

    fn client_hears(&mut self, lane: Lane, message: Message) {
        let now = self.instant();
        self.client.on_heard(lane, now);
        match message {
            Message::Welcome { id, resumed } => {
                if self.result.ids.last() != Some(&id) {
                    self.result.ids.push(id.clone());
                }
                self.client.on_welcome(Some(id), resumed, now);
            }
            Message::Answer { peer, restart, network } => {
                self.after(0, Happening::IceCheck { peer, since: self.now, restart, network });
            }
            Message::Ping(clock) => self.client_send(lane, Message::Pong(clock)),
            Message::Pong(clock) => drop(self.client.on_pong(lane, clock, now)),
            Message::Report { redundancy } => {
                self.client.on_rate(60.0);
                self.client.on_redundancy(redundancy);
            }
            Message::Frame { number, repeats } => {
                self.client.on_frame(lane, now);
                self.result.down.take(number, repeats, self.row.numbered, self.now);
            }
            Message::Hello { .. } | Message::Offer { .. } | Message::Close(_) => {}
        }
    }

    fn server_hears(&mut self, i: usize, lane: Lane, stream: Option<usize>, message: Message) {
        let now = self.instant();
        self.servers[i].connection.on_heard(lane, now);
        match message {
            Message::Hello { resume } => self.server_welcomes(i, stream, resume),
            Message::Offer { peer, restart, network } => self.server_answers(i, peer, restart, network),
            Message::Ping(clock) => self.server_send(i, lane, Message::Pong(clock)),
            Message::Pong(clock) => drop(self.servers[i].connection.on_pong(lane, clock, now)),
            Message::Frame { number, repeats } => {
                self.servers[i].connection.on_frame(lane, now);
                self.age_face();
                match &mut self.face {
                    Some(face) => (face.owner, face.gone) = (i, None),
                    None => {
                        self.result.faces += 1;
                        self.face = Some(Face { owner: i, gone: None });
                    }
                }
                self.servers[i].owns_face = true;
                self.result.up.take(number, repeats, self.row.numbered, self.now);
            }
            Message::Welcome { .. } | Message::Answer { .. } | Message::Report { .. } | Message::Close(_) => {}
        }
    }

    /// As the endpoint's list of connections does: the live connection of this id, else a new one.
    fn server_welcomes(&mut self, i: usize, stream: Option<usize>, resume: Option<Arc<str>>) {
        let now = self.instant();
        let Some(stream) = stream else { return };
        if self.row.token == Token::WrongInHello {
            self.close_stream(stream, false, Close::Frame(CLOSE_UNAUTHORISED, "wrong token"));
            return;
        }
        let live = |server: &Server| !server.over && Some(&server.id) == resume.as_ref();
        let resumed = self.servers.iter().position(live).filter(|live| *live != i);
        let serves = resumed.unwrap_or(i);
        if resumed.is_some() {
            self.servers[i].over = true;
            self.streams[stream].connection = Some(serves);
            self.servers[serves].connection.on_socket_opened(SocketId(stream as u64), now);
        }
        let server = &mut self.servers[serves];
        server.connection.on_authorised();
        server.connection.on_introduced();
        server.subscribed = true;
        let id = server.id.clone();
        self.write(stream, false, Message::Welcome { id, resumed: resumed.is_some() });
    }

    fn server_answers(&mut self, i: usize, peer: usize, restart: bool, network: u32) {
        let now = self.instant();
        let continues = self.servers[i].connection.peer() == Some(PeerId(peer as u64));
        if !continues {
            self.peers[peer].server = Some((i, PeerId(peer as u64)));
            self.peers[peer].ends[1] = true;
            self.servers[i].connection.on_peer_opened(PeerId(peer as u64), now);
        }
        let restart = restart && continues;
        self.after(self.row.answer_delay_ms * MS + 5 * MS, Happening::Answers { peer, restart, network });
    }

    fn age_face(&mut self) {
        let now = self.now;
        if let Some(face) = self.face.take_if(|face| face.gone.is_some_and(|(at, grace)| now >= at + grace)) {
            self.result.face_gone = face.gone.map(|(at, grace)| at + grace);
        }
    }

    // ---- TCP ------------------------------------------------------------------------------------------------------

    fn tcp_passes(&self, stream: &Stream, up: bool) -> bool {
        let here = stream.network == self.network && !stream.silent;
        here && self.blocked[1][usize::from(!up)] == 0
    }

    fn write(&mut self, stream: usize, up: bool, message: Message) {
        if let Some(place) = self.streams[stream].direction(up).push(message) {
            self.after(0, Happening::Segment { stream, up, place, tries: 0 });
        }
    }

    fn close_stream(&mut self, stream: usize, client: bool, how: Close) {
        let code = match how {
            Close::Frame(code, _) => Some(code),
            Close::Drop => None,
        };
        self.write(stream, client, Message::Close(code));
        let open = &mut self.streams[stream];
        *(if client { &mut open.client } else { &mut open.server }) = false;
        // The driver reports its end once the frame is out.
        self.after(MS, Happening::SocketEnds { stream, client });
    }

    fn reset(&mut self, stream: usize) {
        let open = &mut self.streams[stream];
        (open.up.closed, open.down.closed) = (true, true);
        for client in [true, false] {
            if self.streams[stream].opened {
                self.after(0, Happening::SocketEnds { stream, client });
            }
        }
    }

    fn socket_ends(&mut self, stream: usize, client: bool, cause: Cause) {
        let now = self.instant();
        if client {
            self.streams[stream].client = false;
            let id = self.client_sockets.iter().find(|(_, number)| **number == stream).map(|(id, _)| *id);
            if let Some(id) = id {
                self.client.on_socket_closed(id, cause, now);
            }
        } else {
            self.streams[stream].server = false;
            if let Some(i) = self.streams[stream].connection {
                self.servers[i].connection.on_socket_closed(SocketId(stream as u64), cause, now);
            }
        }
    }

    // ---- UDP ------------------------------------------------------------------------------------------------------

    fn udp_passes(&self, up: bool) -> bool {
        !self.endpoint_down && !self.killed && self.blocked[0][usize::from(!up)] == 0
    }

    fn peer_passes(&self, peer: &Peer, up: bool) -> bool {
        !peer.dead && peer.endpoint == self.endpoint && peer.network == Some(self.network) && self.udp_passes(up)
    }

    fn datagram(&mut self, peer: usize, up: bool, message: Message) {
        if !self.peers[peer].ends[usize::from(!up)] || !self.peer_passes(&self.peers[peer], up) {
            return;
        }
        for at in self.paths[0][usize::from(!up)].send(self.now, 300) {
            self.at(at, Happening::Datagram { peer, up, message: message.clone() });
        }
    }

    fn close_peer(&mut self, peer: usize, client: bool) {
        if std::mem::replace(&mut self.peers[peer].ends[usize::from(!client)], false)
            && self.peer_passes(&self.peers[peer], client)
        {
            for at in self.paths[0][usize::from(!client)].send(self.now, 100) {
                self.at(at, Happening::ChannelCloses { peer, client: !client });
            }
        }
        let now = self.instant();
        // The driver reports its end.
        if client {
            self.client.on_peer_state(self.peers[peer].client_id, PeerState::Closed, now);
        } else if let Some((i, id)) = self.peers[peer].server {
            self.servers[i].connection.on_peer_state(id, PeerState::Closed, now);
        }
    }

    fn peer_state(&mut self, peer: usize, client: bool, state: PeerState) {
        let now = self.instant();
        let side = usize::from(!client);
        if !self.peers[peer].ends[side] || self.peers[peer].states[side] == state {
            return;
        }
        self.peers[peer].states[side] = state;
        if client {
            self.client.on_peer_state(self.peers[peer].client_id, state, now);
        } else if let Some((i, id)) = self.peers[peer].server {
            self.servers[i].connection.on_peer_state(id, state, now);
        }
    }

    fn ice_check(&mut self, peer: usize, since: i64, restart: bool, network: u32) {
        if self.peers[peer].ends != [true, true] {
            return;
        }
        let here = network == self.network && self.peers[peer].endpoint == self.endpoint;
        if here && self.udp_passes(true) && self.udp_passes(false) {
            let heard = self.now + 4 * self.round_trip();
            let peer_connection = &mut self.peers[peer];
            peer_connection.network = Some(network);
            peer_connection.dead = false;
            peer_connection.heard = [heard; 2];
            let delay = self.round_trip() * 3 + 30 * MS;
            for client in [true, false] {
                if restart {
                    self.peer_state(peer, client, PeerState::Connected);
                } else {
                    self.after(delay, Happening::ChannelOpens { peer, client });
                }
            }
            if !restart {
                self.after(delay, Happening::Keepalive { peer });
            }
        } else if self.now - since > ICE_CHECKS_US {
            self.peer_state(peer, true, PeerState::Failed);
            self.peer_state(peer, false, PeerState::Failed);
        } else {
            self.after(ICE_CHECK_US, Happening::IceCheck { peer, since, restart, network });
        }
    }

    fn keepalive(&mut self, peer: usize) {
        if self.peers[peer].ends == [false, false] {
            return;
        }
        self.after(KEEPALIVE_US, Happening::Keepalive { peer });
        for (side, up) in [(0, false), (1, true)] {
            if self.peer_passes(&self.peers[peer], up) && self.peers[peer].ends[usize::from(!up)] {
                self.peers[peer].heard[side] = self.peers[peer].heard[side].max(self.now);
            }
            let silent = self.now - self.peers[peer].heard[side];
            let state = match silent {
                FAILED_US.. => PeerState::Failed,
                DISCONNECTED_US.. => PeerState::Disconnected,
                _ => PeerState::Connected,
            };
            if self.peers[peer].states[side] != PeerState::Failed || state == PeerState::Connected {
                self.peer_state(peer, side == 0, state);
            }
        }
    }

    // ---- faults ---------------------------------------------------------------------------------------------------

    fn block(&mut self, udp: bool, tcp: bool, up: bool, down: bool, on: bool) {
        for (kind, wanted) in [udp, tcp].into_iter().enumerate() {
            for (direction, also) in [up, down].into_iter().enumerate() {
                if wanted && also {
                    let count = &mut self.blocked[kind][direction];
                    *count = if on { *count + 1 } else { *count - 1 };
                }
            }
        }
    }

    fn fault(&mut self, number: usize, begins: bool) {
        let Fault { kind, for_ms, by_ms, .. } = self.row.faults[number];
        let now = self.instant();
        self.log(format!("{kind:?} {by_ms} {}", if begins { "begins" } else { "ends" }));
        if begins && let Some(for_ms) = for_ms {
            self.after(for_ms * MS, Happening::FaultEnds(number));
        }
        let current = self.client.socket().and_then(|id| self.client_sockets.get(&id).copied());
        let peer = self.client.peer().and_then(|id| self.client_peers.get(&id).copied());
        match kind {
            Kind::UdpDropped => self.block(true, false, true, true, begins),
            Kind::ChannelHalfDeadUp => self.block(true, false, true, false, begins),
            Kind::ChannelHalfDeadDown => self.block(true, false, false, true, begins),
            Kind::TcpDropped => self.block(false, true, true, true, begins),
            Kind::BothLost => self.block(true, true, true, true, begins),
            Kind::WebsocketReset => current.into_iter().for_each(|stream| self.reset(stream)),
            Kind::WebsocketSilent => {
                if let Some(stream) = current {
                    self.streams[stream].silent = true;
                }
            }
            Kind::EndpointRestarted | Kind::EndpointStops => {
                if begins && kind == Kind::EndpointStops {
                    for server in &mut self.servers {
                        server.connection.close(now);
                    }
                    self.settle();
                }
                self.endpoint_down = begins;
                if begins {
                    self.endpoint += 1;
                    self.servers.iter_mut().for_each(|server| server.over = true);
                    self.face = None;
                    for stream in 0..self.streams.len() {
                        if kind == Kind::EndpointRestarted && self.streams[stream].server {
                            self.streams[stream].server = false;
                            self.write(stream, false, Message::Close(None));
                        }
                    }
                }
            }
            Kind::ClientKilled => {
                self.killed = true;
                if let Some(stream) = current {
                    self.write(stream, true, Message::Close(None));
                }
            }
            Kind::NetworkChanged => {
                self.block(true, true, true, true, begins);
                if !begins {
                    self.network += 1;
                    self.after(NETWORK_SEEN_US, Happening::NetworkSeen);
                }
            }
            Kind::ChannelClosed => {
                if let Some(peer) = peer {
                    self.happen(Happening::ChannelCloses { peer, client: true });
                    self.happen(Happening::ChannelCloses { peer, client: false });
                }
            }
            Kind::PeerFailed => {
                if let Some(peer) = peer {
                    self.peers[peer].dead = true;
                    self.peer_state(peer, true, PeerState::Failed);
                }
            }
            Kind::Sleep => {
                self.asleep_until = if begins { self.now + for_ms.unwrap_or(0) * MS } else { self.now };
            }
            // Neither side reads the time of day: what is sent and measured here comes from `Instant`s alone.
            Kind::ClockStep => {}
            Kind::Goodbye => self.client.close(now),
        }
    }

    // ---- what happens ---------------------------------------------------------------------------------------------

    /// Whether the client's process would have to run for this.
    const fn is_for_client(what: &Happening) -> bool {
        matches!(
            what,
            Happening::NetworkSeen
                | Happening::Opens { .. }
                | Happening::DialFails { .. }
                | Happening::SegmentArrives { up: false, .. }
                | Happening::SocketEnds { client: true, .. }
                | Happening::Offers { .. }
                | Happening::ChannelOpens { client: true, .. }
                | Happening::Datagram { up: false, .. }
                | Happening::ChannelCloses { client: true, .. }
        )
    }

    fn happen(&mut self, what: Happening) {
        let now = self.instant();
        if Self::is_for_client(&what) {
            if self.killed {
                return;
            }
            if self.asleep() {
                self.at(self.asleep_until, what);
                return;
            }
        }
        self.age_face();
        match what {
            Happening::Fault(number) => self.fault(number, true),
            Happening::FaultEnds(number) => self.fault(number, false),
            Happening::NetworkSeen => self.client.on_network_changed(now),
            Happening::Frames => self.frames(),
            Happening::Reports => self.reports(),
            Happening::Syn { stream, since } => {
                let passes = [true, false].into_iter().all(|up| self.tcp_passes(&self.streams[stream], up));
                if passes {
                    // The request for the WebSocket follows the handshake of TCP.
                    self.after(self.round_trip() / 2 * 3, Happening::Upgrade { stream });
                } else if self.now - since + SYN_AGAIN_US < TCP_LIMIT_US {
                    self.after(SYN_AGAIN_US, Happening::Syn { stream, since });
                } else {
                    self.at(since + TCP_LIMIT_US, Happening::DialFails { stream, refused: false });
                }
            }
            Happening::Upgrade { stream } => {
                let refused = self.row.token == Token::Wrong;
                let half = self.round_trip() / 2;
                if self.endpoint_down {
                    self.after(half, Happening::DialFails { stream, refused: false });
                } else if refused {
                    self.after(half, Happening::DialFails { stream, refused: true });
                } else {
                    let mut connection = Connection::accept(config(true, self.seed + 1), now);
                    connection.on_socket_opened(SocketId(stream as u64), now);
                    let id: Arc<str> = format!("{}-{}", self.endpoint, self.servers.len()).into();
                    self.servers.push(Server { connection, id, owns_face: false, subscribed: false, over: false });
                    self.streams[stream].endpoint = self.endpoint;
                    self.streams[stream].connection = Some(self.servers.len() - 1);
                    self.streams[stream].server = true;
                    self.streams[stream].opened = true;
                    self.after(half, Happening::Opens { stream });
                }
            }
            Happening::DialFails { stream, refused } => {
                let id = self.client_sockets.iter().find(|(_, number)| **number == stream).map(|(id, _)| *id);
                if let Some(id) = id {
                    self.client.on_socket_failed(id, refused, now);
                }
            }
            Happening::Opens { stream } => {
                let id = self.client_sockets.iter().find(|(_, number)| **number == stream).map(|(id, _)| *id);
                if let Some(id) = id.filter(|_| self.streams[stream].is_open()) {
                    self.client.on_socket_opened(id, now);
                }
            }
            Happening::Segment { stream, up, place, tries } => {
                let passes = self.tcp_passes(&self.streams[stream], up);
                let arrival =
                    if passes { self.paths[1][usize::from(!up)].send(self.now, 300) } else { Default::default() };
                match arrival.first() {
                    Some(&at) => self.at(at, Happening::SegmentArrives { stream, up, place }),
                    // What follows shows a single loss soon; a dead path shows nothing.
                    None if passes => {
                        let again = self.round_trip() + 20 * MS;
                        self.after(again, Happening::Segment { stream, up, place, tries });
                    }
                    None if tries < 6 => {
                        let again = (200 * MS).max(self.round_trip() * 2) << tries;
                        self.after(again, Happening::Segment { stream, up, place, tries: tries + 1 });
                    }
                    None => {}
                }
            }
            Happening::SegmentArrives { stream, up, place } => {
                for message in self.streams[stream].direction(up).arrive(place) {
                    let open = if up { self.streams[stream].server } else { self.streams[stream].client };
                    if !open {
                        continue;
                    }
                    match (message, up) {
                        (Message::Close(code), _) => {
                            let cause = code.map_or(Cause::Broken, |code| Cause::Closed(Some(code)));
                            self.socket_ends(stream, !up, cause);
                        }
                        (message, true) => {
                            if let Some(i) = self.streams[stream].connection.filter(|i| !self.servers[*i].over) {
                                self.server_hears(i, Lane::WebSocket, Some(stream), message);
                            }
                        }
                        (message, false) => {
                            let current = self.client.socket().and_then(|id| self.client_sockets.get(&id).copied());
                            if current == Some(stream) {
                                self.client_hears(Lane::WebSocket, message);
                            }
                        }
                    }
                    self.settle();
                }
            }
            Happening::SocketEnds { stream, client } => self.socket_ends(stream, client, Cause::Broken),
            Happening::Offers { peer, restart } => {
                let network = self.network;
                self.client_send(Lane::WebSocket, Message::Offer { peer, restart, network });
            }
            Happening::Answers { peer, restart, network } => {
                if let Some((i, _)) = self.peers[peer].server.filter(|(i, _)| !self.servers[*i].over) {
                    self.server_send(i, Lane::WebSocket, Message::Answer { peer, restart, network });
                }
            }
            Happening::IceCheck { peer, since, restart, network } => self.ice_check(peer, since, restart, network),
            Happening::ChannelOpens { peer, client } => {
                if self.peers[peer].ends != [true, true] {
                    return;
                }
                if client {
                    self.client.on_channel_opened(self.peers[peer].client_id, true, now);
                } else if let Some((i, id)) = self.peers[peer].server {
                    // It is heard by the client once the client has spoken: not before its first message.
                    self.servers[i].connection.on_channel_opened(id, false, now);
                }
            }
            Happening::Datagram { peer, up, message } => {
                if !self.peers[peer].ends[usize::from(up)] {
                    return;
                }
                self.peers[peer].heard[usize::from(up)] = self.now;
                if !up {
                    if self.client.peer() == Some(self.peers[peer].client_id) {
                        self.client_hears(Lane::DataChannel, message);
                    }
                } else if let Some((i, id)) = self.peers[peer].server.filter(|(i, _)| !self.servers[*i].over) {
                    if !std::mem::replace(&mut self.peers[peer].spoke, true) {
                        self.servers[i].connection.on_channel_opened(id, true, now);
                    }
                    if self.servers[i].connection.peer() == Some(id) {
                        self.server_hears(i, Lane::DataChannel, None, message);
                    }
                }
            }
            Happening::ChannelCloses { peer, client } => {
                if client {
                    self.client.on_channel_closed(self.peers[peer].client_id, now);
                } else if let Some((i, id)) = self.peers[peer].server {
                    self.servers[i].connection.on_channel_closed(id, now);
                }
            }
            Happening::Keepalive { peer } => self.keepalive(peer),
        }
    }
}

fn config(webrtc: bool, seed: u64) -> Config {
    let mut config = Config::default();
    config.webrtc = webrtc;
    config.seed = seed;
    config
}
