//! Pictures and sounds of performers: WebRTC connections of their own, opened by one HTTP request each (WHIP, RFC 9725; WHEP
//! for viewers), so that nothing of them is in the way of faces.
//!
//! A publisher's packets are put together for the take that is being recorded, and passed on as they are to viewers. Nothing is
//! decoded.

use std::{
    sync::{
        Arc, OnceLock,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use facelink::{
    media::{MediaClock, PICTURE_CLOCK, PictureAssembler, PictureCodec, SOUND_CLOCK},
    take::{RecordedPicture, RecordedSound},
};
use parking_lot::Mutex;
use rtc::{
    rtcp::{
        payload_feedbacks::picture_loss_indication::PictureLossIndication, receiver_report::ReceiverReport,
        sender_report::SenderReport,
    },
    rtp,
    rtp_transceiver::rtp_sender::{RTCRtpCodec, RTCRtpCodingParameters, RTCRtpEncodingParameters, RtpCodecKind},
};
use tokio::sync::{broadcast, mpsc};
use tokio_util::sync::CancellationToken;
use webrtc::{
    media_stream::{
        MediaStreamTrack,
        track_local::{TrackLocal, TrackLocalEvent, static_rtp::TrackLocalStaticRTP},
        track_remote::{TrackRemote, TrackRemoteEvent},
    },
    peer_connection::RTCPeerConnectionState,
};

use crate::{
    clock::ticks,
    hub::{Counters, Hub, Link as _},
    roles::TokenId,
    rtc::{PeerEvent, RtcError, RtcPeer, picture_codec, sound_codec},
    session::Session,
    tap::Tapped,
    token::new_secret,
};

/// Performers with a picture at a time.
const MAX_PUBLISHERS: usize = 32;
/// Viewers of pictures at a time.
const MAX_VIEWERS: usize = 128;
/// Tracks of one publisher that are read: a picture and a sound.
const MAX_TRACKS: usize = 2;
/// What one track may send, bytes a second: 8 Mbit/s. More is dropped and counted.
const MAX_BYTES_PER_SECOND: usize = 1_000_000;
/// Packets that wait for the slowest viewer: two seconds of 2.5 Mbit/s.
const FORWARD_QUEUE: usize = 512;
/// Least time between two requests for a key frame, of which each is as large as many others.
const KEY_INTERVAL: Duration = Duration::from_millis(500);
/// A connection that is not there by then is given up, and one that nothing comes on.
const IDLE_LIMIT: Duration = Duration::from_secs(20);
const GATHER_LIMIT: Duration = Duration::from_secs(3);
/// Loss at which a viewer gets the lowest temporal layer alone, in 256ths: a tenth.
const THIN_LOSS: u8 = 26;
/// How long it gets no more than that after such a report.
const THIN_FOR: Duration = Duration::from_secs(10);

/// Why a picture is not taken or not shown.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PictureError {
    #[error("this endpoint takes no pictures and no sound; see `EndpointConfig::pictures`")]
    Off,
    #[error("pictures and sound are not encrypted end to end, and faces are here: they are not taken")]
    Sealed,
    #[error("field `subject`: missing, and field `resume` names no connection with a face")]
    NoSubject,
    #[error("field `subject`: {0} has a picture already, by another connection")]
    Taken(Arc<str>),
    #[error("field `subject`: {0} has no picture here")]
    Unknown(Arc<str>),
    #[error("too many pictures at a time")]
    TooMany,
    #[error(transparent)]
    Rtc(#[from] RtcError),
}

/// An offer, and what came with it.
pub(crate) struct Offer {
    pub sdp: String,
    pub subject: Option<Arc<str>>,
    /// The secret of the connection that sends the face.
    pub resume: Option<String>,
    /// The lowest temporal layer alone is wanted.
    pub thin: bool,
    /// The token with roles that was shown: when that is withdrawn, it ends.
    pub token: Option<TokenId>,
}

/// A packet for viewers.
#[derive(Clone)]
struct Forwarded {
    kind: RtpCodecKind,
    packet: Arc<rtp::Packet>,
}

/// A performer whose picture and sound come in.
struct Publisher {
    /// The secret by which it is ended.
    id: Box<str>,
    subject: Mutex<Arc<str>>,
    /// The connection with its face, where it has named one.
    session: Option<Arc<Session>>,
    token: Option<TokenId>,
    /// By payload type.
    codecs: OnceLock<Vec<(u8, PictureCodec)>>,
    /// The one in use.
    codec: Mutex<Option<PictureCodec>>,
    cancel: CancellationToken,
    packets: broadcast::Sender<Forwarded>,
    /// A viewer waits for a key frame.
    key_wanted: AtomicBool,
}

/// Those of an endpoint.
pub(crate) struct Pictures {
    hub: Arc<Hub>,
    cancel: CancellationToken,
    publishers: Mutex<Vec<Arc<Publisher>>>,
    viewers: AtomicUsize,
}

/// The payload types of a description that have this name, such as `VP9/90000`.
fn payload_types(sdp: &str, name: &str) -> Vec<u8> {
    let maps = sdp.lines().filter_map(|line| line.trim_end().strip_prefix("a=rtpmap:")?.split_once(' '));
    let named = maps.filter(|(_, codec)| codec.get(..name.len()).is_some_and(|start| start.eq_ignore_ascii_case(name)));
    named.filter_map(|(number, _)| number.parse().ok()).collect()
}

fn picture_types(sdp: &str) -> Vec<(u8, PictureCodec)> {
    let of = |name, codec| payload_types(sdp, name).into_iter().map(move |number| (number, codec));
    of("H264/", PictureCodec::H264).chain(of("VP9/", PictureCodec::Vp9)).collect()
}

impl Pictures {
    pub fn new(hub: Arc<Hub>, cancel: CancellationToken) -> Arc<Self> {
        Arc::new(Self { hub, cancel, publishers: Mutex::default(), viewers: AtomicUsize::new(0) })
    }

    fn check(&self) -> Result<(), PictureError> {
        if !self.hub.config.pictures {
            return Err(PictureError::Off);
        }
        if self.hub.sealing.has_key() { Err(PictureError::Sealed) } else { Ok(()) }
    }

    /// Answers the offer of a performer, and returns the secret by which it ends, and the answer.
    pub async fn publish(self: &Arc<Self>, offer: Offer) -> Result<(Box<str>, String), PictureError> {
        self.check()?;
        let session = offer.resume.as_deref().and_then(|secret| Session::resumable(&self.hub, secret));
        if session.as_ref().is_some_and(|session| session.is_sealed()) {
            return Err(PictureError::Sealed);
        }
        let of_session = session.as_ref().and_then(|session| subject_of(&self.hub, session));
        let subject = of_session.or(offer.subject).ok_or(PictureError::NoSubject)?;
        let publisher = Arc::new(Publisher {
            id: new_secret().into(),
            subject: Mutex::new(subject),
            session,
            token: offer.token,
            codecs: OnceLock::new(),
            codec: Mutex::default(),
            cancel: self.cancel.child_token(),
            packets: broadcast::channel(FORWARD_QUEUE).0,
            key_wanted: AtomicBool::new(false),
        });
        self.enter(&publisher)?;
        match self.answer(offer.sdp).await {
            Ok((peer, events, answer)) => {
                let _ = publisher.codecs.set(picture_types(&answer));
                tracing::info!(subject = %publisher.subject.lock(), "a picture comes in");
                let id = publisher.id.clone();
                tokio::spawn(serve(self.clone(), publisher, peer, events));
                Ok((id, answer))
            }
            Err(error) => {
                self.leave(&publisher);
                Err(error.into())
            }
        }
    }

    async fn answer(&self, offer: String) -> Result<(RtcPeer, mpsc::UnboundedReceiver<PeerEvent>, String), RtcError> {
        let config = self.hub.peer_config();
        let (mut peer, mut events) = RtcPeer::media(config.bind, &config.ice, &PictureCodec::ALL).await?;
        let answer = match peer.answer(offer).await {
            Ok(_) => peer.complete_description(&mut events, GATHER_LIMIT).await,
            Err(error) => Err(error),
        };
        match answer {
            Ok(answer) => Ok((peer, events, answer)),
            Err(error) => {
                peer.close().await;
                Err(error)
            }
        }
    }

    /// One picture of each face; that of the same connection takes the place of the one before.
    fn enter(&self, publisher: &Arc<Publisher>) -> Result<(), PictureError> {
        let mut publishers = self.publishers.lock();
        let subject = publisher.subject.lock().clone();
        let key = |publisher: &Publisher| publisher.session.as_ref().map(|session| session.key);
        match publishers.iter().find(|other| *other.subject.lock() == subject && !other.cancel.is_cancelled()) {
            Some(before) if key(before).is_some() && key(before) == key(publisher) => before.cancel.cancel(),
            Some(_) => return Err(PictureError::Taken(subject)),
            None if publishers.len() >= MAX_PUBLISHERS => return Err(PictureError::TooMany),
            None => {}
        }
        publishers.push(publisher.clone());
        Ok(())
    }

    fn leave(&self, publisher: &Arc<Publisher>) {
        self.publishers.lock().retain(|other| !Arc::ptr_eq(other, publisher));
    }

    /// Ends what this secret began. `false` when it is none.
    pub fn end(&self, id: &str) -> bool {
        use subtle::ConstantTimeEq as _;

        let publishers = self.publishers.lock();
        let found = publishers.iter().find(|publisher| publisher.id.as_bytes().ct_eq(id.as_bytes()).into());
        found.inspect(|publisher| publisher.cancel.cancel()).is_some()
    }

    /// The faces that have a picture or a sound here, by name.
    pub fn subjects(&self) -> Vec<Arc<str>> {
        let mut names: Vec<_> =
            self.publishers.lock().iter().map(|publisher| publisher.subject.lock().clone()).collect();
        names.sort();
        names
    }

    /// Answers the offer of a viewer.
    pub async fn view(self: &Arc<Self>, offer: Offer) -> Result<String, PictureError> {
        self.check()?;
        let subject = offer.subject.ok_or(PictureError::NoSubject)?;
        let publisher = self
            .publishers
            .lock()
            .iter()
            .find(|publisher| *publisher.subject.lock() == subject && !publisher.cancel.is_cancelled())
            .cloned();
        let publisher = publisher.ok_or_else(|| PictureError::Unknown(subject.clone()))?;
        let place = Place::take(self).ok_or(PictureError::TooMany)?;
        let preferred = || publisher.codecs.get()?.first().map(|(_, codec)| *codec);
        let codec = (*publisher.codec.lock()).or_else(preferred).unwrap_or(PictureCodec::H264);
        let codecs: &'static [PictureCodec] =
            if codec == PictureCodec::Vp9 { &[PictureCodec::Vp9] } else { &[PictureCodec::H264] };
        let config = self.hub.peer_config();
        let (mut peer, mut events) = RtcPeer::media(config.bind, &config.ice, codecs).await?;
        let picture = Outgoing::new(RtpCodecKind::Video, picture_codec(codec));
        let sound = Outgoing::new(RtpCodecKind::Audio, sound_codec());
        let answered = async {
            peer.add_track(picture.track.clone()).await?;
            peer.add_track(sound.track.clone()).await?;
            peer.answer(offer.sdp).await?;
            peer.complete_description(&mut events, GATHER_LIMIT).await
        };
        let answer = match answered.await {
            Ok(answer) => answer,
            Err(error) => {
                peer.close().await;
                return Err(error.into());
            }
        };
        let name = if codec == PictureCodec::Vp9 { "VP9/" } else { "H264/" };
        let viewer = Viewer {
            picture: picture.with_type(payload_types(&answer, name).first().copied()),
            sound: sound.with_type(payload_types(&answer, "opus/").first().copied()),
            codec,
            thin: offer.thin,
            token: offer.token,
            hub: self.hub.clone(),
            thin_until: None,
            packets: publisher.packets.subscribe(),
        };
        tokio::spawn(viewer.run(publisher, peer, events, place, self.cancel.child_token()));
        Ok(answer)
    }
}

/// The name of the face that a connection sends, as it is called here.
fn subject_of(hub: &Hub, session: &Session) -> Option<Arc<str>> {
    let named = hub.subjects().of(session.key).map(|subject| subject.name.clone()).next();
    named.or_else(|| session.subject())
}

/// Serves a performer until it has ended.
async fn serve(
    pictures: Arc<Pictures>,
    publisher: Arc<Publisher>,
    peer: RtcPeer,
    mut events: mpsc::UnboundedReceiver<PeerEvent>,
) {
    let (hub, cancel) = (pictures.hub.clone(), publisher.cancel.clone());
    let ended = publisher.session.as_ref().map_or_else(CancellationToken::new, |session| session.ended.clone());
    let traffic = peer.traffic();
    let (mut seen, mut seen_at) = (0, Instant::now());
    let mut tracks = 0;
    let mut tick = ticks(Duration::from_secs(1));
    loop {
        tokio::select! {
            () = cancel.cancelled() => break,
            () = ended.cancelled() => break,
            event = events.recv() => match event {
                Some(PeerEvent::Track(_)) if tracks >= MAX_TRACKS => Counters::add(&hub.refused, 1),
                Some(PeerEvent::Track(track)) => {
                    tracks += 1;
                    let reader = Incoming::new(track, publisher.clone(), hub.clone());
                    let cancel = cancel.clone();
                    tokio::spawn(async move {
                        tokio::select! {
                            () = cancel.cancelled() => {}
                            () = reader.read() => {}
                        }
                    });
                }
                Some(PeerEvent::State(RTCPeerConnectionState::Failed | RTCPeerConnectionState::Closed))
                | Some(PeerEvent::Ended)
                | None => break,
                Some(_) => {}
            },
            _ = tick.tick() => {
                if publisher.token.is_some_and(|token| !hub.auth.holds(token)) || hub.sealing.has_key() {
                    break;
                }
                let now = traffic.load(Ordering::Relaxed);
                if now != seen {
                    (seen, seen_at) = (now, Instant::now());
                } else if seen_at.elapsed() > IDLE_LIMIT {
                    break;
                }
                // It may have been renamed.
                if let Some(name) = publisher.session.as_ref().and_then(|session| subject_of(&hub, session)) {
                    *publisher.subject.lock() = name;
                }
            }
        }
    }
    publisher.cancel.cancel();
    pictures.leave(&publisher);
    tracing::info!(subject = %publisher.subject.lock(), "a picture has ended");
    peer.close().await;
}

/// A track of a performer.
struct Incoming {
    track: Arc<dyn TrackRemote>,
    publisher: Arc<Publisher>,
    hub: Arc<Hub>,
    kind: RtpCodecKind,
    clock: MediaClock,
    assembler: Option<(PictureCodec, PictureAssembler)>,
    /// Number of the newest packet of sound.
    newest: Option<u16>,
    was_recording: bool,
    key_asked: Option<Instant>,
    budget: (Instant, usize),
}

impl Incoming {
    fn new(track: Arc<dyn TrackRemote>, publisher: Arc<Publisher>, hub: Arc<Hub>) -> Self {
        Self {
            track,
            publisher,
            hub,
            kind: RtpCodecKind::Unspecified,
            clock: MediaClock::new(PICTURE_CLOCK),
            assembler: None,
            newest: None,
            was_recording: false,
            key_asked: None,
            budget: (Instant::now(), 0),
        }
    }

    async fn read(mut self) {
        self.kind = self.track.kind().await;
        if self.kind == RtpCodecKind::Audio {
            self.clock = MediaClock::new(SOUND_CLOCK);
        }
        while let Some(event) = self.track.poll().await {
            match event {
                TrackRemoteEvent::OnRtpPacket(packet) => self.take(packet).await,
                TrackRemoteEvent::OnRtcpPacket(packets) => {
                    for packet in &packets {
                        if let Some(report) = packet.as_any().downcast_ref::<SenderReport>() {
                            self.clock.report(report.ntp_time, report.rtp_time);
                        }
                    }
                }
                TrackRemoteEvent::OnEnded => return,
                _ => {}
            }
        }
    }

    async fn take(&mut self, packet: rtp::Packet) {
        let now = Instant::now();
        if now.duration_since(self.budget.0) >= Duration::from_secs(1) {
            self.budget = (now, 0);
        }
        self.budget.1 += packet.payload.len();
        if self.budget.1 > MAX_BYTES_PER_SECOND {
            Counters::add(&self.hub.refused, 1);
            return;
        }
        match self.kind {
            RtpCodecKind::Audio => self.take_sound(&packet, now),
            RtpCodecKind::Video => self.take_picture(&packet, now).await,
            _ => return,
        }
        if self.publisher.packets.receiver_count() > 0 {
            // Fails only when the last viewer has just left.
            let _ = self.publisher.packets.send(Forwarded { kind: self.kind, packet: Arc::new(packet) });
        }
    }

    fn take_sound(&mut self, packet: &rtp::Packet, now: Instant) {
        let sequence = packet.header.sequence_number;
        let is_late = self.newest.is_some_and(|newest| newest.wrapping_sub(sequence) < 1 << 15);
        if is_late || packet.payload.is_empty() {
            return;
        }
        self.newest = Some(sequence);
        self.hub.queues.tap(|tap| {
            tap.push_media(packet.payload.len(), || {
                let sound = RecordedSound {
                    subject: self.publisher.subject.lock().clone(),
                    data: packet.payload.to_vec(),
                    time: self.clock.time(packet.header.timestamp),
                };
                Tapped::Sound(sound, now)
            });
        });
    }

    async fn take_picture(&mut self, packet: &rtp::Packet, now: Instant) {
        let header = &packet.header;
        let mut codecs = self.publisher.codecs.get().into_iter().flatten();
        let codec = codecs.find(|(number, _)| *number == header.payload_type);
        let Some((_, codec)) = codec.copied() else {
            Counters::add(&self.hub.refused, 1);
            return;
        };
        let assembler = match &mut self.assembler {
            Some((of, assembler)) if *of == codec => assembler,
            // The sender may change it at any time.
            other => {
                *self.publisher.codec.lock() = Some(codec);
                &mut other.insert((codec, PictureAssembler::new(codec))).1
            }
        };
        let recording = self.hub.queues.is_recording();
        if recording && !self.was_recording {
            assembler.require_key();
        }
        self.was_recording = recording;
        let (queues, publisher, clock) = (&self.hub.queues, &self.publisher, &self.clock);
        let taken = assembler.push(header.sequence_number, header.timestamp, header.marker, &packet.payload, |frame| {
            queues.tap(|tap| {
                tap.push_media(frame.data.len(), || {
                    let picture = RecordedPicture {
                        subject: publisher.subject.lock().clone(),
                        codec,
                        time: clock.time(frame.timestamp),
                        data: frame.data,
                    };
                    Tapped::Picture(picture, now)
                });
            });
        });
        if let Err(error) = taken {
            Counters::add(&self.hub.refused, 1);
            tracing::debug!(%error, "a packet of a picture is of no use");
        }
        let is_due = self.key_asked.is_none_or(|asked| now.duration_since(asked) >= KEY_INTERVAL);
        if is_due && (assembler.needs_key() || self.publisher.key_wanted.load(Ordering::Relaxed)) {
            self.key_asked = Some(now);
            self.publisher.key_wanted.store(false, Ordering::Relaxed);
            let request = PictureLossIndication { sender_ssrc: 0, media_ssrc: header.ssrc };
            let _ = self.track.write_rtcp(vec![Box::new(request)]).await;
        }
    }
}

/// A viewer's place among those that there may be.
struct Place(Arc<Pictures>);

impl Place {
    fn take(pictures: &Arc<Pictures>) -> Option<Self> {
        let place = Self(pictures.clone());
        (pictures.viewers.fetch_add(1, Ordering::Relaxed) < MAX_VIEWERS).then_some(place)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.0.viewers.fetch_sub(1, Ordering::Relaxed);
    }
}

/// A track to a viewer.
struct Outgoing {
    track: Arc<TrackLocalStaticRTP>,
    ssrc: u32,
    payload_type: Option<u8>,
    sequence: u16,
}

impl Outgoing {
    fn new(kind: RtpCodecKind, codec: RTCRtpCodec) -> Self {
        let ssrc = uuid::Uuid::new_v4().as_fields().0;
        let coding = RTCRtpEncodingParameters {
            rtp_coding_parameters: RTCRtpCodingParameters { ssrc: Some(ssrc), ..Default::default() },
            codec,
            ..Default::default()
        };
        let track =
            MediaStreamTrack::new("facelink".to_owned(), kind.to_string(), kind.to_string(), kind, vec![coding]);
        Self { track: Arc::new(TrackLocalStaticRTP::new(track)), ssrc, payload_type: None, sequence: 0 }
    }

    fn with_type(self, payload_type: Option<u8>) -> Self {
        Self { payload_type, ..self }
    }

    async fn send(&mut self, packet: &rtp::Packet) {
        let Some(payload_type) = self.payload_type else { return };
        self.sequence = self.sequence.wrapping_add(1);
        let header = rtp::Header {
            version: 2,
            marker: packet.header.marker,
            payload_type,
            // Its own: layers are left out.
            sequence_number: self.sequence,
            timestamp: packet.header.timestamp,
            ssrc: self.ssrc,
            ..Default::default()
        };
        let _ = self.track.write_rtp(rtp::Packet { header, payload: packet.payload.clone() }).await;
    }
}

struct Viewer {
    picture: Outgoing,
    sound: Outgoing,
    codec: PictureCodec,
    /// It asked for the lowest layer alone.
    thin: bool,
    token: Option<TokenId>,
    hub: Arc<Hub>,
    /// It gets no more until then.
    thin_until: Option<Instant>,
    packets: broadcast::Receiver<Forwarded>,
}

impl Viewer {
    async fn run(
        mut self,
        publisher: Arc<Publisher>,
        peer: RtcPeer,
        mut events: mpsc::UnboundedReceiver<PeerEvent>,
        _place: Place,
        cancel: CancellationToken,
    ) {
        let track = self.picture.track.clone();
        let mut connected = false;
        let mut tick = ticks(Duration::from_secs(1));
        let limit = tokio::time::sleep(IDLE_LIMIT);
        tokio::pin!(limit);
        loop {
            tokio::select! {
                () = cancel.cancelled() => break,
                () = &mut limit, if !connected => break,
                event = events.recv() => match event {
                    Some(PeerEvent::State(RTCPeerConnectionState::Connected)) => {
                        connected = true;
                        publisher.key_wanted.store(true, Ordering::Relaxed);
                    }
                    Some(PeerEvent::State(RTCPeerConnectionState::Failed | RTCPeerConnectionState::Closed))
                    | Some(PeerEvent::Ended)
                    | None => break,
                    Some(_) => {}
                },
                feedback = track.poll(), if connected => match feedback {
                    Some(TrackLocalEvent::OnRtcpPacket(packets)) => {
                        for packet in &packets {
                            match packet.as_any().downcast_ref::<ReceiverReport>() {
                                Some(report) => self.judge(report),
                                // What else is let through asks for a key frame.
                                None => publisher.key_wanted.store(true, Ordering::Relaxed),
                            }
                        }
                    }
                    Some(_) => {}
                    None => break,
                },
                forwarded = self.packets.recv() => match forwarded {
                    Ok(_) if !connected => {}
                    Ok(Forwarded { kind: RtpCodecKind::Audio, packet }) => self.sound.send(&packet).await,
                    Ok(Forwarded { packet, .. }) => {
                        let is_thin = self.thin || self.thin_until.is_some_and(|until| until > Instant::now());
                        if !(is_thin && self.codec.is_upper_layer(&packet.payload)) {
                            self.picture.send(&packet).await;
                        }
                    }
                    Err(broadcast::error::RecvError::Lagged(_)) => publisher.key_wanted.store(true, Ordering::Relaxed),
                    Err(broadcast::error::RecvError::Closed) => break,
                },
                _ = tick.tick() => {
                    if self.token.is_some_and(|token| !self.hub.auth.holds(token)) || self.hub.sealing.has_key() {
                        break;
                    }
                }
                () = publisher.cancel.cancelled() => break,
            }
        }
        peer.close().await;
    }

    /// With much loss, it gets less.
    fn judge(&mut self, report: &ReceiverReport) {
        if report.reports.iter().any(|block| block.ssrc == self.picture.ssrc && block.fraction_lost >= THIN_LOSS) {
            self.thin_until = Some(Instant::now() + THIN_FOR);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn payload_types_are_those_of_the_answer() {
        let sdp = "v=0\r\na=rtpmap:111 opus/48000/2\r\na=rtpmap:103 H264/90000\r\na=rtpmap:98 vp9/90000\r\na=rtpmap:x H264/1\r\n";
        assert_eq!(picture_types(sdp), [(103, PictureCodec::H264), (98, PictureCodec::Vp9)]);
        assert_eq!(payload_types(sdp, "opus/"), [111]);
    }
}
