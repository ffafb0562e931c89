//! One viewer: what it is sent, in which layer, and when.

use std::{
    collections::{BTreeMap, HashMap, VecDeque},
    sync::Arc,
    time::Duration,
};

use super::{
    budget::{FULL_SPACING, Wanted, choose},
    face::{Content, Face, Newest},
    layers::Layer,
    output::Output,
    stats::{Sent, Thinned, ViewerStats},
    subscription::{Format, RoomFilter, Subscription, Subscriptions},
};
use crate::{
    event::SubjectId,
    frame::FaceFrame,
    time::Instant,
    timing::{LinkReport, NetworkLaw, RateController, RateDecision},
    wire::{
        facelink1::{
            MAX_REDUNDANCY,
            bundle::{Bundle, FaceBytes, MAX_BUNDLE, Repeat},
            delta::compact::{Body, CompactBundle, CompactFace, Item, MAX_DISTANCE, MAX_ID, Reference},
        },
        json::UpdateWriter,
        sealed,
    },
};

/// Layers are chosen anew after this time.
const CHOOSE: Duration = Duration::from_millis(100);
/// Subscriptions that change are looked up at most so often.
const MATCH: Duration = Duration::from_millis(100);
/// A viewer whose packets have not left is asked again after this time.
const RETRY: Duration = Duration::from_millis(4);
/// A report of a viewer holds for this long.
const REPORT_HOLDS: Duration = Duration::from_millis(1000);
/// A face that has stopped for this long is sent as it stopped, whatever its layer; and once more after the longer time, since
/// the packet may have been lost.
const SETTLE: [Duration; 2] = [Duration::from_millis(160), Duration::from_millis(500)];
/// A frame with a peak that was changed by more than this is not followed by one of a higher layer, which would jump.
const SMOOTH: f32 = 0.05;
/// Frames of a layer before the one below it follows.
const STEP_FRAMES: u8 = 6;
/// After so many frames the change is made anyway.
const SMOOTH_WAIT: u8 = 6;
/// The rate at which nothing is left out, for the law.
const FULL_FPS: f32 = 60.0;
/// A source that jumped further than this in its count began anew.
const FARTHEST_LOSS: u64 = 1000;
/// Sealed messages that wait for the viewer; beyond, the oldest are dropped.
const MAX_MESSAGES: usize = 64;
/// Bytes that are assumed for a face until one was written.
const USUAL_SIZE: usize = 88;
/// Frames of a face that a delta may build upon, fewer than viewers keep.
const MAX_COMPACT: usize = 48;
/// A viewer that acknowledges nothing is sent the name with one of so many frames, and with the first ones.
const NAME_EVERY: u32 = 8;
/// Of four frames, the first one builds upon one that is acknowledged; those between upon the ones around which they lie.
const GROUP: u64 = 4;
/// Names of lost faces that wait for the viewer; beyond, it does not hear of them.
const MAX_LOST: usize = 1024;

/// A frame that was sent.
#[derive(Debug)]
struct Last {
    index: u64,
    source: Option<u64>,
    number: u64,
    at: Instant,
}

/// A frame that was sent in a compact bundle.
#[derive(Debug)]
struct SentCompact {
    /// The packet, and the frame's number.
    at: Reference,
    key: u64,
    /// Its place in its group of frames: higher ones do not build upon lower ones.
    level: u32,
    face: Arc<CompactFace>,
    body: Body,
    reference: Option<Reference>,
    acknowledged: bool,
}

/// A face, as one viewer is sent it.
#[derive(Debug)]
struct Seen {
    /// What stands for it in compact bundles.
    id: u16,
    wanted: Subscription,
    most: Layer,
    /// The layer in force, and the one that it is to be.
    layer: Layer,
    target: Layer,
    /// Frames that the change to `target` has waited for.
    waited: u8,
    /// Frames since the last step down.
    frames: u8,
    last: Option<Last>,
    /// Newest first.
    history: VecDeque<(u64, Arc<FaceBytes>)>,
    /// Newest first.
    compact: VecDeque<SentCompact>,
    /// Frames in compact bundles while none is acknowledged.
    unknown: u32,
    /// Bytes of a frame of it.
    size: usize,
    settled: usize,
    update: Option<Box<UpdateWriter>>,
    /// Frames that were not sent, for the receiver of sealed ones.
    left_out: u16,
}

