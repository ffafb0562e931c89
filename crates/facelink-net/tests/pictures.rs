//! A performer's picture and sound over loopback: WebRTC peers of the `webrtc` crate as any other, opened by HTTP.

#![cfg(all(feature = "http", feature = "webrtc"))]
#![expect(clippy::expect_used, reason = "a test fails by panicking")]

use std::{
    net::SocketAddr,
    sync::Arc,
    time::{Duration, Instant},
};

use facelink::{
    media::PictureCodec,
    take::{RecordedPicture, RecordedSound, TakeContent, TakeReader},
};
use facelink_net::{Endpoint, EndpointConfig, TakeOptions, TokenOptions, TokenRole, new_token};
use rtc::{
    rtcp::sender_report::SenderReport,
    rtp,
    rtp_transceiver::rtp_sender::{
        RTCRtpCodec, RTCRtpCodecParameters, RTCRtpCodingParameters, RTCRtpEncodingParameters, RtpCodecKind,
    },
};
use tokio::sync::mpsc;
use webrtc::{
    media_stream::{
        MediaStreamTrack,
        track_local::{TrackLocal, static_rtp::TrackLocalStaticRTP},
        track_remote::{TrackRemote, TrackRemoteEvent},
    },
    peer_connection::{
        MediaEngine, PeerConnection, PeerConnectionBuilder, PeerConnectionEventHandler, RTCIceGatheringState,
        RTCPeerConnectionState, RTCSessionDescription, Registry,
    },
};

const LIMIT: Duration = Duration::from_secs(30);
const PICTURE: (u8, u32) = (96, 1111);
const SOUND: (u8, u32) = (97, 2222);
/// Unix time at which both streams begin, by the clock of the source: far from ours.
const BEGAN: u64 = 2_000_000_000;

fn config() -> EndpointConfig {
    let takes = std::env::temp_dir().join(format!("facelink-pictures-{}", new_token()));
    EndpointConfig { port: 0, takes, ..EndpointConfig::default() }
}

enum Event {
    Gathered,
    Connected,
    Track(Arc<dyn TrackRemote>),
}

struct Handler(mpsc::UnboundedSender<Event>);

#[async_trait::async_trait]
impl PeerConnectionEventHandler for Handler {
    async fn on_ice_gathering_state_change(&self, state: RTCIceGatheringState) {
        if state == RTCIceGatheringState::Complete {
            let _ = self.0.send(Event::Gathered);
        }
    }

    async fn on_connection_state_change(&self, state: RTCPeerConnectionState) {
        if state == RTCPeerConnectionState::Connected {
            let _ = self.0.send(Event::Connected);
        }
    }

    async fn on_track(&self, track: Arc<dyn TrackRemote>) {
        let _ = self.0.send(Event::Track(track));
    }
}

fn codec(kind: RtpCodecKind) -> RTCRtpCodec {
    let (name, rate, channels, format) = match kind {
        RtpCodecKind::Audio => ("audio/opus", 48_000, 2, ""),
        _ => ("video/H264", 90_000, 0, "level-asymmetry-allowed=1;packetization-mode=1;profile-level-id=42e01f"),
    };
    RTCRtpCodec {
        mime_type: name.to_owned(),
        clock_rate: rate,
        channels,
        sdp_fmtp_line: format.to_owned(),
        rtcp_feedback: Vec::new(),
    }
}

/// A peer with no interceptors: its reports are those that the test writes.
struct Peer {
    connection: Arc<dyn PeerConnection>,
    events: mpsc::UnboundedReceiver<Event>,
}

impl Peer {
    async fn new() -> Self {
        let mut engine = MediaEngine::default();
        for (kind, (payload_type, _)) in [(RtpCodecKind::Video, PICTURE), (RtpCodecKind::Audio, SOUND)] {
            let codec = RTCRtpCodecParameters { rtp_codec: codec(kind), payload_type };
            engine.register_codec(codec, kind).expect("a codec");
        }
        let (sender, events) = mpsc::unbounded_channel();
        let connection = PeerConnectionBuilder::new()
            .with_media_engine(engine)
            .with_interceptor_registry(Registry::new())
            .with_handler(Arc::new(Handler(sender)))
            .with_udp_addrs(vec!["127.0.0.1:0"])
            .build()
            .await
            .expect("a connection");
        Self { connection: Arc::new(connection), events }
    }

    async fn until<T>(&mut self, what: &str, pick: impl Fn(Event) -> Option<T>) -> T {
        let found = async {
            loop {
                let event = self.events.recv().await.expect("the connection is there");
                if let Some(found) = pick(event) {
                    return found;
                }
            }
        };
        tokio::time::timeout(LIMIT, found).await.expect(what)
    }

