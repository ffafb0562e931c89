//! Pictures and sounds of a connection: codecs, feedback, and which reports reach us.

use std::{collections::VecDeque, time::Instant};

use facelink::media::{PICTURE_CLOCK, PictureCodec, SOUND_CLOCK};
use rtc::{
    interceptor::{Attribute, Interceptor, Packet, Slot, StreamInfo, TaggedPacket},
    rtcp::{
        payload_feedbacks::{full_intra_request::FullIntraRequest, picture_loss_indication::PictureLossIndication},
        receiver_report::ReceiverReport,
        sender_report::SenderReport,
    },
    rtp_transceiver::rtp_sender::{RTCRtpCodec, RTCRtpCodecParameters, RtpCodecKind},
    sansio::Protocol,
    shared::error::Error,
};
use webrtc::peer_connection::{
    MediaEngine, Registry, configure_nack, configure_rtcp_reports, configure_twcc_receiver_only,
};

/// Payload types that this side would name first; a peer that offers has its own.
const SOUND_TYPE: u8 = 111;
const H264_TYPE: u8 = 102;
const VP9_TYPE: u8 = 98;

/// What is taken of sound.
pub(crate) fn sound_codec() -> RTCRtpCodec {
    RTCRtpCodec {
        mime_type: "audio/opus".to_owned(),
        clock_rate: SOUND_CLOCK,
        channels: 2,
        sdp_fmtp_line: "minptime=10;useinbandfec=1".to_owned(),
        rtcp_feedback: Vec::new(),
    }
}

/// What is taken of pictures: profiles that every browser has and that every viewer shows.
pub(crate) fn picture_codec(codec: PictureCodec) -> RTCRtpCodec {
    let (name, format) = match codec {
        PictureCodec::Vp9 => ("video/VP9", "profile-id=0"),
        _ => ("video/H264", "level-asymmetry-allowed=1;packetization-mode=1;profile-level-id=42e01f"),
    };
    RTCRtpCodec {
        mime_type: name.to_owned(),
        clock_rate: PICTURE_CLOCK,
        channels: 0,
        sdp_fmtp_line: format.to_owned(),
        rtcp_feedback: Vec::new(),
    }
}

/// Codecs and feedback of a connection with these codecs.
pub(super) fn engine(codecs: &[PictureCodec]) -> Result<(MediaEngine, Registry), Error> {
    let mut engine = MediaEngine::default();
    let sound = RTCRtpCodecParameters { rtp_codec: sound_codec(), payload_type: SOUND_TYPE };
    engine.register_codec(sound, RtpCodecKind::Audio)?;
    for codec in codecs {
        let payload_type = if *codec == PictureCodec::Vp9 { VP9_TYPE } else { H264_TYPE };
        let picture = RTCRtpCodecParameters { rtp_codec: picture_codec(*codec), payload_type };
        engine.register_codec(picture, RtpCodecKind::Video)?;
    }
    let registry = configure_nack(Registry::new(), &mut engine);
    let registry = configure_twcc_receiver_only(registry, &mut engine)?;
    // In a place that the crate has no interceptor of ours for: pictures are put in order by `facelink::media`.
    let registry = configure_rtcp_reports(registry).with(Slot::JitterBuffer, Reports::default());
    Ok((engine, registry))
}

/// Lets through to us what the crate would keep to itself: the reports of senders, which have the clock, those of
/// viewers, which have the loss, and requests for key frames.
#[derive(Default)]
struct Reports {
    read: VecDeque<TaggedPacket>,
    written: VecDeque<TaggedPacket>,
}

impl Protocol<TaggedPacket, TaggedPacket, ()> for Reports {
    type Rout = TaggedPacket;
    type Wout = TaggedPacket;
    type Eout = ();
    type Error = Error;
    type Time = Instant;

    fn handle_read(&mut self, mut packet: TaggedPacket) -> Result<(), Error> {
        let wanted = match &packet.message.packet {
            Packet::Rtcp(packets) => packets.iter().any(|packet| {
                let packet = packet.as_any();
                packet.is::<SenderReport>()
                    || packet.is::<ReceiverReport>()
                    || packet.is::<PictureLossIndication>()
                    || packet.is::<FullIntraRequest>()
            }),
            _ => false,
        };
        if wanted {
            packet.message.add(Attribute::DeliverToApplication);
        }
        self.read.push_back(packet);
        Ok(())
    }

    fn poll_read(&mut self) -> Option<TaggedPacket> {
        self.read.pop_front()
    }

    fn handle_write(&mut self, packet: TaggedPacket) -> Result<(), Error> {
        self.written.push_back(packet);
        Ok(())
    }

    fn poll_write(&mut self) -> Option<TaggedPacket> {
        self.written.pop_front()
    }

    fn handle_timeout(&mut self, _: Instant) -> Result<(), Error> {
        Ok(())
    }

    fn poll_timeout(&mut self) -> Option<Instant> {
        None
    }
}

impl Interceptor for Reports {
    fn bind_local_stream(&mut self, _: &StreamInfo) {}
    fn unbind_local_stream(&mut self, _: &StreamInfo) {}
    fn bind_remote_stream(&mut self, _: &StreamInfo) {}
    fn unbind_remote_stream(&mut self, _: &StreamInfo) {}
}