impl Seen {
    fn new(id: u16, wanted: Subscription) -> Self {
        let most = wanted.max_fps.map_or(Layer::All, Layer::within);
        Self {
            id,
            wanted,
            most,
            layer: most,
            target: most,
            waited: 0,
            frames: 0,
            last: None,
            history: VecDeque::new(),
            compact: VecDeque::new(),
            unknown: 0,
            size: USUAL_SIZE,
            settled: 0,
            update: None,
            left_out: 0,
        }
    }

    fn want(&mut self, wanted: Subscription) {
        if self.wanted != wanted {
            if self.wanted.format != wanted.format {
                self.last = None;
                self.compact.clear();
            }
            self.most = wanted.max_fps.map_or(Layer::All, Layer::within);
            self.target = self.target.min(self.most);
            self.wanted = wanted;
        }
    }

    fn has(&self, index: u64) -> bool {
        self.last.as_ref().is_some_and(|last| last.index >= index)
    }

    /// The layer whose newest frame is to be sent now, if there is a new one. `settle`: the face has stopped.
    fn next(&mut self, face: &Face, settle: bool, now: Instant) -> Option<Layer> {
        let newest = face.index_of(Layer::All);
        let Some(last) = &self.last else {
            self.layer = self.target;
            return (newest > 0).then_some(Layer::All);
        };
        if settle {
            let fresh = !self.has(newest);
            // Sealed packets that come twice are refused.
            let again = self.wanted.format != Format::Json && !face.is_sealed();
            return (fresh || again).then_some(Layer::All);
        }
        // Rates below the lowest layer.
        if let Some(fps) = self.wanted.max_fps.filter(|fps| *fps < Layer::Sparse.fps())
            && now.saturating_duration_since(last.at) < Duration::from_secs_f32(0.9 / fps.clamp(0.01, 1000.0))
        {
            return None;
        }
        let layer = self.layer;
        if self.has(face.index_of(layer)) {
            return None;
        }
        // A lower layer begins after a frame that both have, for its next frame has the peaks since that one. One step at a
        // time, so that the viewer's playout learns how long it has to wait for the next frame.
        self.frames = self.frames.saturating_add(1);
        if self.target < layer && self.frames >= STEP_FRAMES {
            let below = Layer::EVERY.into_iter().rev().find(|below| *below < layer).unwrap_or(layer);
            if !self.has(face.index_of(below)) {
                (self.layer, self.frames) = (below, 0);
            }
        }
        Some(layer)
    }

    /// A frame has been sent, in which a shape was changed by `added` to keep its peak.
    fn climb(&mut self, added: f32) {
        if self.target > self.layer {
            self.waited += 1;
            if added < SMOOTH || self.waited >= SMOOTH_WAIT {
                (self.layer, self.waited) = (self.target, 0);
            }
        } else {
            self.waited = 0;
        }
    }

    /// Notes a frame that is sent, and gives the number by which the viewer knows it. What this side has left out is not
    /// counted, or it would look lost; what was lost before is.
    fn number(&mut self, index: u64, source: Option<u64>, sent: &mut Sent, now: Instant) -> u64 {
        let number = match &self.last {
            None => source.unwrap_or(0),
            Some(last) if last.index == index => last.number,
            Some(last) => {
                let passed = index - last.index;
                let left_out = passed - 1;
                let thinned = match () {
                    () if self.layer < self.most => &mut sent.thinned.path,
                    () if self.most < Layer::All => &mut sent.thinned.asked,
                    () => &mut sent.thinned.replaced,
                };
                *thinned += left_out;
                self.left_out = self.left_out.wrapping_add(left_out as u16);
                let counted = source.zip(last.source).and_then(|(now, before)| now.checked_sub(before));
                let lost = counted.and_then(|counted| counted.checked_sub(passed));
                last.number + 1 + lost.filter(|lost| *lost < FARTHEST_LOSS).unwrap_or(0)
            }
        };
        self.last = Some(Last { index, source, number, at: now });
        number
    }