    /// Offers by HTTP; the answer's status and `Location`, or the code of the refusal.
    async fn offer(&mut self, http: SocketAddr, route: &str) -> Result<(u16, String), (u16, String)> {
        let offer = self.connection.create_offer(None).await.expect("an offer");
        self.connection.set_local_description(offer).await.expect("taken");
        self.until("candidates", |event| matches!(event, Event::Gathered).then_some(())).await;
        let offer = self.connection.local_description().await.expect("a description").sdp;
        let url = format!("http://{http}/api/v1/{route}");
        let (status, location, body) =
            tokio::task::spawn_blocking(move || post(&url, "application/sdp", &offer)).await.expect("an answer");
        if status != 201 {
            let refusal: serde_json::Value = serde_json::from_str(&body).expect("JSON");
            return Err((status, refusal["error"]["code"].as_str().expect("a code").to_owned()));
        }
        let answer = RTCSessionDescription::answer(body).expect("an answer");
        self.connection.set_remote_description(answer).await.expect("taken");
        self.until("a connection", |event| matches!(event, Event::Connected).then_some(())).await;
        Ok((status, location))
    }

    async fn track(&self, kind: RtpCodecKind, ssrc: u32) -> Arc<TrackLocalStaticRTP> {
        let coding = RTCRtpEncodingParameters {
            rtp_coding_parameters: RTCRtpCodingParameters { ssrc: Some(ssrc), ..Default::default() },
            codec: codec(kind),
            ..Default::default()
        };
        let (stream, name) = ("face".to_owned(), kind.to_string());
        let track =
            Arc::new(TrackLocalStaticRTP::new(MediaStreamTrack::new(stream, name.clone(), name, kind, vec![coding])));
        self.connection.add_track(track.clone()).await.expect("a track");
        track
    }
}

fn post(url: &str, kind: &str, body: &str) -> (u16, String, String) {
    let agent: ureq::Agent = ureq::Agent::config_builder().http_status_as_error(false).build().into();
    let mut answer = agent.post(url).header("Content-Type", kind).send(body).expect("an answer");
    let location = answer.headers().get("location").and_then(|value| value.to_str().ok()).unwrap_or_default();
    let location = location.to_owned();
    (answer.status().as_u16(), location, answer.body_mut().read_to_string().expect("a body"))
}

/// A performer that sends 30 frames a second, each in two packets, with a key frame first, and 50 packets of sound. Every
/// second frame of the picture is of the upper layer.
struct Performer {
    peer: Peer,
    picture: Arc<TrackLocalStaticRTP>,
    sound: Arc<TrackLocalStaticRTP>,
    sent: u16,
}

impl Performer {
    async fn publish(http: SocketAddr, route: &str) -> Result<(Self, String), (u16, String)> {
        let mut peer = Peer::new().await;
        let picture = peer.track(RtpCodecKind::Video, PICTURE.1).await;
        let sound = peer.track(RtpCodecKind::Audio, SOUND.1).await;
        let (_, location) = peer.offer(http, route).await?;
        Ok((Self { peer, picture, sound, sent: 0 }, location))
    }

    async fn write(
        track: &TrackLocalStaticRTP,
        of: (u8, u32),
        sequence: u16,
        timestamp: u32,
        end: bool,
        data: Vec<u8>,
    ) {
        let header = rtp::Header {
            version: 2,
            marker: end,
            payload_type: of.0,
            sequence_number: sequence,
            timestamp,
            ssrc: of.1,
            ..Default::default()
        };
        track.write_rtp(rtp::Packet { header, payload: data.into() }).await.expect("written");
    }

    /// Sends a tenth of a second: three frames and five packets of sound, with the reports of both.
    async fn step(&mut self) {
        let n = self.sent;
        self.sent += 1;
        let ntp = (BEGAN + 2_208_988_800) << 32;
        for (track, ssrc) in [(&self.picture, PICTURE.1), (&self.sound, SOUND.1)] {
            let report = SenderReport { ssrc, ntp_time: ntp, rtp_time: 0, ..Default::default() };
            track.write_rtcp(vec![Box::new(report)]).await.expect("a report");
        }
        for frame in n * 3..n * 3 + 3 {
            let (sequence, timestamp) = (frame.wrapping_mul(2), u32::from(frame) * 3000);
            // A NAL unit in two parts: of a key frame, of the lower layer and of the upper one.
            let (header, kind) =
                if frame.is_multiple_of(30) { (0x60, 5) } else { (if frame.is_multiple_of(2) { 0x40 } else { 0 }, 1) };
            let first = vec![header | 28, 0x80 | kind, frame as u8];
            Self::write(&self.picture, PICTURE, sequence, timestamp, false, first).await;
            let second = vec![header | 28, 0x40 | kind, 0xee];
            Self::write(&self.picture, PICTURE, sequence + 1, timestamp, true, second).await;
        }
        for packet in n * 5..n * 5 + 5 {
            Self::write(&self.sound, SOUND, packet, u32::from(packet) * 960, false, vec![0x78, packet as u8]).await;
        }
    }
}

