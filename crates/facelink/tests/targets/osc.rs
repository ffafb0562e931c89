//! OSC datagrams: bundles in bundles with sizes that are right, wrong or off the alignment, messages with type tags of any
//! kind.

use std::time::{Duration, Instant};

use facelink::{
    frame::MAX_CHANNELS,
    vrchat::VrchatWriter,
    wire::{face_cap, osc, trackers, vmc},
};

use super::{Source, Target, check_face, face, name};

pub struct Osc {
    vmc: vmc::Decoder,
    face_cap: face_cap::Decoder,
    trackers: trackers::Decoder,
    writer: VrchatWriter,
    good: Vec<u8>,
    /// Time goes on by what the sender's bytes say.
    now: Instant,
}

/// Appends text and fills it up to a multiple of four bytes from `start` on.
fn text(out: &mut Vec<u8>, start: usize, text: &[u8]) {
    out.extend_from_slice(text);
    out.push(0);
    while !(out.len() - start).is_multiple_of(4) {
        out.push(0);
    }
}

fn argument(source: &mut Source<'_>, tag: u8, out: &mut Vec<u8>, start: usize) {
    match tag {
        b'f' => out.extend_from_slice(&source.float().to_be_bytes()),
        b'd' => out.extend_from_slice(&f64::from(source.float()).to_be_bytes()),
        b'i' | b'c' | b'r' | b'm' => out.extend_from_slice(&source.number().to_be_bytes()),
        b'h' | b't' => out.extend_from_slice(&u64::from(source.number()).to_be_bytes()),
        b's' | b'S' => match source.below(8) {
            0 => text(out, start, b"Fr\xf6hlich"),
            1 => text(out, start, source.pick(&[&b"Head"[..], b"Neck", b"LeftEye", b"RightEye"])),
            2 | 3 => text(out, start, source.pick(&[&b"A"[..], b"aa", b"Blink_L", b"blinkLeft", b"Joy", b"jaw_L"])),
            _ => text(out, start, name(source).as_bytes()),
        },
        b'b' => {
            let len = source.below(40);
            let stated = if source.one_in(4) { source.number() } else { len as u32 };
            out.extend_from_slice(&stated.to_be_bytes());
            out.resize(out.len() + len.next_multiple_of(4), 7);
        }
        _ => {}
    }
}

fn message(source: &mut Source<'_>, out: &mut Vec<u8>) {
    const MESSAGES: [(&[u8], &[u8]); 18] = [
        (b"/VMC/Ext/Blend/Val", b",sf"),
        (b"/VMC/Ext/Blend/Val/jawOpen", b",f"),
        (b"/VMC/Ext/Blend/Apply", b","),
        (b"/VMC/Ext/OK", b",iiii"),
        (b"/VMC/Ext/T", b",f"),
        (b"/VMC/Ext/VRM", b",sss"),
        (b"/VMC/Ext/Bone/Pos", b",sfffffff"),
        (b"/VMC/Ext/Set/Eye", b",ifff"),
        (b"/W", b",if"),
        (b"/W", b",ff"),
        (b"/avatar/parameters/JawOpen", b",f"),
        (b"/HT", b",fff"),
        (b"/HR", b",fff"),
        (b"/HRQ", b",ffff"),
        (b"/ELR", b",ff"),
        (b"/ERR", b",ff"),
        (b"/Battery", b",f"),
        (b"/RecordStopConfirm", b",sss"),
    ];
    let start = out.len();
    let (address, usual) = source.pick(&MESSAGES);
    match source.below(16) {
        0 => text(out, start, &vec![b'/'; source.below(600)]),
        1 => text(out, start, source.pick(&[&b"/"[..], b"", b"#bundle", b"W", b"/\xff", b"#"])),
        _ => text(out, start, address),
    }
    let tags = match source.below(12) {
        // Arrays, many of them; whatever begins the tags; none at all.
        0 => {
            let depth = source.count(60, 8, 20_000);
            [&b","[..], &b"[".repeat(depth), &b"]".repeat(source.below(depth + 1))].concat()
        }
        1 => [source.pick(&[&b"x"[..], b"[", b"\xc3\xa9", b"", b",,"]), usual].concat(),
        2 => [&b","[..], &vec![source.pick(b"NTFIifsbthdcrmSx[]"); source.below(80)]].concat(),
        3 => {
            if source.one_in(2) {
                return;
            }
            Vec::new()
        }
        4 => std::iter::once(b',').chain((0..source.below(12)).map(|_| source.pick(b"ifsbthdcrmTFNI[]x"))).collect(),
        _ => usual.to_vec(),
    };
    text(out, start, &tags);
    for tag in tags.into_iter().skip(1).take(200) {
        argument(source, tag, out, start);
    }
    if source.one_in(12) {
        // Not filled up, or cut off.
        out.truncate((out.len() - source.below(5)).max(start));
    }
}