    /// Puts a frame of this number into compact bundles, with the earlier ones that it repeats.
    fn put_compact(
        &mut self,
        newest: &mut Newest,
        face: &Arc<CompactFace>,
        (name, number, redundancy): (&str, u64, usize),
        bundle: &mut CompactBundle,
        mut full: impl FnMut(&[u8]),
    ) {
        let before = |sent: &&SentCompact| (1..=MAX_DISTANCE).contains(&number.wrapping_sub(sent.at.number));
        let acknowledged = self.compact.iter().filter(before).find(|sent| sent.acknowledged);
        // A lost frame takes those that build upon it along: where frames are lost, none does.
        let level = match self.layer >= Layer::High && redundancy == 0 {
            true => newest.index.trailing_zeros().min(GROUP.trailing_zeros()),
            false => GROUP.trailing_zeros(),
        };
        let around =
            self.compact.iter().filter(before).find(|sent| sent.level > level && number - sent.at.number < GROUP);
        let since = acknowledged.map(|acknowledged| around.unwrap_or(acknowledged));
        let changes = since.and_then(|since| {
            let body = newest.body(face, Some((since.key, &since.face)), bundle)?;
            Some((body, Some(since.at)))
        });
        // Without anything that it is known to have, it may not know what the id stands for either. One that acknowledges
        // nothing has the name now and then.
        self.unknown = if acknowledged.is_some() { 0 } else { self.unknown.wrapping_add(1) };
        let is_named =
            acknowledged.is_none() && (self.unknown <= 2 * NAME_EVERY || self.unknown.is_multiple_of(NAME_EVERY));
        let named = is_named.then_some(name);
        let first = self.compact.iter().position(|sent| before(&sent)).unwrap_or(self.compact.len());
        for sent in self.compact.range(first..(first + redundancy).min(self.compact.len())).rev() {
            let SentCompact { at, face, body, reference, .. } = sent;
            let item =
                Item { id: self.id, name: named, number: at.number, face, body, reference: *reference, repeated: true };
            bundle.push(&item, &mut full);
        }
        let id = self.id;
        let mut put = |body: Body, reference: Option<Reference>, bundle: &mut CompactBundle| {
            let item = Item { id, name: named, number, face, body: &body, reference, repeated: false };
            Some((bundle.push(&item, &mut full)?, body, reference))
        };
        let mut written = changes.and_then(|(body, reference)| put(body, reference, bundle));
        if written.is_none() {
            written = newest.body(face, None, bundle).and_then(|body| put(body, None, bundle));
        }
        let Some((packet, body, reference)) = written else { return };
        self.size = bundle.item_len();
        let (at, key) = (Reference { packet, number }, newest.key(self.layer));
        self.compact.retain(|sent| sent.at.number != number);
        self.compact.truncate(MAX_COMPACT - 1);
        self.compact.push_front(SentCompact {
            at,
            key,
            level,
            face: face.clone(),
            body,
            reference,
            acknowledged: false,
        });
    }

    /// Packets of these numbers were read.
    fn acknowledge(&mut self, packets: &[u16]) {
        let mut newest = None;
        for (place, sent) in self.compact.iter_mut().enumerate() {
            sent.acknowledged |= packets.contains(&sent.at.packet);
            newest = newest.or(sent.acknowledged.then_some(place));
        }
        if let Some(newest) = newest {
            // Nothing will build upon earlier ones.
            self.compact.truncate((newest + 1).max(usize::from(MAX_REDUNDANCY)));
        }
    }
}

/// What packets and messages are written in.
#[derive(Debug, Default)]
pub(super) struct Buffers {
    bundle: Bundle,
    compact: CompactBundle,
    text: String,
    sealed: Vec<u8>,
}

#[derive(Debug)]
pub(super) struct Viewer {
    pub room: Option<Arc<str>>,
    pub subscriptions: Subscriptions,
    faces: BTreeMap<SubjectId, Seen>,
    next_id: u16,
    /// The number of the next packet of compact bundles.
    next_packet: u16,
    /// Names of faces that have gone.
    lost: Vec<Arc<str>>,
    /// Sealed messages, whose subject has this id.
    messages: VecDeque<(SubjectId, Arc<[u8]>)>,
    /// Subscriptions have changed since they were looked up.
    changed: bool,
    matched: Option<Instant>,
    law: NetworkLaw,
    decision: RateDecision,
    report: Option<(LinkReport, Instant)>,
    /// Since when there is something to send.
    pending: Option<Instant>,
    flushed: Option<Instant>,
    /// When its part of what the relay may send allows the next packets.
    allowed: Option<Instant>,
    retry: Option<Instant>,
    settle: Option<Instant>,
    blocked: Option<Instant>,
    /// In this period its packets left at once.
    was_ready: bool,
    refused: u32,
    choose_at: Option<Instant>,
    pub sent: Sent,
}