/// What a take has so far.
fn recorded(file: &str) -> (Vec<RecordedPicture>, Vec<RecordedSound>) {
    let bytes = std::fs::read(file).expect("a file");
    let mut reader = TakeReader::open(std::io::Cursor::new(bytes)).expect("a take");
    let (mut pictures, mut sounds) = (Vec::new(), Vec::new());
    while let Some(entry) = reader.next_entry().expect("an entry") {
        match entry.content {
            TakeContent::Picture(picture) => pictures.push(picture),
            TakeContent::Sound(sound) => sounds.push(sound),
            _ => {}
        }
    }
    (pictures, sounds)
}

#[test]
fn picture_and_sound_are_in_the_take_by_the_clock_of_their_source() {
    let endpoint = Endpoint::start(config()).expect("an endpoint");
    let http = endpoint.addresses().http;
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    runtime.block_on(async {
        let (mut performer, location) = Performer::publish(http, "whip?subject=Ann").await.expect("published");
        assert_eq!(Performer::publish(http, "whip?subject=Ann").await.err(), Some((409, "taken".to_owned())));
        let begun = endpoint.start_take(TakeOptions::default()).expect("a take");
        let end = Instant::now() + LIMIT;
        let (pictures, sounds) = loop {
            performer.step().await;
            tokio::time::sleep(Duration::from_millis(10)).await;
            let read = recorded(&begun.file);
            if read.0.len() >= 60 && read.1.len() >= 60 {
                break read;
            }
            assert!(Instant::now() < end, "{} frames, {} packets", read.0.len(), read.1.len());
        };
        assert_eq!(pictures[0].data[4], 0x65, "it begins with a key frame");
        // A report before the first packet names a stream that nobody knows yet.
        let known = |time: Option<Duration>| time >= Some(Duration::from_secs(BEGAN));
        let pictures: Vec<_> = pictures.into_iter().skip_while(|picture| !known(picture.time)).collect();
        let sounds: Vec<_> = sounds.into_iter().skip_while(|sound| !known(sound.time)).collect();
        assert!(pictures.len() > 40 && sounds.len() > 40, "{} frames, {} packets", pictures.len(), sounds.len());
        let frame = |picture: &RecordedPicture| {
            let time = picture.time.expect("a time") - Duration::from_secs(BEGAN);
            (time.as_secs_f64() * 30.0).round() as u16
        };
        let first = frame(&pictures[0]);
        for (place, picture) in pictures.iter().enumerate() {
            let n = first + place as u16;
            assert_eq!(frame(picture), n, "none is missing, and each is at its time");
            let header = if n.is_multiple_of(30) {
                0x65
            } else if n.is_multiple_of(2) {
                0x41
            } else {
                0x01
            };
            assert_eq!(picture.data, [0, 0, 0, 1, header, n as u8, 0xee]);
            assert_eq!((&*picture.subject, picture.codec), ("Ann", PictureCodec::H264));
        }
        for sound in &sounds {
            let n = (sound.time.expect("a time") - Duration::from_secs(BEGAN)).as_millis() / 20;
            assert_eq!(sound.data, [0x78, n as u8], "at its time");
        }
        assert!(sounds.is_sorted_by_key(|sound| sound.time));

        let delete = |url: String| {
            let agent: ureq::Agent = ureq::Agent::config_builder().http_status_as_error(false).build().into();
            agent.delete(&url).call().expect("an answer").status().as_u16()
        };
        let url = format!("http://{http}{location}");
        assert_eq!(tokio::task::spawn_blocking(move || delete(url)).await.expect("done"), 200);
        let listed = async {
            loop {
                let url = format!("http://{http}/api/v1/pictures");
                let get = move || ureq::get(&url).call().expect("an answer").body_mut().read_to_string().expect("text");
                let text = tokio::task::spawn_blocking(get).await.expect("done");
                if text == r#"{"subjects":[]}"# {
                    return;
                }
            }
        };
        tokio::time::timeout(LIMIT, listed).await.expect("it has ended");
        let _ = performer.peer.connection.close().await;
        endpoint.stop_take().expect("stopped");
    });
}