fn bundle(source: &mut Source<'_>, out: &mut Vec<u8>, depth: usize) {
    out.extend_from_slice(b"#bundle\0\0\0\0\0\0\0\0\x01");
    for _ in 0..source.below(6) {
        let at = out.len();
        out.extend_from_slice(&[0; 4]);
        match source.below(8) {
            0 if depth < 12 => bundle(source, out, depth + 1),
            1 => out.extend((0..source.below(9)).map(|place| b"/a\0\0,\0\0\0"[place.min(7)])),
            _ => message(source, out),
        }
        let len = out.len() - at - 4;
        let stated = match source.below(12) {
            0 => len + 1 + source.below(4),
            1 => len.saturating_sub(source.below(5)),
            2 => source.number() as usize,
            _ => len,
        };
        out[at..at + 4].copy_from_slice(&(stated as u32).to_be_bytes());
    }
}

impl Target for Osc {
    const NAME: &'static str = "osc";

    fn fresh() -> Self {
        let mut good = b"#bundle\0\0\0\0\0\0\0\0\x01".to_vec();
        for message in [&b"/VMC/Ext/Blend/Val\0\0,sf\0jawOpen\0\x3f\0\0\0"[..], b"/VMC/Ext/Blend/Apply\0\0\0\0,\0\0\0"]
        {
            good.extend_from_slice(&(message.len() as u32).to_be_bytes());
            good.extend_from_slice(message);
        }
        let Ok(writer) = VrchatWriter::new("FT/", None) else { panic!("the usual parameters") };
        Self {
            vmc: vmc::Decoder::new(),
            face_cap: face_cap::Decoder::new(),
            trackers: trackers::Decoder::new(),
            writer,
            good,
            now: Instant::now(),
        }
    }

    fn generate(&mut self, source: &mut Source<'_>, out: &mut Vec<u8>) {
        match source.below(9) {
            0 => message(source, out),
            1 => {
                use vmc::BlendshapeNames as Names;
                let names = source.pick(&[Names::PerfectSync, Names::Presets, Names::Both]);
                vmc::encode(&face(source), 1.5, &vmc::PROFILE, names, |datagram| {
                    out.clear();
                    out.extend_from_slice(datagram);
                });
            }
            2 => {
                let messages = face_cap::messages(&face(source), &face_cap::PROFILE);
                osc::write_bundles(messages, 1400, |datagram| {
                    out.clear();
                    out.extend_from_slice(datagram);
                });
            }
            3 => self.writer.write(&face(source), Duration::ZERO, |datagram| {
                out.clear();
                out.extend_from_slice(datagram);
            }),
            _ => bundle(source, out, 0),
        }
    }

    fn decode(&mut self, input: &[u8]) -> bool {
        let Self { vmc, face_cap, trackers, now, .. } = self;
        let (mut refused, mut messages) = (0, 0);
        // From a burst to a silence.
        let pause = [0, 1, 4, 16, 16, 60, 300, 7000][input.len() % 8];
        let next = *now + Duration::from_millis(pause);
        let (mut timeouts, shown) = (0, |face| {
            let face = vmc::PROFILE.apply(face);
            check_face(&face);
            assert!(face.channels.len() <= MAX_CHANNELS, "{face:?}");
        });
        while let Some(due) = vmc.deadline().filter(|due| *due <= next) {
            timeouts += 1;
            assert!(timeouts < 100, "due again and again");
            if let Some(face) = vmc.on_timeout(due.max(*now)) {
                shown(face);
            }
        }
        while let Some(due) = trackers.deadline().filter(|due| *due <= next) {
            timeouts += 1;
            assert!(timeouts < 200, "due again and again");
            if let Some(face) = trackers.on_timeout(due.max(*now)) {
                shown(face);
            }
        }
        *now = next;
        let now = *now;
        let reading = osc::read(input, |message| {
            messages += 1;
            assert!(message.addr.starts_with('/') && message.addr.len() <= 512);
            assert!(message.args.len() <= 64);
            // From more programs than one face has.
            let program = ([127, 0, 0, 1], message.addr.len() as u16).into();
            match trackers.take(message, program, now) {
                Ok(known) => assert!(!known || trackers::is_one(&message.addr)),
                Err(error) => {
                    assert!(error.to_string().starts_with(&message.addr), "{error}");
                    refused += 1;
                }
            }
            for (face, profile) in [
                (vmc.take(message, now).map_err(|_| ()), &vmc::PROFILE),
                (face_cap.take(message).map_err(|_| ()), &face_cap::PROFILE),
            ] {
                match face {
                    Ok(Some(face)) => check_face(&profile.apply(face)),
                    Ok(None) => {}
                    Err(()) => refused += 1,
                }
            }
        });
        assert_eq!(reading.messages, messages);
        assert_eq!(reading.refused > 0, reading.error.is_some());
        assert!(reading.messages + reading.refused <= 2049);
        reading.refused == 0 && refused == 0
    }

    fn check_state(&mut self) {
        let mut shown = None;
        let reading = osc::read(&self.good, |message| {
            if let Ok(Some(face)) = self.vmc.take(message, self.now) {
                shown = Some(face);
            }
        });
        assert_eq!((reading.messages, reading.error), (2, None));
        // Where bones follow a commit, it waits for them.
        let due = self.vmc.deadline();
        let shown = shown.or_else(|| due.and_then(|due| self.vmc.on_timeout(due)));
        let face = shown.unwrap_or_else(|| panic!("a commit shows a face"));
        // While it reports that the face is lost, the output is a lost face.
        if face.frame.tracked {
            assert_eq!(face.frame.get(facelink::Blendshape::JawOpen), Some(0.5));
        }
    }
}