impl Viewer {
    pub fn new(room: Option<Arc<str>>) -> Self {
        let law = NetworkLaw::new(FULL_FPS / 6.0, FULL_FPS);
        Self {
            room,
            subscriptions: Subscriptions::default(),
            faces: BTreeMap::new(),
            next_id: 0,
            next_packet: 0,
            lost: Vec::new(),
            messages: VecDeque::new(),
            changed: false,
            matched: None,
            decision: law.decision(),
            law,
            report: None,
            pending: None,
            flushed: None,
            allowed: None,
            retry: None,
            settle: None,
            blocked: None,
            was_ready: true,
            refused: 0,
            choose_at: None,
            sent: Sent::default(),
        }
    }

    /// There is something to send.
    pub fn pend(&mut self, now: Instant) {
        self.pending.get_or_insert(now);
    }

    /// Subscriptions, or the rooms that they depend on, have changed.
    pub fn change(&mut self) {
        self.changed = true;
    }

    /// When its subscriptions are looked up, if they have changed.
    pub fn match_due(&self, now: Instant) -> Option<Instant> {
        self.changed.then(|| self.matched.map_or(now, |at| at + MATCH))
    }

    pub fn matched(&mut self, now: Instant) {
        (self.changed, self.matched) = (false, Some(now));
    }

    /// How it wants a face, if it does.
    pub fn wants(&self, key: u64, face: &Face) -> Option<&Subscription> {
        let wanted = self.wants_face(&face.name, face.room.as_ref())?;
        (wanted.own || face.publisher != key).then_some(wanted)
    }

    /// The same for a face that others publish.
    pub fn wants_face(&self, name: &str, room: Option<&Arc<str>>) -> Option<&Subscription> {
        let wanted = self.subscriptions.of(name)?;
        let in_room = match &wanted.room {
            RoomFilter::Any => true,
            RoomFilter::Own => room.is_some() && room == self.room.as_ref(),
            RoomFilter::Named(named) => room == Some(named),
        };
        in_room.then_some(wanted)
    }

    /// Takes a face up, or lets it go; `true` if it is sent from now on.
    pub fn assign(&mut self, key: u64, id: SubjectId, face: &Face, now: Instant) -> bool {
        let wanted = self.wants(key, face).cloned();
        let Some(wanted) = wanted else {
            self.faces.remove(&id);
            return false;
        };
        match self.faces.get_mut(&id) {
            Some(seen) => seen.want(wanted),
            None => {
                let seen = Seen::new(self.next_id, wanted);
                self.next_id = (self.next_id + 1) % MAX_ID;
                self.faces.insert(id, seen);
            }
        }
        self.choose_at = None;
        self.pend(now);
        true
    }

    /// A face has gone.
    pub fn lose(&mut self, id: SubjectId, face: &Face, now: Instant) {
        let Some(seen) = self.faces.remove(&id) else { return };
        // Of a sealed face, those without the key have seen nothing.
        let saw = !face.is_sealed() || seen.wanted.format == Format::Sealed;
        if saw && self.lost.len() < MAX_LOST {
            self.lost.push(face.name.clone());
            self.pend(now);
        }
    }

    /// A sealed message of a subject, such as a viseme, which is not thinned.
    pub fn message(&mut self, id: SubjectId, message: &Arc<[u8]>, now: Instant) {
        if self.faces.get(&id).is_some_and(|seen| seen.wanted.format == Format::Sealed) {
            if self.messages.len() >= MAX_MESSAGES {
                self.messages.pop_front();
            }
            self.messages.push_back((id, message.clone()));
            self.pend(now);
        }
    }

    /// What it says of its path.
    pub fn report(&mut self, report: LinkReport, now: Instant) {
        self.report = Some((report, now));
    }

    /// Packets of compact bundles were read.
    pub fn acknowledge(&mut self, packets: &[u16]) {
        self.faces.values_mut().for_each(|seen| seen.acknowledge(packets));
    }

    /// A packet was refused by the transport.
    pub fn refuse(&mut self) {
        self.refused += 1;
    }

    fn share(&self) -> f32 {
        (self.decision.fps / FULL_FPS).min(1.0)
    }

    /// When its next packets are due, where frames wait so long for those of other faces.
    pub fn due(&self, gather: Duration) -> Option<Instant> {
        let pending = self.pending.map(|since| {
            let spaced =
                if self.share() < 1.0 { self.flushed.map(|flushed| flushed + FULL_SPACING) } else { self.allowed };
            [spaced, self.retry].into_iter().flatten().fold(since + gather, Instant::max)
        });
        match (pending, self.settle) {
            (Some(pending), Some(settle)) => Some(pending.min(settle)),
            (due, None) | (None, due) => due,
        }
    }