#[test]
fn viewers_get_the_picture_and_thin_ones_its_lowest_layer() {
    let endpoint = Endpoint::start(config()).expect("an endpoint");
    let http = endpoint.addresses().http;
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    runtime.block_on(async {
        let mut unknown = Peer::new().await;
        unknown.track(RtpCodecKind::Video, 1).await;
        assert_eq!(unknown.offer(http, "whep?subject=Ann").await, Err((404, "unknown_subject".to_owned())));
        let (mut performer, _) = Performer::publish(http, "whip?subject=Ann").await.expect("published");
        performer.step().await;
        for (route, upper) in [("whep?subject=Ann", true), ("whep?subject=Ann&thin=true", false)] {
            let mut viewer = Peer::new().await;
            for kind in [RtpCodecKind::Video, RtpCodecKind::Audio] {
                viewer.connection.add_transceiver_from_kind(kind, None).await.expect("a transceiver");
            }
            viewer.offer(http, route).await.expect("viewed");
            let (mut pictures, mut sounds) = (Vec::new(), 0);
            let (packets, mut received) = mpsc::unbounded_channel();
            let end = Instant::now() + LIMIT;
            while pictures.len() < 60 || sounds < 20 {
                assert!(Instant::now() < end, "{} packets of the picture, {sounds} of the sound", pictures.len());
                performer.step().await;
                tokio::time::sleep(Duration::from_millis(5)).await;
                while let Ok(event) = viewer.events.try_recv() {
                    let Event::Track(track) = event else { continue };
                    let packets = packets.clone();
                    tokio::spawn(async move {
                        let kind = track.kind().await;
                        while let Some(event) = track.poll().await {
                            if let TrackRemoteEvent::OnRtpPacket(packet) = event {
                                let _ = packets.send((kind, packet));
                            }
                        }
                    });
                }
                while let Ok((kind, packet)) = received.try_recv() {
                    if kind == RtpCodecKind::Video { pictures.push(packet) } else { sounds += 1 }
                }
            }
            let numbers: Vec<_> = pictures.iter().map(|packet| packet.header.sequence_number).collect();
            assert!(numbers.windows(2).all(|pair| pair[1] == pair[0].wrapping_add(1)), "no gap: {numbers:?}");
            let is_upper = pictures.iter().any(|packet| packet.payload[0] & 0x60 == 0);
            assert_eq!(is_upper, upper, "{route}");
            let _ = viewer.connection.close().await;
        }
    });
}

#[test]
fn pictures_need_the_role_and_end_with_their_token() {
    let endpoint = Endpoint::start(config()).expect("an endpoint");
    let http = endpoint.addresses().http;
    let make = |role| endpoint.add_token(TokenOptions::new(role)).expect("a token");
    let (publish, view) = (make(TokenRole::Publish), make(TokenRole::View));
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    runtime.block_on(async {
        let route = |token: &str| format!("whip?subject=Ann&token={token}");
        let refused = Performer::publish(http, &route(&view.token)).await.err();
        assert_eq!(refused, Some((403, "forbidden_role".to_owned())));
        let (mut performer, _) = Performer::publish(http, &route(&publish.token)).await.expect("published");
        performer.step().await;
        assert!(endpoint.withdraw_token(publish.id));
        // The place is free again.
        let end = Instant::now() + LIMIT;
        while Performer::publish(http, "whip?subject=Ann").await.is_err() {
            assert!(Instant::now() < end, "it ends");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    });
}

#[test]
fn pictures_are_refused_where_they_are_off_or_faces_are_sealed() {
    let off = Endpoint::start(EndpointConfig { pictures: false, ..config() }).expect("an endpoint");
    let on = Endpoint::start(config()).expect("an endpoint");
    let refused = |endpoint: &Endpoint, kind: &str, body: &str, query: &str| {
        let url = format!("http://{}/api/v1/whip{query}", endpoint.addresses().http);
        let (status, _, body) = post(&url, kind, body);
        let refusal: serde_json::Value = serde_json::from_str(&body).expect("JSON");
        (status, refusal["error"]["code"].as_str().expect("a code").to_owned())
    };
    assert_eq!(refused(&off, "application/sdp", "v=0", "?subject=Ann"), (403, "no_pictures".to_owned()));
    assert_eq!(refused(&on, "application/json", "{}", "?subject=Ann"), (415, "bad_type".to_owned()));
    assert_eq!(refused(&on, "application/sdp", "v=0", ""), (400, "bad_field".to_owned()));
    assert_eq!(refused(&on, "application/sdp", "what", "?subject=Ann"), (400, "bad_field".to_owned()));
    #[cfg(feature = "seal")]
    {
        let key = Some(facelink_net::new_room_key().expect("a key"));
        let sealed = Endpoint::start(EndpointConfig { key, ..config() }).expect("an endpoint");
        assert_eq!(refused(&sealed, "application/sdp", "v=0", "?subject=Ann"), (403, "sealed".to_owned()));
    }
}
