//! How a face is written by peers without our client.

use facelink::{
    FaceFrame,
    wire::{
        facelink1, float32,
        json::write_arkit_data,
        llf::{self, LlfPacket},
    },
};

use super::common::Res;

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Format {
    /// Named shapes, as text
    #[default]
    Json,
    /// 61 floats
    Float32,
    /// Our own, which may repeat earlier frames
    Facelink1,
    /// As the app of that name, over UDP
    LiveLinkFace,
}

pub enum Payload<'a> {
    Text(&'a str),
    Binary(&'a [u8]),
}

impl Payload<'_> {
    pub fn bytes(&self) -> &[u8] {
        match self {
            Self::Text(text) => text.as_bytes(),
            Self::Binary(bytes) => bytes,
        }
    }
}

/// Writes the faces of one subject.
pub struct Writer {
    format: Format,
    subject: String,
    encoder: facelink1::Encoder,
    number: i32,
    text: String,
    bytes: Vec<u8>,
}

impl Writer {
    /// `redundancy`: how many earlier frames each one repeats, where the format can.
    pub fn new(format: Format, redundancy: u8, subject: &str) -> Self {
        let mut encoder = facelink1::Encoder::new();
        encoder.set_redundancy(redundancy);
        Self { format, subject: subject.to_owned(), encoder, number: 0, text: String::new(), bytes: Vec::new() }
    }

    pub fn write(&mut self, frame: &FaceFrame) -> Res<Payload<'_>> {
        self.bytes.clear();
        self.number = self.number.wrapping_add(1);
        match self.format {
            Format::Json => {
                write_arkit_data(&mut self.text, frame, Some(&self.subject), None);
                return Ok(Payload::Text(&self.text));
            }
            Format::Float32 => float32::encode_61(frame, &mut self.bytes),
            Format::Facelink1 => self.encoder.encode("", frame, facelink1::Clock::Unix, &mut self.bytes)?,
            Format::LiveLinkFace => {
                let packet = LlfPacket::new("lab", &self.subject, self.number, frame.clone());
                llf::encode(&packet, &llf::PROFILE, &mut self.bytes)?;
            }
        }
        Ok(Payload::Binary(&self.bytes))
    }
}

#[cfg(test)]
mod tests {
    use facelink::performer::Performance;
    use std::time::Duration;

    use super::*;

    #[test]
    fn every_format_holds_the_face_and_repeating_costs_what_a_frame_does() {
        let performance = Performance::new(1);
        let length = |format, redundancy| {
            let mut writer = Writer::new(format, redundancy, "Ann");
            let lengths = [1, 2].map(|second| {
                let frame = performance.frame_at(Duration::from_secs(second));
                writer.write(&frame).expect("a face").bytes().len()
            });
            lengths[1]
        };
        assert_eq!(length(Format::Float32, 0), 61 * 4);
        let plain = length(Format::Facelink1, 0);
        // Its flags, its distance and the time between them in place of the whole head of a packet.
        let repeated = length(Format::Facelink1, 1) - plain;
        assert!((52..plain).contains(&repeated), "{plain} and {repeated} more");
        assert!(length(Format::Json, 0) > 1000 && length(Format::LiveLinkFace, 0) > 244);
    }
}