    /// Counts packets that it was sent now against its part of what the relay may send: one in `spacing`, and at once as many as
    /// in [`FULL_SPACING`].
    pub fn pay(&mut self, packets: u64, spacing: Duration, now: Instant) {
        // However large its bundles are, it has 60 a second.
        let cost = spacing.saturating_mul(u32::try_from(packets).unwrap_or(u32::MAX)).min(FULL_SPACING);
        let earliest = now.checked_sub(FULL_SPACING).unwrap_or(now);
        self.allowed = Some(self.allowed.map_or(earliest, |at| at.max(earliest)) + cost);
    }

    /// Packets that wait for the transport keep those that follow here, where newer frames take their places.
    pub fn block(&mut self, now: Instant) {
        self.blocked.get_or_insert(now);
        self.retry = Some(now + RETRY);
        self.settle = self.settle.map(|settle| settle.max(now + RETRY));
    }

    /// Decides what fits the path, and the layer of each face.
    pub fn choose(&mut self, faces: &HashMap<SubjectId, Face>, now: Instant) {
        if self.choose_at.is_some_and(|at| now < at) {
            return;
        }
        self.choose_at = Some(now + CHOOSE);
        let report = self.report.filter(|(_, at)| now.saturating_duration_since(*at) < REPORT_HOLDS);
        let mut report = report.map_or_else(LinkReport::default, |(report, _)| report);
        // What waits on this side. A transport that refuses packets has more of them than its path explains.
        let blocked = self.blocked.filter(|_| !self.was_ready);
        let waited = blocked.map_or(0.0, |since| now.saturating_duration_since(since).as_secs_f32() * 1000.0);
        let refused = if std::mem::take(&mut self.refused) > 1 { 100.0 } else { 0.0 };
        report.delay.standing_ms = report.delay.standing_ms.max(waited).max(refused);
        if waited.max(refused) > 0.0 {
            report.delay.slope = report.delay.slope.max(0.0);
        }
        // The law counts the frames of one face.
        report.delay.fps = 0.0;
        self.was_ready = self.blocked.is_none();
        self.decision = self.law.update(&report, now);
        let wanted: Vec<Wanted> = self
            .faces
            .iter()
            .map(|(id, seen)| {
                let face = faces.get(id);
                let speaks = face.is_some_and(|face| face.speaks(now));
                Wanted {
                    most: seen.most,
                    score: seen.wanted.priority + f32::from(u8::from(speaks)),
                    fps: face.map_or(0.0, |face| face.fps_of(Layer::All)),
                    size: seen.size as f32,
                }
            })
            .collect();
        let share = self.share();
        for (seen, layer) in self.faces.values_mut().zip(choose(&wanted, share)) {
            seen.target = layer;
        }
    }

    /// Sends what is new; how many packets that took.
    pub fn flush(
        &mut self,
        faces: &mut HashMap<SubjectId, Face>,
        Buffers { bundle, compact, text, sealed }: &mut Buffers,
        (unix, now): (Duration, Instant),
        mut send: impl FnMut(Output<'_>),
    ) -> u64 {
        self.was_ready = true;
        (self.pending, self.blocked, self.retry, self.settle) = (None, None, None, None);
        self.flushed = Some(now);
        for name in self.lost.drain(..) {
            send(Output::Lost(&name));
        }
        let (sent, redundancy) = (&mut self.sent, usize::from(self.decision.redundancy.min(MAX_REDUNDANCY)));
        let mut out = |output: Output<'_>, sent: &mut Sent| {
            sent.packets += 1;
            sent.bytes += output.len() as u64;
            send(output);
        };
        let mut packets = Sent::default();
        let mut put_sealed = |packet: &[u8],
                              left_out: u16,
                              packets: &mut Sent,
                              out: &mut dyn FnMut(Output<'_>, &mut Sent)| {
            if !sealed.is_empty() && (packet.is_empty() || sealed.len() + sealed::item_len(packet.len()) > MAX_BUNDLE) {
                out(Output::Packet(sealed), packets);
                sealed.clear();
            }
            if !packet.is_empty() {
                sealed::put_item(sealed, packet, left_out);
            }
        };
        for (id, message) in self.messages.drain(..) {
            let left_out = self.faces.get(&id).map_or(0, |seen| seen.left_out);
            put_sealed(&message, left_out, &mut packets, &mut out);
        }
        compact.begin(self.next_packet, unix);
        for (id, seen) in &mut self.faces {
            let Some(face) = faces.get_mut(id) else { continue };
            if face.is_sealed() && seen.wanted.format != Format::Sealed {
                continue;
            }
            let still = now.saturating_duration_since(face.published);
            let settle = SETTLE.get(seen.settled).is_some_and(|after| still >= *after);
            let next = seen.next(face, settle, now);
            if settle || next.is_some() {
                seen.settled = if settle { seen.settled + 1 } else { 0 };
            }
            if let Some(layer) = next {
                let name = face.name.clone();
                let Some(newest) = face.newest(layer) else { continue };
                let (index, added) = (newest.index, newest.added);
                let source = match &newest.content {
                    Content::Frame(frame) => frame.sequence,
                    Content::Sealed(_) => None,
                };
                let (mut written, mut compacted) = (None, None);
                match seen.wanted.format {
                    Format::Json => {}
                    Format::Compact => compacted = newest.compact(&name, unix, now),
                    Format::Facelink1 | Format::Sealed => written = newest.bytes(&name, unix, now),
                }
                let repeated = seen.has(index);
                let number = seen.number(index, source, sent, now);
                sent.frames += u64::from(!repeated);
                if let Some(face) = &compacted {
                    seen.put_compact(newest, face, (&name, number, redundancy), compact, |packet| {
                        out(Output::Packet(packet), &mut packets);
                    });
                } else {
                    match (written, &newest.content) {
                        (_, Content::Sealed(packet)) => {
                            put_sealed(packet, seen.left_out, &mut packets, &mut out);
                            seen.size = sealed::item_len(packet.len());
                        }
                        (Some(bytes), _) => {
                            let mut repeats: [Option<Repeat<'_>>; MAX_REDUNDANCY as usize] = [None; 3];
                            for (place, (past, bytes)) in repeats.iter_mut().zip(seen.history.iter().take(redundancy)) {
                                *place =
                                    number.checked_sub(*past).and_then(|d| u8::try_from(d).ok()).map(|d| (d, &**bytes));
                            }
                            let count = repeats.iter().flatten().count();
                            let mut usable: [Repeat<'_>; MAX_REDUNDANCY as usize] = [(0, &*bytes); 3];
                            usable
                                .iter_mut()
                                .zip(repeats.into_iter().flatten())
                                .for_each(|(place, repeat)| *place = repeat);
                            bundle.push(&bytes, number as u32, &usable[..count], |packet| {
                                out(Output::Packet(packet), &mut packets);
                            });
                            seen.size = bytes.len();
                            if !repeated {
                                seen.history.truncate(usize::from(MAX_REDUNDANCY) - 1);
                                seen.history.push_front((number, bytes));
                            }
                        }
                        (None, Content::Frame(frame)) => {
                            let frame = FaceFrame { sequence: Some(number), ..frame.clone() };
                            let writer = seen.update.get_or_insert_default();
                            writer.write(text, &name, &frame, newest.unix(unix, now).as_secs_f64() * 1000.0);
                            out(Output::Text(text), &mut packets);
                            seen.size = text.len();
                        }
                    }
                }
                if !settle {
                    seen.climb(added);
                }
            }
            if let Some(after) = SETTLE.get(seen.settled) {
                let due = face.published + *after;
                // Not earlier than the next frames, where those come.
                let due = due.max(now + Duration::from_millis(1));
                self.settle = Some(self.settle.map_or(due, |other: Instant| other.min(due)));
            }
        }
        put_sealed(&[], 0, &mut packets, &mut out);
        bundle.finish(|packet| out(Output::Packet(packet), &mut packets));
        compact.finish(|packet| out(Output::Packet(packet), &mut packets));
        self.next_packet = compact.number();
        sent.add(&packets);
        packets.packets
    }

    pub fn stats(&self) -> ViewerStats {
        let mut layers = BTreeMap::new();
        for seen in self.faces.values() {
            *layers.entry(seen.layer).or_insert(0) += 1;
        }
        ViewerStats {
            faces: self.faces.len(),
            layers,
            share: self.share(),
            redundancy: self.decision.redundancy,
            sent: self.sent,
        }
    }
}

impl Thinned {
    /// All of them.
    pub fn total(&self) -> u64 {
        self.asked + self.path + self.replaced
    }
}
